"""Files that SIESTA writes beside its matrices: species, shells, cutoffs, atomic numbers."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError
from moireio.formats.siesta.stored import BOHR, Species, shells_of
from moireio.formats.structures.text import plain_name, read_text, shown
from moireio.formats.text.streams import beside, require_companions
from moireio.system.structure import HIGHEST_NUMBER

ION_SUFFIXES = (".ion.xml", ".ion")
MOST_POINTS = 4000  # of the common grid of radial functions
FEWEST = 8  # points that a radial function has at least
FARTHEST = 100.0  # Bohr
COLUMNS_OF_ORBITAL = 16
SMALLEST_CELL = 1e-3  # Bohr³


@dataclass(frozen=True)
class Beside:
    """What was found beside a file of matrices.

    Parameters
    ----------
    labels : list of str, optional
        Label of each atom.
    numbers : list of int, optional
        Atomic number of each atom.
    sizes : list of int, optional
        Orbitals of each atom.
    species : dict of str to Species
        By label.
    files : tuple of str
        Files that were read.
    """

    labels: list[str] | None
    numbers: list[int] | None
    sizes: list[int] | None
    species: dict[str, Species]
    files: tuple[str, ...]


@dataclass(frozen=True)
class Vectors:
    """Contents of an ``XV`` file.

    Parameters
    ----------
    path : str
        The file.
    cell : (3, 3) array
        Rows, Bohr.
    positions : (N, 3) array
        Bohr.
    numbers : list of int
        Atomic numbers; 0 for ghosts and mixed species.
    """

    path: str
    cell: npt.NDArray[np.float64]
    positions: npt.NDArray[np.float64]
    numbers: list[int]


def _finder(path: str, companions: Sequence[str]) -> Callable[[str], str | None]:
    """Return a function that finds a file by its name, or a companion by its suffix."""
    given = {plain_name(name): name for name in companions}

    def find(name: str) -> str | None:
        ending = os.path.splitext(name)[1]
        like = (place for known, place in given.items() if known.endswith(ending))
        return given.get(name) or next(like, None) or beside(os.path.dirname(path), name)

    return find


def find_vectors(path: str, companions: Sequence[str]) -> Vectors | None:
    """Read the ``XV`` file of a calculation.

    Parameters
    ----------
    path : str
        The file of matrices.
    companions : sequence of str
        Files named by the user, which come first.

    Returns
    -------
    Vectors or None
        None where there is none.
    """
    found = _finder(path, companions)(f"{os.path.splitext(plain_name(path))[0]}.XV")
    return None if found is None else read_vectors(found)


def look_beside(path: str, companions: Sequence[str], labels: Sequence[str] | None) -> Beside:
    """Read the files beside one of matrices.

    Parameters
    ----------
    path : str
        The file of matrices.
    companions : sequence of str
        Files named by the user, which come first.
    labels : sequence of str, optional
        Labels of the species that the file of matrices names.

    Returns
    -------
    Beside
        What they hold.

    Raises
    ------
    MoireioError
        If one that is there cannot be read.
    """
    require_companions(companions)
    folder = os.path.dirname(path)
    stem = os.path.splitext(plain_name(path))[0]
    given = {plain_name(name): name for name in companions}
    find = _finder(path, companions)
    files: list[str] = []
    of_atoms = sizes = numbers = None
    species: dict[str, Species] = {}
    if index := find(f"{stem}.ORB_INDX"):
        of_atoms, sizes, species = read_orbital_index(index)
        files.append(index)
    if vectors := find_vectors(path, companions):
        numbers = vectors.numbers
        files.append(vectors.path)
    for label in dict.fromkeys([*(labels or []), *species]):
        names = [label + ending for ending in ION_SUFFIXES]
        named = (given[name] for name in names if name in given)
        if ion := next(named, None) or beside(folder, *names):
            species[label] = read_ion(ion)
            files.append(ion)
    return Beside(of_atoms, numbers, sizes, species, tuple(files))


def read_orbital_index(path: str) -> tuple[list[str], list[int], dict[str, Species]]:
    """Read ``ORB_INDX``.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    labels : list of str
        Species of each atom.
    sizes : list of int
        Orbitals of each atom.
    species : dict of str to Species
        Shells and cutoffs by label.

    Raises
    ------
    MoireioError
        If it cannot be read.
    """
    lines = read_text(path).split("\n")
    head = lines[0].split()
    if len(head) < 2 or not head[0].isdigit():
        raise MoireioError(
            f"begins with {shown(lines[0])}; the number of orbitals expected", path=path
        )
    orbitals = int(head[0][:9])
    rows: list[list[str]] = []
    for line in lines[1:]:
        words = line.split()
        if len(words) >= COLUMNS_OF_ORBITAL and words[0].isdigit():
            rows.append(words)
            if len(rows) == orbitals:
                break
    if len(rows) != orbitals or not rows:
        raise DamagedError(
            f"lists {len(rows)} of {orbitals} orbitals", path=path, remedy="it is cut short"
        )
    labels, sizes, species = [], [], {}
    try:
        atoms = np.array([int(words[1]) for words in rows], np.int64)
        quantum = np.array([[int(words[k]) for k in (5, 6, 8)] for words in rows], np.int64)
        cutoffs = np.array([float(words[11]) for words in rows])
    except (ValueError, OverflowError) as error:
        raise MoireioError("has a line that is no orbital", path=path) from error
    starts = np.flatnonzero(np.diff(atoms, prepend=atoms[0] - 1))
    for begin, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        label = rows[begin][3]
        shells = shells_of(quantum[begin:end], f"atom {atoms[begin]}", path)
        known = species.setdefault(
            label, Species(label, shells, cutoff=float(cutoffs[begin:end].max()) * BOHR)
        )
        if known.shells != shells:
            raise DamagedError(f"gives atoms {label} different shells", path=path)
        labels.append(label)
        sizes.append(int(end - begin))
    return labels, sizes, species


def read_vectors(path: str) -> Vectors:
    """Read an ``XV`` file.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    Vectors
        Lattice, positions, atomic numbers.

    Raises
    ------
    MoireioError
        If it cannot be read.
    """
    lines = read_text(path).rstrip().split("\n")
    try:
        count = int(lines[3])
        rows = [line.split() for line in lines[4 : 4 + count]]
        numbers = [int(row[1]) for row in rows]
        cell = np.array([line.split()[:3] for line in lines[:3]], dtype=np.float64)
        positions = np.array([row[2:5] for row in rows], dtype=np.float64)
        if len(rows) != count or not np.isfinite(cell).all() or not np.isfinite(positions).all():
            raise ValueError
        if abs(np.linalg.det(cell)) < SMALLEST_CELL:
            raise ValueError
    except (ValueError, IndexError) as error:
        raise DamagedError("is no XV file with as many atoms as it announces", path=path) from error
    numbers = [n if 0 < n <= HIGHEST_NUMBER else 0 for n in numbers]
    return Vectors(path, cell, positions.reshape(count, 3), numbers)


def read_ion(path: str) -> Species:
    """Read a species from ``.ion.xml`` or ``.ion``.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    Species
        Shells, valence, cutoff and radial functions.

    Raises
    ------
    MoireioError
        If it cannot be read.
    """
    text = read_text(path)
    parse = _xml if plain_name(path).endswith(".xml") else _plain
    try:
        return parse(text)
    except (ValueError, IndexError, KeyError, AttributeError, ElementTree.ParseError) as error:
        raise MoireioError(
            "cannot be read as the orbitals of a species", path=path, remedy="run SIESTA again"
        ) from error


@dataclass(frozen=True)
class _Orbital:
    """A radial function as SIESTA lists it: φ(r) / r^l at r = 0, delta, 2 delta … (Bohr)."""

    l: int  # noqa: E741
    delta: float
    values: np.ndarray


def _species(label: str, number: int, valence: float, orbitals: list[_Orbital]) -> Species:
    """Return the species of some radial functions, all of them on one grid."""
    from scipy.interpolate import CubicSpline

    if not orbitals:
        raise ValueError
    ends = [one.delta * (len(one.values) - 1) for one in orbitals]
    if not all(
        0 < end < FARTHEST and 0 <= one.l < 6 for end, one in zip(ends, orbitals, strict=True)
    ):
        raise ValueError
    step = max(min(one.delta for one in orbitals), max(ends) / MOST_POINTS)
    r = np.arange(int(np.ceil(max(ends) / step)) + 1) * step
    radial = np.zeros((len(orbitals), len(r)))
    for row, one, end in zip(radial, orbitals, ends, strict=True):
        if not np.isfinite(one.values).all():
            raise ValueError
        inside = r <= end
        spline = CubicSpline(one.delta * np.arange(len(one.values)), one.values)
        row[inside] = spline(r[inside]) * r[inside] ** one.l
    return Species(
        label,
        tuple(one.l for one in orbitals),
        number=number if 0 < number <= HIGHEST_NUMBER else 0,
        valence=valence if np.isfinite(valence) else None,
        cutoff=max(ends) * BOHR,
        radial=(r * BOHR, radial / BOHR**1.5),
    )


def _xml(text: str) -> Species:
    """Return the species of an ``.ion.xml``."""
    if "<!" in text:  # no entities
        raise ValueError
    root = ElementTree.fromstring(text)
    orbitals = []
    for entry in root.find("paos").findall("orbital"):
        function = entry.find("radfunc")
        table = np.array(function.find("data").text.split(), dtype=np.float64)
        if len(table) != 2 * int(function.find("npts").text) or len(table) < FEWEST:
            raise ValueError
        orbitals.append(
            _Orbital(int(entry.get("l")), float(function.find("delta").text), table[1::2])
        )
    label = root.find("label").text.strip()
    return _species(label, int(root.find("z").text), float(root.find("valence").text), orbitals)


def _plain(text: str) -> Species:
    """Return the species of an ``.ion``."""
    lines = text[text.index("</preamble>") :].split("\n")[1:]
    label, number, valence = (lines[k].split("#")[0].strip() for k in (1, 2, 3))
    count = int(lines[6].split()[1])
    at, orbitals = 9, []
    for _ in range(count):
        momentum = int(lines[at].split()[0])
        points, delta = lines[at + 1].split()[:2]
        end = at + 2 + int(points)
        table = np.array([line.split()[1] for line in lines[at + 2 : end]], dtype=np.float64)
        if len(table) != int(points) or len(table) < FEWEST:
            raise ValueError
        orbitals.append(_Orbital(momentum, float(delta), table))
        at = end
    return _species(label, int(number), float(valence), orbitals)
