"""The small eigenproblem in the space that the anchors' states span, without ghosts.

The levels that are wanted lie inside the spectrum, so that Ritz values near them need not be
near any level: a combination of states from far below and far above has an energy in between.
Such ghosts have large residuals. One that is close to a true level spoils the level's Ritz vector;
the vectors of least residual are not spoiled.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh, svd
from scipy.linalg.lapack import zposv

from moireio.runtime.threads import blas_threads
from moireio.spectrum.anchors.basis import slabs, weighted

COLUMNS = 48  # of the blocks of Hermitian products
JOINED = 0.05  # singular value, of unit vectors, below which a direction counts as known
FOUND = 2  # steps that turn Ritz vectors to levels
REFINED = 2  # steps towards the vectors of least residual, each of which squares their error


@dataclass(frozen=True, eq=False)
class Grams:
    """Products of a basis V with H − E₀S and S at one k.

    Parameters
    ----------
    matrices : (5, m, m) array
        V†W, V†Y, W†W, W†Y and Y†Y, where W = (H − E₀S) V and Y = S V.
    energy : float
        E₀, eV.
    """

    matrices: npt.NDArray[np.complex128]
    energy: float

    @classmethod
    def of(
        cls,
        basis: npt.NDArray,
        w: npt.NDArray,
        y: npt.NDArray,
        energy: float,
        threads: int = 1,
        known: "Grams | None" = None,
    ) -> "Grams":
        """Return the products.

        Parameters
        ----------
        basis, w, y : (n, m) arrays
            V, W and Y.
        energy : float
            E₀, eV.
        threads : int
            Threads, which take rows of their own.
        known : Grams, optional
            Those of the first columns, with the same E₀.

        Returns
        -------
        Grams
            The products at that k.
        """
        first = 0 if known is None else len(known.matrices[0])
        bounds = np.linspace(0, len(basis), threads + 1).astype(int)
        parts = [slice(a, b) for a, b in pairwise(bounds)]

        def part(rows: slice) -> npt.NDArray:
            total = np.zeros((5, basis.shape[1], basis.shape[1]), complex)
            for some in slabs(rows.start, rows.stop):
                v, wr, yr = (m[some].astype(complex, copy=False) for m in (basis, w, y))
                vc = v.conj().T
                if first:
                    _add_columns(total, v, wr, yr, first)
                    continue
                _add_half(total[0], vc, wr)
                _add_half(total[1], vc, yr)
                _add_half(total[2], wr.conj().T, wr)
                total[3] += wr.conj().T @ yr
                _add_half(total[4], yr.conj().T, yr)
            return total

        with blas_threads(1), ThreadPoolExecutor(threads) as pool:
            total = np.sum(list(pool.map(part, parts)), axis=0)
        if known is not None:
            total[:, :first, :first] = known.matrices
        for n in (0, 1, 2, 4):
            upper = np.triu(total[n], 1)
            total[n] = upper + upper.conj().T + np.diag(np.diagonal(total[n]).real)
        return cls(total, energy)

    def inside(self, vectors: npt.NDArray) -> "Grams":
        """Return the products of some combinations of the basis.

        Parameters
        ----------
        vectors : (m, c) array
            One in a column.

        Returns
        -------
        Grams
            Those of V times the vectors.
        """
        return Grams(vectors.conj().T @ self.matrices @ vectors, self.energy)


@dataclass(frozen=True, eq=False)
class RitzLevels:
    """Levels found in a small space.

    Parameters
    ----------
    energies : (c,) array
        eV, ascending.
    vectors : (m, c) array
        S-orthonormal combinations of the basis.
    products : (c, c) array
        r_i†r_j of the residuals r = (H − ES) ψ, eV².
    """

    energies: npt.NDArray[np.float64]
    vectors: npt.NDArray[np.complex128]
    products: npt.NDArray[np.complex128]

    @property
    def residuals(self) -> npt.NDArray[np.float64]:
        """Norms of the residuals, eV; shape (c,)."""
        return np.sqrt(np.maximum(np.diagonal(self.products).real, 0))

    def enlarged(self, norm: float, square: float = 0.0) -> npt.NDArray[np.complex128]:
        """Return the products of residuals whose norms may be larger.

        Parameters
        ----------
        norm : float
            By how much, eV.
        square : float
            By how much their squares, beside that, eV².

        Returns
        -------
        (c, c) array
            eV².
        """
        return self.products + np.diag(2 * self.residuals * norm + norm**2 + square)

    def part(self, which: slice) -> "RitzLevels":
        """Return some of the levels."""
        products = self.products[which, which]
        return RitzLevels(self.energies[which], self.vectors[:, which], products)

    def __len__(self) -> int:
        """Return the number of levels."""
        return len(self.energies)


def _add_columns(
    total: npt.NDArray, v: npt.NDArray, w: npt.NDArray, y: npt.NDArray, first: int
) -> None:
    """Add the products of all vectors with those from a number on."""
    new = slice(first, None)
    for n, (left, right) in enumerate([(v, w), (v, y), (w, w), (w, y), (y, y)]):
        total[n, :, new] += left.conj().T @ right[:, new]
    total[3, new, :first] += w[:, new].conj().T @ y[:, :first]


def _add_half(out: npt.NDArray, a: npt.NDArray, b: npt.NDArray) -> None:
    """Add ab, where that is Hermitian, to a matrix: its upper triangle, what is below in blocks.

    SciPy's zherk keeps other threads waiting.
    """

    def add(begin: int, end: int) -> None:
        if end - begin <= COLUMNS:
            out[begin:end, begin:end] += a[begin:end] @ b[:, begin:end]
            return
        middle = (begin + end) // 2
        out[begin:middle, middle:end] += a[begin:middle] @ b[:, middle:end]
        add(begin, middle)
        add(middle, end)

    add(0, len(a))


def _hermitian(matrix: npt.NDArray) -> npt.NDArray:
    return 0.5 * (matrix + matrix.conj().T)


def ritz_levels(grams: Grams, window: tuple[float, float], width: float) -> RitzLevels:
    """Return the levels in a window as Ritz's method finds them: ghosts left out, near ones spoil.

    Parameters
    ----------
    grams : Grams
        At one k.
    window : tuple of two float
        Lowest and highest energy, eV.
    width : float
        Residual above which a vector is no state of interest, eV.

    Returns
    -------
    RitzLevels
        Inside the window, and a little beyond it.
    """
    values, vectors, _, candidate = _ritz_pairs(grams, window, width)
    return _kept(grams, values[candidate], vectors[:, candidate], width)


def refined_levels(grams: Grams, window: tuple[float, float], width: float) -> RitzLevels:
    """Return the levels in a window, with the vectors of least residual.

    Parameters
    ----------
    grams : Grams
        At one k.
    window : tuple of two float
        Lowest and highest energy, eV.
    width : float
        Residual above which a vector is no state of interest, eV. Ghosts within the window have
        larger ones as long as it is small against the distance to the bands that the anchors lack.

    Returns
    -------
    RitzLevels
        Inside the window, and a little beyond it.
    """
    values, vectors, (low, high), candidate = _ritz_pairs(grams, window, width)
    if not candidate.any():
        return _none(len(values))
    span = high - low
    near = (values > low - span) & (values < high + span)
    c, own = vectors[:, near], values[near]
    inside = grams.inside(c)
    # a Ritz vector that a ghost spoiled turns to the level, the ghost's too
    energies, x = own[candidate[near]], np.eye(len(own), dtype=complex)[:, candidate[near]]
    squares = np.diagonal(_residual_products(inside, energies, x)).real
    spoiled = squares > (width / 4) ** 2
    for _ in range(FOUND):
        x[:, spoiled] = _least(inside, energies[spoiled], x[:, spoiled], width)
        energies = np.einsum("ij,i,ij->j", x.conj(), own, x).real
    u, sizes, _ = svd(x, full_matrices=False)
    energies, x = _ritz(inside, u[:, sizes > JOINED])
    for _ in range(REFINED):
        energies, x = _ritz(inside, _least(inside, energies, x, width))
    inner = (energies > low - width) & (energies < high + width)
    found = _kept(inside, energies[inner], x[:, inner], width)
    return RitzLevels(found.energies, c @ found.vectors, found.products)


def _ritz_pairs(
    grams: Grams, window: tuple[float, float], width: float
) -> tuple[npt.NDArray, npt.NDArray, tuple[float, float], npt.NDArray[np.bool_]]:
    """Return Ritz values and vectors, the window, both from E₀, and which are near the window."""
    low, high = (energy - grams.energy for energy in window)
    values, vectors = eigh(*grams.matrices[:2], check_finite=False)
    return values, vectors, (low, high), (values > low - width) & (values < high + width)


def polished(grams: Grams, levels: RitzLevels, width: float) -> RitzLevels:
    """Return levels with smaller residuals: one step towards the vectors of least residual.

    Parameters
    ----------
    grams : Grams
        At the same k.
    levels : RitzLevels
        Some levels.
    width : float
        Residual above which a vector is no state of interest, eV.

    Returns
    -------
    RitzLevels
        The same levels.
    """
    x = _least(grams, levels.energies - grams.energy, levels.vectors, width)
    return _kept(grams, *_ritz(grams, x), width)


def _least(
    grams: Grams, energies: npt.NDArray, x: npt.NDArray, width: float
) -> npt.NDArray[np.complex128]:
    """Turn vectors towards those of least residual at their energies, counted from E₀."""
    _, s, ww, wy, yy = grams.matrices
    cross = wy + wy.conj().T
    squares = np.diagonal(_residual_products(grams, energies, x)).real
    # residuals below that of the vector itself count as equal: of two states of one energy the
    # better one would swallow the other
    floors = np.clip(squares, 1e-15 * np.linalg.norm(ww), (width / 4) ** 2)
    powers = np.stack([np.ones(len(energies)), -energies, energies**2, floors], axis=1)
    right, parts = s @ x, np.stack([ww, cross, yy, s])
    out = np.empty(x.shape, complex)
    for n, own in enumerate(powers):
        # LAPACK reads columns: the transpose, of which the conjugate solution is wanted
        _, solution, info = zposv(weighted(own, parts).T, right[:, n].conj(), overwrite_a=True)
        out[:, n] = solution.conj() if info == 0 else x[:, n]
    return out / np.linalg.norm(out, axis=0)


def _kept(grams: Grams, energies: npt.NDArray, x: npt.NDArray, width: float) -> RitzLevels:
    """Return those of some levels that have small residuals."""
    products = _residual_products(grams, energies, x)
    kept = np.diagonal(products).real < width**2
    return RitzLevels(energies[kept] + grams.energy, x[:, kept], products[np.ix_(kept, kept)])


def _none(size: int) -> RitzLevels:
    return RitzLevels(np.zeros(0), np.zeros((size, 0), complex), np.zeros((0, 0), complex))


def _residual_products(
    grams: Grams, energies: npt.NDArray, x: npt.NDArray
) -> npt.NDArray[np.complex128]:
    """Return the products of the residuals of vectors, energies counted from E₀."""
    _, _, ww, wy, yy = grams.inside(x).matrices
    left, right = energies[:, None], energies[None, :]
    return _hermitian(ww - wy * right - wy.conj().T * left + left * right * yy)


def _ritz(grams: Grams, x: npt.NDArray) -> tuple[npt.NDArray, npt.NDArray]:
    """Return Ritz values, from E₀, and S-orthonormal vectors in the space of some vectors."""
    h, s = grams.matrices[:2]
    energies, y = eigh(
        _hermitian(x.conj().T @ h @ x), _hermitian(x.conj().T @ s @ x), check_finite=False
    )
    return energies, x @ y
