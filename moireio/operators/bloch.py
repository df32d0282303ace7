"""From blocks O(R) to matrices O(k): the Bloch sum, dense or sparse.

The pattern is worked out once; every k point then costs one pass over the blocks. Of a
Hermitian operator only the blocks with i ≤ j are summed, so that O(k) is Hermitian to the
last bit.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.operators.blocks import (
    OperatorSource,
    block_offsets,
    by_shape,
    components,
    row_bytes,
    slab_bounds,
    take_blocks,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

CHUNK = 2**20  # elements of blocks that are summed at once


class BlochSum:
    """O(k) = Σ_R e^{+2πi k·R} O(R) from blocks in memory.

    Parameters
    ----------
    sizes : (N,) array of int
        Rows that an atom takes in a block.
    i, j : (p,) arrays of int
        Atoms of the blocks, sorted by (i, j).
    R : (p, 3) array of int
        Their cells.
    blocks : (n,) array
        Blocks one after another, each row-major.
    parity : {1, -1, 0}
        With ±1 only blocks with i ≤ j are given, and the others follow; with 0 all are given.
    half_diagonal : bool
        Blocks with i = j are given for R ≥ 0 only ("upper" storage).
    spinor : bool
        Repeat the blocks for both spins.

    Raises
    ------
    MoireioError
        If blocks with i > j are given where they follow from others.
    """

    def __init__(
        self,
        sizes: npt.ArrayLike,
        i: npt.NDArray[np.integer],
        j: npt.NDArray[np.integer],
        R: npt.NDArray[np.integer],
        blocks: npt.NDArray[Any],
        *,
        parity: int = 1,
        half_diagonal: bool = False,
        spinor: bool = False,
    ) -> None:
        if parity and (np.asarray(i) > np.asarray(j)).any():
            raise MoireioError(
                "blocks with i > j are given, which follow from those with i ≤ j",
                remedy="leave them out, or give all blocks, with parity 0",
            )
        if half_diagonal and not parity:
            raise MoireioError(
                "with parity 0 all blocks are needed, a half of the diagonal is not all"
            )
        self.sizes = np.asarray(sizes, dtype=np.int64)
        self.parity = parity
        self.copies = 2 if spinor else 1
        self.atom_start = block_offsets(self.sizes * self.copies)
        self.n_orbitals = int(self.atom_start[-1])
        self.dtype = blocks.dtype
        offsets = block_offsets(self.sizes[i] * self.sizes[j])
        self._groups: list[_Group] = []
        for shape, members in by_shape(self.sizes[i], self.sizes[j]):
            if 0 in shape:  # of an atom without orbitals
                continue
            for part in _chunks(i[members], j[members], max(1, CHUNK // (shape[0] * shape[1]))):
                chosen = members[part]
                gi, gj = i[chosen], j[chosen]
                new = _firsts(gi, gj)
                values = take_blocks(blocks, offsets[:-1][chosen], shape)
                # A kept block (i, i, R > 0) stands for its partner (i, i, −R) too.
                lone = np.zeros(len(chosen), dtype=bool)
                if half_diagonal:
                    lone = (gi == gj) & R[chosen].any(axis=1)
                cells = R[chosen].astype(np.float64)
                self._groups.append(_Group(shape, cells, values, new, gi[new], gj[new], lone))
        self._pattern: tuple[Any, ...] | None = None
        self._upper: tuple[npt.NDArray[np.integer], int] | None = None

    @classmethod
    def from_source(
        cls, source: OperatorSource, *, component: int = 0, spinor: bool = False
    ) -> "BlochSum":
        """Read what is needed of an operator.

        Parameters
        ----------
        source : OperatorSource
            Any operator, "full" or "upper".
        component : int
            Which of several components.
        spinor : bool
            Repeat a spinless operator for both spins.

        Returns
        -------
        BlochSum
            With its blocks in memory: of a Hermitian operator only those with i ≤ j.
        """
        pairs, sizes, parity = source.pairs, source.sizes, source.meta.parity
        i = pairs.i
        kept = (i <= pairs.j) if parity else np.ones(len(pairs), dtype=bool)
        elements = pairs.block_elements(sizes)
        blocks = np.empty(int(elements[kept].sum()), dtype=source.meta.dtype)
        filled = 0
        for i0, i1 in slab_bounds(row_bytes(source)):
            span = pairs.rows(i0, i1)
            part = components(source.rows(i0, i1))[component]
            if not kept[span].all():
                part = part[np.repeat(kept[span], elements[span])]
            blocks[filled : filled + len(part)] = part
            filled += len(part)
        return cls(
            sizes,
            i[kept],
            pairs.j[kept],
            pairs.R[kept],
            blocks,
            parity=parity,
            half_diagonal=source.meta.storage == "upper",
            spinor=spinor,
        )

    def one_spin(self) -> tuple["BlochSum", npt.NDArray[np.int64]]:
        """Return the sum of one spin, where blocks are repeated for both.

        Returns
        -------
        one : BlochSum
            Sum of the same blocks, without the repetition.
        rows : (copies, n/copies) array of int
            Rows of each spin in the whole matrix.
        """
        one = copy.copy(self)
        one.copies, one.n_orbitals = 1, self.n_orbitals // self.copies
        one.atom_start = self.atom_start // self.copies
        one._pattern = one._upper = None
        within = np.arange(one.n_orbitals) - np.repeat(one.atom_start[:-1], self.sizes)
        first = np.repeat(self.atom_start[:-1], self.sizes) + within
        spins = np.arange(self.copies)[:, None]
        return one, first + spins * np.repeat(self.sizes, self.sizes)

    @property
    def nbytes(self) -> int:
        """Bytes of the blocks, and of the patterns that were worked out."""
        arrays = [group.values for group in self._groups]
        for pattern in (self._pattern, self._upper):
            arrays += [a for a in pattern or () if isinstance(a, np.ndarray)]
        return sum(a.nbytes for a in arrays)

    def is_real(self, k: npt.ArrayLike) -> bool:
        """Return whether O(k) is real: real blocks, and 2k a reciprocal lattice vector.

        Parameters
        ----------
        k : sequence of three float
            Fractional coordinates.

        Returns
        -------
        bool
            True where `dense` and `csr` return real matrices.
        """
        twice = 2 * np.asarray(k, dtype=float)
        return self.dtype.kind == "f" and bool((np.abs(twice - np.rint(twice)) < 1e-14).all())

    def _sums(self, k: npt.ArrayLike) -> Iterator[tuple["_Group", npt.NDArray[Any]]]:
        """Yield each group with its summed blocks, shape (unique pairs, rows, columns)."""
        k = np.asarray(k, dtype=float)
        real = self.is_real(k)
        for group in self._groups:
            angle = 2 * np.pi * (group.R @ k)
            phase = np.rint(np.cos(angle)) if real else np.exp(1j * angle)
            values = phase[:, None, None] * group.values
            if group.lone.any():
                partners = values[group.lone]
                values[group.lone] += self.parity * _turned(partners)
            sums = np.add.reduceat(values, group.first, axis=0)
            same = group.i == group.j
            if self.parity and same.any():  # R and −R were added in an order of no symmetry
                sums[same] = 0.5 * (sums[same] + self.parity * _turned(sums[same]))
            yield group, sums

    def all_blocks(
        self,
    ) -> Iterator[
        tuple[
            npt.NDArray[np.integer],
            npt.NDArray[np.integer],
            npt.NDArray[np.integer],
            npt.NDArray[Any],
        ]
    ]:
        """Yield blocks of both triangles; those that belong to one place are to be added.

        Yields
        ------
        row, column : (p,) arrays of int
            Where each block begins in the matrix. No place comes twice in what is yielded at once.
        R : (p, 3) array of int
            Cells.
        blocks : (p, rows, columns) array
            Elements.
        """
        for group in self._groups:
            counts = np.diff(np.append(group.first, len(group.values)))
            same = np.repeat(group.i == group.j, counts)
            R = np.rint(group.R).astype(np.int64)
            values = group.values
            halved = same & ~group.lone if self.parity else np.zeros(len(values), dtype=bool)
            if halved.any():
                values = np.where(halved[:, None, None], 0.5 * values, values)
            for spin in range(self.copies):
                row, column = (np.repeat(a, counts) for a in self._corners(group, spin))
                yield row, column, R, values
                if self.parity and len(values):
                    yield column, row, -R, self.parity * _turned(values)

    def dense(self, k: npt.ArrayLike, *, upper: bool = False) -> npt.NDArray[Any]:
        """Return O(k) as an array.

        Parameters
        ----------
        k : sequence of three float
            Fractional coordinates.
        upper : bool
            Fill only the blocks with i ≤ j, all that LAPACK's upper triangle needs.

        Returns
        -------
        (n, n) array
            Real where `is_real`, else complex; in double precision.
        """
        real = self.is_real(k)
        out = np.zeros(
            (self.n_orbitals, self.n_orbitals), dtype=np.float64 if real else np.complex128
        )
        for group, sums in self._sums(k):
            for spin in range(self.copies):
                row, column = self._corners(group, spin)
                rows = row[:, None, None] + np.arange(group.shape[0])[:, None]
                columns = column[:, None, None] + np.arange(group.shape[1])
                out[rows, columns] = sums
                off = group.i != group.j
                if self.parity and not upper and off.any():
                    turned = self.parity * _turned(sums[off])
                    out[
                        column[off][:, None, None] + np.arange(group.shape[1])[:, None],
                        row[off][:, None, None] + np.arange(group.shape[0]),
                    ] = turned
        return out

    def _corners(
        self, group: "_Group", spin: int
    ) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
        row = self.atom_start[group.i] + spin * group.shape[0]
        column = self.atom_start[group.j] + spin * group.shape[1]
        return row, column

    def csr(self, k: npt.ArrayLike) -> "csr_array":
        """Return O(k) as a sparse matrix.

        Parameters
        ----------
        k : sequence of three float
            Fractional coordinates.

        Returns
        -------
        (n, n) scipy.sparse.csr_array
            With every element of the stored blocks, zeros included; columns sorted.
        """
        from scipy.sparse import csr_array

        if self._pattern is None:
            self._pattern = self._make_pattern()
        indptr, indices, order = self._pattern
        values = []
        for group, sums in self._sums(k):
            for _ in range(self.copies):
                values.append(sums.ravel())
                off = group.i != group.j
                if self.parity and off.any():
                    values.append((self.parity * _turned(sums[off])).ravel())
        flat = np.concatenate(values)[order] if values else np.zeros(0)
        return csr_array((flat, indices, indptr), shape=(self.n_orbitals, self.n_orbitals))

    def upper_pattern(self) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
        """Return the pattern of the upper triangle of a Hermitian O(k), the same for every k.

        Returns
        -------
        indptr, indices : arrays of int
            Arrays of CSR, columns ascending.
        """
        rows, columns = self._upper_places()
        kept = np.flatnonzero(rows <= columns)
        order = kept[
            np.argsort(rows[kept] * np.int64(self.n_orbitals) + columns[kept], kind="stable")
        ]
        # where each element goes; those below the diagonal beyond the end
        targets = np.full(len(rows), len(order), dtype=_index_type(len(order) + 1))
        targets[order] = np.arange(len(order))
        self._upper = targets, len(order)
        indptr = block_offsets(np.bincount(rows[order], minlength=self.n_orbitals))
        return indptr, columns[order]

    def _upper_places(self) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
        """Return row and column of every element that is summed, in the order of `_spread`."""
        places = [
            _places(*self._corners(group, spin), group.shape, _index_type(self.n_orbitals))
            for group in self._groups
            for spin in range(self.copies)
        ]
        if not places:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        rows, columns = zip(*places, strict=True)
        return np.concatenate(rows), np.concatenate(columns)

    def upper_values(self, k: npt.ArrayLike) -> npt.NDArray[Any]:
        """Return the elements of the upper triangle at one k, in the order of `upper_pattern`.

        Parameters
        ----------
        k : sequence of three float
            Fractional coordinates.

        Returns
        -------
        (nnz,) array
            Zeros included.
        """
        return self._spread(
            (sums for _, sums in self._sums(k)), float if self.is_real(k) else complex
        )

    def _spread(self, sums: Iterable[npt.NDArray[Any]], dtype: type) -> npt.NDArray[Any]:
        """Return the elements of the upper triangle from the blocks of each group."""
        if self._upper is None:
            self.upper_pattern()
        assert self._upper is not None
        targets, count = self._upper
        out: npt.NDArray[Any] = np.zeros(count + 1, dtype=dtype)
        done = 0
        for blocks in sums:
            for _ in range(self.copies):
                out[targets[done : done + blocks.size]] = blocks.ravel()
                done += blocks.size
        return out[:count]

    def upper_magnitudes(self) -> npt.NDArray[np.floating]:
        """Return how large every element of the upper triangle is at most in one cell.

        Returns
        -------
        (nnz,) array
            max over R of |O(R)|, in the order of `upper_pattern`.
        """
        return self._spread((group.magnitudes() for group in self._groups), float)

    def _make_pattern(self) -> tuple[Any, ...]:
        """Return CSR's indptr and indices, and where each of its values stands in the sums."""
        rows: list[npt.NDArray[np.integer]] = []
        columns: list[npt.NDArray[np.integer]] = []

        def add(
            row: npt.NDArray[np.integer], column: npt.NDArray[np.integer], shape: tuple[int, ...]
        ) -> None:
            r, c = _places(row, column, shape, _index_type(self.n_orbitals))
            rows.append(r)
            columns.append(c)

        for group in self._groups:
            off = group.i != group.j
            for spin in range(self.copies):
                row, column = self._corners(group, spin)
                add(row, column, group.shape)
                if self.parity and off.any():
                    add(column[off], row[off], group.shape[::-1])
        if not rows:
            return (
                np.zeros(self.n_orbitals + 1, dtype=np.int64),
                np.zeros(0, dtype=np.int64),
                slice(None),
            )
        row, column = np.concatenate(rows), np.concatenate(columns)
        order = np.argsort(row * np.int64(self.n_orbitals) + column, kind="stable")
        indptr = block_offsets(np.bincount(row, minlength=self.n_orbitals))
        index = _index_type(len(order))
        return indptr.astype(index), column[order].astype(index), order.astype(index)


