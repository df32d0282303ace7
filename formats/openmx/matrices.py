"""Operators of a ``.scfout``: blocks gathered from its matrices, in moireio's units and order."""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.formats.assembly.orders import OPENMX
from moireio.formats.openmx.header import VERSIONS
from moireio.operators.blocks import block_offsets, gather, scatter
from moireio.operators.catalogue import operator_type
from moireio.system.pairs import pair_name
from moireio.units import BOHR_ANGSTROM, HARTREE_EV

if TYPE_CHECKING:
    from moireio.formats.openmx.scfout import Scfout

# Deviation from the partner rule beyond which a matrix counts as damaged, in its own unit.
LIMITS = {
    "hamiltonian": 1e-4,
    "overlap": 1e-6,
    "position": 1e-2,
    "momentum": 5e-2,
    "density": 1e-3,
}
# The largest deviation in intact files is about a tenth of these.
USUAL_RESIDUAL = {"hamiltonian": 1e-6, "overlap": 1e-8, "density": 1e-6}
SCALES = {"eV": HARTREE_EV, "Å": BOHR_ANGSTROM, "1/Å": 1 / BOHR_ANGSTROM, "1": 1.0}
# Diagonal elements on site are their own partners, and ↑↓ has none: limits of good sense there.
LARGEST = {"hamiltonian": 1e3 * HARTREE_EV, "position": 1e-2, "density": 1e3}
NORM = 0.05  # orbitals are normalised: their own overlap is 1
ALONE = 1e-3  # of the largest violation in a block: an element that alone violates a symmetry
FEW = 2
RESIDENT_BYTES = 64 << 20
FAULT_BYTES = 1 << 16  # the kernel maps so much around a block that is read
BATCH_BYTES = 1 << 19  # what a few temporary arrays of this size need stays in the cache


