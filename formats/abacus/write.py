"""Writing of ABACUS's old form: a folder with ``data-HR-sparse_SPIN0.csr``, S, STRU and a log.

Position matrices, if there are, become ``data-rR-sparse.csr``.

Numbers have 17 digits, so that nothing is lost. What is not in such files: radial functions and
cutoffs. The log holds the shells and the Fermi level in ABACUS's words, for tools that look there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import IO, Any

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.abacus.files import POSITIONS, RYDBERG_EV
from moireio.formats.abacus.positions import absolute
from moireio.formats.abacus.stru import gathered, into_cell, stru_text
from moireio.formats.assembly.elements import (
    OrbitalMap,
    has_imaginary_parts,
    matrices_from_source,
)
from moireio.formats.assembly.losses import note_losses, note_order_of_shells, require_orbitals
from moireio.formats.assembly.orders import ABACUS
from moireio.formats.assembly.orthogonal import unit_overlap
from moireio.formats.assembly.placing import with_moves
from moireio.formats.assembly.shells import require_labels
from moireio.operators.blocks import OperatorSource
from moireio.operators.views import ArraySource, stored_as
from moireio.runtime.files import write_folder
from moireio.system.basis import SHELL_LETTERS, Basis, SpeciesBasis
from moireio.system.structure import Structure

CHUNK = 1 << 16  # numbers that are made text at once


def write(calculation: Calculation, path: str, *, force: bool = False) -> None:
    """Write a folder.

    Parameters
    ----------
    calculation : Calculation
        With Hamiltonian; without overlap only if its basis is orthogonal.
    path : str
        Folder to make.
    force : bool
        Replace one that exists.

    Raises
    ------
    MoireioError
        If the shells are not ABACUS's: incomplete, or not all of s before those of p and so on.
    """
    if calculation.overlap is None and not calculation.basis.orthogonal:
        raise MoireioError(
            "has no overlap, and its orbitals are not orthogonal",
            path=calculation.label,
            remedy="compute it with the command overlap",
        )
    source = calculation.hamiltonian
    if source.meta.spin != "spinor" and has_imaginary_parts(source):
        raise MoireioError(
            "has a complex Hamiltonian without spinors; ABACUS's is real", path=calculation.label
        )
    require_labels(calculation.structure, "ABACUS", calculation.label)
    require_orbitals(calculation, "ABACUS")
    arrangement = _Arrangement(calculation)
    with write_folder(path, _is_own, force=force) as made:
        _fill(calculation, arrangement, made)


def _is_own(name: str) -> bool:
    """Return whether a folder of ABACUS's matrices has an entry of this name."""
    return name.endswith(".csr") or name.startswith(("STRU", "running_"))


class _Arrangement:
    """The order in which ABACUS has the rows: atoms by species, shells by l."""

    def __init__(self, calculation: Calculation) -> None:
        structure, basis = calculation.structure, calculation.basis
        self.order = gathered(structure)
        species: dict[str, SpeciesBasis] = {}
        inner: dict[str, np.ndarray] = {}
        for name in structure.species_names:
            one = basis[name]
            shells = np.argsort(one.l, kind="stable") if one.m is None else np.arange(len(one.l))
            if one.m is not None and any(one.l):
                raise MoireioError(
                    f"the species {name} has incomplete shells, which ABACUS has not",
                    path=calculation.label,
                )
            starts = np.concatenate([[0], np.cumsum([2 * v + 1 for v in one.l])])
            inner[name] = np.concatenate([np.arange(starts[k], starts[k + 1]) for k in shells])
            species[name] = SpeciesBasis([one.l[k] for k in shells])
        self.basis = Basis(species)
        of_atoms = structure.species_of_atoms
        names = list(dict.fromkeys(of_atoms[a] for a in self.order))
        self.structure = Structure(
            structure.cell,
            structure.positions[self.order],
            structure.numbers[self.order],
            [names.index(of_atoms[a]) for a in self.order],
            names,
            structure.pbc,
        )
        sizes = basis.sizes(structure)
        starts = np.concatenate([[0], np.cumsum(sizes)])
        parts = [starts[a] + inner[of_atoms[a]] for a in self.order]
        #: For each spinless row of ABACUS's atoms and shells, the row among moireio's.
        self.rows = np.concatenate(parts)

    def map(self, calculation: Calculation, spinor: bool) -> OrbitalMap:
        """Return the map of ABACUS's rows to moireio's."""
        found = OrbitalMap.make(self.structure, self.basis, ABACUS)
        ours = self.rows[found.rows]
        sizes = calculation.basis.sizes(calculation.structure)
        if not spinor:
            return OrbitalMap(ours, found.signs, sizes)
        atoms = np.repeat(np.arange(len(sizes)), sizes)[ours]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        up = 2 * starts[atoms] + ours - starts[atoms]
        rows = np.stack([up, up + sizes[atoms]], axis=1).ravel()
        return OrbitalMap(rows, np.repeat(found.signs, 2), 2 * sizes)


