"""Lists of atom pairs (i, j, R): the sparse pattern of an operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError


@dataclass(frozen=True, eq=False)
class Pairs:
    """The pairs of an operator in block-CSR order.

    Parameters
    ----------
    indptr : (N + 1,) array of int64
        The pairs of atom i are ``indptr[i]:indptr[i + 1]``.
    j : (n,) array of int32
        Second atom of each pair.
    R : (n, 3) array of int32
        Cell of the second atom, in lattice vectors; sorted by (j, R) inside a row.
    """

    indptr: npt.NDArray[np.int64]
    j: npt.NDArray[np.int32]
    R: npt.NDArray[np.int32]

    if TYPE_CHECKING:

        def __init__(self, indptr: npt.ArrayLike, j: npt.ArrayLike, R: npt.ArrayLike) -> None: ...

    def __post_init__(self) -> None:
        """Bring the arrays to their stored types."""
        for name, dtype in (("indptr", np.int64), ("j", np.int32), ("R", np.int32)):
            value = np.ascontiguousarray(getattr(self, name), dtype=dtype)
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Return the number of pairs."""
        return len(self.j)

    @property
    def n_atoms(self) -> int:
        """Number of atoms N."""
        return len(self.indptr) - 1

    @property
    def i(self) -> npt.NDArray[np.int32]:
        """First atom of each pair, shape (n,)."""
        return np.repeat(np.arange(self.n_atoms, dtype=np.int32), np.diff(self.indptr))

    @classmethod
    def sort(
        cls, n_atoms: int, i: npt.ArrayLike, j: npt.ArrayLike, R: npt.ArrayLike
    ) -> tuple[Self, npt.NDArray[np.int64]]:
        """Make sorted pairs from lists in any order.

        Parameters
        ----------
        n_atoms : int
            Number of atoms.
        i, j : (n,) arrays of int
            The two atoms.
        R : (n, 3) array of int
            Cell of the second atom.

        Returns
        -------
        pairs : Pairs
            The pairs in block-CSR order.
        order : (n,) array of int
            ``i[order]``, ``j[order]`` and ``R[order]`` are the sorted lists.

        Raises
        ------
        MoireioError
            If an atom is out of range or a pair occurs twice.
        """
        i, j, R = (np.asarray(v).astype(np.int64) for v in (i, j, R))
        for atoms in (i, j):
            if atoms.size and (atoms.min() < 0 or atoms.max() >= n_atoms):
                raise MoireioError(f"pairs: an atom is outside 0..{n_atoms - 1}")
        R = R.reshape(-1, 3)
        keys = _keys(n_atoms, i, j, R)
        order = np.argsort(keys, kind="stable")
        equal = np.diff(keys[order]) == 0
        if equal.any():
            twice = order[np.flatnonzero(equal)[0]]
            raise MoireioError(f"pairs: {pair_name(i[twice], j[twice], R[twice])} occurs twice")
        indptr = np.zeros(n_atoms + 1, dtype=np.int64)
        np.cumsum(np.bincount(i, minlength=n_atoms), out=indptr[1:])
        return cls(indptr, j[order], R[order]), order

    def keys(self) -> npt.NDArray[np.int64]:
        """Return one integer per pair, ordered as (i, j, R); shape (n,)."""
        return _keys(self.n_atoms, self.i, self.j, self.R)

    def partner(self) -> npt.NDArray[np.int64]:
        """Return the index of the partner (j, i, −R) of every pair.

        Returns
        -------
        (n,) array of int64
            Indices into the pairs; −1 where the partner is absent.
        """
        keys = self.keys()
        wanted = _keys(self.n_atoms, self.j, self.i, -self.R, like=self.R)
        return _lookup(keys, wanted)

    def find(self, i: npt.ArrayLike, j: npt.ArrayLike, R: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Return the indices of given pairs.

        Parameters
        ----------
        i, j : (m,) arrays of int
            The two atoms.
        R : (m, 3) array of int
            Cell of the second atom.

        Returns
        -------
        (m,) array of int64
            Indices into the pairs; −1 where a pair is absent.
        """
        i, j = np.atleast_1d(i).astype(np.int64), np.atleast_1d(j).astype(np.int64)
        R = np.atleast_2d(R).astype(np.int64)
        bound = np.abs(self.R.astype(np.int64)).max(initial=0)
        inside = (np.abs(R) <= bound).all(axis=1)
        for atoms in (i, j):
            inside &= (atoms >= 0) & (atoms < self.n_atoms)
        index = np.full(len(i), -1, dtype=np.int64)
        wanted = _keys(self.n_atoms, i[inside], j[inside], R[inside], like=self.R)
        index[inside] = _lookup(self.keys(), wanted)
        return index

    def rows(self, i0: int, i1: int) -> slice:
        """Return the range of the pairs of the atoms ``i0 <= i < i1``.

        Parameters
        ----------
        i0, i1 : int
            Bounds of the run of atoms.

        Returns
        -------
        slice
            Their places in `j` and `R`.
        """
        return slice(int(self.indptr[i0]), int(self.indptr[i1]))

    def upper(self) -> npt.NDArray[np.bool_]:
        """Return the mask of the pairs of "upper" storage: i < j, or i = j and R ≥ 0.

        Returns
        -------
        (n,) array of bool
            True for one of each pair of partners; R is compared lexicographically.
        """
        i = self.i
        first, second, third = self.R.T
        positive = (first > 0) | ((first == 0) & ((second > 0) | ((second == 0) & (third >= 0))))
        return (i < self.j) | ((i == self.j) & positive)

    def select(self, mask: npt.NDArray[np.bool_]) -> Pairs:
        """Return the pairs of a mask, still sorted.

        Parameters
        ----------
        mask : (n,) array of bool
            True for the pairs to keep.

        Returns
        -------
        Pairs
            Pairs of the same number of atoms.
        """
        kept = np.concatenate([[0], np.cumsum(mask)])
        return Pairs(kept[self.indptr], self.j[mask], self.R[mask])

    def onsite(self) -> npt.NDArray[np.int64]:
        """Return the index of the on-site pair (i, i, 0) of every atom; −1 where it is absent."""
        atoms = np.arange(self.n_atoms)
        return self.find(atoms, atoms, np.zeros((self.n_atoms, 3), dtype=np.int64))

    def with_partners(self) -> Pairs:
        """Return the pairs together with every absent partner.

        Returns
        -------
        Pairs
            Closed under (i, j, R) → (j, i, −R).
        """
        alone = self.partner() < 0
        i = np.concatenate([self.i, self.j[alone]])
        j = np.concatenate([self.j, self.i[alone]])
        R = np.concatenate([self.R, -self.R[alone]])
        return Pairs.sort(self.n_atoms, i, j, R)[0]

    def block_elements(self, sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the number of elements of the block of every pair.

        Parameters
        ----------
        sizes : (N,) array of int
            Rows and columns of every atom, spin included.

        Returns
        -------
        (n,) array of int64
            ``sizes[i] * sizes[j]``.
        """
        return sizes[self.i] * sizes[self.j]


def pair_name(i: int, j: int, R: Sequence[int] | npt.NDArray[np.integer]) -> str:
    """Return the name of a pair for messages.

    Parameters
    ----------
    i, j : int
        The two atoms, from 0.
    R : sequence of three int
        Cell of the second atom.

    Returns
    -------
    str
        Such as ``pair (3, 5, R = 0 -1 0)``.
    """
    return f"pair ({int(i)}, {int(j)}, R = {int(R[0])} {int(R[1])} {int(R[2])})"


def _keys(
    n_atoms: int,
    i: npt.ArrayLike,
    j: npt.ArrayLike,
    R: npt.NDArray[np.integer],
    like: npt.ArrayLike | None = None,
) -> npt.NDArray[np.int64]:
    """Pack (i, j, R) into one int64 that sorts the same way."""
    bound = int(np.abs(np.asarray(R if like is None else like, dtype=np.int64)).max(initial=0))
    span = 2 * bound + 1
    if n_atoms**2 * span**3 >= 2**63:
        raise MoireioError(f"pairs: R reaches {bound}, too far for {n_atoms} atoms")
    keys = np.asarray(i, dtype=np.int64) * n_atoms + np.asarray(j, dtype=np.int64)
    for axis in range(3):
        keys = keys * span + (R[:, axis].astype(np.int64) + bound)
    return keys


def _lookup(keys: npt.NDArray[np.int64], wanted: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if len(keys) == 0:
        return np.full(len(wanted), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[place] == wanted, place, -1)
