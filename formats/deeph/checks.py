"""What the blocks of DeepH's folders must obey, apart from being Hermitian."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.operators.blocks import block_offsets
from moireio.system.pairs import Pairs

BlockName = Callable[[int, int, npt.NDArray[np.int32]], str]

# eV and 1; the 1s level of the heaviest atoms is at 1e5 eV.
LARGEST = 1e7
REMEDY = "the file is damaged; make it again"


def within(values: npt.NDArray[np.inexact]) -> bool:
    """Return whether all numbers are finite, and no larger than any can be.

    Parameters
    ----------
    values : array
        Elements of blocks.

    Returns
    -------
    bool
        Real and imaginary parts are looked at one by one.
    """
    parts = [values.real, values.imag] if values.dtype.kind == "c" else [values]
    return all(
        p.max(initial=0.0) <= LARGEST and p.min(initial=0.0) >= -LARGEST for p in parts if p.size
    )


def name_of(pairs: Pairs, pair: int, name: BlockName) -> str:
    """Return how messages call the block of a pair.

    Parameters
    ----------
    pairs : Pairs
        Those of the file.
    pair : int
        Its index.
    name : callable
        Returns how messages call the block of (i, j, R).

    Returns
    -------
    str
        The text.
    """
    i = int(np.searchsorted(pairs.indptr, pair, "right")) - 1
    return name(i, int(pairs.j[pair]), pairs.R[pair])


def check_elements(
    blocks: npt.NDArray[np.inexact],
    pairs: Pairs,
    members: npt.NDArray[np.int64],
    path: str,
    name: BlockName,
) -> None:
    """Raise if an element is not finite, or larger than any can be.

    Parameters
    ----------
    blocks : (p, rows, columns) array
        Blocks of some pairs.
    pairs : Pairs
        All pairs of the file.
    members : (p,) array of int
        The pairs of `blocks`.
    path : str
        The file, for messages.
    name : callable
        Returns how messages call the block of (i, j, R).

    Raises
    ------
    DamagedError
        With the block and the number.
    """
    if within(blocks):
        return
    flat = blocks.reshape(len(blocks), -1)
    fits = np.abs(flat) <= LARGEST
    place = int(np.flatnonzero(~fits.all(axis=1))[0])
    value = flat[place][np.flatnonzero(~fits[place])[0]]
    where = name_of(pairs, int(members[place]), name)
    what = "is not finite" if not np.isfinite(value) else f"is {value:.1e}: larger than any can be"
    raise DamagedError(f"an element of {where} {what}", path=path, remedy=REMEDY)


class Norms:
    """The overlaps of all orbitals with themselves.

    Parameters
    ----------
    diagonals : sequence of (n,) array
        Those of every atom.
    sizes : (N,) array of int
        Orbitals of every atom.
    path : str
        The file of the overlap, for messages.
    name : callable
        Returns how messages call the block of (i, j, R).

    Raises
    ------
    DamagedError
        If an orbital has no positive norm.
    """

    def __init__(
        self,
        diagonals: list[npt.NDArray[np.float64]],
        sizes: npt.NDArray[np.int64],
        path: str,
        name: BlockName,
    ) -> None:
        self._starts, self._path, self._name = block_offsets(sizes), path, name
        for atom, norms in enumerate(diagonals):
            if not (norms > 0).all():
                where = name(atom, atom, np.zeros(3, dtype=np.int32))
                raise DamagedError(
                    f"{where}: the overlap of an orbital with itself is not positive",
                    path=path,
                    remedy=REMEDY,
                )
        self._roots = np.sqrt(np.concatenate(diagonals).astype(np.float64)) * (1 + 1e-6)

    def check(
        self,
        blocks: npt.NDArray[np.inexact],
        pairs: Pairs,
        members: npt.NDArray[np.int64],
    ) -> None:
        """Raise if two orbitals overlap by more than their norms.

        Parameters
        ----------
        blocks : (p, rows, columns) array
            Blocks of some pairs.
        pairs : Pairs
            All pairs of the file.
        members : (p,) array of int
            The pairs of `blocks`.

        Raises
        ------
        DamagedError
            With the block.

        Notes
        -----
        Cauchy and Schwarz: |S_ab|² ≤ S_aa S_bb.
        """
        i = np.searchsorted(pairs.indptr, members, "right") - 1
        _, n_rows, n_columns = blocks.shape
        rows = self._roots[self._starts[i][:, None] + np.arange(n_rows)]
        columns = self._roots[self._starts[pairs.j[members]][:, None] + np.arange(n_columns)]
        outside = (np.abs(blocks) > rows[:, :, None] * columns[:, None, :]).any(axis=(1, 2))
        if outside.any():
            where = name_of(pairs, int(members[np.flatnonzero(outside)[0]]), self._name)
            raise DamagedError(
                f"{where}: two orbitals overlap by more than their norms",
                path=self._path,
                remedy=REMEDY,
            )
