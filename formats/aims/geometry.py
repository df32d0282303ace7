"""``geometry.in`` and ``control.in`` of FHI-aims, as far as its matrices need them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError, naming
from moireio.formats.structures.text import atomic_number, labelled_element, shown
from moireio.formats.text.streams import lines


@dataclass(frozen=True, eq=False)
class Geometry:
    """The atoms of a calculation.

    Parameters
    ----------
    cell : (3, 3) array or None
        Rows, Å; None for a molecule.
    positions : (N, 3) array
        Å.
    species : list of N str
        As the file names them.
    numbers : list of N int
        Atomic numbers; 0 for empty sites with orbitals.
    spin_orbit : bool
        Whether ``control.in`` has ``include_spin_orbit``.
    """

    cell: npt.NDArray[np.float64] | None
    positions: npt.NDArray[np.float64]
    species: list[str]
    numbers: list[int]
    spin_orbit: bool = False


def read_geometry(path: str, control: str | None = None) -> Geometry:
    """Read the atoms.

    Parameters
    ----------
    path : str
        ``geometry.in``, compressed or not.
    control : str, optional
        ``control.in``, for species that are not named after their element.

    Returns
    -------
    Geometry
        In the order of the file.

    Raises
    ------
    MoireioError
        With the line that cannot be read, or if a species has no element.
    """
    vectors, places, species, empty, fractional = [], [], [], [], []
    with naming(path):
        for number, line in enumerate(lines(path), 1):
            words = line.split("#")[0].split()
            if not words:
                continue
            if words[0] == "lattice_vector":
                vectors.append(_numbers(words, number))
            elif words[0] in ("atom", "atom_frac", "empty"):
                if len(words) < 5:
                    raise DamagedError(f"line {number}: an atom expected, found {shown(line)}")
                places.append(_numbers(words, number))
                species.append(words[4])
                empty.append(words[0] == "empty")
                fractional.append(words[0] == "atom_frac")
        if len(vectors) not in (0, 3):
            raise DamagedError(f"has {len(vectors)} lattice vectors")
        if not places:
            raise DamagedError("has no atoms")
        if any(fractional) and not vectors:
            raise DamagedError("has fractional positions, but no lattice vectors")
    positions = np.array(places)
    cell = np.array(vectors) if vectors else None
    if cell is not None:
        of_cell = np.array(fractional)
        positions[of_cell] = positions[of_cell] @ cell
    charges, spin_orbit = _control(control) if control else ({}, False)
    numbers = []
    for name, without in zip(species, empty, strict=True):
        found = 0 if without else charges.get(name, _element(name))
        if found is None:
            raise MoireioError(
                f"its species {shown(name)} is of no element that could be seen",
                path=path,
                remedy="control.in, which gives its nucleus, belongs beside it",
            )
        numbers.append(found)
    return Geometry(cell, positions, species, numbers, spin_orbit)


def _numbers(words: Sequence[str], line: int) -> list[float]:
    try:
        values = [float(word) for word in words[1:4]]
    except ValueError:
        values = []
    if len(values) != 3 or not np.isfinite(values).all():
        raise DamagedError(
            f"line {line}: three coordinates expected, found {shown(' '.join(words))}"
        )
    return values


def _element(name: str) -> int | None:
    return atomic_number(name) or labelled_element(name)


def _control(path: str) -> tuple[dict[str, int], bool]:
    """Return the nuclear charge of each species, and whether spin-orbit coupling is asked for."""
    charges: dict[str, int] = {}
    species, spin_orbit = None, False
    for line in lines(path):
        words = line.split("#")[0].split()
        if not words:
            continue
        if words[0] == "species" and len(words) > 1:
            species = words[1]
        elif words[0] == "nucleus" and len(words) > 1 and species is not None:
            try:
                charge = round(float(words[1]))
            except (ValueError, OverflowError):
                continue
            if 0 <= charge <= 118:
                charges[species] = charge
        elif words[0] == "include_spin_orbit":
            spin_orbit = True
    return charges, spin_orbit
