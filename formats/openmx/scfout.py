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

from __future__ import annotations

import hashlib
import mmap
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation, Operators
from moireio.errors import DamagedError, MoireioError, naming, unreadable
from moireio.formats.openmx.header import VERSIONS, Header, read_header
from moireio.formats.openmx.kpath import BandSegment
from moireio.formats.openmx.matrices import USUAL_RESIDUAL, ScfoutOperator
from moireio.formats.openmx.verify import check_positions, fitting_basis
from moireio.formats.structures.text import MAGIC, plain_name
from moireio.formats.text.streams import PIECE, opened
from moireio.operators.blocks import block_offsets
from moireio.results.electrons import Electrons
from moireio.results.kpath import KPathSegments
from moireio.system.basis import Basis, uncontracted_basis
from moireio.system.pairs import Pairs, pair_name
from moireio.system.periodicity import moved_cells, settle_blocks
from moireio.system.structure import Structure
from moireio.units import BOHR_ANGSTROM, HARTREE_EV

DIGEST_BYTES = 1 << 20


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
    pair_order : (n,) array of int
        Place of each sorted pair in the order of the file.
    mapped : mmap.mmap
        The bytes of the file.
    kpath : list of BandSegment
        Segments of the input's band path.
    notes : list of str
        What could not be verified.
    """

    path: str
    header: Header
    structure: Structure
    basis: Basis
    electrons: Electrons
    pairs: Pairs
    pair_order: npt.NDArray[np.int64]
    mapped: mmap.mmap
    kpath: list[BandSegment] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Unmap the file."""
        self.mapped.close()

    def raw(self, begin: int, length: int) -> bytes:
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
        return self.mapped[begin : begin + length]

    @property
    def operators(self) -> list[str]:
        """Names of the operators that the file holds completely."""
        names = ["hamiltonian", "overlap", "position"]
        if self.header.layout == 3:
            names.append("momentum")
        if self.header.layout == 3 or self.header.spin != "spinor":
            names.append("density")
        return names

    def operator(self, name: str) -> ScfoutOperator:
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
    def partner(self) -> npt.NDArray[np.int64]:
        """Index of every pair's partner, shape (n,)."""
        return self.pairs.partner()

    @cached_property
    def block_offset(self) -> npt.NDArray[np.int64]:
        """Element at which every (sorted) pair's block begins inside a matrix, shape (n,)."""
        header = self.header
        elements = header.orbitals[header.pair_i] * header.orbitals[header.pair_j]
        return block_offsets(elements)[:-1][self.pair_order]

    def digest(self, operators: Sequence[str]) -> str:
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
        with memoryview(self.mapped) as whole:
            for begin, length in ranges:
                for at in range(begin, begin + length, DIGEST_BYTES):
                    with whole[at : min(begin + length, at + DIGEST_BYTES)] as piece:
                        state.update(piece)
        return f"blake2b:{state.hexdigest()}"


def detect(path: str) -> bool:
    """Return whether a path is a ``.scfout``.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    bool
        By its suffix; compressed ones too.
    """
    return plain_name(path).lower().endswith(".scfout") and os.path.isfile(path)


def read(
    path: str | os.PathLike[str],
    *,
    label: str | None = None,
    dat: str | os.PathLike[str] | None = None,
    check_coordinates: bool = True,
    pbc: Sequence[bool] | None = None,
) -> Calculation:
    """Open a ``.scfout`` as a calculation.

    Parameters
    ----------
    path : str or path-like
        The file.
    label : str, optional
        The name that messages show, when it is not `path`.
    dat : str or path-like, optional
        Input file to take species and basis names from, where the appended text is absent.
    check_coordinates : bool
        Compare cell and positions with those of the input text.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.

    Returns
    -------
    Calculation
        A context manager; its operators are read run by run of atoms.

    Raises
    ------
    MoireioError
        If the file cannot be read, or species are unknown.
    DamagedError
        If it is cut short, of an unknown version, or contradicts itself.
    """
    file = open_scfout(path, label=label, dat=dat, check_coordinates=check_coordinates, pbc=pbc)
    kpath = None
    if file.kpath:
        kpath = KPathSegments(
            np.array([[segment.start, segment.end] for segment in file.kpath]),
            tuple(segment.labels for segment in file.kpath),
            np.array([segment.count for segment in file.kpath]),
        )
    return Calculation(
        file.path,
        file.structure,
        file.basis,
        Operators(file.operators, file.operator),
        electrons=file.electrons,
        kpath=kpath,
        notes=file.notes,
        files=[os.fspath(name) for name in (path, dat) if name is not None],
        usual_residual=USUAL_RESIDUAL,
        digest=file.digest,
        close=file.close,
    )


def open_scfout(
    path: str | os.PathLike[str],
    *,
    label: str | None = None,
    dat: str | os.PathLike[str] | None = None,
    check_coordinates: bool = True,
    pbc: Sequence[bool] | None = None,
) -> Scfout:
    """Open a ``.scfout``, as `read`.

    Parameters
    ----------
    path, label, dat, check_coordinates, pbc
        As for `read`.

    Returns
    -------
    Scfout
        A context manager.
    """
    path = os.fspath(path)
    label = label or path
    try:
        with _uncompressed(path) as stream:
            if os.fstat(stream.fileno()).st_size == 0:
                raise DamagedError("is empty", path=label, remedy="OpenMX did not write it")
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise unreadable(error, label) from error
    try:
        return _open(label, mapped, dat, check_coordinates, pbc)
    except BaseException:
        mapped.close()
        raise


def _uncompressed(path):
    """Return a file that can be mapped: itself, or a temporary one with what it unpacks to."""
    stream = open(path, "rb")  # noqa: SIM115
    start = stream.read(6)
    if not any(start.startswith(magic) for magic in MAGIC):
        return stream
    stream.close()
    unpacked = tempfile.TemporaryFile()  # noqa: SIM115
    try:
        with opened(path) as packed:
            shutil.copyfileobj(packed, unpacked, PIECE)
        unpacked.flush()
    except BaseException:
        unpacked.close()
        raise
    return unpacked


def _open(path, mapped, dat, check_coordinates, pbc):
    header = read_header(mapped, path)
    text, notes, verified = header.input_text(dat, check_coordinates)
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
        pbc=[True] * 3,
    )
    with naming(path):
        structure, moves, note = settle_blocks(structure, [(pairs.i, pairs.j, pairs.R)], pbc)
    if moves.any():  # a layer on both sides of the border
        i, j = header.pair_i, header.pair_j
        header = replace(
            header,
            positions=header.positions + moves @ header.cell,
            pair_R=moved_cells(i, j, header.pair_R, moves),
        )
        cells = moved_cells(pairs.i, pairs.j, pairs.R, moves)
        pairs = Pairs(pairs.indptr, pairs.j, cells)
        notes = [*notes, note]
    sizes = basis.sizes(structure)
    plain = uncontracted_basis(basis)
    if (sizes != header.orbitals).any() and (plain.sizes(structure) == header.orbitals).all():
        basis, sizes = plain, header.orbitals
        notes = [*notes, "its orbitals are not contracted (orbitalOpt.Method off): s2>1 means s2"]
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
    file = Scfout(
        path,
        header,
        structure,
        basis,
        electrons,
        pairs,
        order,
        mapped,
        text.kpath,
        notes,
    )
    if not verified:
        check_positions(file)
    file.basis, more = fitting_basis(file)
    file.notes += more
    return file
