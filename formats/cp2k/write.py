"""Writing CP2K's matrices in real space; the layout is that of `moireio.formats.cp2k.realspace`.

A folder is made with the CSR files of project ``moireio``, an output ``moireio.out`` with what
readers of these files need (cell, atoms, shells, the table of the cells), and ``moireio.inp`` with
cell and coordinates in all digits. R is counted between atoms moved to [−½, ½) along periodic
vectors, as CP2K counts it; the coordinates stay. Kept: structure, shells, H (both spins), S, Fermi
level, number of electrons. Lost: everything else; spinors and incomplete shells have no place.
"""

from __future__ import annotations

import os
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.elements import OrbitalMap, has_imaginary_parts, matrices_from_source
from moireio.formats.assembly.losses import note_losses, require_orbitals
from moireio.formats.assembly.orders import NATURAL
from moireio.formats.assembly.orthogonal import unit_overlap
from moireio.formats.assembly.placing import with_moves, wrapped
from moireio.formats.assembly.shells import require_labels
from moireio.formats.cp2k.csr import NAME
from moireio.formats.cp2k.realspace import HARTREE_EV
from moireio.operators.views import stored_as
from moireio.runtime.files import write_folder

PROJECT = "moireio"
FILES = (f"{PROJECT}.out", f"{PROJECT}.inp")
#: The label of one orbital of each shell, as the output prints Cartesian functions.
LABELS = ("s", "px", "dx2", "fx3", "gx4", "hx5")


def write(calculation: Calculation, path: str, *, force: bool = False) -> None:
    """Write a folder; it appears whole or not at all.

    Parameters
    ----------
    calculation : Calculation
        With H or S.
    path : str
        The folder.
    force : bool
        Replace a folder that was written so.

    Raises
    ------
    MoireioError
        If the files cannot hold the calculation, or the folder exists.
    """
    label, structure, basis = calculation.label, calculation.structure, calculation.basis
    names = [name for name in ("hamiltonian", "overlap") if name in calculation.operators]
    if not names:
        raise MoireioError("has neither H nor S", path=label)
    if any(calculation.operator(name).meta.spin == "spinor" for name in names):
        raise MoireioError("has spinors, for which CP2K's CSR files have no place", path=label)
    if any(has_imaginary_parts(calculation.operator(name)) for name in names):
        raise MoireioError("has complex matrices; those of CP2K's CSR files are real", path=label)
    require_labels(structure, "CP2K", label)
    require_orbitals(calculation, "CP2K")
    for name in structure.species_names:
        if basis[name].m is not None:
            raise MoireioError(
                f"the species {name} has incomplete shells; CP2K has whole ones", path=label
            )
    note_losses(calculation, "CP2K's CSR files")
    _, moves = wrapped(structure, -0.5, low_included=True, along=structure.pbc)
    orbitals = OrbitalMap.make(structure, basis, NATURAL)
    operators = {name: calculation.operator(name) for name in names}
    if basis.orthogonal and "overlap" not in operators:
        operators["overlap"] = unit_overlap(structure, basis)
    with write_folder(path, _known, force) as folder:
        tables = {}
        for name in operators:
            source = with_moves(stored_as(operators[name], "full"), moves)
            cells, channels = matrices_from_source(source, orbitals)
            matrix = "KS" if name == "hamiltonian" else "S"
            tables[matrix] = cells
            scale = 1 / HARTREE_EV if name == "hamiltonian" else 1.0
            for spin, matrices in enumerate(channels, 1):
                for number, found in enumerate(matrices, 1):
                    file = f"{PROJECT}-{matrix}_SPIN_{spin}_R_{number}-1_0.csr"
                    with open(os.path.join(folder, file), "w", encoding="utf-8") as stream:
                        _write_matrix(stream, found, scale)
        texts = _output(calculation, tables), _input(calculation)
        for file, text in zip(FILES, texts, strict=True):
            with open(os.path.join(folder, file), "w", encoding="utf-8") as stream:
                stream.write(text)


def _known(name: str) -> bool:
    return name in FILES or NAME.fullmatch(name) is not None


def _write_matrix(stream: IO[str], matrix: Any, scale: float) -> None:
    """Write row, column and value of each element that is not zero."""
    found = matrix.tocoo()
    kept = np.flatnonzero(found.data)
    order = kept[np.lexsort((found.col[kept], found.row[kept]))]
    for row, column, value in zip(
        (found.row[order] + 1).tolist(),
        (found.col[order] + 1).tolist(),
        (scale * found.data.real[order]).tolist(),
        strict=True,
    ):
        digits, power = f"{value:.16E}".split("E")
        stream.write(f"{row:8d} {column:7d} {digits:>19}E{int(power):+04d}\n")


