"""Shells of ABACUS's species, from orbital files, their names and logs; settings of INPUT."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from moireio.formats.abacus.stru import BOHR
from moireio.formats.assembly.shells import parse_shells
from moireio.formats.text.streams import lines
from moireio.system.basis import MOST_FUNCTIONS, SHELL_LETTERS

_NAME = re.compile(r"_((?:\d{1,2}[spdfgh])+)(?:\.orb)?$")
_RADIUS = re.compile(r"_(\d+(?:\.\d+)?)au_")
_IN_FILE = re.compile(r"Number of ([SPDFGH])orbital-->\s*(\d+)")
_SPINS = re.compile(r"nspin\s*(?:=|\s)\s*([124])(?!\d)", re.I)
_LATNAME = re.compile(r"latname(?:\s*=\s*|\s+)(\w+)", re.I)
_CUTOFF_IN_FILE = re.compile(r"Radius Cutoff\(a\.u\.\)\s+(\S+)")
HEADER_LINES = 40


@dataclass(frozen=True)
class AbacusShells:
    """Shells of a species.

    Parameters
    ----------
    shells : tuple of int
        Angular momentum of each radial function: all of s, then of p, and so on.
    cutoff : float, optional
        Å.
    """

    shells: tuple[int, ...]
    cutoff: float | None = None


@dataclass
class Log:
    """What a running log says.

    Parameters
    ----------
    fermi : float, optional
        eV.
    electrons : float, optional
        In the cell.
    shells : dict of str to AbacusShells
        By species.
    valence : dict of str to float
        Electrons of each species.
    spins : int, optional
        The setting nspin.
    notes : list of str
        What is left out.
    """

    fermi: float | None = None
    electrons: float | None = None
    shells: dict[str, AbacusShells] = field(default_factory=dict)
    valence: dict[str, float] = field(default_factory=dict)
    spins: int | None = None
    notes: list[str] = field(default_factory=list)


def find_orbital_file(name: str, folders: Sequence[str]) -> str | None:
    """Find an orbital file.

    Parameters
    ----------
    name : str
        As STRU has it.
    folders : sequence of str
        Where the file may be.

    Returns
    -------
    str or None
        The first that exists.
    """
    paths = (os.path.join(folder, name) for folder in folders)
    return next((path for path in paths if os.path.isfile(path)), None)


def shells_of_orbital_file(name: str, path: str | None) -> AbacusShells | None:
    """Return the shells of an orbital file: from its header where it is found, or from its name.

    Parameters
    ----------
    name : str
        As STRU has it.
    path : str or None
        Where it is.

    Returns
    -------
    AbacusShells or None
        None where neither says them.
    """
    found = None if path is None else _read_orbital_file(path)
    if found is not None:
        return found
    named = _NAME.search(os.path.basename(name))
    if named is None:
        return None
    radius = _RADIUS.search(os.path.basename(name))
    return AbacusShells(parse_shells(named[1]), float(radius[1]) * BOHR if radius else None)


def _read_orbital_file(path: str) -> AbacusShells | None:
    counts: dict[str, int] = {}
    cutoff = None
    for number, line in enumerate(lines(path)):
        if found := _IN_FILE.search(line):
            counts[found[1].lower()] = int(found[2][:4])
        if found := _CUTOFF_IN_FILE.search(line):
            cutoff = _number(found[1])
        if number > HEADER_LINES:
            break
    text = "".join(f"{n}{letter}" for letter, n in counts.items() if n)
    if not text:
        return None
    return AbacusShells(parse_shells(text), cutoff * BOHR if cutoff else None)


def read_log(path: str) -> Log:
    """Read ``running_scf.log`` or another running log.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    Log
        Shells, electrons and the last Fermi level.

    Raises
    ------
    MoireioError
        If it cannot be read.
    """
    log = Log()
    label: str | None = None
    momenta: list[int] = []
    by_spin: dict[str, float] = {}
    for line in lines(path):
        text = line.strip()
        if text.startswith("atom label ="):
            label, momenta = text.split("=", 1)[1].strip(), []
        elif label and text.startswith("L=") and "number of zeta" in text:
            words = text.replace(",", " ").replace("=", " ").split()
            if len(words) > 2 and words[1].isdigit() and words[-1].isdigit():
                momentum, count = int(words[1][:3]), int(words[-1][:4])
                if momentum < len(SHELL_LETTERS) and count <= MOST_FUNCTIONS:
                    momenta += [momentum] * count
                    log.shells[label] = AbacusShells(tuple(momenta))
        elif text.startswith(("E_Fermi", "EFERMI")):
            words = text.replace("=", " ").split()
            number = _number(words[-2] if words[-1] == "eV" else words[-1])
            if number is None:
                continue
            if words[0] in ("E_Fermi_up", "E_Fermi_dw"):
                by_spin[words[0]] = number
            else:
                log.fermi = number
        elif found := _SPINS.match(text):
            log.spins = int(found[1])
        elif text.startswith("electron number of element"):
            words = text.split("=")
            number = _number(words[-1].strip())
            if len(words) == 2 and number is not None:
                log.valence[words[0].split()[-1]] = number
        elif "umber of electrons" in text and text.startswith(("AUTOSET", "number", "Number")):
            log.electrons = _number(text.rsplit("=", 1)[-1].strip()) or log.electrons
    if by_spin:
        log.fermi = None
        log.notes.append(two_levels(*by_spin.values()))
    return log


def two_levels(*levels: float) -> str:
    """Return the note on Fermi levels of up and down.

    Parameters
    ----------
    *levels : float
        eV.

    Returns
    -------
    str
        That they are left out.
    """
    listed = " and ".join(f"{level:.6g} eV" for level in levels)
    return f"up and down have Fermi levels of their own, {listed}: left out"


def latname_of_input(path: str) -> str | None:
    """Return the name of the lattice in an ``INPUT``.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    str or None
        In small letters; None where STRU has the lattice vectors.
    """
    found = [_LATNAME.match(line.strip()) for line in lines(path)]
    name = next((match[1].lower() for match in found if match is not None), "none")
    return None if name in ("none", "user_defined_lattice") else name


def spins_of_input(path: str) -> int | None:
    """Return the setting nspin of an ``INPUT``.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    int or None
        None where it is not set.
    """
    found = [_SPINS.match(line.strip()) for line in lines(path)]
    return next((int(match[1]) for match in found if match is not None), None)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if np.isfinite(number) and abs(number) < 1e6 else None
