"""Products of a growing basis with H and S at the k points where they are needed."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.products import BlochProducts
from moireio.spectrum.anchors.reduced import Grams


@dataclass(eq=False)
class _Kept:
    """What is known at a k point.

    Parameters
    ----------
    grams : Grams
        Products of the first vectors of the basis.
    w, y : (n, m) arrays or None
        H − E₀S and S times these vectors; None where they would take too much memory.
    """

    grams: Grams
    w: npt.NDArray | None
    y: npt.NDArray | None


class Projections:
    """Products of a basis with H and S, of which only those of new vectors are computed again.

    Parameters
    ----------
    products : BlochProducts
        H and S.
    room : float
        Bytes that H and S times the basis may take at all k points together. At those that come
        after, the whole basis is multiplied each time that it has grown.
    threads : int
        Threads.

    Attributes
    ----------
    energy : float or None
        E₀, eV, that of the first k point.
    count : int
        How often H and S were multiplied with the whole basis.
    """

    def __init__(self, products: BlochProducts, room: float = np.inf, threads: int = 1) -> None:
        self._products, self._room, self._threads = products, room, threads
        self._kept: dict[tuple[float, ...], _Kept] = {}
        self.energy: float | None = None
        self.count = 0

    @property
    def nbytes(self) -> int:
        """Bytes of H and S times the basis."""
        every = [m for kept in self._kept.values() for m in (kept.w, kept.y) if m is not None]
        return sum(m.nbytes for m in every)

    def clear(self) -> None:
        """Forget all, as where products are more precise from now on."""
        self._kept.clear()

    def drop_products(self) -> None:
        """Free the memory of H and S times the basis."""
        for kept in self._kept.values():
            kept.w = kept.y = None

    def at(
        self, k: npt.NDArray[np.float64], basis: npt.NDArray, energy: float, single: bool
    ) -> Grams:
        """Return the products of a basis at a k.

        Parameters
        ----------
        k : (3,) array
            Fractional.
        basis : (n, m) array
            Orthonormal; its first vectors those of the calls before.
        energy : float
            E₀ at the first k point, eV.
        single : bool
            Multiply in single precision.

        Returns
        -------
        Grams
            Products of the whole basis.
        """
        if self.energy is None:
            self.energy = energy
        name = tuple(k.tolist())
        kept = self._kept.get(name)
        size = basis.shape[1]
        if kept is not None and len(kept.grams.matrices[0]) == size:
            return kept.grams
        known = None
        if kept is not None and kept.w is not None and kept.y is not None:
            known, first = kept.grams, kept.w.shape[1]
            new = self._products(k, np.ascontiguousarray(basis[:, first:]), self.energy, single)
            w, y = (
                np.concatenate(both, axis=1) for both in zip((kept.w, kept.y), new, strict=True)
            )
        else:
            self.count += 1
            w, y = self._products(k, basis, self.energy, single)
        grams = Grams.of(basis, w, y, self.energy, self._threads, known)
        if kept is not None:
            kept.w = kept.y = None
        stored = self.nbytes + w.nbytes + y.nbytes <= self._room
        self._kept[name] = _Kept(grams, w, y) if stored else _Kept(grams, None, None)
        return grams
