"""ABACUS's ``STRU``: species, orbital files, cell and atoms.

Layout: sections of keywords; ``#`` and ``//`` begin comments. ATOMIC_SPECIES (label, mass,
pseudopotential), NUMERICAL_ORBITAL (a file for each species, whose name has its shells),
LATTICE_CONSTANT (Bohr), LATTICE_VECTORS (in that constant) or, with a ``latname`` in INPUT,
LATTICE_PARAMETERS, ATOMIC_POSITIONS (Direct, Cartesian in the constant, Cartesian_angstrom, …; for
each species label, magnetism, number, positions).
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, naming
from moireio.formats.abacus.lattices import named_lattice
from moireio.formats.structures.text import atomic_number, labelled_element, read_text, shown
from moireio.system.structure import FARTHEST, Structure

#: As in ABACUS.
BOHR = 0.529177
SECTIONS = (
    "ATOMIC_SPECIES",
    "NUMERICAL_ORBITAL",
    "NUMERICAL_DESCRIPTOR",
    "PAW_FILES",
    "ABFS_ORBITAL",
    "ABFS_JLES_ORBITAL",
    "LATTICE_CONSTANT",
    "LATTICE_VECTORS",
    "LATTICE_PARAMETERS",
    "LATTICE_PARAMETER",
    "ATOMIC_POSITIONS",
)
PARAMETERS = ("LATTICE_PARAMETERS", "LATTICE_PARAMETER")
CENTRES = ("xy", "xz", "yz", "xyz")
SHIFT = 10000
#: Place of an atom in the block file and lattice vectors by which it is away from there.
Mark = tuple[int, tuple[int, int, int]]
_MARK = re.compile(r"# atom (\d{1,9})(?: moved by (-?\d{1,6}) (-?\d{1,6}) (-?\d{1,6}))?\s*$")


@dataclass(frozen=True, eq=False)
class Stru:
    """Contents of a STRU file.

    Parameters
    ----------
    structure : Structure
        The atoms, gathered by species.
    orbital_files : dict of str to str
        Name of the orbital file of each species, as far as there are.
    order : (N,) array of int, optional
        Place of each atom among those of the block file from which moireio wrote the file.
    moves : (N, 3) array of int
        Lattice vectors from each atom where ABACUS has it, inside the cell, to `structure`.
    """

    structure: Structure
    orbital_files: dict[str, str]
    order: npt.NDArray[np.int64] | None = None
    moves: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 3), dtype=np.int64))


def read_stru(path: str, latname: str | None = None) -> Stru:
    """Read a STRU file.

    Parameters
    ----------
    path : str
        The file.
    latname : str, optional
        Name of the lattice in INPUT, for a file without LATTICE_VECTORS.

    Returns
    -------
    Stru
        Its contents.

    Raises
    ------
    MoireioError
        If it cannot be read, with the line.
    """
    with naming(path):
        return _Reader(path).read(latname)


def species_number(label: str) -> int:
    """Return the atomic number that a label such as Fe2 stands for.

    Parameters
    ----------
    label : str
        Label of a species.

    Returns
    -------
    int
        0 where it is no element's.
    """
    return atomic_number(label) or labelled_element(label) or 0


def _of_pseudopotential(listed: dict[str, list[str]], name: str) -> int:
    """Return the element whose symbol the pseudopotential's name begins with; 0 without one."""
    words = listed.get(name, [])
    return (labelled_element(os.path.basename(words[2])) or 0) if len(words) > 2 else 0


