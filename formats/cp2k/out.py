"""CP2K's output: the cell, the atoms, the shells and the cells of the CSR files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, naming
from moireio.formats.assembly.elements import require_partners_of_cells
from moireio.formats.structures.text import atomic_number, shown
from moireio.formats.text.streams import first_bytes, lines
from moireio.system.basis import SHELL_LETTERS

_HEAD = re.compile(rb"^ (?:DBCSR|CP2K)\| ", re.M)
_VECTOR = re.compile(
    r" CELL\| Vector ([abc]) \[(\w+)\]?:?((?:\s+-?[\d.]+){3})\s+\|[abc]\|\s*=\s*([\d.]+)", re.I
)
_ANGLE = re.compile(r" CELL\| Angle .*(alpha|beta|gamma).*?:\s+([\d.]+)\s*$")
_KIND = re.compile(r"\s*(\d+)\. Atomic kind: (\S+)\s+Number of atoms:\s+(\d+)")
_SHELL = re.compile(r"\s+(\d+)\s+(\d+)\s+\d+([spdfgh])\S*(?:\s+[-\d.*]+){0,2}\s*$", re.I)
_ATOM = re.compile(r"\s*(\d+)\s+(\d+)\s+(\S+)\s+(\d+)((?:\s+-?[\d.]+){3})\s+(-?[\d.]+)\s")
_TABLE = re.compile(r"\s*(KS|S) CSR write\|\s*(\d+|\*+) periodic images")
_AO = re.compile(r"\s*(\d+)\s+(\d+)\s+[A-Z]\w*\s+\d+([spdfgh])\S*\s+-?\d", re.I)
_COUNT = re.compile(r"\s*Number of spherical basis functions:\s+(\d+)")
_FERMI = re.compile(r"\s*Fermi energy:\s+(-?[\d.]+(?:E[-+]?\d+)?)", re.I)
_ELECTRONS = re.compile(r"\s*Number of electrons:\s+(\d+)\s*$")
FARTHEST = 1 << 20
LONGEST = 1000  # characters of a line that are looked at


@dataclass(eq=False)
class Output:
    """What CP2K's output says.

    Parameters
    ----------
    project, input_name, run_type : str
        As CP2K prints them; empty where it does not.
    vectors : (3, 3) array or None
        Lattice vectors, Å, with the few decimals that are printed.
    lengths, angles : list of float
        Lengths of the vectors, Å, and α, β, γ, degrees.
    kinds : dict of int to str
        Names of the atomic kinds.
    shells : dict of int to tuple of int
        Angular momentum of each radial function, of the kinds whose basis is printed.
    sizes : dict of int to int
        Orbitals of a kind.
    atom_kinds, numbers : list of int
        Kind and atomic number of each atom.
    positions : (N, 3) array
        Å, as they are printed: not moved into a cell.
    valence : dict of int to float
        Effective charge by kind.
    cells : dict of str to (n, 3) array
        For "KS" and "S" the cell of every file, in the order of their numbers.
    orbitals : dict of int to list of int
        Angular momentum of each orbital of an atom, where a matrix with labels is printed.
    n_spins : int
        1 or 2.
    fermi : float or None
        Hartree.
    electrons : list of int
        Numbers of electrons, of every spin, in the order of printing.
    periodicity : str
        As "XYZ".
    """

    project: str = ""
    input_name: str = ""
    run_type: str = ""
    vectors: npt.NDArray[np.float64] | None = None
    lengths: list[float] = field(default_factory=list)
    angles: list[float] = field(default_factory=list)
    kinds: dict[int, str] = field(default_factory=dict)
    shells: dict[int, tuple[int, ...]] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    atom_kinds: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    positions: npt.NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 3)))
    valence: dict[int, float] = field(default_factory=dict)
    cells: dict[str, npt.NDArray[np.int64]] = field(default_factory=dict)
    orbitals: dict[int, list[int]] = field(default_factory=dict)
    n_spins: int = 1
    fermi: float | None = None
    electrons: list[int] = field(default_factory=list)
    periodicity: str = "XYZ"

    def cell(self) -> npt.NDArray[np.float64] | None:
        """Return the lattice vectors, as precisely as lengths, angles and decimals give them.

        Returns
        -------
        (3, 3) array or None
            Å. Lengths and angles have six decimals where vectors have three, so that the vectors
            are only their orientation.
        """
        if self.vectors is None or len(self.lengths) != 3 or len(self.angles) != 3:
            return self.vectors
        standard = cell_of_lengths(self.lengths, self.angles)
        if standard is None:
            return self.vectors
        if np.abs(standard - self.vectors).max() < 1e-3:
            return standard
        turn, _, back = np.linalg.svd(np.linalg.solve(standard, self.vectors))
        turned = standard @ turn @ back
        return turned if np.abs(turned - self.vectors).max() < 2e-3 else self.vectors


def cell_of_lengths(lengths: list[float], angles: list[float]) -> npt.NDArray[np.float64] | None:
    """Return the lattice with a along x and b in the plane of x and y.

    Parameters
    ----------
    lengths : list of three float
        Å.
    angles : list of three float
        α, β and γ, degrees.

    Returns
    -------
    (3, 3) array or None
        Rows, Å; None if there is no such lattice.
    """
    alpha, beta, gamma = np.radians(angles)
    cosines = np.cos([alpha, beta, gamma])
    # Exact for the angles of usual lattices, as CP2K has them.
    for special in (0.0, 0.5, -0.5, 1 / 3, -1 / 3):
        cosines = np.where(np.abs(cosines - special) < 2e-8, special, cosines)
    sine = np.sqrt(max(1 - cosines[2] ** 2, 0.0))
    if sine < 1e-6:
        return None
    second = (cosines[0] - cosines[1] * cosines[2]) / sine
    third = 1 - cosines[1] ** 2 - second**2
    if third < 1e-6:
        return None
    directions = np.array(
        [[1, 0, 0], [cosines[2], sine, 0], [cosines[1], second, np.sqrt(third)]], dtype=np.float64
    )
    return np.asarray(lengths, dtype=np.float64)[:, None] * directions


def is_output(path: str) -> bool:
    """Return whether a file is an output of CP2K.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        By its beginning.
    """
    return _HEAD.search(first_bytes(path, 16384)) is not None


def read_output(path: str) -> Output:
    """Read CP2K's output.

    Parameters
    ----------
    path : str
        The file, compressed or not.

    Returns
    -------
    Output
        The last of several steps; what is not printed is empty.

    Raises
    ------
    MoireioError
        With the line that cannot be read.
    """
    found = Output()
    reader = _Reader(path)
    with naming(path):
        for line in reader:
            _take(found, line, reader)
    for kind, name in found.kinds.items():
        if kind in found.shells and kind in found.sizes:
            total = sum(2 * momentum + 1 for momentum in found.shells[kind])
            if total != found.sizes[kind]:
                raise DamagedError(
                    f"prints shells with {total} orbitals for kind {name}, which has "
                    f"{found.sizes[kind]}",
                    path=path,
                )
    return found


class _Reader:
    """Lines with their number, one of which can be looked at before it is taken."""

    def __init__(self, path: str) -> None:
        self._lines = lines(path)
        self._next: str | None = None
        self.line = 0

    def __iter__(self) -> Iterator[str]:
        while (line := self.take()) is not None:
            yield line

    def peek(self) -> str | None:
        if self._next is None and (line := next(self._lines, None)) is not None:
            self._next = line[:LONGEST]
        return self._next

    def take(self) -> str | None:
        line = self.peek()
        self._next = None
        self.line += line is not None
        return line


_AFTER_KIND = ("Atomic kind:", "MOLECULE KIND", "TOTAL NUMBERS", "ATOMIC COORDINATES", "| ")
_WORDS = {
    " GLOBAL| Project name": "project",
    " CP2K| Input file name": "input_name",
    " GLOBAL| Run type": "run_type",
    " CELL| Periodicity": "periodicity",
}


def _take(found: Output, line: str, reader: _Reader) -> None:
    """Take what a line, and the table that it begins, say."""
    for start, name in _WORDS.items():
        if line.startswith(start):
            setattr(found, name, line[len(start) :].strip())
            return
    if line.startswith(" CELL| "):
        _take_cell(found, line, reader)
    elif "Atomic kind:" in line and (kind := _KIND.match(line)) is not None:
        number = int(kind[1])
        found.kinds[number] = kind[2]
        _take_basis(found, number, reader)
    elif "ATOMIC COORDINATES IN" in line:
        _take_atoms(found, line, reader)
    elif "CSR write|" in line and (table := _TABLE.match(line)) is not None:
        _take_cells(found, table[1], table[2], reader)
    elif line.startswith(" DFT| Number of spin states"):
        found.n_spins = 2 if line.split()[-1] == "2" else 1
    elif (number := _FERMI.match(line)) is not None:
        found.fermi = float(number[1])
    elif (number := _ELECTRONS.match(line)) is not None:
        found.electrons.append(int(number[1][:12]))
    elif (label := _AO.match(line)) is not None:
        _take_label(found, label, reader)


def _take_cell(found: Output, line: str, reader: _Reader) -> None:
    if (vector := _VECTOR.match(line)) is not None:
        row = "abc".index(vector[1].lower())
        values = _finite([*vector[3].split(), vector[4]], line, reader)
        if found.vectors is None or row == 0:
            found.vectors, found.lengths, found.angles = np.zeros((3, 3)), [], []
        found.vectors[row] = values[:3]
        found.lengths.append(values[3])
    elif (angle := _ANGLE.match(line)) is not None:
        found.angles += _finite([angle[2]], line, reader)


def _take_basis(found: Output, kind: int, reader: _Reader) -> None:
    """Take the orbital basis set of a kind; what else is printed of it is passed over."""
    shells: dict[tuple[int, int], int] = {}
    orbital = False
    while (line := reader.peek()) is not None:
        if any(words in line for words in _AFTER_KIND):
            break
        reader.take()
        if "Basis Set" in line:
            orbital = line.strip().startswith("Orbital Basis Set")
        elif "otential" in line:
            orbital = False
        elif orbital and (count := _COUNT.match(line)) is not None:
            found.sizes[kind] = int(count[1][:9])
        elif orbital and (shell := _SHELL.match(line)) is not None:
            key = int(shell[1]), int(shell[2])
            shells.setdefault(key, SHELL_LETTERS.index(shell[3].lower()))
    if shells:
        found.shells[kind] = tuple(shells.values())


def _take_atoms(found: Output, line: str, reader: _Reader) -> None:
    unit = line.rstrip().split()[-1].lower()
    scale = {"angstrom": 1.0, "bohr": 0.52917720859}.get(unit)
    if scale is None:
        raise DamagedError(f"line {reader.line}: a unit of length expected, found {shown(line)}")
    kinds, numbers, positions = [], [], []
    while (line := reader.peek() or "") or reader.peek() is not None:
        atom = _ATOM.match(line + " ")
        if atom is None:
            if positions:
                break
            if line.strip() and not line.split()[0].lower().startswith("atom"):
                break
            reader.take()
            continue
        reader.take()
        if int(atom[1][:9]) != len(positions) + 1:
            raise DamagedError(
                f"line {reader.line}: atom {len(positions) + 1} expected, found {shown(line)}"
            )
        kind = int(atom[2][:9])
        number = int(atom[4][:4])
        if atomic_number(str(number)) is None:
            raise DamagedError(f"line {reader.line}: {number} is no atomic number")
        values = _finite([*atom[5].split(), atom[6]], line, reader)
        kinds.append(kind)
        numbers.append(number)
        positions.append([scale * value for value in values[:3]])
        found.valence[kind] = values[3]
        found.kinds.setdefault(kind, atom[3])
    if positions:
        found.atom_kinds, found.numbers = kinds, numbers
        found.positions = np.array(positions)


def _take_cells(found: Output, matrix: str, announced: str, reader: _Reader) -> None:
    """Take the table of the files' cells; its columns are three digits wide."""
    reader.take()
    cells = []
    while (line := reader.peek()) is not None:
        words = line.split()
        if len(words) != 4 or not (words[0] == str(len(cells) + 1) or words[0] == "***"):
            break
        reader.take()
        try:
            cells.append([int(word) for word in words[1:]])
        except ValueError:
            raise DamagedError(
                f"line {reader.line}: the cell of a file expected, found {shown(line)}"
            ) from None
        if max(map(abs, cells[-1])) > FARTHEST:
            raise DamagedError(f"line {reader.line}: a cell beyond {FARTHEST}")
    if not announced.startswith("*") and int(announced[:9]) != len(cells):
        raise DamagedError(
            f"line {reader.line}: announces {announced} periodic images of {matrix}, but lists "
            f"{len(cells)}",
            remedy="the output is cut short or damaged",
        )
    found.cells[matrix] = np.array(cells, dtype=np.int64).reshape(-1, 3)
    require_partners_of_cells(found.cells[matrix])


def _take_label(found: Output, label: re.Match[str], reader: _Reader) -> None:
    """Take the label of an orbital from a printed matrix; its columns repeat them."""
    atom, momentum = int(label[2][:9]) - 1, SHELL_LETTERS.index(label[3].lower())
    orbital = int(label[1][:9])
    if orbital == sum(map(len, found.orbitals.values())) + 1:
        found.orbitals.setdefault(atom, []).append(momentum)


def _finite(words: list[str], line: str, reader: _Reader) -> list[float]:
    try:
        values = [float(word) for word in words]
    except ValueError:
        values = [np.nan]
    if not np.isfinite(values).all() or max(map(abs, values)) > 1e7:
        raise DamagedError(f"line {reader.line}: numbers expected, found {shown(line)}")
    return values
