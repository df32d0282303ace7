"""Operators averaged over the operations of a crystal, in real space.

An operation g takes the block of the pair (i, j, R) to the pair (gi, gj, gR + T_j − T_i), as
d_i O d_j†. The mean over a group obeys its symmetry exactly. The blocks are made by runs of atoms,
so that memory is bounded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.operators.blocks import (
    OperatorSource,
    adjoint,
    block_offsets,
    by_shape,
    components,
    read_pairs,
    row_bytes,
    scatter,
    slab_bounds,
    take_blocks,
)
from moireio.operators.views import ArraySource
from moireio.symmetry.action import atomic_matrices
from moireio.symmetry.operations import Operation, cyclic
from moireio.system.basis import Basis
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure


@dataclass
class Removed:
    """The part of an operator that an average removes.

    Parameters
    ----------
    largest : float
        Largest element, in the operator's unit.
    squares : float
        Sum of the squares of all elements.
    elements : int
        Their number.
    """

    largest: float = 0.0
    squares: float = 0.0
    elements: int = 0

    @property
    def rms(self) -> float:
        """Root of the mean square, in the operator's unit."""
        return float(np.sqrt(self.squares / max(self.elements, 1)))

    def add(self, difference: npt.NDArray[Any]) -> None:
        """Count some elements.

        Parameters
        ----------
        difference : array
            What was removed from them.
        """
        size = np.abs(difference)
        self.largest = max(self.largest, float(size.max(initial=0)))
        self.squares += float((size**2).sum())
        self.elements += size.size


class AveragedOperator:
    """An operator averaged over a group.

    Parameters
    ----------
    source : OperatorSource
        H or S, in any storage; it is read in runs of atoms.
    group : sequence of Operation
        A group up to lattice translations, the identity first; for collinear spin without time
        reversal.
    structure : Structure
        The crystal.
    basis : Basis
        Its orbitals.
    watched : mapping of str to Operation, optional
        Operations whose own parts are recorded.
    vector : bool
        Whether the three components turn as those of a polar vector.

    Attributes
    ----------
    removed : Removed
        What the whole group removed from the rows that were made so far.
    removed_by : dict of str to Removed
        The same for each operation that is watched, averaged over its powers alone.

    Raises
    ------
    MoireioError
        If an incomplete shell does not allow an operation.
    """

    def __init__(
        self,
        source: OperatorSource,
        group: Sequence[Operation],
        structure: Structure,
        basis: Basis,
        watched: Mapping[str, Operation] | None = None,
        vector: bool = False,
    ) -> None:
        self._source, self._vector = source, vector
        spinor = source.meta.spin == "spinor"
        self.meta, self.sizes = source.meta, source.sizes
        self._species = structure.species
        names = structure.species_names
        self._group = list(group)
        self._matrices = [atomic_matrices(o, basis, names, spinor) for o in self._group]
        places = {o.key: n for n, o in enumerate(self._group)}
        self._watched = {
            name: [places[o.key] for o in cyclic(operation)]
            for name, operation in (watched or {}).items()
        }
        self.removed = Removed()
        self.removed_by = {name: Removed() for name in self._watched}
        half = source.meta.storage == "upper"
        pairs = _closed(source.pairs.with_partners() if half else source.pairs, self._group)
        self.pairs = pairs.select(pairs.upper()) if half else pairs
        self._sources = _sources(self.pairs, source.pairs, self._group, half)

    def rows(self, i0: int, i1: int) -> npt.NDArray[Any]:
        """Return the averaged blocks of the atoms ``i0 <= i < i1``."""
        span = self.pairs.rows(i0, i1)
        i = np.repeat(np.arange(i0, i1), np.diff(self.pairs.indptr[i0 : i1 + 1]))
        j = self.pairs.j[span]
        offsets = block_offsets(self.sizes[i] * self.sizes[j])
        count = self.meta.components
        kind = np.result_type(self.meta.dtype, np.float64)
        if any(np.iscomplexobj(m) for m in self._matrices[0]):
            kind = np.result_type(kind, np.complex128)
        terms = [self._term(n, span, i, j, offsets, kind) for n in range(len(self._group))]
        mean = sum(terms[1:], terms[0].copy()) / len(terms)
        self.removed.add(terms[0] - mean)
        for name, members in self._watched.items():
            part = sum((terms[n] for n in members[1:]), terms[members[0]].copy()) / len(members)
            self.removed_by[name].add(terms[0] - part)
        return (mean if count > 1 else mean[0]).astype(self.meta.dtype)

    def _term(
        self,
        number: int,
        span: slice,
        i: npt.NDArray[np.integer],
        j: npt.NDArray[np.integer],
        offsets: npt.NDArray[np.int64],
        kind: npt.DTypeLike,
    ) -> npt.NDArray[Any]:
        """Return the blocks of some pairs, made by one operation; shape (components, n)."""
        out = np.zeros((self.meta.components, int(offsets[-1])), dtype=kind)
        places, partners = self._sources[number]
        origin = places[span]
        turned = np.zeros(len(origin), dtype=bool) if partners is None else partners[span]
        there = np.flatnonzero(origin >= 0)
        unique, back = np.unique(origin[there], return_inverse=True)
        data, starts = read_pairs(self._source, unique)
        matrices = self._matrices[number]
        conjugate = self._group[number].time_reversal
        species = 2 * self._species[i[there]] + turned[there], self._species[j[there]]
        for (a, b), part in by_shape(*species):
            a, is_turned = divmod(a, 2)
            shape = len(matrices[a]), len(matrices[b])
            for target, flat in zip(out, components(data), strict=True):
                at = starts[back[part]]
                if is_turned:
                    blocks = adjoint(take_blocks(flat, at, shape[::-1]), self.meta.parity)
                else:
                    blocks = take_blocks(flat, at, shape)
                if number:  # not the identity
                    blocks = blocks.conj() if conjugate else blocks
                    right = blocks.reshape(-1, shape[1]) @ matrices[b].conj().T
                    blocks = np.matmul(matrices[a], right.reshape(len(part), *shape))
                scatter(target, offsets[there[part]], blocks.reshape(len(part), -1))
        return self._group[number].rotation @ out if self._vector else out