class ScfoutOperator:
    """One operator of a ``.scfout``, given by runs of atoms.

    Parameters
    ----------
    file : Scfout
        The open file.
    name : str
        Which operator.
    """

    def __init__(self, file: Scfout, name: str):
        self._file, self._header = file, file.header
        self.pairs = file.pairs
        self.meta = operator_type(name).meta(
            spin=file.header.spin,
            source="dft",
            extra={
                "program": "OpenMX",
                "program_version": VERSIONS[file.header.layout],
                "layout": file.header.layout,
            },
        )
        self.sizes = file.header.orbitals * self.meta.spin_factor
        self.residual = 0.0
        self._touched = 0
        self._matrices = file.header.matrices_of(name)
        self._orders = [OPENMX.to_ours(file.basis[s].l)[0] for s in file.structure.species_names]
        self._species = file.structure.species

    def rows(self, i0: int, i1: int) -> npt.NDArray[np.inexact]:
        """Return all blocks of the atoms ``i0 <= i < i1``, made to obey the partner rule."""
        span = self.pairs.rows(i0, i1)
        i = np.repeat(np.arange(i0, i1), np.diff(self.pairs.indptr[i0 : i1 + 1]))
        j = self.pairs.j[span]
        offsets = block_offsets(self.sizes[i] * self.sizes[j])
        meta = self.meta
        lead = () if meta.components == 1 else (meta.components,)
        out = np.empty((*lead, int(offsets[-1])), dtype=meta.dtype)
        species_pairs = self._species[i] * len(self._orders) + self._species[j]
        flats = out.reshape(meta.components, -1)
        for species_pair in np.unique(species_pairs):
            first, second = divmod(int(species_pair), len(self._orders))
            indices = np.flatnonzero(species_pairs == species_pair)
            size = int(self.sizes[i[indices[0]]] * self.sizes[j[indices[0]]])
            step = max(1, BATCH_BYTES // (size * out.itemsize))
            for members in np.split(indices, range(step, len(indices), step)):
                blocks = self._blocks(members + span.start, first, second)
                parts = [blocks] if meta.components == 1 else blocks
                for flat, part in zip(flats, parts, strict=True):
                    scatter(flat, offsets[members], part.reshape(len(members), -1))
                self._release(len(members))
        return out

    def _release(self, pairs):
        """Free mapped pages now and then, so that memory does not grow with the file."""
        self._touched += pairs * len(self._matrices) * FAULT_BYTES
        if self._touched > RESIDENT_BYTES and hasattr(self._file.mapped, "madvise"):
            self._file.mapped.madvise(mmap.MADV_DONTNEED)
            self._touched = 0

    def _blocks(self, members, first, second):
        """Return the finished blocks of pairs of two species, (p, rows, columns) or (c, …)."""
        name = self.meta.name
        pick = Picker(self._file, members, self._orders[first], self._orders[second])
        if name == "position":
            return self._position(pick, members)
        if name == "overlap":
            return pick.reorder(self._overlap(pick, members))
        if self.meta.spin == "spinor":
            return self._spinor(pick, members)
        scale = SCALES[self.meta.unit]
        if name == "density" and self.meta.spin == "none":
            scale = 2.0  # one spin's density is stored
        parts = []
        for matrix in self._matrices:
            blocks, adjoints = pick.stored(matrix), pick.partner(matrix)
            if self.meta.parity < 0:
                np.negative(adjoints, out=adjoints)
            parts.append(pick.reorder(self._mean(blocks, adjoints, scale, members)))
        if name == "hamiltonian" and self.meta.components == 2:
            onsite = self._onsite(members)
            gap = parts[0][onsite] - parts[1][onsite]
            self._check_alone(gap, members[onsite], "the symmetry of up and down")
        return parts[0] if self.meta.components == 1 else parts

    def _overlap(self, pick, members):
        """Return S with the lower triangle of the whole matrix as the file has it.

        OpenMX diagonalises with that triangle. S is often nearly singular, so that even the
        1e-10 between the two triangles moves eigenvalues: the mean of both is off OpenMX's own
        by up to 1.3e-8 Hartree on the test data, the lower triangle by 2e-9.
        """
        matrix = self._header.matrices_of("overlap")[0]
        blocks, adjoints = pick.stored(matrix), pick.partner(matrix)
        if self.meta.name == "overlap":
            self._compare(blocks, adjoints, 1.0, members)
        i, j = self.pairs.i[members], self.pairs.j[members]
        onsite = self._onsite(members)
        norms = blocks[onsite].diagonal(axis1=1, axis2=2)
        if not (np.abs(norms - 1) < NORM).all():
            bad = int(np.flatnonzero(~(np.abs(norms - 1) < NORM).all(axis=1))[0])
            worst = norms[bad][int(np.abs(np.nan_to_num(norms[bad], nan=9.9) - 1).argmax())]
            raise self._damaged(
                f"the overlap of an orbital of atom {i[onsite[bad]]} with itself is {worst:.3g}, "
                "1 is expected"
            )
        blocks[i < j] = adjoints[i < j]
        same = np.flatnonzero(i == j)
        if len(same) == 0:
            return blocks
        upper = np.triu_indices(blocks.shape[1], 1)
        blocks[same[:, None], *upper] = adjoints[same[:, None], *upper]
        middle = np.arange(min(blocks.shape[1:]))
        mean = 0.5 * (blocks[:, middle, middle] + adjoints[:, middle, middle])[same]
        blocks[same[:, None], middle, middle] = mean
        return blocks

    def _damaged(self, what):
        return DamagedError(
            what, path=self._file.path, remedy="the file is damaged; run OpenMX again"
        )

    def _name(self, pair):
        return pair_name(self.pairs.i[pair], self.pairs.j[pair], self.pairs.R[pair])

    def _mean(self, blocks, adjoints, scale, members):
        """Return the mean of blocks and the adjoints of their partners, times `scale`."""
        self._compare(blocks, adjoints, scale, members)
        self._check_size(blocks, scale, members)
        blocks += adjoints
        blocks *= 0.5 * scale
        return blocks

    def _compare(self, blocks, adjoints, scale, members):
        """Record how far blocks are from the adjoints of their partners, and refuse damage."""
        gap = blocks - adjoints
        gap = np.abs(gap, out=gap if gap.dtype.kind == "f" else None)
        worst = gap.reshape(len(gap), -1).max(axis=1)
        top = int(worst.argmax())
        value = float(worst[top]) * scale
        if not value <= LIMITS[self.meta.name]:
            raise self._damaged(
                f"the {self.meta.name} of {self._name(members[top])} and of its partner differ by "
                f"{value:.1e}{self._unit}"
            )
        self.residual = max(self.residual, value)

    @property
    def _unit(self):
        return "" if self.meta.unit == "1" else f" {self.meta.unit}"

    def _onsite(self, members):
        """Return which of some pairs are an atom with itself."""
        own = self.pairs.i[members] == self.pairs.j[members]
        return np.flatnonzero(own & ~self.pairs.R[members].any(axis=1))

    def _check_size(self, blocks, scale, members):
        """Refuse numbers without sense: diagonal elements on site are their own partners."""
        onsite = self._onsite(members)
        limit = LARGEST.get(self.meta.name)
        if limit is None or not len(onsite):
            return
        largest = np.abs(blocks[onsite].diagonal(axis1=1, axis2=2)).max(axis=1) * scale
        if not largest.max() <= limit:
            bad = int(np.flatnonzero(~(largest <= limit))[0])
            atom = self.pairs.i[members[onsite[bad]]]
            raise self._damaged(
                f"the {self.meta.name} of an orbital of atom {atom} with itself is "
                f"{largest[bad]:.1e}{self._unit}, up to {limit:.0e} makes sense"
            )

    def _check_alone(self, gap, members, what):
        """Refuse an element that alone breaks a symmetry which all others of its block have."""
        limit = LIMITS[self.meta.name]
        if _within(gap, limit / 2):
            return
        gap = np.abs(gap).reshape(len(gap), -1)
        worst = gap.max(axis=1)
        suspects = np.flatnonzero(~(worst < limit))
        if gap.shape[1] < 16 or not len(suspects):
            return
        above = (gap[suspects] > ALONE * worst[suspects, None]).sum(axis=1)
        alone = np.flatnonzero(above <= FEW)
        if len(alone):
            pair = suspects[alone[0]]
            raise self._damaged(
                f"the {self.meta.name} of {self._name(members[pair])}: one element breaks "
                f"{what} by {worst[pair]:.1e}{self._unit}, all others obey it"
            )

    def _spinor(self, pick, members):
        """Return spinor blocks; of the four spin parts the file holds ↑↑, ↓↓ and ↑↓."""
        real, imaginary = self._matrices[:4], self._matrices[4:]
        scale, sign = SCALES[self.meta.unit], -1 if self.meta.name == "density" else 1
        count, n, m = pick.shape
        out = np.empty((count, 2, n, 2, m), dtype=np.complex128)
        for spin in (0, 1):
            part = out[:, spin, :, spin, :]
            matrix = real[spin]
            mean = self._mean(pick.stored(matrix), pick.partner(matrix), scale, members)
            part.real = pick.reorder(mean)
            matrix = imaginary[spin]
            adjoint = np.negative(pick.partner(matrix))
            mean = self._mean(pick.stored(matrix), adjoint, scale, members)
            part.imag = sign * pick.reorder(mean)
        # ↑↓ is real[2] + i (real[3] + imaginary[2]); ↓↑ is the adjoint of the partner's ↑↓.
        for get, part, phase in (
            (pick.stored, out[:, 0, :, 1, :], sign),
            (pick.partner, out[:, 1, :, 0, :], -sign),
        ):
            part.real = scale * pick.reorder(get(real[2]))
            mixed = get(real[3])
            for matrix in imaginary[2:]:
                mixed = mixed + get(matrix)
            part.imag = (phase * scale) * pick.reorder(mixed)
        self._check_spins(out, members)
        return out.reshape(count, 2 * n, 2 * m)

    def _check_spins(self, out, members):
        """Refuse damage that Hermiticity does not show: ↑↓ has no partner in the file."""
        limit = LARGEST[self.meta.name]
        if not _within(out, limit):
            largest = np.abs(out.view(np.float64).reshape(len(out), -1)).max(axis=1)
            pair = int(np.flatnonzero(~(largest <= limit))[0])
            raise self._damaged(
                f"the {self.meta.name} of {self._name(members[pair])} contains "
                f"{largest[pair]:.1e}{self._unit}, up to {limit:.0e} makes sense"
            )
        if self.meta.name != "hamiltonian":
            return
        # Time reversal, where the block has it: ↓↓ = ↑↑*, ↓↑ = −↑↓*.
        gap = np.conj(out[:, 0, :, 1, :])
        gap += out[:, 1, :, 0, :]
        self._check_alone(gap, members, "time reversal")
        onsite = self._onsite(members)  # elsewhere ↑↑ and ↓↓ have partners
        gap = np.conj(out[onsite, 0, :, 0, :])
        gap -= out[onsite, 1, :, 1, :]
        self._check_alone(gap, members[onsite], "time reversal")

    def _position(self, pick, members):
        """Return ⟨iα,0| r − τ_i |jβ,R⟩, Å; the partner's rule moves the origin from j to i."""
        overlap = self._overlap(pick, members)
        i, j, R = self.pairs.i[members], self.pairs.j[members], self.pairs.R[members]
        positions = self._header.positions
        shift = positions[j] + R @ self._header.cell - positions[i]
        parts = []
        for axis, matrix in enumerate(self._matrices):
            moved = pick.partner(matrix) + shift[:, axis, None, None] * overlap
            mean = self._mean(pick.stored(matrix), moved, SCALES[self.meta.unit], members)
            parts.append(pick.reorder(mean))
        return parts


def _within(values, limit):
    """Return whether no real or imaginary part is larger than a limit, or not a number."""
    flat = values.view(np.float64)
    return flat.max(initial=0.0) <= limit and flat.min(initial=0.0) >= -limit


class Picker:
    """Takes the blocks of some pairs of two species out of the matrices.

    Parameters
    ----------
    file : Scfout
        The open file.
    members : (p,) array of int
        Pairs whose atoms are of the same two species.
    rows, columns : (n,), (m,) arrays of int
        Where each orbital of moireio's order stands in OpenMX's.
    """

    def __init__(
        self,
        file: Scfout,
        members: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
    ):
        self._header, self._map = file.header, file.mapped
        self.shape = (len(members), len(rows), len(columns))
        self._offsets = file.block_offset[members]
        self._partner_offsets = file.block_offset[file.partner[members]]
        self._order = (rows[:, None] * len(columns) + columns[None, :]).ravel()

    def _take(self, matrix, offsets):
        header = self._header
        base = header.matrix_start + matrix * header.matrix_bytes
        raw = gather(self._map, base + 8 * offsets, 8 * self.shape[1] * self.shape[2])
        values = raw.view(header.byte_order + "f8")
        return values if header.byte_order == "=" else values.astype(np.float64)

    def stored(self, matrix: int) -> npt.NDArray[np.float64]:
        """Return the blocks ⟨i,0|O|j,R⟩ of a matrix in OpenMX's order, shape (p, n, m)."""
        return self._take(matrix, self._offsets).reshape(self.shape)

    def partner(self, matrix: int) -> npt.NDArray[np.float64]:
        """Return the transposed blocks of the partners ⟨j,0|O|i,−R⟩, the same shape."""
        count, rows, columns = self.shape
        blocks = self._take(matrix, self._partner_offsets).reshape(count, columns, rows)
        return np.ascontiguousarray(blocks.transpose(0, 2, 1))

    def reorder(self, blocks: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return blocks with their orbitals in moireio's order."""
        flat = blocks.reshape(len(blocks), -1)
        return flat.take(self._order, axis=1).reshape(blocks.shape)