def _fill(calculation: Calculation, arrangement: _Arrangement, folder: str) -> None:
    """Write all files."""
    source = calculation.hamiltonian
    spinor = source.meta.spin == "spinor"
    orbitals = arrangement.map(calculation, spinor)
    inside = _inside(source, calculation.structure)
    cells, channels = matrices_from_source(inside, orbitals)
    if spinor:  # in parentheses, by which nspin = 4 is known
        channels = [[matrix.astype(complex) for matrix in one] for one in channels]
    else:
        channels = [[matrix.real for matrix in one] for one in channels]
    of_overlap, overlaps = _overlap(calculation, arrangement)
    if spinor:
        from scipy.sparse import kron

        overlaps = [kron(one, np.eye(2)).tocsr().astype(complex) for one in overlaps]
    # all files list the same R, as ABACUS's do
    every = np.unique(np.concatenate([cells, of_overlap]), axis=0).tolist()
    files = [(f"data-HR-sparse_SPIN{n}", "H", cells, one) for n, one in enumerate(channels)]
    files.append(("data-SR-sparse_SPIN0", "S", of_overlap, overlaps))
    for name, letter, listed, matrices in files:
        found = dict(zip(map(tuple, listed.tolist()), matrices, strict=True))
        unit = RYDBERG_EV if letter == "H" else 1.0
        place = os.path.join(folder, f"{name}.csr")
        _write_csr(place, letter, len(orbitals), every, found, unit)
    if "position" in calculation.operators:
        _write_positions(calculation, arrangement, spinor, os.path.join(folder, POSITIONS[0]))
    names = {name: f"{name}_{_counts(one)}.orb" for name, one in arrangement.basis.species.items()}
    with open(os.path.join(folder, "STRU"), "w", encoding="utf-8") as stream:
        stream.write(stru_text(calculation.structure, names, arrangement.order.tolist()))
    with open(os.path.join(folder, "running_scf.log"), "w", encoding="utf-8") as stream:
        stream.writelines(_log(calculation, arrangement))
    note_losses(calculation, "ABACUS's files", ("hamiltonian", "overlap", "position"))
    note_order_of_shells(calculation, "ABACUS")


def _inside(source: OperatorSource, structure: Structure) -> ArraySource:
    """Return an operator with its atoms moved into the cell, as ABACUS does."""
    return with_moves(source, into_cell(structure))


def _overlap(calculation: Calculation, arrangement: _Arrangement) -> tuple[np.ndarray, list[Any]]:
    orbitals = arrangement.map(calculation, False)
    cells, (matrices,) = matrices_from_source(_overlap_inside(calculation), orbitals)
    return cells, matrices


def _overlap_inside(calculation: Calculation) -> ArraySource:
    """Return S, or 1, between the atoms inside the cell."""
    overlap = calculation.overlap
    if overlap is None:
        overlap = unit_overlap(calculation.structure, calculation.basis)
    return _inside(stored_as(overlap, "full"), calculation.structure)


