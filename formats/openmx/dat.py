"""OpenMX's input text (``.dat``), also as it is appended to a ``.scfout``.

Layout: ``keyword value …`` lines, tables between ``<name`` and ``name>``, ``#`` comments;
keywords in any case. Kept: species and their basis names, cell, positions, initial charges,
spin settings, the band path. Everything else is ignored.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, unreadable
from moireio.formats.openmx.kpath import BandSegment, read_segments
from moireio.system.basis import Basis, SpeciesBasis, parse_name
from moireio.units import BOHR_ANGSTROM


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
    decimals : float
        Size of the last digit of the coordinates in the text, Å.
    charges : (N,) array
        Initial electrons of every atom, both spins.
    cell : (3, 3) array or None
        Rows, Å.
    system_charge : float
        Electrons removed from the cell.
    spin : str or None
        "none", "collinear" or "spinor", where the text gives it.
    kpath : list of BandSegment
        The band path, fractional in the reciprocal cell of `cell`.
    keywords : dict of str to str
        All keywords (lower case) with their values.
    """

    label: str
    species: dict[str, str]
    symbols: list[str]
    positions: npt.NDArray[np.float64] | None
    decimals: float
    charges: npt.NDArray[np.float64]
    cell: npt.NDArray[np.float64] | None
    system_charge: float = 0.0
    spin: str | None = None
    kpath: list[BandSegment] = field(default_factory=list)
    keywords: dict[str, str] = field(default_factory=dict)

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
            Element symbol of each species.
        """
        total = float(self.charges.sum()) - self.system_charge
        trusted = electron_count is not None and abs(total - electron_count) < 1e-6
        species, elements = {}, {}
        for name, text in self.species.items():
            try:
                parsed, element = parse_name(text)
            except MoireioError as error:
                raise MoireioError(error.what, path=self.label, remedy=error.remedy) from error
            charges = {c for s, c in zip(self.symbols, self.charges, strict=True) if s == name}
            valence = charges.pop() if trusted and len(charges) == 1 else None
            species[name] = SpeciesBasis(
                l=parsed.l, name=parsed.name, cutoff=parsed.cutoff, valence=valence
            )
            elements[name] = element
        return Basis(species), elements


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
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return parse(stream.read(), str(path))
    except OSError as error:
        raise unreadable(error, path) from error


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
    keywords, tables = _split(text)
    try:
        species = {row[0]: row[1] for row in tables.get("definition.of.atomic.species", [])}
        cell_unit = _unit(keywords, "atoms.unitvectors.unit", "ang")
        cell = _cell(tables.get("atoms.unitvectors"), cell_unit)
        rows = tables.get("atoms.speciesandcoordinates", [])
        symbols = [row[1] for row in rows]
        unit = _unit(keywords, "atoms.speciesandcoordinates.unit", "ang")
        positions, digit = _positions(rows, unit, cell)
        charges = np.array([float(row[5]) + float(row[6]) for row in rows])
        unit_cell = _cell(tables.get("band.kpath.unitcell"), cell_unit, "Band.KPath.UnitCell")
        kpath = read_segments(tables.get("band.kpath", []), unit_cell, cell)
        charge = float(keywords.get("scf.system.charge", "0").split()[0])
    except (IndexError, ValueError, KeyError) as error:
        raise MoireioError(f"the OpenMX input text is malformed: {error}", path=label) from error
    unknown = sorted(set(symbols) - set(species))
    if unknown:
        raise MoireioError(
            f"the OpenMX input text has no basis for species {unknown[0]!r}", path=label
        )
    spin = {"off": "none", "on": "collinear", "nc": "spinor"}
    return OpenMXInput(
        label=label,
        species=species,
        symbols=symbols,
        positions=positions,
        decimals=digit,
        charges=charges,
        cell=cell,
        system_charge=charge,
        spin=spin.get(keywords.get("scf.spinpolarization", "").lower()),
        kpath=kpath,
        keywords=keywords,
    )


def _split(text):
    """Separate keywords from tables; both with lower-case names."""
    keywords, tables, current = {}, {}, None
    for line in text.splitlines():
        words = line.split("#")[0].split()
        if not words:
            continue
        name = words[0].lower()
        if current is not None:
            if name == f"{current}>":
                current = None
            else:
                tables[current].append(words)
        elif name.startswith("<") and len(name) > 1:
            current = name[1:]
            tables[current] = []
        else:
            keywords[name] = " ".join(words[1:])
    return keywords, tables


def _unit(keywords, name, default):
    words = keywords.get(name, default).lower().split()
    unit = words[0] if words else default
    if unit not in ("ang", "au", "frac"):
        raise ValueError(f"unit {unit!r} of {name}")
    return unit


def _cell(rows, unit, table="Atoms.UnitVectors"):
    if not rows:
        return None
    cell = np.array([[float(v) for v in row[:3]] for row in rows])
    if cell.shape != (3, 3):
        raise ValueError(f"{table} has not three rows")
    return cell * (BOHR_ANGSTROM if unit == "au" else 1.0)


def _positions(rows, unit, cell):
    if not rows:
        return None, 0.0
    if min(len(row) for row in rows) < 7:
        raise ValueError("a line of Atoms.SpeciesAndCoordinates is cut short")
    numbers = np.array([[float(v) for v in row[2:5]] for row in rows])
    decimals = min(len(v.partition(".")[2]) for row in rows for v in row[2:5])
    digit = 10.0**-decimals
    if unit == "ang":
        return numbers, digit
    if unit == "au":
        return numbers * BOHR_ANGSTROM, digit * BOHR_ANGSTROM
    if cell is None:
        raise ValueError("fractional coordinates without Atoms.UnitVectors")
    return numbers @ cell, digit * float(np.linalg.norm(cell, axis=1).max())