def _output(calculation: Calculation, tables: dict[str, npt.NDArray[np.int64]]) -> str:
    """Return an output with cell, atoms, shells and the cells of the CSR files."""
    structure, basis = calculation.structure, calculation.basis
    lengths = np.linalg.norm(structure.cell, axis=1)
    unit = structure.cell / lengths[:, None]
    rows = [
        " CP2K| version string: none; files in CP2K's form, written by moireio",
        f" CP2K| Input file name {FILES[1]:>56}",
        f" GLOBAL| Project name {PROJECT:>58}",
        f" GLOBAL| Run type {'ENERGY':>62}",
    ]
    for name, vector, length in zip("abc", structure.cell, lengths, strict=True):
        numbers = "".join(f" {x:11.6f}" for x in vector)
        rows.append(f" CELL| Vector {name} [angstrom]: {numbers}   |{name}| = {length:12.6f}")
    for names, first, second in (("(b,c), alpha", 1, 2), ("(a,c), beta", 0, 2),
                                 ("(a,b), gamma", 0, 1)):  # fmt: skip
        angle = np.degrees(np.arccos(np.clip(unit[first] @ unit[second], -1, 1)))
        rows.append(f" CELL| Angle {names} [degree]: {angle:>20.6f}")
    letters = "".join(a for a, along in zip("XYZ", structure.pbc, strict=True) if along)
    rows.append(f" CELL| Periodicity {letters or 'NONE':>61}")
    spins = 1
    if "hamiltonian" in calculation.operators:
        spins = 2 if calculation.operator("hamiltonian").meta.spin == "collinear" else 1
    rows += [f" DFT| Number of spin states {spins:53d}", "", " ATOMIC KIND INFORMATION"]
    names = structure.species_names
    counts = np.bincount(structure.species, minlength=len(names))
    for kind, name in enumerate(names, 1):
        rows += [
            "",
            f"  {kind}. Atomic kind: {name:<20} Number of atoms: {counts[kind - 1]:7d}",
            "",
        ]
        rows += [f"     Orbital Basis Set {basis[name].label:>58}", ""]
        rows += [f"       Number of spherical basis functions: {basis[name].size:35d}", ""]
        for shell, momentum in enumerate(basis[name].l, 1):
            begin = f"                          1    {shell:4d}    {shell + momentum}"
            rows.append(f"{begin}{LABELS[momentum]:<6}        1.000000       1.000000")
    rows += ["", " MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM", ""]
    rows.append("   Atom Kind Element         X             Y             Z       Z(eff)     Mass")
    symbols = structure.element_symbols
    for atom, place in enumerate(structure.positions.tolist()):
        kind = int(structure.species[atom]) + 1
        valence = basis[structure.species_of_atoms[atom]].valence or 0.0
        numbers = "".join(f" {x:13.6f}" for x in place)
        rows.append(
            f"{atom + 1:7d} {kind:4d} {symbols[atom]:<2}{structure.numbers[atom]:6d}{numbers}"
            f"{valence:9.4f}   0.0000"
        )
    rows += ["", ""]
    electrons = calculation.electrons
    if electrons is not None and electrons.count is not None and electrons.count % 1 == 0:
        rows.append(f" Number of electrons: {int(electrons.count):58d}")
    if electrons is not None and electrons.fermi is not None:
        rows.append(f"  Fermi energy: {electrons.fermi / HARTREE_EV:>50.16f}")
    for matrix, cells in tables.items():
        rows += ["", f" {matrix:>2} CSR write|{len(cells):4d} periodic images"]
        rows.append("      Number    X      Y      Z")
        for number, (x, y, z) in enumerate(cells.tolist(), 1):
            rows.append(f"{number:10d} {x:6d} {y:6d} {z:6d}")
    return "\n".join(rows) + "\n"


def _input(calculation: Calculation) -> str:
    """Return cell, coordinates and kinds in all digits, as a part of CP2K's input."""
    structure = calculation.structure
    rows = ["&FORCE_EVAL", "  &SUBSYS", "    &CELL"]
    for name, vector in zip("ABC", structure.cell.tolist(), strict=True):
        rows.append(f"      {name} " + " ".join(map(repr, vector)))
    letters = "".join(a for a, along in zip("XYZ", structure.pbc, strict=True) if along)
    rows += [f"      PERIODIC {letters or 'NONE'}", "    &END CELL", "    &COORD"]
    names = structure.species_of_atoms
    for name, place in zip(names, structure.positions.tolist(), strict=True):
        rows.append(f"      {name} " + " ".join(map(repr, place)))
    rows.append("    &END COORD")
    for name, symbol in dict(zip(names, structure.element_symbols, strict=True)).items():
        rows += [f"    &KIND {name}", f"      ELEMENT {symbol}", "    &END KIND"]
    return "\n".join([*rows, "  &END SUBSYS", "&END FORCE_EVAL", ""])
