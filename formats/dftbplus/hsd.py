"""DFTB+'s input: the atoms and their shells.

Read of ``dftb_in.hsd``: the geometry in GenFormat, VaspFormat, XyzFormat or written out, in the
file or included, and ``MaxAngularMomentum``.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MissingFileError, MoireioError, naming
from moireio.formats.assembly.shells import parse_shells
from moireio.formats.structures import poscar, xyz
from moireio.formats.structures.text import labelled_element, read_text, shown
from moireio.formats.text.streams import beside

BOHR_ANGSTROM = 0.529177249
UNITS = {
    "": BOHR_ANGSTROM, "bohr": BOHR_ANGSTROM, "au": BOHR_ANGSTROM, "angstrom": 1.0, "aa": 1.0,
    "nm": 10.0, "pm": 0.01, "m": 1e10,
}  # fmt: skip
MOST_ATOMS = 10_000_000
_ENTRY = re.compile(
    r"[\s;]*[+*?!/]?(?P<name>[A-Za-z_][\w.-]*)\s*(?:\[(?P<unit>[^\]\n]*)\])?\s*"
    r"(?P<equals>=)?[ \t]*(?P<value>[^\n{};]*)"
)
_OPENING, _BRACE = re.compile(r"\s*\{"), re.compile(r"[{}]")
_INCLUDE = re.compile(r"<<[<+]\s*(\"[^\"\n]*\"|'[^'\n]*'|\S+)")


@dataclass(eq=False)
class Entry:
    """One entry of an HSD file.

    Parameters
    ----------
    name, unit : str
        In small letters.
    value : str
        What follows the equals sign: a value, or the name of a method.
    body : str or None
        Text between braces.
    """

    name: str
    unit: str
    value: str
    body: str | None = None


@dataclass(eq=False)
class Geometry:
    """The atoms of a calculation.

    Parameters
    ----------
    cell : (3, 3) array or None
        Rows, Å; None for a molecule.
    positions : (N, 3) array
        Å.
    species : list of N str
        Type of each atom.
    numbers : list of N int
        Atomic numbers.
    """

    cell: npt.NDArray[np.float64] | None
    positions: npt.NDArray[np.float64]
    species: list[str]
    numbers: list[int]


@dataclass(eq=False)
class Input:
    """What an input says.

    Parameters
    ----------
    geometry : Geometry or None
        None where it cannot be seen here.
    shells : dict of str to tuple of int
        Angular momentum of each radial function by type.
    reads_charges : bool
        Whether the calculation began from given charges.
    collinear : bool
        Whether the calculation has up and down electrons.
    files : list of str
        Files that it includes.
    """

    geometry: Geometry | None = None
    shells: dict[str, tuple[int, ...]] = field(default_factory=dict)
    reads_charges: bool = False
    collinear: bool = False
    files: list[str] = field(default_factory=list)


def read_input(path: str) -> Input:
    """Read an input.

    Parameters
    ----------
    path : str
        ``dftb_in.hsd`` or ``dftb_pin.hsd``, compressed or not.

    Returns
    -------
    Input
        With paths relative to its folder.

    Raises
    ------
    MoireioError
        If it or an included file cannot be read.
    """
    found = Input()
    folder = os.path.dirname(path)
    with naming(path):
        for entry in entries(_without_comments(read_text(path))):
            if entry.name == "geometry":
                found.geometry = _geometry(entry, folder, path, found)
            elif entry.name == "hamiltonian" and entry.body is not None:
                _hamiltonian(entry.body, found)
    return found


def entries(text: str) -> list[Entry]:
    """Return the entries of a text without comments.

    Parameters
    ----------
    text : str
        An HSD file, or the body of an entry.

    Returns
    -------
    list of Entry
        In order; what is no entry is passed over.

    Raises
    ------
    DamagedError
        If a brace is not closed.
    """
    found, at = [], 0
    while at < len(text):
        match = _ENTRY.match(text, at)
        if match is None or match.end() == at:
            at = _next_line(text, at)
            continue
        entry = Entry(
            match["name"].lower(), (match["unit"] or "").strip().lower(), match["value"].strip()
        )
        after = _OPENING.match(text, match.end())
        if after is None:
            if match["equals"]:
                found.append(entry)
            at = max(match.end(), at + 1)
            continue
        end = _closing(text, after.end())
        entry.body = text[after.end() : end]
        found.append(entry)
        at = end + 1
    return found


def _next_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _closing(text: str, at: int) -> int:
    """Return where the brace closes that was opened before a place."""
    depth = 1
    for brace in _BRACE.finditer(text, at):
        depth += 1 if brace[0] == "{" else -1
        if depth == 0:
            return brace.start()
    raise DamagedError("a brace is not closed", remedy="the file is cut short")


def _without_comments(text: str) -> str:
    return re.sub(r"#[^\n]*", "", text)


def _hamiltonian(body: str, found: Input) -> None:
    for entry in entries(body):
        if entry.name == "readinitialcharges":
            found.reads_charges = entry.value.strip("\"'").lower() in ("yes", "true", "1")
        elif entry.name in ("spinpolarisation", "spinpolarization"):
            found.collinear = entry.value.lower() in ("colinear", "collinear")
        elif entry.name == "maxangularmomentum" and entry.body is not None:
            for line in re.split(r"[\n;]", entry.body):
                name, equals, value = line.partition("=")
                name = name.strip()
                if equals and name:
                    found.shells[name] = _shells(name, value)


def _shells(name: str, value: str) -> tuple[int, ...]:
    """Return the shells of a type: up to a letter, or those of ``SelectedShells``."""
    words = re.findall(r"[\"']([^\"']+)[\"']", value) or re.findall(r"\b[spdf]+\b", value)
    if not words:
        raise DamagedError(f"MaxAngularMomentum of {shown(name)} is {shown(value)}")
    if "selectedshells" in value.lower():
        return parse_shells("".join(words))
    letter = words[0].strip().lower()
    if letter not in tuple("spdf"):
        raise DamagedError(f"MaxAngularMomentum of {shown(name)} is {shown(value)}")
    return tuple(range("spdf".index(letter) + 1))


def _geometry(entry: Entry, folder: str, path: str, found: Input) -> Geometry | None:
    """Return the atoms of an entry ``Geometry``."""
    body, method = entry.body or "", entry.value.lower()
    if not method:  # Geometry { GenFormat { … } }, or written out
        inner = entries(body)
        nested = next((e for e in inner if e.name.endswith("format") and e.body is not None), None)
        if nested is None:
            return _explicit(inner)
        method, body = nested.name, nested.body or ""
    place, text = path, body
    include = _INCLUDE.search(body)
    if include is not None:
        named = include[1].strip("\"'")
        place = beside(folder, named) or os.path.join(folder, named)
        if not os.path.isfile(place):
            raise MissingFileError("is included, but there is no such file", path=place)
        found.files.append(place)
        text = read_text(place)
    if method == "genformat":
        with naming(place):
            return read_gen(text)
    if method == "vaspformat":
        return _of_structure(poscar.read(text.strip("\n"), place), place)
    if method == "xyzformat":
        return _of_structure(xyz.read(text.strip("\n"), place), place)
    return None


def _of_structure(found, place: str) -> Geometry:
    from ase.data import chemical_symbols

    cell = np.asarray(found.cell)
    names = [chemical_symbols[number] for number in found.numbers]
    periodic = bool(np.abs(cell).max() > 0) and (found.pbc is None or bool(np.any(found.pbc)))
    return Geometry(cell if periodic else None, np.asarray(found.positions), names,
                    [int(n) for n in found.numbers])  # fmt: skip


def read_gen(text: str) -> Geometry:
    """Read atoms in the gen format.

    Parameters
    ----------
    text : str
        Its text.

    Returns
    -------
    Geometry
        Clusters (C), periodic in Cartesian (S) or fractional (F) coordinates.

    Raises
    ------
    MoireioError
        With the line that cannot be read.
    """
    rows = [line.split() for line in _without_comments(text).strip().split("\n") if line.strip()]
    if len(rows) < 2 or len(rows[0]) < 2:
        raise DamagedError("is no geometry in the gen format")
    kind = rows[0][1].upper()
    if kind not in ("C", "S", "F"):
        raise MoireioError(f"is a gen geometry of kind {shown(kind)}", remedy="C, S or F is read")
    count = int(rows[0][0]) if rows[0][0].isascii() and rows[0][0].isdigit() else -1
    if not 0 < count <= MOST_ATOMS or len(rows) < 2 + count:
        raise DamagedError(
            f"announces {shown(rows[0][0])} atoms, and has {max(len(rows) - 2, 0)} lines of them"
        )
    types = rows[1]
    species, places = [], []
    for number, row in enumerate(rows[2 : 2 + count], 1):
        try:
            kind_of_atom, x = int(row[1]), [float(word) for word in row[2:5]]
        except (ValueError, IndexError):
            kind_of_atom, x = 0, []
        if not 1 <= kind_of_atom <= len(types) or len(x) != 3 or not np.isfinite(x).all():
            raise DamagedError(
                f"atom {number}: its number, a species 1 to {len(types)} and three coordinates "
                f"expected, found {shown(' '.join(row))}"
            )
        species.append(types[kind_of_atom - 1])
        places.append(x)
    positions, cell = np.array(places), None
    if kind != "C":
        try:
            box = np.array([[float(w) for w in row[:3]] for row in rows[2 + count : 6 + count]])
        except ValueError:
            box = np.empty(0)
        if box.shape != (4, 3) or not np.isfinite(box).all():
            raise DamagedError("has no origin and three lattice vectors after its atoms")
        cell = box[1:]
        positions = positions @ cell if kind == "F" else positions
    return Geometry(cell, positions, species, _numbers(species))


def _numbers(species: list[str]) -> list[int]:
    known = {name: labelled_element(name) for name in set(species)}
    for name, number in known.items():
        if number is None:
            raise MoireioError(f"its type {shown(name)} is of no element that could be seen")
    return [number for name in species if (number := known[name]) is not None]


def _explicit(inner: list[Entry]) -> Geometry | None:
    """Return atoms that are written out with types and coordinates."""
    named = {entry.name: entry for entry in inner}
    if not {"typenames", "typesandcoordinates"} <= named.keys():
        return None
    types = re.findall(r"[^\s\"']+", named["typenames"].body or "")
    coordinates = named["typesandcoordinates"]
    lattice = named.get("latticevectors")
    try:
        table = np.array(_table(coordinates.body))
        vectors = _table(lattice.body) if lattice is not None else []
    except ValueError:
        raise DamagedError("its coordinates or lattice vectors are no numbers") from None
    if table.ndim != 2 or table.shape[1] != 4 or not np.isfinite(table).all():
        raise DamagedError("has no type and three coordinates for each atom")
    which = table[:, 0].astype(int)
    if which.min() < 1 or which.max() > len(types):
        raise DamagedError(f"has an atom of a type beyond the {len(types)} of TypeNames")
    cell = None
    if vectors and lattice is not None:
        scale = UNITS.get(lattice.unit)
        cell = np.array(vectors) if all(len(v) == 3 for v in vectors) else np.empty(0)
        if scale is None or cell.shape != (3, 3):
            raise DamagedError("has no three lattice vectors in a known unit")
        cell = scale * cell
    unit = coordinates.unit
    if unit in ("f", "relative") and cell is not None:
        positions = table[:, 1:] @ cell
    elif unit in UNITS:
        positions = UNITS[unit] * table[:, 1:]
    else:
        raise DamagedError(f"has coordinates in the unit {shown(unit)}")
    species = [types[number - 1] for number in which]
    return Geometry(cell, positions, species, _numbers(species))


def _table(body: str | None) -> list[list[float]]:
    """Return the numbers of each line that has some."""
    rows = [row.split() for row in (body or "").split("\n")]
    return [[float(word) for word in row] for row in rows if row]
