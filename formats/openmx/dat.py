"""OpenMX's input text (``.dat``), also as it is appended to a ``.scfout``.

Layout: ``keyword value …`` lines, tables between ``<name`` and ``name>``, ``#`` comments;
keywords in any case, the first of equal ones counts. Kept: species with their basis names and
pseudopotentials, cell, positions, initial charges, spin settings, the band path. Everything else
is ignored. Without ``Atoms.UnitVectors`` the atoms are a molecule, which gets a box.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, naming, unreadable
from moireio.formats.openmx.keywords import Keywords, read_integer, read_number, split
from moireio.formats.openmx.kpath import BandSegment, read_segments
from moireio.formats.structures.text import last_digit
from moireio.system.basis import Basis, SpeciesBasis, parse_name
from moireio.system.boxes import complete_cell
from moireio.system.structure import Structure
from moireio.units import BOHR_ANGSTROM

SPECIES = "Definition.of.Atomic.Species"
ATOMS = "Atoms.SpeciesAndCoordinates"
CELL = "Atoms.UnitVectors"
KPATH = "Band.kpath"
KPATH_CELL = "Band.KPath.UnitCell"
TABLES = (SPECIES, ATOMS, CELL, KPATH, KPATH_CELL)
EMPTY = "E"  # the pseudopotential of an atom without nucleus and electrons
FARTHEST = 1e6  # Å or Bohr; no calculation reaches so far
MOST_BYTES = 1 << 30
HEAD_BYTES = 1 << 20
OUTPUT = "This calculation was performed by OpenMX"
_TABLES = re.compile(
    r"^[ \t]*<(definition\.of\.atomic\.species|atoms\.speciesandcoordinates)\b", re.I | re.M
)
_SPINS = {"off": "none", "on": "collinear", "nc": "spinor"}


@dataclass(frozen=True, eq=False)
class OpenMXInput:
    """Contents of an input text, as far as moireio uses them.

    Parameters
    ----------
    label : str
        The file, for messages.
    species : dict of str to str
        Basis name of each species, in the order of the text.
    symbols : list of str
        Species of every atom.
    positions : (N, 3) array or None
        Cartesian, Å, unwrapped as in the text.
    digits : (N, 3) array
        Size of the last digit of every coordinate in the text, Å.
    charges : (N,) array
        Initial electrons of every atom, both spins.
    cell : (3, 3) array or None
        Rows, Å.
    cell_digit : float
        Size of the last digit of the most precise number in `cell`, Å.
    system_charge : float
        Electrons removed from the cell.
    spin : str or None
        "none", "collinear" or "spinor", where the text gives it.
    motion : str
        ``MD.Type``, lower case: "nomd", or how atoms or cell move, as "opt" or "nve".
    pseudopotentials : dict of str to str
        Name of each species' pseudopotential.
    kpath : list of BandSegment
        The band path, fractional in the reciprocal cell of `cell`.
    keywords : Keywords
        All keywords with their values.
    """

    label: str
    species: dict[str, str]
    symbols: list[str]
    positions: npt.NDArray[np.float64] | None
    digits: npt.NDArray[np.float64]
    charges: npt.NDArray[np.float64]
    cell: npt.NDArray[np.float64] | None
    cell_digit: float = 0.0
    system_charge: float = 0.0
    spin: str | None = None
    motion: str = "nomd"
    pseudopotentials: dict[str, str] = field(default_factory=dict)
    kpath: list[BandSegment] = field(default_factory=list)
    keywords: Keywords = field(default_factory=lambda: Keywords(""))

    def basis(self, electron_count: float | None = None) -> tuple[Basis, dict[str, str]]:
        """Return the basis of all species.

        Parameters
        ----------
        electron_count : float, optional
            Valence electrons of the calculation. The initial charges of the atoms are taken
            for the pseudo-atoms' electrons only if they add up to it.

        Returns
        -------
        basis : Basis
            One entry per species.
        elements : dict of str to str
            Element symbol of each species; "X" for an empty atom, which has no electrons.

        Raises
        ------
        MoireioError
            If a name is malformed, or basis and pseudopotential are of different elements.
        """
        total = float(self.charges.sum()) - self.system_charge
        trusted = electron_count is not None and abs(total - electron_count) < 1e-6
        species, elements = {}, {}
        for name, text in self.species.items():
            with naming(self.label):
                parsed, symbol = parse_name(text)
                elements[name] = _element(name, symbol, self.pseudopotentials.get(name, ""))
            charges = {c for s, c in zip(self.symbols, self.charges, strict=True) if s == name}
            valence = charges.pop() if trusted and len(charges) == 1 else None
            species[name] = SpeciesBasis(
                l=parsed.l,
                name=parsed.name,
                cutoff=parsed.cutoff,
                valence=0.0 if elements[name] == "X" else valence,
            )
        return Basis(species), elements

    def structure(self, elements: dict[str, str]) -> Structure:
        """Return the atoms as the text has them.

        Parameters
        ----------
        elements : dict of str to str
            Element symbol of each species, as `basis` returns them.

        Returns
        -------
        Structure
            Without a cell in the text: in a box, and not periodic.

        Raises
        ------
        MoireioError
            If the text has no atoms.
        """
        from ase.data import atomic_numbers

        if self.positions is None:
            raise MoireioError(
                f"has no atoms (no table <{ATOMS}>)",
                path=self.label,
                remedy="expected the input of an OpenMX calculation",
            )
        with naming(self.label):
            cell = np.zeros((3, 3)) if self.cell is None else self.cell
            cell, pbc = complete_cell(cell, self.positions)
            names = list(self.species)
            return Structure(
                cell=cell,
                positions=self.positions,
                numbers=[atomic_numbers[elements[s]] for s in self.symbols],
                species=[names.index(s) for s in self.symbols],
                species_names=names,
                pbc=pbc,
            )


def looks_like(text: str) -> bool:
    """Return whether a text is an OpenMX input.

    Parameters
    ----------
    text : str
        The text of any file; its name does not count (``NAME.dat#``, ``NAME.in``).

    Returns
    -------
    bool
        True if one of OpenMX's tables of species or atoms begins in it. An ``.out``, which repeats
        its input with the initial coordinates, is none.
    """
    return _TABLES.search(text) is not None and OUTPUT not in text


def detect(path: str | os.PathLike[str]) -> bool:
    """Return whether a file is an OpenMX input, by its contents.

    Parameters
    ----------
    path : str or path-like
        Any file.

    Returns
    -------
    bool
        As `looks_like`, for its first mebibyte.
    """
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as stream:
            head = stream.read(HEAD_BYTES)
    except OSError:
        return False
    return b"\0" not in head and looks_like(head.decode("utf-8", "replace"))


def read(path: str | os.PathLike[str]) -> OpenMXInput:
    """Read an input file.

    Parameters
    ----------
    path : str or path-like
        A ``.dat`` file.

    Returns
    -------
    OpenMXInput
        Its contents.

    Raises
    ------
    MoireioError
        If it cannot be read or contradicts itself.
    """
    return parse(read_text(path), str(path))


def read_text(path: str | os.PathLike[str]) -> str:
    """Read a text file of OpenMX.

    Parameters
    ----------
    path : str or path-like
        An input, an orbital file or an output.

    Returns
    -------
    str
        Its text.

    Raises
    ------
    MoireioError
        If it cannot be read, or is no text.
    """
    try:
        with open(path, "rb") as stream:
            raw = stream.read(HEAD_BYTES)
            if b"\0" not in raw:
                raw += stream.read(MOST_BYTES + 1 - len(raw))
    except OSError as error:
        raise unreadable(error, path) from error
    if len(raw) > MOST_BYTES:
        raise MoireioError(f"is larger than {MOST_BYTES >> 20} MiB: no text of OpenMX", path=path)
    if b"\0" in raw:
        raise MoireioError(
            f"is no text: byte {raw.index(0)} is zero",
            path=path,
            remedy="was the disk full, or is it a file of another kind?",
        )
    return raw.decode("utf-8", "replace")


def parse(text: str, label: str) -> OpenMXInput:
    """Read an input text.

    Parameters
    ----------
    text : str
        Its lines.
    label : str
        The file, for messages.

    Returns
    -------
    OpenMXInput
        Its contents.

    Raises
    ------
    MoireioError
        If a table is malformed, or species are missing.
    """
    keywords = split(text, label, [name.lower() for name in TABLES])
    species, pseudopotentials = _species(keywords)
    cell_unit = _unit(keywords, f"{CELL}.Unit", ("ang", "au"))
    cell = _cell(keywords, CELL, cell_unit)
    rows = keywords.table(ATOMS, 7)
    _check_count(keywords, "Atoms.Number", ATOMS, rows)
    positions, digits = _positions(keywords, rows, cell)
    symbols = [row[1] for row in rows]
    unknown = next((row for row in rows if row[1] not in species), None)
    if unknown is not None:
        raise MoireioError(
            f"line {unknown.line}: the OpenMX input text has no basis for species {unknown[1]!r}",
            path=label,
            remedy=f"the table <{SPECIES}> has " + (", ".join(species) or "none"),
        )
    charges = np.array(
        [sum(_value(keywords, row, at, "an initial charge", 1e3) for at in (5, 6)) for row in rows]
    )
    segments = keywords.table(KPATH, 0)
    if keywords.word("Band.dispersion", "off").lower() in ("on", "yes", "true", ".true.", "ok"):
        _check_count(keywords, "Band.Nkpath", KPATH, segments)
    try:
        path = read_segments(segments, _cell(keywords, KPATH_CELL, cell_unit), cell)
    except MoireioError:
        raise
    except ValueError as error:
        raise MoireioError(str(error), path=label) from error
    return OpenMXInput(
        label=label,
        species=species,
        symbols=symbols,
        positions=positions,
        digits=digits,
        charges=charges,
        cell=cell,
        cell_digit=2
        * last_digit(word for row in keywords.table(CELL, 3) for word in row[:3])
        * (BOHR_ANGSTROM if cell_unit == "au" else 1.0),
        system_charge=keywords.number("scf.system.charge", 0.0),
        spin=_SPINS.get(keywords.word("scf.SpinPolarization").lower()),
        motion=keywords.word("MD.Type", "nomd").lower(),
        pseudopotentials=pseudopotentials,
        kpath=path,
        keywords=keywords,
    )


def _species(keywords):
    """Return the basis names and the pseudopotentials of all species."""
    rows = keywords.table(SPECIES, 2)
    _check_count(keywords, "Species.Number", SPECIES, rows)
    species, pseudopotentials = {}, {}
    for row in rows:
        name = row[0]
        if not name.isprintable() or "/" in name or name in (".", ".."):
            raise MoireioError(
                f"line {row.line}: {name[:30]!r} is no name of a species", path=keywords.label
            )
        if name in species:
            raise MoireioError(
                f"line {row.line}: species {name} is defined a second time", path=keywords.label
            )
        species[name] = row[1]
        pseudopotentials[name] = row[2] if len(row) > 2 else ""
    return species, pseudopotentials


def _element(name, symbol, pseudopotential):
    """Return the element of a species; basis and pseudopotential must agree on it."""
    from ase.data import atomic_numbers

    if pseudopotential == EMPTY or symbol == EMPTY:
        return "X"
    if symbol not in atomic_numbers or symbol == "X":
        raise MoireioError(f"species {name}: {symbol} (from its basis name) is no element")
    match = re.match(r"([A-Z][a-z]?)(?![a-z])", pseudopotential)
    other = match.group(1) if match else symbol
    if other in atomic_numbers and other != symbol:
        raise MoireioError(
            f"species {name} has a basis of {symbol}, but the pseudopotential {pseudopotential}"
        )
    return symbol


def _check_count(keywords, keyword, table, rows):
    """Compare the length of a table with the number that OpenMX reads from it."""
    words = keywords.values.get(keyword.lower())
    if words is None or not (rows or table.lower() in keywords.tables):
        return
    place = f"line {words.line}: {keyword}"
    count = read_integer(words[0] if words else "", keywords.label, place)
    if count != len(rows):
        raise MoireioError(
            f"{place} is {count}, but the table <{table}> has {len(rows)} lines",
            path=keywords.label,
        )


def _unit(keywords, name, known):
    unit = keywords.word(name, "ang").lower()
    if unit not in known:
        line = keywords.values[name.lower()].line
        raise MoireioError(
            f"line {line}: {name} is {unit[:30]!r}, expected " + " or ".join(known),
            path=keywords.label,
        )
    return unit


def _value(keywords, row, column, what, largest=FARTHEST):
    return read_number(row[column], keywords.label, f"line {row.line}: {what}", largest)


def _cell(keywords, name, unit):
    """Return a table of three vectors, Å; None where there is no such table."""
    if name.lower() not in keywords.tables:
        return None
    rows = keywords.table(name, 3)
    if len(rows) != 3:
        raise MoireioError(
            f"the table <{name}> has {len(rows)} lines, three vectors are expected",
            path=keywords.label,
        )
    cell = np.array([[_value(keywords, row, n, name) for n in range(3)] for row in rows])
    lengths = np.linalg.norm(cell, axis=1)
    if not lengths.all() or abs(np.linalg.det(cell / lengths[:, None])) < 1e-6:
        raise MoireioError(
            f"the vectors of the table <{name}> are not independent", path=keywords.label
        )
    return cell * (BOHR_ANGSTROM if unit == "au" else 1.0)


def _positions(keywords, rows, cell):
    """Return the positions and the sizes of their last digits, Å."""
    if not rows:
        return None, np.zeros((0, 3))
    for number, row in enumerate(rows, 1):
        if read_integer(row[0], keywords.label, f"line {row.line}: the atom's number") != number:
            raise MoireioError(
                f"line {row.line}: atom {number} is numbered {row[0]}", path=keywords.label
            )
    unit = _unit(keywords, f"{ATOMS}.Unit", ("ang", "au", "frac"))
    numbers = np.array(
        [[_value(keywords, row, n, "a coordinate") for n in (2, 3, 4)] for row in rows]
    )
    digits = np.array([[_digit(row[n]) for n in (2, 3, 4)] for row in rows])
    if unit == "ang":
        return numbers, digits
    if unit == "au":
        return numbers * BOHR_ANGSTROM, digits * BOHR_ANGSTROM
    if cell is None:
        raise MoireioError(
            f"has fractional coordinates, but no table <{CELL}>",
            path=keywords.label,
            remedy="give the lattice vectors, or coordinates in Ang or AU",
        )
    return numbers @ cell, digits @ np.abs(cell)


def _digit(word):
    """Return the size of the last digit of a number."""
    mantissa, _, exponent = word.lower().partition("e")
    power = int(exponent or 0) - len(mantissa.partition(".")[2])
    return 10.0 ** min(max(power, -300), 300)