class _Reader:
    """Lines of a STRU, by sections."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.sections: dict[str, list[tuple[int, list[str], str]]] = {}
        section = None
        for number, line in enumerate(read_text(path).split("\n"), 1):
            words = line.split("#")[0].split("//")[0].split()
            if not words:
                continue
            if words[0] in SECTIONS:
                section = words[0]
                if section in self.sections:
                    self.fail(number, f"has {section} for the second time")
                self.sections[section] = []
            elif section is not None:
                self.sections[section].append((number, words, line))

    def fail(self, number: int, what: str) -> NoReturn:
        raise MoireioError(f"line {number}: {what}", path=self.path, remedy="correct that line")

    def section(self, name: str) -> list[tuple[int, list[str], str]]:
        if not self.sections.get(name):
            raise MoireioError(f"has no {name}", path=self.path, remedy="a STRU of ABACUS expected")
        return self.sections[name]

    def numbers(self, row: tuple[int, list[str], str], count: int) -> list[float]:
        number, words, line = row
        try:
            found = [float(word) for word in words[:count]]
        except ValueError:
            found = []
        if len(found) < count or not (np.abs(found) <= FARTHEST).all():
            self.fail(number, f"{count} numbers expected, found {shown(line)}")
        return found

    def vectors(self, latname: str | None) -> npt.NDArray[np.float64]:
        """Return the lattice vectors in lattice constants."""
        if "LATTICE_VECTORS" in self.sections:
            rows = self.section("LATTICE_VECTORS")
            if len(rows) < 3:
                self.fail(rows[-1][0], "three lattice vectors expected")
            return np.array([self.numbers(row, 3) for row in rows[:3]])
        if latname is None:
            raise MoireioError(
                "has no LATTICE_VECTORS: its lattice is in the latname of INPUT",
                path=self.path,
                remedy="give INPUT, or a STRU with lattice vectors such as STRU_ION_D of the run, "
                "in `companions`",
            )
        rows = [row for name in PARAMETERS for row in self.sections.get(name, [])]
        return named_lattice(latname, [x for row in rows for x in self.numbers(row, len(row[1]))])

    def read(self, latname: str | None) -> Stru:
        row = self.section("LATTICE_CONSTANT")[0]
        (constant,) = self.numbers(row, 1)
        if constant <= 0:
            self.fail(row[0], f"a positive lattice constant expected, found {shown(row[2])}")
        unit = constant * BOHR
        cell = unit * self.vectors(latname)
        labels, positions, marks = self._atoms(cell, unit)
        names = list(dict.fromkeys(labels))
        listed = {words[0]: words for _, words, _ in self.sections.get("ATOMIC_SPECIES", [])}
        numbers = {
            name: species_number(name) or _of_pseudopotential(listed, name) for name in names
        }
        structure = Structure(
            cell,
            positions,
            [numbers[label] for label in labels],
            [names.index(label) for label in labels],
            names,
            (True, True, True),
        )
        files = {}
        for label, (_, words, _) in zip(
            listed or names, self.sections.get("NUMERICAL_ORBITAL", []), strict=False
        ):
            files[label] = words[0]
        moves = -into_cell(structure)
        found = [mark for mark in marks if mark is not None]
        if sorted(place for place, _ in found) != list(range(len(labels))):
            return Stru(structure, files, None, moves)
        moves = moves + np.array([move for _, move in found])
        shift = np.array([move for _, move in found]) @ cell
        structure = replace(structure, positions=structure.positions + shift)
        return Stru(structure, files, np.array([place for place, _ in found]), moves)

    def _atoms(
        self, cell: npt.NDArray[np.float64], unit: float
    ) -> tuple[list[str], npt.NDArray[np.float64], list[Mark | None]]:
        rows = self.section("ATOMIC_POSITIONS")
        number, words, line = rows[0]
        kind = words[0].lower()
        shift = np.zeros(3)
        if kind == "direct":
            matrix = cell
        elif kind == "cartesian":
            matrix = unit * np.eye(3)
        elif kind == "cartesian_au":
            matrix = BOHR * np.eye(3)
        elif kind.startswith("cartesian_angstrom"):
            matrix = np.eye(3)
            if kind != "cartesian_angstrom":
                axes = kind.removeprefix("cartesian_angstrom_center_")
                if axes not in CENTRES:
                    self.fail(number, f"the kind of coordinates {shown(line)} is not known")
                # x, y, z of the cell's middle, not halves of its vectors as in ABACUS's manual
                shift = cell.sum(axis=0) / 2 * [axis in axes for axis in "xyz"]
        else:
            self.fail(number, f"the kind of coordinates {shown(line)} is not known")
        labels: list[str] = []
        positions: list[list[float]] = []
        marks: list[Mark | None] = []
        at = 1
        while at < len(rows):
            if at + 2 >= len(rows):
                self.fail(rows[-1][0], "a species with its magnetism and number of atoms expected")
            label = rows[at][1][0]
            (count,) = self.numbers(rows[at + 2], 1)
            if count != int(count) or not 0 <= count <= len(rows):
                self.fail(rows[at + 2][0], f"{shown(rows[at + 2][2])} atoms {label}: too many")
            begin, at = at + 3, at + 3 + int(count)
            if at > len(rows):
                self.fail(rows[-1][0], f"ends after {len(rows) - begin} of {int(count)} {label}")
            for row in rows[begin:at]:
                labels.append(label)
                positions.append(self.numbers(row, 3))
                marks.append(_mark(row[2]))
        if not labels:
            self.fail(number, "has no atoms")
        return labels, np.array(positions) @ matrix + shift, marks


def _mark(line: str) -> Mark | None:
    """Return an atom's place and move in the block file, as moireio writes them beside it."""
    found = _MARK.search(line)
    if found is None:
        return None
    return int(found[1]) - 1, (int(found[2] or 0), int(found[3] or 0), int(found[4] or 0))


