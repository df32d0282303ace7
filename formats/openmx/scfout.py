"""OpenMX's ``.scfout``: structure, H, S and their like in OpenMX's orbitals.

Layout (native byte order, no record marks; i = int32, d = float64):

1. ``6i``: atoms N; spin switch (0, 1, 3) + 4 · layout; three counts for electrodes; TCpyCell.
   Layout 0 is written by OpenMX 3.7 and 3.8, layout 3 by 3.9 and 4.0.
2. Layout ≥ 1: ``i`` order_max, powers of the position operator.
3. ``4d × (TCpyCell + 1)`` translations (Bohr), ``4i × (TCpyCell + 1)`` their integers; the first
   number of every four is unused, here and in 5.
4. ``N i`` orbitals; ``N i`` neighbours without the atom itself; then for every atom its
   neighbours (from 1, itself first); then for every atom the neighbours' cells in 3.
5. ``12d`` cell rows, ``12d`` reciprocal rows, ``4d × N`` positions (Bohr).
6. Matrices in the order atom, neighbour, row, column: H (switch + 1 of them), with spinors
   iH (3), S, position x y z (order_max each), layout 3: momentum x y z, density (switch + 1),
   layout 3: imaginary density (2).
7. ``i`` solver; ``10d`` Fermi level (Hartree), temperature (K), dipoles, electrons, spin;
   ``i`` number of lines, and so many records of 256 bytes: the input text with final
   coordinates. What users append after it is ignored.

Kept: all but powers of the position operator above the first, dipoles, electrode counts.
Orbitals are reordered to m = −l … l, units are eV and Å, and every operator is made to obey
its partner rule exactly; how far it was from it is its `residual`.
"""

import hashlib
import mmap
import os
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from moireio.errors import DamagedError, MoireioError, unreadable
from moireio.formats.openmx.header import Header, read_header
from moireio.formats.openmx.orbitals import permutation
from moireio.operators.blocks import block_offsets, gather, scatter
from moireio.operators.catalogue import operator_type
from moireio.results.electrons import Electrons
from moireio.system.pairs import Pairs, pair_name
from moireio.system.structure import Structure
from moireio.units import BOHR_ANGSTROM, HARTREE_EV

VERSIONS = {0: "3.7 or 3.8", 3: "3.9 or 4.0"}
# Deviation from the partner rule beyond which a matrix counts as damaged, in its own unit.
LIMITS = {
    "hamiltonian": 1e-3,
    "overlap": 1e-5,
    "position": 1e-2,
    "momentum": 5e-2,
    "density": 1e-3,
}
SCALES = {"eV": HARTREE_EV, "Å": BOHR_ANGSTROM, "1/Å": 1 / BOHR_ANGSTROM, "1": 1.0}
DIGEST_BYTES = 1 << 20
RESIDENT_BYTES = 64 << 20
FAULT_BYTES = 1 << 16  # the kernel maps so much around a block that is read
BATCH_BYTES = 1 << 19  # what a few temporary arrays of this size need stays in the cache


