"""WannierTools' input, ``wt.in``: lattice, atoms, projectors, and how H is stored.

Layout: Fortran namelists (``&TB_FILE`` … ``/``) with ``Hrfile``, ``Overlapfile``, ``Is_Sparse_Hr``,
``Orthogonal_Basis``, ``Package``, ``SOC``, ``E_FERMI``; then cards: ``LATTICE`` (unit and three
rows), ``ATOM_POSITIONS`` (count, ``Direct`` or ``Cartesian``, a line an atom), ``PROJECTORS``
(numbers of orbitals of the atoms, then a line with their names for each). ``!`` and ``#`` begin
comments.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.formats.structures.text import labelled_element, read_text, shown
from moireio.units import BOHR_ANGSTROM

_COMMENT = re.compile(r"[!#].*")
_VALUE = re.compile(r"(\w+)\s*=\s*('[^']*'|\"[^\"]*\"|[^\s,]+)")
_REPEATED = re.compile(r"(\d{1,7})\*(\d{1,5})")
MOST_ATOMS = 1_000_000
#: Packages whose spinor orbitals alternate between up and down.
ALTERNATING = ("qe", "quantumespresso", "quantum-espresso", "vasp6", "pwscf")
#: Packages with all up orbitals before the down ones.
BLOCKS = ("vasp", "wien2k", "abinit", "openmx")
#: l and m of an orbital by its name.
ORBITALS = {
    "s": (0, 0),
    "py": (1, -1),
    "pz": (1, 0),
    "px": (1, 1),
    "dxy": (2, -2),
    "dyz": (2, -1),
    "dz2": (2, 0),
    "dxz": (2, 1),
    "dx2-y2": (2, 2),
    "fy3x2": (3, -3),
    "fxyz": (3, -2),
    "fyz2": (3, -1),
    "fz3": (3, 0),
    "fxz2": (3, 1),
    "fzx2": (3, 2),
    "fx3": (3, 3),
}
_OTHER_NAMES = {"dzx": "dxz", "dzy": "dyz", "dx2y2": "dx2-y2", "d3z2-r2": "dz2", "dx2": "dx2-y2"}


@dataclass(frozen=True, eq=False)
class WtIn:
    """What an input says.

    Parameters
    ----------
    path : str
        The file.
    values : dict of str to str
        Values of the namelists, names in lower case, without quotation marks.
    cell : (3, 3) array or None
        Lattice vectors as rows, Å.
    names : tuple of str
        Names of the atoms.
    positions : (N, 3) array
        Cartesian, Å.
    orbitals : tuple of tuple of str
        Names of the orbitals of each atom, in lower case; empty where there is no such card.
    """

    path: str
    values: dict[str, str] = field(default_factory=dict)
    cell: npt.NDArray[np.float64] | None = None
    names: tuple[str, ...] = ()
    positions: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 3)))
    orbitals: tuple[tuple[str, ...], ...] = ()

    def flag(self, *names: str) -> bool:
        """Return whether one of some logical values is true.

        Parameters
        ----------
        *names : str
            In lower case.

        Returns
        -------
        bool
            False where all are absent.
        """
        return any(
            self.values.get(name, "").strip(".").lower()[:1] in ("t", "1", "y") for name in names
        )

    @property
    def spinful(self) -> bool:
        """Whether the Hamiltonian has spin-orbit coupling (``SOC``)."""
        return self.values.get("soc", "0").strip(".").lower() not in ("0", "f", "false", "")

    @property
    def alternating(self) -> bool:
        """Whether up and down orbitals alternate, by ``Package``."""
        package = self.values.get("package", "").lower()
        return any(name in package for name in ALTERNATING)

    @property
    def known_package(self) -> bool:
        """Whether the order of spinor orbitals follows from ``Package``, where it is given."""
        package = self.values.get("package", BLOCKS[0]).lower()
        return any(name in package for name in (*ALTERNATING, *BLOCKS))

    @property
    def fermi(self) -> float | None:
        """The Fermi level, eV; None where it is not given."""
        try:
            value = float(self.values["e_fermi"].lower().replace("d", "e"))
        except (KeyError, ValueError):
            return None
        return value if np.isfinite(value) else None

    @property
    def numbers(self) -> npt.NDArray[np.int32]:
        """Atomic numbers of the atoms; 0 for names that are no elements."""
        return np.array([labelled_element(name) or 0 for name in self.names], dtype=np.int32)


def read_wt_in(path: str) -> WtIn:
    """Read an input.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    WtIn
        What it says.

    Raises
    ------
    MoireioError
        If a card is cut short or holds no numbers.
    """
    lines = [_COMMENT.sub("", raw).strip() for raw in read_text(path).split("\n")]
    values: dict[str, str] = {}
    inside = ""
    for line in lines:
        end = line.lower() == "&end" or line == "/" or line.endswith((" /", "\t/"))
        if line.startswith("&") and not end:
            inside = line.split()[0]
        if inside:
            for name, value in _VALUE.findall(line):
                values.setdefault(name.lower(), value.strip("'\"").strip())
        inside = "" if end else inside
    if inside:
        raise MoireioError(
            f"its namelist {shown(inside)} has no end, /", path=path, remedy="it is cut short"
        )
    cards = _Cards(lines, path)
    cell = cards.lattice()
    names, positions = cards.atoms(cell)
    return WtIn(path, values, cell, names, positions, cards.projectors(len(names)))


class _Cards:
    """The cards of an input."""

    def __init__(self, lines: Sequence[str], path: str) -> None:
        self._path = path
        self._lines = [(number, line) for number, line in enumerate(lines, 1) if line]

    def _after(self, name: str) -> list[tuple[int, str]] | None:
        """Return the lines that follow a card's name."""
        for place, (_, line) in enumerate(self._lines):
            if line.split()[0].upper() == name:
                return self._lines[place + 1 :]
        return None

    def _fail(self, number: int, expected: str, line: str) -> MoireioError:
        return MoireioError(
            f"line {number}: {expected} expected, found {shown(line)}", path=self._path
        )

    def _take(self, rows: list[tuple[int, str]], count: int, card: str) -> list[tuple[int, str]]:
        if len(rows) < count:
            raise MoireioError(
                f"its card {card} ends after {len(rows)} of {count} lines",
                path=self._path,
                remedy="the file is cut short",
            )
        return rows[:count]

    def _point(self, number: int, line: str, begin: int) -> list[float]:
        words = line.replace(",", " ").split()[begin : begin + 3]
        try:
            found = [float(word.lower().replace("d", "e")) for word in words]
        except ValueError:
            found = []
        if len(found) != 3 or not np.isfinite(found).all():
            raise self._fail(number, "three numbers", line)
        return found

    def lattice(self) -> npt.NDArray[np.float64] | None:
        """Return the lattice vectors, Å."""
        rows = self._after("LATTICE")
        if rows is None:
            return None
        (_, unit), *vectors = self._take(rows, 4, "LATTICE")
        scale = BOHR_ANGSTROM if unit.lower().startswith("b") else 1.0
        return scale * np.array([self._point(number, line, 0) for number, line in vectors])

    def atoms(
        self, cell: npt.NDArray[np.float64] | None
    ) -> tuple[tuple[str, ...], npt.NDArray[np.float64]]:
        """Return names and positions, Å."""
        rows = self._after("ATOM_POSITIONS")
        if rows is None or cell is None:
            return (), np.zeros((0, 3))
        number, text = self._take(rows, 1, "ATOM_POSITIONS")[0]
        words = text.split()
        if not words[0].isdecimal() or not 0 < int(words[0][:9]) <= MOST_ATOMS:
            raise self._fail(number, "the number of atoms", text)
        count = int(words[0])
        listed = self._take(rows, count + 2, "ATOM_POSITIONS")
        for number, text in rows[count + 2 : count + 3]:
            if re.fullmatch(r"[A-Z][a-z]?\w*(\s+[-+.\dEeDd]+){3,6}", text):
                raise self._fail(number, f"no more than {count} atoms", text)
        direct = listed[1][1].lower().startswith("d")
        points = np.array([self._point(number, line, 1) for number, line in listed[2:]])
        names = tuple(line.split()[0] for _, line in listed[2:])
        scale = cell if direct else np.eye(3)
        return names, points @ scale

    def projectors(self, n_atoms: int) -> tuple[tuple[str, ...], ...]:
        """Return the names of the orbitals of each atom."""
        rows = self._after("PROJECTORS") or self._after("PROJECTOR")
        if rows is None or n_atoms == 0:
            return ()
        counts: list[int] = []
        place = 0
        while len(counts) < n_atoms:
            number, text = self._take(rows, place + 1, "PROJECTORS")[-1]
            place += 1
            for word in text.replace(",", " ").split():
                repeated = _REPEATED.fullmatch(word)
                if repeated is not None:
                    counts += [int(repeated[2])] * min(int(repeated[1]), MOST_ATOMS)
                elif word.isdecimal() and len(word) < 7:
                    counts.append(int(word))
                else:
                    raise self._fail(number, f"the numbers of orbitals of {n_atoms} atoms", text)
        listed = self._take(rows, place + n_atoms, "PROJECTORS")[place:]
        orbitals = []
        for count, (number, line) in zip(counts, listed, strict=False):
            names = [word.lower() for word in line.replace(",", " ").split()[1:]]
            if len(names) < count:
                raise self._fail(number, f"an atom and its {count} orbitals", line)
            orbitals.append(tuple(_OTHER_NAMES.get(name, name) for name in names[:count]))
        return tuple(orbitals)
