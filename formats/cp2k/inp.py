"""CP2K's input and basis files, as far as matrices need them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.formats.cp2k.out import cell_of_lengths
from moireio.formats.structures.text import labelled_element
from moireio.formats.text.streams import first_bytes, lines
from moireio.system.basis import MOST_FUNCTIONS, SHELL_LETTERS

UNITS = {"angstrom": 1.0, "bohr": 0.52917720859, "nm": 10.0, "pm": 0.01}
_SECTION = re.compile(r"\s*&(?!END)(\w+)", re.I)
_ENTRY = re.compile(
    rb"^\s*[A-Z][a-z]?\s+\S*[A-Za-z]\S*.*\n(?:\s*#.*\n)*\s*\d+\s*\n\s*\d+\s+\d+\s+\d+\s+\d+\s+\d+",
    re.M,
)


@dataclass(eq=False)
class Input:
    """What CP2K's input says.

    Parameters
    ----------
    cell : (3, 3) array or None
        Rows, Å.
    positions : (N, 3) array or None
        Å.
    kinds : list of str
        Kind of each atom.
    elements : dict of str to str
        Element of each kind that names one.
    basis_sets : dict of str to str
        Name of the orbital basis set by kind.
    """

    cell: npt.NDArray[np.float64] | None = None
    positions: npt.NDArray[np.float64] | None = None
    kinds: list[str] = field(default_factory=list)
    elements: dict[str, str] = field(default_factory=dict)
    basis_sets: dict[str, str] = field(default_factory=dict)

    def number(self, kind: str) -> int | None:
        """Return the atomic number of a kind.

        Parameters
        ----------
        kind : str
            Its name.

        Returns
        -------
        int or None
            None where neither its element nor its name is one.
        """
        return labelled_element(re.sub(r"\d.*", "", self.elements.get(kind, kind)))


def is_input(path: str) -> bool:
    """Return whether a file is an input of CP2K.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        By its beginning.
    """
    return re.search(rb"^\s*&(GLOBAL|FORCE_EVAL)\b", first_bytes(path), re.M | re.I) is not None


def read_input(path: str) -> Input:
    """Read cell, coordinates and kinds of an input.

    Parameters
    ----------
    path : str
        The file, compressed or not.

    Returns
    -------
    Input
        What is given by variables, included files or keywords not known here is left out.

    Raises
    ------
    MoireioError
        If it cannot be read.
    """
    found, sections = Input(), []
    keywords: dict[str, list[str]] = {}
    atoms: list[list[str]] = []
    coordinates: dict[str, str] = {}
    for line in lines(path):
        text = re.split(r"[!#]", line, maxsplit=1)[0].strip()
        if not text:
            continue
        if text.upper().startswith("&END"):
            sections = sections[:-1]
        elif (section := _SECTION.match(text)) is not None:
            sections = [*sections, section[1].upper()]
            kind = text.split()[1] if len(text.split()) > 1 else ""
        elif sections[-2:] == ["SUBSYS", "CELL"]:
            words = text.split()
            keywords[words[0].upper()] = words[1:]
        elif sections[-2:] == ["SUBSYS", "COORD"]:
            words = text.split()
            if words[0].upper() in ("SCALED", "UNIT"):
                coordinates[words[0].upper()] = " ".join(words[1:]).lower()
            else:
                atoms.append(words)
        elif sections[-2:] == ["SUBSYS", "KIND"]:
            words = text.split()
            if words[0].upper() == "ELEMENT" and len(words) > 1:
                found.elements[kind] = words[1]
            elif words[0].upper() == "BASIS_SET" and (
                len(words) == 2 or (len(words) > 2 and words[1].upper() == "ORB")
            ):
                found.basis_sets[kind] = words[-1]
    found.cell = _cell(keywords)
    _place(found, atoms, coordinates)
    return found


def _cell(keywords: dict[str, list[str]]) -> npt.NDArray[np.float64] | None:
    if any(word not in ("1", "[angstrom]") for word in keywords.get("MULTIPLE_UNIT_CELL", [])):
        return None
    if {"A", "B", "C"} <= keywords.keys():
        rows = [_lengths(keywords[name]) for name in "ABC"]
        return np.array(rows) if all(row is not None for row in rows) else None
    lengths = _lengths(keywords.get("ABC", []))
    angles = _lengths(keywords.get("ALPHA_BETA_GAMMA", ["90", "90", "90"]))
    return None if lengths is None or angles is None else cell_of_lengths(lengths, angles)


def _lengths(words: list[str]) -> list[float] | None:
    """Return three lengths in Å, or None."""
    scale = 1.0
    if words and words[0].startswith("["):
        unit = words[0].strip("[]").lower()
        if unit not in UNITS and unit != "deg":
            return None
        scale, words = UNITS.get(unit, 1.0), words[1:]
    try:
        values = [scale * float(word) for word in words[:3]]
    except ValueError:
        return None
    return values if len(values) == 3 and np.isfinite(values).all() else None


def _place(found: Input, atoms: list[list[str]], coordinates: dict[str, str]) -> None:
    scaled = coordinates.get("SCALED", "f") in ("", "t", ".true.", "true", "yes")
    scale = UNITS.get(coordinates.get("UNIT", "angstrom").strip("[]"))
    rows = [_lengths(words[1:]) for words in atoms]
    if not rows or any(row is None for row in rows) or scale is None:
        return
    if scaled and found.cell is None:
        return
    positions = np.array(rows, dtype=np.float64)
    found.positions = (
        positions @ found.cell if scaled and found.cell is not None else (scale * positions)
    )
    found.kinds = [words[0] for words in atoms]


def is_basis_file(path: str) -> bool:
    """Return whether a file holds basis sets in CP2K's format.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        By its beginning.
    """
    return _ENTRY.search(first_bytes(path, 65536)) is not None


def read_basis_file(path: str) -> dict[tuple[str, str], tuple[int, ...]]:
    """Read the shells of all basis sets of a file.

    Parameters
    ----------
    path : str
        A file such as ``BASIS_MOLOPT``, compressed or not.

    Returns
    -------
    dict of (element, name) to tuple of int
        Angular momentum of each radial function, in CP2K's order; names in capitals.

    Raises
    ------
    MoireioError
        If it cannot be read.
    """
    rows = [line.split("#")[0].split() for line in lines(path)]
    rows = [row for row in rows if row]
    found: dict[tuple[str, str], tuple[int, ...]] = {}
    at = 0
    while at < len(rows):
        names = rows[at]
        at += 1
        if len(names) < 2 or not names[0].isalpha() or len(names[0]) > 2:
            continue
        shells, after = _sets(rows, at)
        if shells is None:
            continue
        at = after
        for name in names[1:]:
            found[names[0].capitalize(), name.upper()] = shells
    return found


def _sets(rows: list[list[str]], at: int) -> tuple[tuple[int, ...] | None, int]:
    """Return the shells of the basis set that begins at a row, and where it ends."""
    try:
        (count,) = map(int, rows[at])
        at += 1
        shells: list[int] = []
        for _ in range(count):
            _, low, high, exponents, *numbers = map(int, rows[at])
            if not 0 <= low <= high < len(SHELL_LETTERS) or len(numbers) < high - low + 1:
                return None, at
            for momentum, number in zip(range(low, high + 1), numbers, strict=False):
                if not 0 <= number <= MOST_FUNCTIONS:
                    return None, at
                shells += number * [momentum]
            at += 1 + max(exponents, 0)
    except (ValueError, IndexError):
        return None, at
    return tuple(shells), at


def basis_of_kind(
    sets: dict[tuple[str, str], tuple[int, ...]], element: str, name: str, path: str
) -> tuple[int, ...]:
    """Return the shells of a basis set.

    Parameters
    ----------
    sets : dict
        As `read_basis_file` returns it.
    element, name : str
        The element, and the name in the input.
    path : str
        The basis file, for the message.

    Returns
    -------
    tuple of int
        Angular momentum of each radial function.

    Raises
    ------
    MoireioError
        If the file has no such set.
    """
    shells = sets.get((element, name.upper()))
    if shells is None:
        raise MoireioError(f"has no basis set {name} for {element}", path=path)
    return shells