@dataclass(eq=False)
class Scfout:
    """An open ``.scfout``; nothing of its matrices is read before it is asked for.

    Parameters
    ----------
    path : str
        The file.
    header : Header
        Everything but the matrices.
    structure : Structure
        Final structure.
    basis : Basis
        One entry per species of the input text.
    electrons : Electrons
        Count, Fermi level, temperature, spin.
    pairs : Pairs
        All pairs, sorted; every pair has its partner.
    kpath : list
        Segments of the input's band path (see `dat.OpenMXInput`).
    warnings : list of str
        What could not be verified.
    """

    path: str
    header: Header
    structure: Structure
    basis: object
    electrons: Electrons
    pairs: Pairs
    kpath: list
    warnings: list = field(default_factory=list)
    _map: mmap.mmap = None
    _order: np.ndarray = None

    def __enter__(self):
        """Return itself."""
        return self

    def __exit__(self, *exc):
        """Close the file."""
        self.close()

    def close(self):
        """Unmap the file."""
        self._map.close()

    def raw(self, begin, length):
        """Return bytes of the file.

        Parameters
        ----------
        begin, length : int
            Which.

        Returns
        -------
        bytes
            A copy.
        """
        return self._map[begin : begin + length]

    @property
    def operators(self):
        """Names of the operators that the file holds completely."""
        names = ["hamiltonian", "overlap", "position"]
        if self.header.layout == 3:
            names.append("momentum")
        if self.header.layout == 3 or self.header.spin != "spinor":
            names.append("density")
        return names

    def operator(self, name):
        """Return an operator as a source for `moireio.blockfile.reader.BlockWriter.operator`.

        Parameters
        ----------
        name : str
            "hamiltonian", "overlap", "position", "momentum" or "density".

        Returns
        -------
        OperatorSource
            Reading from the file, run by run.

        Raises
        ------
        MoireioError
            If the file does not hold it.
        """
        if name not in self.operators:
            why = f"layout {self.header.layout} (OpenMX {VERSIONS[self.header.layout]})"
            what = "a complete density matrix of spinors" if name == "density" else f"no {name}"
            what = f"{why} does not hold {what}" if name == "density" else f"{why} holds {what}"
            raise MoireioError(what, path=self.path, remedy="use OpenMX 3.9 or later")
        return ScfoutOperator(self, name)

    @cached_property
    def partner(self):
        """Index of every pair's partner, shape (n,)."""
        return self.pairs.partner()

    @cached_property
    def block_offset(self):
        """Element at which every (sorted) pair's block begins inside a matrix, shape (n,)."""
        header = self.header
        elements = header.orbitals[header.pair_i] * header.orbitals[header.pair_j]
        return block_offsets(elements)[:-1][self._order]

    def digest(self, operators):
        """Return a digest of all bytes that a conversion uses.

        Parameters
        ----------
        operators : sequence of str
            Which operators are converted.

        Returns
        -------
        str
            ``blake2b:`` and 32 hexadecimal digits, of everything but the other matrices.
        """
        header, state = self.header, hashlib.blake2b(digest_size=16)
        used = sorted({m for name in operators for m in header.matrices_of(name)})
        ranges = [(0, header.matrix_start)]
        ranges += [
            (header.matrix_start + m * header.matrix_bytes, header.matrix_bytes) for m in used
        ]
        ranges.append((header.matrix_end, header.tail_end - header.matrix_end))
        # A view, not a copy: hashing then runs beside the conversion without its lock.
        with memoryview(self._map) as whole:
            for begin, length in ranges:
                for at in range(begin, begin + length, DIGEST_BYTES):
                    with whole[at : min(begin + length, at + DIGEST_BYTES)] as piece:
                        state.update(piece)
        return f"blake2b:{state.hexdigest()}"


def read(path, dat=None, check_coordinates=True, label=None):
    """Open a ``.scfout``.

    Parameters
    ----------
    path : str or path-like
        The file.
    dat : str or path-like, optional
        Input file to take species and basis names from, where the appended text is absent.
    check_coordinates : bool
        Compare cell and positions with those of the input text.
    label : str, optional
        The name that error messages show, when it is not `path`.

    Returns
    -------
    Scfout
        A context manager.

    Raises
    ------
    MoireioError
        If the file cannot be read, or species are unknown.
    DamagedError
        If it is cut short, of an unknown version, or contradicts itself.
    """
    path = os.fspath(path)
    label = label or path
    try:
        with open(path, "rb") as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise DamagedError("is empty", path=label, remedy="OpenMX did not write it")
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise unreadable(error, label) from error
    try:
        return _open(label, mapped, dat, check_coordinates)
    except BaseException:
        mapped.close()
        raise


def _open(path, mapped, dat, check_coordinates):
    header = read_header(mapped, path)
    text, warnings = header.input_text(dat, check_coordinates)
    basis, elements = text.basis(header.electron_count)
    try:
        pairs, order = Pairs.sort(header.n_atoms, header.pair_i, header.pair_j, header.pair_R)
    except MoireioError as error:
        raise DamagedError(str(error), path=path) from error
    if (pairs.partner() < 0).any():
        alone = np.flatnonzero(pairs.partner() < 0)[0]
        name = pair_name(pairs.i[alone], pairs.j[alone], pairs.R[alone])
        raise DamagedError(f"{name} has no partner: the neighbour lists are damaged", path=path)
    names = list(text.species)
    from ase.data import atomic_numbers

    numbers = [atomic_numbers.get(elements[s], 0) for s in text.symbols]
    structure = Structure(
        cell=header.cell * BOHR_ANGSTROM,
        positions=header.positions * BOHR_ANGSTROM,
        numbers=numbers,
        species=[names.index(s) for s in text.symbols],
        species_names=names,
        pbc=pairs.R.any(axis=0),
    )
    sizes = basis.sizes(structure)
    wrong = np.flatnonzero(sizes != header.orbitals)
    if len(wrong):
        atom = wrong[0]
        raise DamagedError(
            f"atom {atom + 1} has {header.orbitals[atom]} orbitals, but its basis "
            f"{basis[text.symbols[atom]].label} has {sizes[atom]}",
            path=path,
        )
    electrons = Electrons(
        count=header.electron_count,
        fermi=header.fermi * HARTREE_EV,
        temperature=header.temperature,
        spin=header.total_spin,
    )
    return Scfout(
        path,
        header,
        structure,
        basis,
        electrons,
        pairs,
        text.kpath,
        warnings,
        _map=mapped,
        _order=order,
    )


