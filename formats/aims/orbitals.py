"""The orbitals of FHI-aims; Fermi level and electrons in its output."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from moireio.errors import DamagedError, MoireioError, naming
from moireio.formats.assembly.shells import shells_of_m
from moireio.formats.structures.text import shown
from moireio.formats.text.streams import lines
from moireio.results.electrons import Electrons

_FERMI = re.compile(r"Chemical potential \(Fermi level\)(?: in eV)?\s*:\s*([-+.\dEe]+)")
_END = ("Self-consistency cycle converged", "Have a nice day")
_ELECTRONS = re.compile(r"a total of\s+([.\d]+)\s+electrons")
_ORBITAL = re.compile(r"\s*(?:\d+|\*+)\s+(\w+)\s+(\d+|\*+)\s+(\d+)\s+(\d+)\s+(-?\d+)\s*")


def read_log(path: str, notes: list[str]) -> Electrons | None:
    """Read Fermi level and number of electrons from aims's output.

    Parameters
    ----------
    path : str
        Usually ``aims.out``.
    notes : list of str
        Gets one more where the output does not come to the end of its last cycle.

    Returns
    -------
    Electrons or None
        The last Fermi level; None if there is nothing of this.
    """
    fermi = count = None
    finished = False
    for line in lines(path):
        if any(words in line for words in _END):
            finished = True
        elif (found := _FERMI.search(line)) is not None:
            fermi = _finite(found[1], fermi)
        elif (found := _ELECTRONS.search(line)) is not None:
            count = _finite(found[1], count)
    if fermi is not None and not finished:
        notes.append(
            f"{os.path.basename(path)} ends before the cycle is converged: its last Fermi level is "
            "kept"
        )
    return None if fermi is None and count is None else Electrons(count=count, fermi=fermi)


def _finite(word: str, before: float | None) -> float | None:
    try:
        value = float(word)
    except ValueError:
        return before
    return value if abs(value) < 1e9 else before


def read_orbitals(path: str, species: Sequence[str]) -> list[tuple[int, ...]]:
    """Read ``basis-indices.out``.

    Parameters
    ----------
    path : str
        The file, compressed or not.
    species : sequence of N str
        Species of each atom. Beyond atom 999 the file has no numbers of atoms; those have the
        shells of their species.

    Returns
    -------
    list of N tuples of int
        Angular momentum of each radial function.

    Raises
    ------
    MoireioError
        If a shell is not m = −l … l, or orbitals and atoms do not fit.
    """
    atoms: list[list[int]] = [[] for _ in species]
    m_of: list[list[int]] = [[] for _ in species]
    at, seen = 0, False
    with naming(path):
        for number, line in enumerate(lines(path), 1):
            if not line.strip() or line.split()[0] == "fn.":
                continue
            found = _ORBITAL.fullmatch(line)
            if found is None:
                raise DamagedError(f"line {number}: an orbital expected, found {shown(line)}")
            seen = True
            momentum, m = int(found[4]), int(found[5])
            if found[2].startswith("*"):
                while at < len(species) and at < 999:
                    at += 1
                if at < len(species) and len(atoms[at]) >= _known(atoms, species, at):
                    at += 1
                atom = at
            else:
                atom = int(found[2]) - 1
                if atom not in (at, at + 1):
                    raise DamagedError(f"line {number}: atom {atom + 1} after atom {at + 1}")
                at = atom
            if not 0 <= atom < len(species):
                raise MoireioError(
                    f"line {number}: an orbital of atom {atom + 1}, but geometry.in has "
                    f"{len(species)}",
                    remedy="the two are of different calculations",
                )
            atoms[atom].append(momentum)
            m_of[atom].append(m)
        if not seen:
            raise DamagedError("lists no orbitals")
        shells = []
        for atom, (momenta, ms) in enumerate(zip(atoms, m_of, strict=True)):
            if not momenta:
                raise MoireioError(
                    f"lists no orbitals of atom {atom + 1}, but geometry.in has {len(species)} "
                    "atoms",
                    remedy="the two are of different calculations",
                )
            one = shells_of_m(momenta, f"atom {atom + 1}")
            if ms != [m for momentum in one for m in range(-momentum, momentum + 1)]:
                raise DamagedError(f"the orbitals of atom {atom + 1} are not m = -l ... l")
            shells.append(one)
    return shells


def _known(atoms: list[list[int]], species: Sequence[str], atom: int) -> int:
    """Return how many orbitals an earlier atom of the same species has."""
    for earlier in range(min(atom, 999)):
        if species[earlier] == species[atom]:
            return len(atoms[earlier])
    raise MoireioError(
        f"has no number of atom {atom + 1}, the first of species {species[atom]}",
        remedy="FHI-aims prints *** beyond atom 999; order the atoms so that every species is "
        "among the first 999",
    )