def _moved(
    pairs: tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], npt.NDArray[np.integer]],
    operation: Operation,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the pairs (i, j, R) to which an operation takes others."""
    i, j, R = pairs
    cells = R.astype(np.int64) @ operation.lattice.T + operation.cells[j] - operation.cells[i]
    return operation.atoms[i], operation.atoms[j], cells


def _closed(pairs: Pairs, group: Sequence[Operation]) -> Pairs:
    """Return pairs together with those to which a group takes them."""
    lists = [
        _moved((pairs.i, pairs.j, pairs.R), operation)
        for operation in group
        if not operation.time_reversal
    ]
    complete = all((pairs.find(*moved) >= 0).all() for moved in lists)
    if complete:
        return pairs
    i, j, R = (np.concatenate(parts) for parts in zip(*lists, strict=True))
    _, first = np.unique(np.column_stack([i, j, R]), axis=0, return_index=True)
    return Pairs.sort(pairs.n_atoms, i[first], j[first], R[first])[0]


def _sources(
    pairs: Pairs, source: Pairs, group: Sequence[Operation], half: bool
) -> list[tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_] | None]]:
    """Return for every operation the pair that it takes to each pair; −1 where there is none.

    Where one of each pair of partners is stored, also whether it is the partner of that pair.
    """
    known: dict[bytes, tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_] | None]] = {}
    out = []
    for operation in group:
        key = operation.key[:-1]
        if key not in known:
            i, j, R = _moved((pairs.i, pairs.j, pairs.R), _inverse(operation))
            places, partners = source.find(i, j, R), None
            if half:
                partners = places < 0
                places[partners] = source.find(j[partners], i[partners], -R[partners])
            known[key] = places.astype(np.int32), partners
        out.append(known[key])
    return out


def _inverse(operation: Operation) -> Operation:
    """Return the inverse of an operation."""
    lattice = np.rint(np.linalg.inv(operation.lattice)).astype(np.int64)
    atoms = np.empty_like(operation.atoms)
    cells = np.empty_like(operation.cells)
    atoms[operation.atoms] = np.arange(len(atoms))
    cells[operation.atoms] = -operation.cells @ lattice.T
    rotation = operation.rotation.T
    return Operation(
        rotation,
        lattice,
        -rotation @ operation.translation,
        atoms,
        cells,
        operation.error,
        operation.time_reversal,
    )


def in_memory(source: OperatorSource, slab_bytes: int | None = None) -> ArraySource:
    """Return an operator with all its blocks in memory.

    Parameters
    ----------
    source : OperatorSource
        Any.
    slab_bytes : int, optional
        Bytes of the blocks that are read or made at a time.

    Returns
    -------
    ArraySource
        The same operator.
    """
    nbytes = row_bytes(source)
    elements = int(block_offsets(source.pairs.block_elements(source.sizes))[-1])
    lead = () if source.meta.components == 1 else (source.meta.components,)
    data = np.empty((*lead, elements), dtype=source.meta.dtype)
    filled = 0
    bounds = slab_bounds(nbytes) if slab_bytes is None else slab_bounds(nbytes, slab_bytes)
    for i0, i1 in bounds:
        part = source.rows(i0, i1)
        data[..., filled : filled + part.shape[-1]] = part
        filled += part.shape[-1]
    return ArraySource(source.meta, source.sizes, source.pairs, data)
