"""OpenMX's orbital files (``.pao``).

Layout: text. ``AtomSpecies Z``, ``valence.electron N``, ``radial.cutoff.pao R`` (Bohr),
``grid.num.output n``, ``PAO.Lmax``, ``PAO.Mul``, then for every l ≤ PAO.Lmax a table between
``<pseudo.atomic.orbitals.L=l`` and ``pseudo.atomic.orbitals.L=l>``: n lines of ln r, r (Bohr), and
PAO.Mul functions R(r) (Bohr^(−3/2)), normalised. A basis ``C6.0-s2p2d1`` takes the first 2, 2 and 1
of ``C6.0.pao``; OpenMX takes their cutoff from radial.cutoff.pao, not from the name. Kept: these
functions, the cutoff, the electrons. Lost: everything else.
"""

import contextlib
import os
import re
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.formats.openmx.dat import read_text
from moireio.formats.openmx.keywords import LARGEST, Keywords, read_integer, read_number, split
from moireio.system.basis import (
    SHELL_LETTERS,
    SpeciesBasis,
    is_contracted,
    parse_name,
    shell_counts,
    uncontracted,
)
from moireio.units import BOHR_ANGSTROM

TABLE = "pseudo.atomic.orbitals.L="
SAME = 1e-9
LARGEST_CUTOFF = 50.0  # Bohr
NORM = 0.05  # OpenMX's own are between 0.985 and 1.014
SPIKE = 60.0  # of the curvature around a point; at most 25 in OpenMX's own
SPIKE_FLOOR = 1e-3
_PLAIN = re.compile(r"[0-9eE+\-. ]*", re.ASCII)


@dataclass(frozen=True, eq=False)
class Pao:
    """Contents of an orbital file, as far as moireio uses them.

    Parameters
    ----------
    path : str
        The file.
    r : (n,) array
        Grid, Bohr.
    functions : dict of int to (m, n) array
        Radial functions of each l, Bohr^(−3/2).
    cutoff : float
        Radius at which they vanish, Bohr.
    electrons : float or None
        Electrons of the neutral pseudo-atom.
    number : float or None
        Atomic number; not an integer for virtual atoms.
    """

    path: str
    r: npt.NDArray[np.float64]
    functions: dict[int, npt.NDArray[np.float64]]
    cutoff: float
    electrons: float | None
    number: float | None


def read(path: str | os.PathLike[str]) -> Pao:
    """Read an orbital file.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    Pao
        Its tables.

    Raises
    ------
    MoireioError
        If it cannot be read, a table is malformed, or its numbers contradict each other.
    """
    path = os.fspath(path)
    names = [f"{TABLE}{momentum}" for momentum in range(len(SHELL_LETTERS))]
    keywords = split(read_text(path), path, [name.lower() for name in names])
    highest = _integer(keywords, "PAO.Lmax", 0, len(names) - 1)
    multiplicity = _integer(keywords, "PAO.Mul", 1, 1000)
    cutoff = keywords.number("radial.cutoff.pao", 0.0)
    if not 0 < cutoff <= LARGEST_CUTOFF:
        raise _damaged(
            path,
            f"radial.cutoff.pao is {cutoff:g} Bohr, up to {LARGEST_CUTOFF:g} is expected"
            if "radial.cutoff.pao" in keywords.values
            else "has no radial.cutoff.pao",
        )
    tables = [_table(keywords, name, multiplicity + 2) for name in names[: highest + 1]]
    r = tables[0][:, 1]
    for momentum, table in enumerate(tables):
        _check(path, momentum, table, r)
    if "grid.num.output" in keywords.values:
        points = _integer(keywords, "grid.num.output", 1, 10**6)
        if points != len(r):
            raise _damaged(path, f"has tables of {len(r)} lines, but grid.num.output is {points}")
    if not cutoff <= r[-1] * (1 + SAME):
        raise _damaged(path, f"ends at {r[-1]:.3f} Bohr, before its cutoff of {cutoff:g} Bohr")
    return Pao(
        path,
        r,
        {momentum: table[:, 2:].T.copy() for momentum, table in enumerate(tables)},
        cutoff,
        _optional(keywords, "valence.electron"),
        _optional(keywords, "AtomSpecies"),
    )