def into_cell(structure: Structure) -> npt.NDArray[np.int64]:
    """Return the lattice vectors by which ABACUS moves atoms into the cell.

    Parameters
    ----------
    structure : Structure
        The atoms.

    Returns
    -------
    (N, 3) array of int64
        By the rule of its source, `UnitCell::check_dtau`: the fraction of x + 10000.
    """
    fractional = structure.positions @ np.linalg.inv(structure.cell)
    return (SHIFT - np.floor(fractional + SHIFT)).astype(np.int64)


def gathered(structure: Structure) -> npt.NDArray[np.int64]:
    """Return the order of the atoms in which those of a species follow each other.

    Parameters
    ----------
    structure : Structure
        The atoms.

    Returns
    -------
    (N,) array of int64
        ``structure.positions[order]`` are gathered; species in order of first appearance.
    """
    first = {name: k for k, name in enumerate(dict.fromkeys(structure.species_of_atoms))}
    ranks = [first[name] for name in structure.species_of_atoms]
    return np.argsort(ranks, kind="stable").astype(np.int64)


def stru_text(structure: Structure, orbital_files: dict[str, str], order: Sequence[int]) -> str:
    """Return the text of a STRU.

    Parameters
    ----------
    structure : Structure
        The atoms.
    orbital_files : dict of str to str
        Name of the orbital file of each species.
    order : sequence of int
        The atoms in the order in which they are written, gathered by species.

    Returns
    -------
    str
        Positions in Å, inside the cell; comments keep what the block file has instead.
    """
    from ase.data import atomic_masses, chemical_symbols

    atoms = np.asarray(order)
    of_atoms = [structure.species_of_atoms[a] for a in atoms]
    names = list(dict.fromkeys(of_atoms))
    moves = into_cell(structure)
    marked = bool((atoms != np.arange(len(atoms))).any() or moves.any())
    positions = structure.positions + moves @ structure.cell
    lines = ["ATOMIC_SPECIES"]
    for name in names:
        number = int(structure.numbers[atoms[of_atoms.index(name)]])
        lines.append(f"{name} {atomic_masses[number]:.4f} {chemical_symbols[number]}.upf")
    lines += ["", "NUMERICAL_ORBITAL", *(orbital_files[name] for name in names)]
    lines += ["", "LATTICE_CONSTANT", repr(1 / BOHR), "", "LATTICE_VECTORS"]
    lines += [" ".join(repr(float(v)) for v in row) for row in structure.cell]
    lines += ["", "ATOMIC_POSITIONS", "Cartesian_angstrom"]
    for name in names:
        inside = [a for a, of in zip(atoms, of_atoms, strict=True) if of == name]
        lines += ["", name, "0.0", str(len(inside))]
        for atom in inside:
            line = " ".join(repr(float(v)) for v in positions[atom]) + " 1 1 1"
            if marked:
                line += f" # atom {atom + 1}"
            if moves[atom].any():
                line += " moved by " + " ".join(str(-int(v)) for v in moves[atom])
            lines.append(line)
    return "\n".join(lines) + "\n"