class ScfoutOperator:
    """One operator of a ``.scfout``, given by runs of atoms.

    Parameters
    ----------
    file : Scfout
        The open file.
    name : str
        Which operator.
    """

    def __init__(self, file, name):
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
        self._orders = [permutation(file.basis[s].l) for s in file.structure.species_names]
        self._species = file.structure.species

    def rows(self, i0, i1):
        """Return all blocks of the atoms ``i0 <= i < i1``, made to obey the partner rule."""
        span = self.pairs.rows(i0, i1)
        i = np.repeat(np.arange(i0, i1), np.diff(self.pairs.indptr[i0 : i1 + 1]))
        j = self.pairs.j[span]
        offsets = block_offsets(self.sizes[i] * self.sizes[j])
        meta = self.meta
        lead = () if meta.components == 1 else (meta.components,)
        out = np.empty((*lead, int(offsets[-1])), dtype=meta.dtype)
        kinds = self._species[i] * len(self._orders) + self._species[j]
        flats = out.reshape(meta.components, -1)
        for kind in np.unique(kinds):
            first, second = divmod(int(kind), len(self._orders))
            every = np.flatnonzero(kinds == kind)
            size = int(self.sizes[i[every[0]]] * self.sizes[j[every[0]]])
            step = max(1, BATCH_BYTES // (size * out.itemsize))
            for members in np.split(every, range(step, len(every), step)):
                blocks = self._blocks(members + span.start, first, second)
                parts = [blocks] if meta.components == 1 else blocks
                for flat, part in zip(flats, parts, strict=True):
                    scatter(flat, offsets[members], part.reshape(len(members), -1))
                self._release(len(members))
        return out

    def _release(self, pairs):
        """Let go of mapped pages now and then, so that memory does not grow with the file."""
        self._touched += pairs * len(self._matrices) * FAULT_BYTES
        if self._touched > RESIDENT_BYTES and hasattr(self._file._map, "madvise"):
            self._file._map.madvise(mmap.MADV_DONTNEED)
            self._touched = 0

    def _blocks(self, members, first, second):
        """Return the finished blocks of pairs of two species, (p, rows, columns) or (c, …)."""
        name = self.meta.name
        pick = _Picker(self._file, members, self._orders[first], self._orders[second])
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
            own, partner = pick.own(matrix), pick.partner(matrix)
            if self.meta.parity < 0:
                np.negative(partner, out=partner)
            parts.append(pick.reorder(self._mean(own, partner, scale, members)))
        return parts[0] if self.meta.components == 1 else parts

    def _overlap(self, pick, members):
        """Return S with the lower triangle of the whole matrix as the file has it.

        OpenMX diagonalises with that triangle. S is often nearly singular, so that even the
        1e-10 between the two triangles moves eigenvalues: the mean of both is off OpenMX's own
        by up to 1.3e-8 Hartree on the test data, the lower triangle by 2e-9.
        """
        matrix = self._header.matrices_of("overlap")[0]
        own, partner = pick.own(matrix), pick.partner(matrix)
        if self.meta.name == "overlap":
            self._compare(own, partner, 1.0, members)
        i, j = self.pairs.i[members], self.pairs.j[members]
        onsite = np.flatnonzero((i == j) & ~self.pairs.R[members].any(axis=1))
        norms = own[onsite].diagonal(axis1=1, axis2=2)
        if not (norms > 0).all():
            atom = int(i[onsite[np.flatnonzero(~(norms > 0).all(axis=1))[0]]])
            raise DamagedError(
                f"the overlap of an orbital of atom {atom} with itself is not positive",
                path=self._file.path,
                remedy="the file is damaged; run OpenMX again",
            )
        own[i < j] = partner[i < j]
        same = np.flatnonzero(i == j)
        if len(same) == 0:
            return own
        upper = np.triu_indices(own.shape[1], 1)
        own[same[:, None], *upper] = partner[same[:, None], *upper]
        middle = np.arange(min(own.shape[1:]))
        mean = 0.5 * (own[:, middle, middle] + partner[:, middle, middle])[same]
        own[same[:, None], middle, middle] = mean
        return own

    def _mean(self, own, partner, scale, members):
        """Return the mean of blocks and what their partners say, times `scale`."""
        self._compare(own, partner, scale, members)
        own += partner
        own *= 0.5 * scale
        return own

    def _compare(self, own, partner, scale, members):
        """Note how far blocks are from what their partners say, and refuse damage."""
        gap = own - partner
        gap = np.abs(gap, out=gap if gap.dtype.kind == "f" else None)
        worst = gap.reshape(len(gap), -1).max(axis=1)
        top = int(worst.argmax())
        value = float(worst[top]) * scale
        if not value <= LIMITS[self.meta.name]:
            pair = members[top]
            unit = "" if self.meta.unit == "1" else f" {self.meta.unit}"
            who = pair_name(self.pairs.i[pair], self.pairs.j[pair], self.pairs.R[pair])
            raise DamagedError(
                f"the {self.meta.name} of {who} and of its partner differ by {value:.1e}{unit}",
                path=self._file.path,
                remedy="the file is damaged; run OpenMX again",
            )
        self.residual = max(self.residual, value)

    def _spinor(self, pick, members):
        """Return spinor blocks; of the four spin parts the file holds ↑↑, ↓↓ and ↑↓."""
        real, imaginary = self._matrices[:4], self._matrices[4:]
        scale, sign = SCALES[self.meta.unit], -1 if self.meta.name == "density" else 1
        count, n, m = pick.shape
        out = np.empty((count, 2, n, 2, m), dtype=np.complex128)
        for spin in (0, 1):
            part = out[:, spin, :, spin, :]
            matrix = real[spin]
            mean = self._mean(pick.own(matrix), pick.partner(matrix), scale, members)
            part.real = pick.reorder(mean)
            matrix = imaginary[spin]
            adjoint = np.negative(pick.partner(matrix))
            mean = self._mean(pick.own(matrix), adjoint, scale, members)
            part.imag = sign * pick.reorder(mean)
        # ↑↓ is real[2] + i (real[3] + imaginary[2]); ↓↑ is the adjoint of the partner's ↑↓.
        for get, part, phase in (
            (pick.own, out[:, 0, :, 1, :], sign),
            (pick.partner, out[:, 1, :, 0, :], -sign),
        ):
            part.real = scale * pick.reorder(get(real[2]))
            mixed = get(real[3])
            for matrix in imaginary[2:]:
                mixed = mixed + get(matrix)
            part.imag = (phase * scale) * pick.reorder(mixed)
        if not np.isfinite(out.sum()):
            raise DamagedError(
                f"the {self.meta.name} contains a number that is not finite", path=self._file.path
            )
        return out.reshape(count, 2 * n, 2 * m)

    def _position(self, pick, members):
        """Return ⟨iα,0| r − τ_i |jβ,R⟩, Å; the partner's rule moves the origin from j to i."""
        overlap = self._overlap(pick, members)
        i, j, R = self.pairs.i[members], self.pairs.j[members], self.pairs.R[members]
        positions = self._header.positions
        shift = positions[j] + R @ self._header.cell - positions[i]
        parts = []
        for axis, matrix in enumerate(self._matrices):
            moved = pick.partner(matrix) + shift[:, axis, None, None] * overlap
            mean = self._mean(pick.own(matrix), moved, SCALES[self.meta.unit], members)
            parts.append(pick.reorder(mean))
        return parts


class _Picker:
    """Takes the blocks of some pairs of two species out of the matrices."""

    def __init__(self, file, members, rows, columns):
        self._header, self._map = file.header, file._map
        self.shape = (len(members), len(rows), len(columns))
        self._own = file.block_offset[members]
        self._other = file.block_offset[file.partner[members]]
        self._order = (rows[:, None] * len(columns) + columns[None, :]).ravel()

    def _take(self, matrix, offsets):
        header = self._header
        base = header.matrix_start + matrix * header.matrix_bytes
        raw = gather(self._map, base + 8 * offsets, 8 * self.shape[1] * self.shape[2])
        values = raw.view(header.byte_order + "f8")
        return values if header.byte_order == "=" else values.astype(np.float64)

    def own(self, matrix):
        """Return the blocks ⟨i,0|O|j,R⟩ in OpenMX's order, shape (p, rows, columns)."""
        return self._take(matrix, self._own).reshape(self.shape)

    def partner(self, matrix):
        """Return the transposed blocks of the partners ⟨j,0|O|i,−R⟩, the same shape."""
        count, rows, columns = self.shape
        blocks = self._take(matrix, self._other).reshape(count, columns, rows)
        return np.ascontiguousarray(blocks.transpose(0, 2, 1))

    def reorder(self, blocks):
        """Return blocks with their orbitals in moireio's order."""
        flat = blocks.reshape(len(blocks), -1)
        return flat.take(self._order, axis=1).reshape(blocks.shape)
