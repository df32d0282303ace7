"""Writing WannierTools' sparse and dense Hamiltonians with their ``wt.in``.

Rows are all up orbitals, then all down ones. Energies are eV. The input has what is known of the
Hamiltonian; the task, ``NumOccupied`` and k paths are for the user to set.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from moireio import __version__
from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.elements import OrbitalMap, matrices_from_source
from moireio.formats.assembly.losses import note_losses
from moireio.formats.assembly.plain import is_orthogonal, plain_hamiltonian
from moireio.formats.wannier90.write import number_form, require_digits, write_hr
from moireio.formats.wanniertools.orbitals import orbital_names
from moireio.operators.views import stored_as
from moireio.runtime.files import require_free, write_text

PROGRAM = "WannierTools' dense form"
FORMS = ("sparse", "dense")


def write_calculation(
    calculation: Calculation,
    path: str,
    *,
    force: bool,
    form: str,
    orthogonalise: str | None,
    digits: int | None,
) -> None:
    """Write a Hamiltonian, its overlap where S is not 1, and ``wt.in``.

    Parameters
    ----------
    calculation : Calculation
        With H, not collinear.
    path : str
        The Hamiltonian; the overlap's name has ``_overlap`` before its suffix.
    force : bool
        Replace what exists.
    form : {"sparse", "dense"}
        How H is listed; the dense form has no overlap.
    orthogonalise : str or None
        Mesh for Löwdin's orthogonalisation where S is not 1.
    digits : int or None
        Digits after the point; by default all.

    Raises
    ------
    MoireioError
        If spin is collinear, S is not 1 in the dense form, or a file exists.
    """
    require_digits(digits)
    if form not in FORMS:
        raise MoireioError(f"`form` is {form!r}", remedy="sparse or dense")
    spin = calculation.hamiltonian.meta.spin
    if spin == "collinear":
        raise MoireioError(
            "has collinear spin, for which WannierTools has no form",
            path=calculation.label,
            remedy="write Wannier90's two files, and use one of them",
        )
    stem, suffix = os.path.splitext(path)
    plain_overlap = is_orthogonal(calculation) or orthogonalise is not None or form == "dense"
    if not plain_overlap and calculation.overlap is None:
        raise MoireioError(
            "has no overlap, and its orbitals are not orthogonal",
            path=calculation.label,
            remedy="compute it with the command overlap",
        )
    overlap_path = None if plain_overlap else f"{stem}_overlap{suffix}"
    wt_path = os.path.join(os.path.dirname(path), "wt.in")
    targets = [path, wt_path, *([] if overlap_path is None else [overlap_path])]
    require_free(*targets, force=force, inputs=calculation.files)
    note_losses(calculation, "WannierTools' files")
    spinor = "blocks" if spin == "spinor" else None
    orbitals = OrbitalMap.make(calculation.structure, calculation.basis, spinor=spinor)
    with ExitStack() as stack:
        if form == "dense" or plain_overlap:
            plain = plain_hamiltonian(calculation, orbitals, orthogonalise, PROGRAM)
            cells, matrices = plain.cells, plain.components[0]
            if form == "dense":
                write_hr(stack.enter_context(write_text(path)), plain, 0, digits)
        else:
            cells, (matrices,) = matrices_from_source(calculation.hamiltonian, orbitals)
        if form == "sparse":
            _write_sparse(stack.enter_context(write_text(path)), cells, matrices, digits)
        if overlap_path is not None:
            assert calculation.overlap is not None
            spinless = OrbitalMap.make(calculation.structure, calculation.basis)
            cells, (matrices,) = matrices_from_source(
                stored_as(calculation.overlap, "full"), spinless
            )
            if spin == "spinor":
                from scipy.sparse import block_diag

                matrices = [block_diag([matrix, matrix], format="csr") for matrix in matrices]
            _write_sparse(stack.enter_context(write_text(overlap_path)), cells, matrices, digits)
        stack.enter_context(write_text(wt_path)).write(
            _input(calculation, path, overlap_path, form)
        )


def _write_sparse(
    stream: TextIO, cells: npt.NDArray[np.int64], matrices: Sequence[Any], digits: int | None
) -> None:
    """Write the elements that are not 0."""
    from scipy.sparse import coo_array

    listed = []
    for matrix in matrices:
        found = coo_array(matrix)
        kept = found.data != 0
        listed.append((found.row[kept] + 1, found.col[kept] + 1, found.data[kept]))
    number = number_form(digits)
    stream.write(f"! written by moireio {__version__}\n")
    stream.write(f"{sum(len(value) for *_, value in listed):12d}  ! elements\n")
    stream.write(f"{matrices[0].shape[0]:12d}  ! orbitals\n")
    for cell, (row, column, value) in zip(cells.tolist(), listed, strict=True):
        start = "".join(f" {x:4d}" for x in cell)
        table = np.empty((len(value), 4), dtype=object)
        table[:, 0], table[:, 1] = row, column
        table[:, 2], table[:, 3] = value.real + 0.0, value.imag + 0.0
        line = f"{start} %7d %7d{number}{number}\n"
        stream.write(line * len(value) % tuple(table.ravel().tolist()))


def _input(calculation: Calculation, path: str, overlap_path: str | None, form: str) -> str:
    """Return the text of ``wt.in``."""
    structure, basis = calculation.structure, calculation.basis
    spinful = calculation.hamiltonian.meta.spin == "spinor"
    electrons = calculation.electrons
    fermi = None if electrons is None else electrons.fermi
    sizes = basis.sizes(structure)
    total = int(sizes.sum()) * (2 if spinful else 1)
    filled = total // 2
    if electrons is not None and electrons.count is not None:
        filled = round(electrons.count / (1 if spinful else 2))
    lines = [
        "&TB_FILE",
        f"Hrfile = '{os.path.basename(path)}'",
        "Package = 'VASP'  ! all up orbitals, then all down ones",
    ]
    if form == "sparse":
        lines.append("Is_Sparse_Hr = T")
    if overlap_path is not None:
        lines += [f"Overlapfile = '{os.path.basename(overlap_path)}'", "Orthogonal_Basis = F"]
    lines += ["/", "", "&CONTROL", "BulkBand_calc = T", "/", "", "&SYSTEM"]
    level = "! E_FERMI is not known" if fermi is None else f"E_FERMI = {fermi!r}"
    lines += [f"SOC = {int(spinful)}", level, f"NumOccupied = {max(1, filled)}", "/", ""]
    lines += ["&PARAMETERS", "Nk1 = 50", f"E_arc = {fermi or 0.0!r}", f"OmegaNum = {total}", "/"]
    lines += ["", "LATTICE", "Angstrom"]
    lines += [" ".join(f"{x!r:>24}" for x in row) for row in structure.cell.tolist()]
    names = _names(calculation)
    lines += ["", "ATOM_POSITIONS", f"{len(structure)}", "Cartesian"]
    lines += [
        f"{name:4s} " + " ".join(f"{x!r:>24}" for x in point)
        for name, point in zip(names, structure.positions.tolist(), strict=True)
    ]
    lines += ["", "PROJECTORS", " ".join(str(size) for size in sizes)]
    of_species = {name: " ".join(orbital_names(basis[name])) for name in structure.species_names}
    lines += [
        f"{name} {of_species[species]}"
        for name, species in zip(names, structure.species_of_atoms, strict=True)
    ]
    lines += ["", "SURFACE", "1 0 0", "0 1 0", "", "KPATH_BULK", "1", "G 0 0 0  X 0.5 0 0"]
    return "\n".join(lines) + "\n"


def _names(calculation: Calculation) -> list[str]:
    """Return the symbol of each atom; the species where it has no element."""
    structure = calculation.structure
    pairs = zip(structure.element_symbols, structure.species_of_atoms, strict=True)
    return [species if symbol == "X" else symbol for symbol, species in pairs]