def _damaged(path, what):
    return MoireioError(what, path=path, remedy="expected an undamaged .pao file of OpenMX")


def _integer(keywords, name, smallest, largest):
    words = keywords.values.get(name.lower())
    if words is None:
        raise _damaged(keywords.label, f"has no {name}")
    place = f"line {words.line}: {name}"
    return read_integer(words[0] if words else "", keywords.label, place, smallest, largest)


def _optional(keywords: Keywords, name: str) -> float | None:
    if name.lower() not in keywords.values:
        return None
    value = keywords.number(name, 0.0)
    if not 0 <= value <= 200:
        raise _damaged(keywords.label, f"{name} is {value:g}, between 0 and 200 is expected")
    return value


def _table(keywords, name, columns):
    """Return the numbers of a table, shape (n, columns)."""
    rows = keywords.tables.get(name.lower())
    if rows is None:
        raise _damaged(keywords.label, f"has no table <{name}")
    for row in rows:
        if len(row) != columns:
            raise _damaged(
                keywords.label,
                f"line {row.line} ({name}) has {len(row)} numbers, {columns} are expected",
            )
    if len(rows) < 5:
        raise _damaged(keywords.label, f"the table <{name} has {len(rows)} lines")
    if _PLAIN.fullmatch(" ".join(" ".join(row) for row in rows)):
        with contextlib.suppress(ValueError):
            table = np.array(rows, dtype=np.float64)
            if np.abs(table).max() < LARGEST:
                return table
    return np.array(  # the slow way, which names the wrong word
        [
            [read_number(word, keywords.label, f"line {row.line} ({name})") for word in row]
            for row in rows
        ]
    )


def _check(path, momentum, table, r):
    """Refuse a table whose numbers contradict each other."""
    place = f"the table of l = {momentum}"
    x, grid, functions = table[:, 0], table[:, 1], table[:, 2:].T
    if len(grid) != len(r) or np.abs(grid - r).max() > SAME:
        raise _damaged(path, f"{place} has another grid than that of l = 0")
    if grid[0] <= 0 or (np.diff(grid) <= 0).any():
        raise _damaged(path, f"{place}: the grid does not rise")
    off = np.abs(np.exp(np.clip(x, -700, 700)) / grid - 1)
    if off.max() > 1e-5:
        line = int(off.argmax())
        raise _damaged(path, f"{place}, line {line + 1}: {x[line]:g} is not ln {grid[line]:g}")
    norms = np.trapezoid((functions * grid) ** 2, grid, axis=1)
    worst = int(np.abs(norms - 1).argmax())
    if abs(norms[worst] - 1) > NORM:
        raise _damaged(
            path, f"{place}, function {worst + 1}: ∫ R² r² dr is {norms[worst]:.3f}, 1 is expected"
        )
    spike = _spike(functions)
    if spike is not None:
        function, line = spike
        raise _damaged(
            path,
            f"{place}, line {line + 1}: function {function + 1} jumps to "
            f"{functions[function, line]:g} and back",
        )


def _spike(functions):
    """Return (function, line) of a number that does not lie on the curve of those around it."""
    off = np.zeros_like(functions)
    around = 4 * (functions[:, 1:-3] + functions[:, 3:-1]) - functions[:, :-4] - functions[:, 4:]
    off[:, 2:-2] = np.abs(around / 6 - functions[:, 2:-2])
    wide = np.pad(off, ((0, 0), (5, 5)))
    n = functions.shape[1]
    usual = np.max([wide[:, 5 + step : 5 + step + n] for step in (-5, -4, -3, 3, 4, 5)], axis=0)
    usual += SPIKE_FLOOR * np.abs(functions).max(axis=1, keepdims=True)
    ratio = off / np.maximum(usual, 1e-300)
    function, line = np.unravel_index(int(ratio.argmax()), ratio.shape)
    return (int(function), int(line)) if ratio[function, line] > SPIKE else None


