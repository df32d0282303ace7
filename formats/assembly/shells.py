"""Shells of species, as options, tables of basis functions and names of orbitals give them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np

from moireio.errors import MoireioError
from moireio.formats.structures.text import labelled_element, shown
from moireio.system.basis import MOST_FUNCTIONS, SHELL_LETTERS, Basis, SpeciesBasis
from moireio.system.structure import Structure

#: Help of the option `shells` of every format that has it.
SHELLS_HELP = "shells of species whose files do not give them, as C=s2p1,Fe=ssppd"
_SHELLS = re.compile(r"(?:[spdfgh]\d*)+", re.I)
_ONE = re.compile(r"([spdfgh])(\d*)", re.I)
_COUNT_FIRST = re.compile(r"(?:\d+[spdfgh])+", re.I)
_ONE_COUNT_FIRST = re.compile(r"(\d+)([spdfgh])", re.I)


def parse_shells(text: str) -> tuple[int, ...]:
    """Read the shells of an atom.

    Parameters
    ----------
    text : str
        Letters in the order of the orbitals, each with an optional count: ``s2p2d1`` or ``sspd``;
        ABACUS's ``2s2p1d`` is the same.

    Returns
    -------
    tuple of int
        Angular momentum of each radial function.

    Raises
    ------
    MoireioError
        If the text is none of these.
    """
    if _COUNT_FIRST.fullmatch(text) is not None:
        text = "".join(letter + count for count, letter in _ONE_COUNT_FIRST.findall(text))
    if _SHELLS.fullmatch(text) is None:
        raise MoireioError(f"{shown(text)} are no shells", remedy="expected as in s2p2d1 or sspd")
    found: list[int] = []
    for letter, count in _ONE.findall(text):
        number = int(count[:4]) if count else 1
        if number > MOST_FUNCTIONS:
            raise MoireioError(f"{shown(text)} has {number} shells {letter}")
        found += number * [SHELL_LETTERS.index(letter.lower())]
    if not found:
        raise MoireioError(f"{shown(text)} has no shells")
    return tuple(found)


def parse_shells_option(text: str | None) -> dict[str, tuple[int, ...]]:
    """Read the option `shells`.

    Parameters
    ----------
    text : str, optional
        As in ``C=s2p1,Fe=ssppd``.

    Returns
    -------
    dict of str to tuple of int
        Angular momenta by species.

    Raises
    ------
    MoireioError
        If it cannot be read.
    """
    species = {}
    for part in (text or "").replace(",", " ").split():
        name, equals, shells = part.partition("=")
        if not equals or not name:
            raise MoireioError(f"`shells` is {shown(text or '')}", remedy="as in C=s2p1,Fe=ssppd")
        species[name] = parse_shells(shells)
    return species


def require_labels(structure: Structure, program: str, label: str) -> None:
    """Refuse names of species that are no words of a text file.

    Parameters
    ----------
    structure : Structure
        The atoms.
    program : str
        Whose files have them.
    label : str
        The calculation, for messages.

    Raises
    ------
    MoireioError
        If a name has blanks, a mark that begins a comment, or stands for another element.
    """
    of_names = dict(zip(structure.species_of_atoms, structure.numbers.tolist(), strict=True))
    for name, number in of_names.items():
        if (labelled_element(name) or number) != number:
            raise MoireioError(
                f"the name {name!r} of a species stands for another element than its own, {number}",
                path=label,
            )
        if name.split() != [name] or any(mark in name for mark in ("#", "!", "//")):
            raise MoireioError(
                f"the name {name!r} of a species is no word without blanks and comment marks, as "
                f"{program}'s files have them",
                path=label,
            )


def species_by_shells(
    labels: Sequence[str], shells: Sequence[Sequence[int]]
) -> tuple[list[int], list[str], dict[str, tuple[int, ...]]]:
    """Return one species for all atoms of the same label and shells.

    Parameters
    ----------
    labels : sequence of N str
        Element or species of each atom.
    shells : sequence of N sequences of int
        Angular momentum of each radial function.

    Returns
    -------
    species : list of N int
        Index of each atom's species.
    names : list of str
        The label; ``C_2`` and so on where atoms of one label have different shells.
    momenta : dict of str to tuple of int
        Angular momenta by species.
    """
    found: dict[tuple[str, tuple[int, ...]], int] = {}
    names: list[str] = []
    species = []
    for label, momenta in zip(labels, shells, strict=True):
        key = label, tuple(int(v) for v in momenta)
        if key not in found:
            found[key] = len(found)
            alike = sum(known == label for known, _ in found)
            names.append(label if alike == 1 else f"{label}_{alike}")
        species.append(found[key])
    momenta_of = {names[number]: key[1] for key, number in found.items()}
    return species, names, momenta_of


def shells_of_m(momenta: Sequence[int], what: str) -> tuple[int, ...]:
    """Return the shells of an atom whose orbitals are listed with their l.

    Parameters
    ----------
    momenta : sequence of int
        l of every orbital, shell after shell.
    what : str
        The atom, for the message.

    Returns
    -------
    tuple of int
        One l for each shell.

    Raises
    ------
    MoireioError
        If a shell is incomplete.
    """
    found, at = [], 0
    while at < len(momenta):
        momentum = int(momenta[at])
        if not 0 <= momentum < len(SHELL_LETTERS):
            raise MoireioError(f"{what} has an orbital with l = {momentum}")
        if any(int(v) != momentum for v in momenta[at : at + 2 * momentum + 1]) or (
            at + 2 * momentum + 1 > len(momenta)
        ):
            raise MoireioError(
                f"{what} has an incomplete shell with l = {momentum}",
                remedy=f"{2 * momentum + 1} orbitals expected",
            )
        found.append(momentum)
        at += 2 * momentum + 1
    return tuple(found)


def structure_and_basis(
    cell: np.ndarray,
    positions: np.ndarray,
    numbers: Sequence[int],
    labels: Sequence[str],
    shells: Sequence[Sequence[int]],
    *,
    pbc: Sequence[bool] = (True, True, True),
    valence: Mapping[str, float] | None = None,
) -> tuple[Structure, Basis]:
    """Return the structure and the basis of atoms whose shells are known one by one.

    Parameters
    ----------
    cell : (3, 3) array
        Å.
    positions : (N, 3) array
        Å.
    numbers : sequence of N int
        Atomic numbers.
    labels : sequence of N str
        Element or species of each atom.
    shells : sequence of N sequences of int
        Angular momentum of each radial function.
    pbc : sequence of three bool
        Along which vectors it is periodic.
    valence : mapping of str to float, optional
        Electrons of the pseudo-atoms, by label.

    Returns
    -------
    structure : Structure
        Species named as the labels.
    basis : Basis
        Without radial functions.
    """
    species, names, momenta = species_by_shells(labels, shells)
    electrons = valence or {}
    label_of = dict(zip((names[s] for s in species), labels, strict=True))
    structure = Structure(cell, positions, numbers, species, names, pbc)
    basis = Basis(
        {
            name: SpeciesBasis(found, valence=electrons.get(label_of[name]))
            for name, found in momenta.items()
        }
    )
    return structure, basis