def _chunks(i: npt.NDArray[np.integer], j: npt.NDArray[np.integer], most: int) -> Iterator[slice]:
    """Yield slices of about `most` blocks each, between which i or j changes."""
    new = np.append(_firsts(i, j), len(i))
    begin = 0
    while begin < len(i):
        end = int(new[max(int(np.searchsorted(new, begin + most, "right")) - 1, 0)])
        if end <= begin:
            end = int(new[np.searchsorted(new, begin, "right")])
        yield slice(begin, end)
        begin = end


def _firsts(i: npt.NDArray[np.integer], j: npt.NDArray[np.integer]) -> npt.NDArray[np.intp]:
    """Return where a new pair (i, j) begins."""
    return np.flatnonzero(np.concatenate([[True], (np.diff(i) != 0) | (np.diff(j) != 0)]))


def _index_type(count: int) -> type[np.integer]:
    """Return the type for whole numbers up to a count: half as long where that suffices."""
    return np.int32 if count < 2**31 else np.int64


def _places(
    row: npt.NDArray[np.integer],
    column: npt.NDArray[np.integer],
    shape: tuple[int, ...],
    dtype: type[np.integer],
) -> tuple[npt.NDArray[np.integer], npt.NDArray[np.integer]]:
    """Return row and column of every element of some blocks of one shape, block after block."""
    full = (len(row), *shape)
    r = (row[:, None, None] + np.arange(shape[0])[:, None]).astype(dtype)
    c = (column[:, None, None] + np.arange(shape[1])).astype(dtype)
    return np.broadcast_to(r, full).ravel(), np.broadcast_to(c, full).ravel()


def _turned(blocks: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.swapaxes(blocks, 1, 2).conj()


class _Group:
    """Blocks of one shape."""

    def __init__(
        self,
        shape: tuple[int, int],
        R: npt.NDArray[np.float64],
        values: npt.NDArray[Any],
        first: npt.NDArray[np.intp],
        i: npt.NDArray[np.integer],
        j: npt.NDArray[np.integer],
        lone: npt.NDArray[np.bool_],
    ) -> None:
        self.shape, self.R, self.values = shape, R, values
        self.first, self.i, self.j, self.lone = first, i, j, lone

    def magnitudes(self) -> npt.NDArray[Any]:
        """Return how large every element is at most in one cell, in the upper triangle."""
        most = np.maximum.reduceat(np.abs(self.values), self.first, axis=0)
        same = self.i == self.j
        if same.any():  # else blocks need not be square
            most[same] = np.maximum(most[same], np.swapaxes(most[same], 1, 2))
        return most