def find(folder: str, stem: str) -> str | None:
    """Return the path of an orbital file.

    Parameters
    ----------
    folder : str
        Holds orbital files; also OpenMX's data folder with ``PAO`` in it.
    stem : str
        Its name without the suffix, such as ``C6.0``.

    Returns
    -------
    str or None
        None if the folder has no such file.
    """
    places = [os.path.join(folder, *p, f"{stem}.pao") for p in ((), ("PAO",))]
    return next((p for p in places if os.path.isfile(p)), None)


def stems(folder: str, element: str) -> list[str]:
    """Return the orbital files of an element.

    Parameters
    ----------
    folder : str
        Holds orbital files; also OpenMX's data folder with ``PAO`` in it.
    element : str
        Its symbol.

    Returns
    -------
    list of str
        Names without the suffix, sorted.
    """
    found = set()
    for place in (folder, os.path.join(folder, "PAO")):
        names = os.listdir(place) if os.path.isdir(place) else []
        for stem in (name.removesuffix(".pao") for name in names if name.endswith(".pao")):
            rest = stem.removeprefix(element)
            if rest != stem and not rest[:1].islower():
                found.add(stem)
    return sorted(found)


def species_basis(folder: str, name: str, element: str | None = None) -> SpeciesBasis:
    """Return a basis with its radial functions.

    Parameters
    ----------
    folder : str
        Holds the orbital files; also OpenMX's data folder with ``PAO`` in it.
    name : str
        Such as ``Mo7.0-s3p2d1``, or ``C_1-s1p1`` for the optimised orbitals of ``C_1.pao``.
    element : str, optional
        The element that it must be of. An empty atom ("X") takes the orbitals of any element, and
        has no electrons.

    Returns
    -------
    SpeciesBasis
        r in Å, R in Å^(−3/2).

    Raises
    ------
    MoireioError
        If the file is missing or of another element, has too few functions, or the name asks for
        contracted orbitals.
    """
    parsed, symbol = parse_name(name)
    if element not in (None, "X", symbol):
        raise MoireioError(f"basis {name} is not one of {element}")
    stem = name.partition("-")[0]
    if is_contracted(name):
        raise MoireioError(
            f"basis {name} has contracted orbitals, whose coefficients are not in {stem}.pao",
            path=folder,
            remedy="OpenMX's orbital optimisation finds them, and writes the optimised orbitals "
            f"(CntOrb.fileout on, {symbol}_1.pao): copy that file here and give `basis` "
            f"{element or symbol}={symbol}_1-{shell_counts(parsed.l)}; or use "
            f"{uncontracted(name)} in OpenMX too",
        )
    path = find(folder, stem)
    if path is None:
        have = stems(folder, symbol)
        raise MoireioError(
            f"has no {stem}.pao, which basis {name} needs",
            path=folder,
            remedy=f"of {symbol} it has " + ", ".join(have) if have else f"it has none of {symbol}",
        )
    file = read(path)
    _check_element(file, parsed, symbol, name)
    values = []
    for momentum in sorted(set(parsed.l)):
        wanted = parsed.l.count(momentum)
        have = len(file.functions.get(momentum, ()))
        if have < wanted:
            raise MoireioError(
                f"has {have} functions with l = {momentum} ({SHELL_LETTERS[momentum]}), "
                f"{name} needs {wanted}",
                path=path,
            )
        values += list(file.functions[momentum][:wanted])
    return replace(
        parsed,
        cutoff=file.cutoff * BOHR_ANGSTROM,
        valence=0.0 if element == "X" else file.electrons,
        radial=(file.r * BOHR_ANGSTROM, np.array(values) * BOHR_ANGSTROM**-1.5),
    )


def _check_element(file, parsed, symbol, name):
    """Refuse the file of another element; virtual atoms, which have no radius, have any number."""
    from ase.data import atomic_numbers, chemical_symbols

    number, expected = file.number, atomic_numbers.get(symbol)
    if parsed.cutoff is None or expected is None or number in (None, expected):
        return
    if number == int(number) and number < len(chemical_symbols):
        raise MoireioError(
            f"is of {chemical_symbols[int(number)]} (AtomSpecies {number:g}), not of {symbol}",
            path=file.path,
            remedy=f"needed for basis {name}",
        )