def _write_positions(
    calculation: Calculation, arrangement: _Arrangement, spinor: bool, path: str
) -> None:
    """Write the position matrices: a line with R, then count and matrix of each axis."""
    from scipy.sparse import kron

    structure = calculation.structure
    moved = structure.positions + into_cell(structure) @ structure.cell
    orbitals = arrangement.map(calculation, False)
    source = _inside(calculation.operator("position"), structure)
    overlap = _overlap_inside(calculation)
    cells, axes = absolute(source, overlap, replace(structure, positions=moved), orbitals)
    rows = len(orbitals) * (2 if spinor else 1)
    with open(path, "w", encoding="ascii") as stream:
        stream.write(f"STEP: 0\nMatrix Dimension of r(R): {rows}\n")
        stream.write(f"Matrix number of r(R): {len(cells)}\n")
        for place, cell in enumerate(cells.tolist()):
            stream.write(" ".join(str(v) for v in cell) + "\n")
            for matrices in axes:
                matrix = kron(matrices[place], np.eye(2)) if spinor else matrices[place]
                matrix = _without_zeros(matrix)
                stream.write(f"{matrix.nnz}\n")
                _write_matrix(stream, matrix, 1.0)


def _counts(species: SpeciesBasis) -> str:
    """Return shells as in ``2s2p1d``."""
    return "".join(f"{species.l.count(v)}{SHELL_LETTERS[v]}" for v in sorted(set(species.l)))


def _write_csr(
    path: str,
    letter: str,
    rows: int,
    cells: Sequence[Sequence[int]],
    matrices: Mapping[tuple[int, ...], Any],
    unit: float,
) -> None:
    """Write one file; R without elements have no further lines."""
    with open(path, "w", encoding="ascii") as stream:
        stream.write(f"STEP: 0\nMatrix Dimension of {letter}(R): {rows}\n")
        stream.write(f"Matrix number of {letter}(R): {len(cells)}\n")
        for cell in cells:
            matrix = matrices.get(tuple(cell))
            found = None if matrix is None else _without_zeros(matrix)
            count = 0 if found is None else found.nnz
            stream.write(" ".join(str(v) for v in (*cell, count)) + "\n")
            if found is not None:
                _write_matrix(stream, found, unit)


def _without_zeros(matrix: Any) -> Any:
    found = matrix.tocsr()
    found.eliminate_zeros()
    found.sort_indices()
    return found


def _write_matrix(stream: IO[str], matrix: Any, unit: float) -> None:
    """Write values, columns and row pointers; nothing of a matrix without elements."""
    if matrix.nnz:
        _write_row(stream, matrix.data / unit)
        _write_row(stream, matrix.indices)
        _write_row(stream, matrix.indptr)


def _write_row(stream: IO[str], values: np.ndarray) -> None:
    """Write a line of numbers."""
    for begin in range(0, len(values), CHUNK):
        part = values[begin : begin + CHUNK].tolist()
        if values.dtype.kind == "c":
            stream.writelines(f" ({v.real:.16e},{v.imag:.16e})" for v in part)
        elif values.dtype.kind == "f":
            stream.writelines(f" {v:.16e}" for v in part)
        else:
            stream.writelines(f" {v}" for v in part)
    stream.write("\n")


def _log(calculation: Calculation, arrangement: _Arrangement) -> Iterator[str]:
    """Yield the lines of the log."""
    yield " written by moireio, not by ABACUS\n"
    electrons = calculation.electrons
    for number, (name, species) in enumerate(arrangement.basis.species.items(), 1):
        yield f"\n READING ATOM TYPE {number}\n                           atom label = {name}\n"
        for momentum in sorted(set(species.l)):
            count = species.l.count(momentum)
            yield f"                     L={momentum}, number of zeta = {count}\n"
        valence = calculation.basis[name].valence
        if valence is not None:
            yield f"           electron number of element {name} = {valence!r}\n"
    yield f"\n                    TOTAL ATOM NUMBER = {len(calculation.structure)}\n"
    if electrons is not None and electrons.count is not None:
        yield f"            AUTOSET number of electrons:  = {electrons.count!r}\n"
    if electrons is not None and electrons.fermi is not None:
        yield f" EFERMI = {electrons.fermi!r} eV\n"
