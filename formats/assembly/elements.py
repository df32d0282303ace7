"""Between the matrices of a whole cell, as other programs have them, and blocks of atoms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError
from moireio.formats.assembly.orders import NATURAL, OrbitalOrder
from moireio.operators.blocks import OperatorSource, block_offsets, components, scatter
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource, stored_as, symmetrised
from moireio.system.basis import Basis
from moireio.system.pairs import Pairs, pair_name
from moireio.system.structure import Structure

Spinor = Literal["blocks", "interleaved", "atoms"]
Partners = Literal["given", "missing", "half"]


@dataclass(frozen=True, eq=False)
class OrbitalMap:
    """Where the rows of a foreign matrix stand among moireio's orbitals.

    Parameters
    ----------
    rows : (n,) array of int64
        Row among moireio's of each row of the foreign matrix.
    signs : (n,) array
        +1 or −1: the foreign orbital is that many times moireio's.
    sizes : (N,) array of int64
        Rows of each atom, spin included.
    """

    rows: npt.NDArray[np.int64]
    signs: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]

    @classmethod
    def make(
        cls,
        structure: Structure,
        basis: Basis,
        order: OrbitalOrder = NATURAL,
        *,
        spinor: Spinor | None = None,
    ) -> Self:
        """Map a matrix whose atoms are those of the structure, in its order.

        Parameters
        ----------
        structure : Structure
            The atoms.
        basis : Basis
            Their orbitals.
        order : OrbitalOrder
            The program's orbitals inside a shell.
        spinor : {"blocks", "interleaved", "atoms"}, optional
            How rows of a spinor matrix are arranged: all up orbitals of the cell, then all down;
            up and down of every orbital; up, then down orbitals of every atom (moireio's way). By
            default the matrix is spinless.

        Returns
        -------
        OrbitalMap
            For `source_from_matrices` and `matrices_from_source`.

        Raises
        ------
        MoireioError
            For shells whose order is not known, or incomplete shells where the program's order is
            not moireio's.
        """
        local: dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]] = {}
        for name in structure.species_names:
            species = basis[name]
            if species.m is None:
                permutation, signs = order.to_ours(species.l)
            elif order is NATURAL or not any(species.l):
                permutation, signs = np.arange(species.size), np.ones(species.size)
            else:
                raise MoireioError(
                    f"the species {name} has incomplete shells, which {order.program} has not"
                )
            places = np.empty(len(permutation), dtype=np.int64)
            places[permutation] = np.arange(len(permutation))
            local[name] = places, signs[places]
        species_of_atoms = structure.species_of_atoms
        sizes = basis.sizes(structure)
        places = np.concatenate([local[name][0] for name in species_of_atoms] or [[]])
        signs = np.concatenate([local[name][1] for name in species_of_atoms] or [[]])
        starts = block_offsets(sizes)[:-1]
        if spinor is None:
            rows = np.repeat(starts, sizes) + places.astype(np.int64)
            return cls(rows, signs, sizes)
        up = np.repeat(2 * starts, sizes) + places.astype(np.int64)
        down = up + np.repeat(sizes, sizes)
        if spinor == "blocks":
            return cls(np.concatenate([up, down]), np.tile(signs, 2), 2 * sizes)
        if spinor == "interleaved":
            return cls(np.stack([up, down], axis=1).ravel(), np.repeat(signs, 2), 2 * sizes)
        ends = block_offsets(sizes).tolist()
        spans = [slice(a, b) for a, b in pairwise(ends)]
        rows = np.concatenate([part[span] for span in spans for part in (up, down)])
        return cls(rows, np.concatenate([signs[s] for s in spans for _ in "ud"]), 2 * sizes)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.rows)


def source_from_matrices(
    name: str,
    cells: npt.ArrayLike,
    matrices: Sequence[Any],
    orbitals: OrbitalMap,
    *,
    label: str,
    spin: str = "none",
    scale: float = 1.0,
    source: str = "dft",
    partners: Partners = "given",
    limit: float = np.inf,
) -> ArraySource:
    """Make the blocks of an operator from one matrix of the whole cell for each R.

    Parameters
    ----------
    name : str
        The operator, such as "hamiltonian".
    cells : (n, 3) array of int
        The lattice vectors R.
    matrices : sequence of n matrices, or of two such sequences
        ⟨a,0|O|b,R⟩, SciPy sparse or dense (rows, rows); up and down where `spin` is "collinear".
        Each can be made when it is asked for (any object with ``__getitem__`` and ``__len__``).
    orbitals : OrbitalMap
        Where their rows stand.
    label : str
        The file, for messages.
    spin : {"none", "collinear", "spinor"}
        What the rows are.
    scale : float
        moireio's unit over the file's.
    source : str
        "dft", "model", "tight-binding" …
    partners : {"given", "missing", "half"}
        Whether both partners of every pair are there; or one of some or all pairs, so that the
        other is its adjoint; or matrices whose sum with their adjoints is the operator.
    limit : float
        Where partners are given, a larger deviation from Hermitian is damage; in the unit of the
        operator.

    Returns
    -------
    ArraySource
        Stored "full", exactly Hermitian, on-site blocks always present.

    Raises
    ------
    MoireioError
        If a matrix has other rows than the atoms have orbitals, or a cell occurs twice.
    DamagedError
        If partners are missing, or deviate by more than `limit`.
    """
    channels = list(matrices) if spin == "collinear" else [matrices]
    cells = np.asarray(cells, dtype=np.int64).reshape(-1, 3)
    _require_distinct(cells, label)
    for listed in channels:
        if len(listed) != len(cells):
            raise MoireioError(f"has {len(cells)} cells, but {len(listed)} matrices", path=label)
    places = _Places(cells, orbitals)
    parts = [
        [_elements(listed[cell], orbitals, scale, label) for cell in range(len(cells))]
        for listed in channels
    ]
    pairs = places.pairs(parts, both=partners != "given")
    offsets = block_offsets(pairs.block_elements(orbitals.sizes))
    dtype = np.result_type(np.float32, *(part[-1].dtype for listed in parts for part in listed))
    data = np.zeros((len(channels), int(offsets[-1])), dtype=dtype)
    for flat, listed in zip(data, parts, strict=True):
        for cell, (row, column, value) in zip(cells, listed, strict=True):
            place = places.of(cell, row, column, offsets)
            if partners == "half":
                np.add.at(flat, place, value)
                np.add.at(flat, places.of(-cell, column, row, offsets), value.conj())
                continue
            flat[place] = value
        if partners == "missing":
            _set_partners(flat, cells, listed, places, offsets)
    del parts, listed  # as large as the operator
    kind = operator_type(name)
    if not np.isfinite(data).all():
        raise _not_finite(data, offsets, pairs, name, label)
    meta = kind.meta(spin="none" if spin == "collinear" else spin, dtype=str(dtype), source=source)
    one_each = [
        symmetrised(_closed(ArraySource(meta, orbitals.sizes, pairs, flat)), label, limit)
        for flat in data
    ]
    if spin != "collinear":
        return one_each[0]
    residual = max(one.meta.residual for one in one_each)
    meta = kind.meta(spin="collinear", dtype=str(dtype), source=source).with_(residual=residual)
    both = np.stack([one.data for one in one_each])
    return ArraySource(meta, orbitals.sizes, one_each[0].pairs, both)


def matrices_from_source(
    source: OperatorSource, orbitals: OrbitalMap
) -> tuple[npt.NDArray[np.int64], list[list[Any]]]:
    """Return an operator as one sparse matrix of the whole cell for each R.

    Parameters
    ----------
    source : OperatorSource
        Any operator.
    orbitals : OrbitalMap
        Where the rows of the matrices stand.

    Returns
    -------
    cells : (n, 3) array of int64
        The lattice vectors R in ascending order; −R is there for every R.
    matrices : list of lists of csr_array
        For each component ("none" and "spinor": one; "collinear": up, down) one matrix
        (rows, rows) for each R, with all elements of the stored blocks.
    """
    from scipy.sparse import csr_array

    source = stored_as(source, "full")
    pairs, sizes = source.pairs, np.asarray(source.sizes)
    starts = block_offsets(sizes)
    theirs = np.empty(len(orbitals), dtype=np.int64)
    theirs[orbitals.rows] = np.arange(len(orbitals))
    signs = orbitals.signs[theirs]
    lengths = pairs.block_elements(sizes)
    i, j = pairs.i.astype(np.int64), pairs.j.astype(np.int64)
    pair = np.repeat(np.arange(len(pairs)), lengths)
    within = np.arange(len(pair)) - block_offsets(lengths)[:-1][pair]
    row = starts[i[pair]] + within // sizes[j[pair]]
    column = starts[j[pair]] + within % sizes[j[pair]]
    cells, of_pair = np.unique(pairs.R.astype(np.int64), axis=0, return_inverse=True)
    of_element = of_pair.ravel()[pair]
    order = np.argsort(of_element, kind="stable")
    bounds = np.searchsorted(of_element[order], np.arange(len(cells) + 1))
    factor = signs[row] * signs[column]
    shape = (len(orbitals), len(orbitals))
    matrices = []
    for flat in components(source.rows(0, pairs.n_atoms)):
        values = flat * factor
        parts = [order[a:b] for a, b in pairwise(bounds)]
        matrices.append(
            [csr_array((values[p], (theirs[row[p]], theirs[column[p]])), shape) for p in parts]
        )
    return cells, matrices


def has_imaginary_parts(source: OperatorSource) -> bool:
    """Return whether any element of an operator has an imaginary part.

    Parameters
    ----------
    source : OperatorSource
        Any operator.

    Returns
    -------
    bool
        False also where its numbers are of a complex type, but real.
    """
    if np.dtype(source.meta.dtype).kind != "c":
        return False
    return bool(source.rows(0, source.pairs.n_atoms).imag.any())


def _require_distinct(cells: npt.NDArray[np.int64], label: str) -> None:
    listed, counts = np.unique(cells, axis=0, return_counts=True)
    if (counts > 1).any():
        raise MoireioError(f"lists the cell {listed[counts > 1][0].tolist()} twice", path=label)


class _Places:
    """Where the elements of foreign matrices stand in the blocks of an operator.

    Parameters
    ----------
    cells : (n, 3) array of int64
        The lattice vectors of the matrices.
    orbitals : OrbitalMap
        moireio's rows; elements given here have them already.
    """

    def __init__(self, cells: npt.NDArray[np.int64], orbitals: OrbitalMap) -> None:
        self._given = cells
        self._n_atoms = len(orbitals.sizes)
        self._sizes = orbitals.sizes
        self._starts = block_offsets(orbitals.sizes)
        self._atoms = np.repeat(np.arange(self._n_atoms), orbitals.sizes)
        everything = np.concatenate([cells, -cells, np.zeros((1, 3), dtype=np.int64)])
        self._cells = np.unique(everything, axis=0)
        self._numbers = {tuple(cell): number for number, cell in enumerate(self._cells.tolist())}
        self._keys: npt.NDArray[np.int64] = np.empty(0, dtype=np.int64)

    def pairs(self, parts: Sequence[Sequence[Any]], *, both: bool) -> Pairs:
        """Return the pairs of all elements, with those of their adjoints if `both`."""
        atoms = np.arange(self._n_atoms)
        keys = [self._key(np.zeros(3, dtype=np.int64), atoms, atoms)]
        for listed in parts:
            for cell, (row, column, _) in zip(self._given, listed, strict=True):
                i, j = self._atoms[row], self._atoms[column]
                keys.append(np.unique(self._key(cell, i, j)))
                if both:
                    keys.append(np.unique(self._key(-cell, j, i)))
        self._keys = np.unique(np.concatenate(keys))
        pair, cell = np.divmod(self._keys, len(self._cells))
        i, j = np.divmod(pair, self._n_atoms)
        return Pairs.sort(self._n_atoms, i, j, self._cells[cell])[0]

    def of(
        self,
        cell: npt.NDArray[np.int64],
        row: npt.NDArray[np.int32],
        column: npt.NDArray[np.int32],
        offsets: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """Return the places of the elements of one cell."""
        i, j = self._atoms[row], self._atoms[column]
        place = offsets[np.searchsorted(self._keys, self._key(cell, i, j))]
        place += (row - self._starts[i]) * self._sizes[j]
        return place + (column - self._starts[j])

    def _key(
        self, cell: npt.NDArray[np.int64], i: npt.NDArray[np.int64], j: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.int64]:
        number = self._numbers[tuple(cell.tolist())]
        return (i * self._n_atoms + j) * len(self._cells) + number


def _set_partners(
    flat: npt.NDArray[Any],
    cells: npt.NDArray[np.int64],
    listed: Sequence[Any],
    places: _Places,
    offsets: npt.NDArray[np.int64],
) -> None:
    """Set the adjoint of every element whose partner the file leaves out."""
    given = np.zeros(len(flat), dtype=bool)
    for cell, (row, column, _) in zip(cells, listed, strict=True):
        given[places.of(cell, row, column, offsets)] = True
    for cell, (row, column, value) in zip(cells, listed, strict=True):
        place = places.of(-cell, column, row, offsets)
        absent = ~given[place]
        flat[place[absent]] = value[absent].conj()


def _elements(
    matrix: Any, orbitals: OrbitalMap, scale: float, label: str
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[Any]]:
    """Return moireio's row, column and value of the elements that are stored, or not zero."""
    rows = len(orbitals)
    if matrix.shape != (rows, rows):
        raise MoireioError(
            f"has matrices {matrix.shape[0]} x {matrix.shape[1]}; the atoms have {rows} orbitals",
            path=label,
            remedy="is the basis that of this calculation?",
        )
    if hasattr(matrix, "tocoo"):
        found = _summed(matrix).tocoo()
        row, column, value = found.row, found.col, found.data
    else:
        row, column = np.nonzero(matrix)
        value = np.asarray(matrix)[row, column]
    if value.dtype in (np.longdouble, np.clongdouble):  # files have none
        value = value.astype(np.complex128 if value.dtype.kind == "c" else np.float64)
    signs = orbitals.signs.astype(np.float32)  # exact, and values keep their precision
    value = value * (signs[row] * signs[column])
    if scale != 1.0:
        value = value * value.real.dtype.type(scale)
    ours = orbitals.rows.astype(np.int32)
    return ours[row], ours[column], value


def _summed(matrix: Any) -> Any:
    """Return a sparse matrix with each element once: SciPy's may list parts of one."""
    if matrix.format == "coo":
        return matrix if matrix.has_canonical_format else matrix.tocsr()
    if matrix.format in ("csr", "csc", "bsr") and not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    return matrix


def _closed(source: ArraySource) -> ArraySource:
    """Return a source in which every pair has a partner: what a file leaves out as zero is zero."""
    if (source.pairs.partner() >= 0).all():
        return source
    return with_zeros(source, source.pairs.with_partners())


def with_zeros(source: ArraySource, pairs: Pairs) -> ArraySource:
    """Return a source with further pairs, whose blocks are zero.

    Parameters
    ----------
    source : ArraySource
        Without components.
    pairs : Pairs
        All pairs, those of `source` among them.

    Returns
    -------
    ArraySource
        With these pairs.
    """
    before = source.pairs
    offsets = block_offsets(pairs.block_elements(source.sizes))
    data = np.zeros(int(offsets[-1]), dtype=source.data.dtype)
    where = pairs.find(before.i, before.j, before.R)
    begin = block_offsets(before.block_elements(source.sizes))
    lengths = np.diff(begin)
    for length in np.unique(lengths):
        mine = np.flatnonzero(lengths == length)
        values = source.data[begin[mine][:, None] + np.arange(length)]
        scatter(data, offsets[where[mine]], values)
    return ArraySource(source.meta, source.sizes, pairs, data)


def _not_finite(
    data: npt.NDArray[Any],
    offsets: npt.NDArray[np.int64],
    pairs: Pairs,
    name: str,
    label: str,
) -> DamagedError:
    place = int(np.argwhere(~np.isfinite(data))[0][1])
    pair = int(np.searchsorted(offsets, place, side="right") - 1)
    where = pair_name(pairs.i[pair], pairs.j[pair], pairs.R[pair])
    return DamagedError(f"the {name} of {where} has a number that is not finite", path=label)


def require_partners_of_cells(cells: npt.NDArray[np.int64], label: str | None = None) -> None:
    """Raise if a program's list of cells lacks the opposite of one, or has one twice.

    Parameters
    ----------
    cells : (n, 3) array of int
        All R that it lists, whether they have elements or not.
    label : str, optional
        The file, for messages.

    Raises
    ------
    DamagedError
        With the cell.
    """
    listed, counts = np.unique(cells, axis=0, return_counts=True)
    if (counts > 1).any():
        raise DamagedError(f"lists the cell {listed[counts > 1][0].tolist()} twice", path=label)
    known = set(map(tuple, listed.tolist()))
    alone = next((R for R in listed.tolist() if tuple(-n for n in R) not in known), None)
    if alone is not None:
        raise DamagedError(f"lists the cell {alone}, but not {[-n for n in alone]}", path=label)
