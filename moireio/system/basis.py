"""Atomic-orbital bases: the orbitals of every species."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.structure import Structure
from moireio.units import BOHR_ANGSTROM

SHELL_LETTERS = "spdfgh"
# m = −l … l
ORBITALS = {
    "s": ("s",),
    "p": ("py", "pz", "px"),
    "d": ("dxy", "dyz", "dz2", "dxz", "dx2-y2"),
}
# The radius of a name has a decimal point; C2Si8, Ni3 or H075 are virtual atoms.
_NAME = re.compile(
    r"(?P<pao>(?P<element>[A-Z][a-z]?)(?P<radius>\d+\.\d+)?[^-\s/]*)-(?P<shells>\S+)", re.ASCII
)
_SHELL = re.compile(r"([spdfgh])(\d+)(?:>(\d+))?", re.ASCII)
MOST_FUNCTIONS = 50  # of one l; orbital files have 15


@dataclass(frozen=True, eq=False)
class SpeciesBasis:
    """The orbitals of one species.

    Parameters
    ----------
    l : tuple of int
        Angular momentum of each radial function, in the order of the orbitals.
    name : str, optional
        Name such as ``Mo7.0-s3p2d1``.
    cutoff : float, optional
        Radius at which the radial functions vanish, Å.
    valence : float, optional
        Electrons of the neutral pseudo-atom.
    m : tuple of int, optional
        One m per orbital, where a shell is incomplete (such as a single p_z).
    radial : tuple of two arrays, optional
        Grid r (n_r,) in Å and functions R (n_radial, n_r) in Å^(-3/2).

    Raises
    ------
    MoireioError
        If an angular momentum is not between 0 and 5.
    """

    l: tuple[int, ...]  # noqa: E741
    name: str | None = None
    cutoff: float | None = None
    valence: float | None = None
    m: tuple[int, ...] | None = None
    radial: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            l: Sequence[int],  # noqa: E741
            name: str | None = None,
            cutoff: float | None = None,
            valence: float | None = None,
            m: Sequence[int] | None = None,
            radial: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        """Store l and m as tuples of int, and check l."""
        object.__setattr__(self, "l", tuple(int(v) for v in self.l))
        if any(not 0 <= v < len(SHELL_LETTERS) for v in self.l):
            raise MoireioError(f"basis: angular momenta {self.l} are not between 0 and 5")
        if self.m is not None:
            object.__setattr__(self, "m", tuple(int(v) for v in self.m))

    @property
    def size(self) -> int:
        """Number of orbitals, spin not counted."""
        return len(self.m) if self.m is not None else sum(2 * v + 1 for v in self.l)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Names and lengths of the shells: ("p1", 3) is the first p shell.

        Where shells are incomplete, every orbital is a group of its own, as ("pz", 1).
        """
        if self.m is None:
            letters = [SHELL_LETTERS[v] for v in self.l]
            counts = [letters[: n + 1].count(letter) for n, letter in enumerate(letters)]
            return [(f"{a}{n}", 2 * v + 1) for a, n, v in zip(letters, counts, self.l, strict=True)]
        if len(self.l) != len(self.m):
            return [("", 1)] * len(self.m)
        pairs = zip(map(SHELL_LETTERS.__getitem__, self.l), self.l, self.m, strict=True)
        return [(ORBITALS[a][m + v] if a in ORBITALS else f"{a} {m}", 1) for a, v, m in pairs]

    def same_radial(self, other: SpeciesBasis) -> bool:
        """Return whether two bases have the same radial functions.

        Parameters
        ----------
        other : SpeciesBasis
            Another basis with radial functions.

        Returns
        -------
        bool
            True if they agree to nine digits; False also if either has no radial functions.
        """
        if self.radial is None or other.radial is None:
            return False
        return all(
            a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12)
            for a, b in zip(self.radial, other.radial, strict=True)
        )

    @property
    def label(self) -> str:
        """The name, or else the shells in the notation ``s2p2d1``."""
        if self.name:
            return self.name
        return shell_counts(self.l)


@dataclass(frozen=True, eq=False)
class Basis:
    """The bases of all species.

    Parameters
    ----------
    species : dict of str to SpeciesBasis
        One entry for every species name of the structure.
    orthogonal : bool
        True only if the orbitals are orthonormal, so that S = 1.
    """

    species: Mapping[str, SpeciesBasis] = field(default_factory=dict)
    orthogonal: bool = False

    def __getitem__(self, name: str) -> SpeciesBasis:
        """Return the basis of a species.

        Raises
        ------
        MoireioError
            If there is none.
        """
        try:
            return self.species[name]
        except KeyError:
            names = ", ".join(self.species)
            raise MoireioError(
                f"no basis for species {name}",
                remedy=f"there is one for {names}" if names else "name the basis of each species",
            ) from None

    def covers(self, structure: Structure) -> bool:
        """Return whether every species of a structure has a basis.

        Parameters
        ----------
        structure : Structure
            The atoms.

        Returns
        -------
        bool
            False if one is missing.
        """
        return all(name in self.species for name in structure.species_names)

    def sizes(self, structure: Structure) -> npt.NDArray[np.int64]:
        """Return the number of orbitals of every atom, spin not counted.

        Parameters
        ----------
        structure : Structure
            The atoms.

        Returns
        -------
        (N,) array of int64
            Orbitals per atom.
        """
        per_species = np.array([self[s].size for s in structure.species_names], dtype=np.int64)
        return per_species[structure.species]

    def valence(self, structure: Structure) -> float | None:
        """Return the number of valence electrons of the neutral structure.

        Parameters
        ----------
        structure : Structure
            The atoms.

        Returns
        -------
        float or None
            Sum over the pseudo-atoms; None if it is unknown for one of them.
        """
        total = 0.0
        for species in structure.species_of_atoms:
            valence = self[species].valence
            if valence is None:
                return None
            total += valence
        return total


def parse_name(name: str) -> tuple[SpeciesBasis, str]:
    """Read an OpenMX basis name such as ``Mo7.0-s3p2d1`` or ``H5.0-s4>1``.

    Parameters
    ----------
    name : str
        Orbital file, a hyphen, and the number of radial functions of each shell.

    Returns
    -------
    basis : SpeciesBasis
        Angular momenta in OpenMX's order (all s, then all p, …) and, where the name has a radius,
        the cutoff in Å; no valence. What the orbital file gives as its cutoff comes before it.
    element : str
        Symbol of the element; "E" for an empty atom.

    Raises
    ------
    MoireioError
        If the text is not such a name.
    """
    match = _NAME.fullmatch(name)
    shells = match.group("shells") if match else ""
    counts = _counts(shells)
    if match is None or not counts:
        shown = name if len(name) <= 40 else name[:40] + "…"
        raise MoireioError(
            f"{shown!r} is not a basis name", remedy="expected one like Mo7.0-s3p2d1"
        )
    momenta = tuple(v for v in sorted(counts) for _ in range(counts[v][1]))
    radius = match.group("radius")
    cutoff = float(radius) * BOHR_ANGSTROM if radius else None
    return SpeciesBasis(l=momenta, name=name, cutoff=cutoff), match.group("element")


def shell_counts(momenta: Sequence[int]) -> str:
    """Return angular momenta in OpenMX's notation.

    Parameters
    ----------
    momenta : sequence of int
        l of each radial function.

    Returns
    -------
    str
        Such as ``s2p2d1``.
    """
    return "".join(f"{SHELL_LETTERS[v]}{list(momenta).count(v)}" for v in sorted(set(momenta)))


def is_contracted(name: str) -> bool:
    """Return whether a basis name asks for contracted orbitals.

    Parameters
    ----------
    name : str
        A basis name.

    Returns
    -------
    bool
        True for ``C6.0-s2>1``: its orbital is a mixture of two functions of the file, with
        coefficients that OpenMX's orbital optimisation finds.
    """
    return any(
        contracted and int(primitive) > 1
        for _, primitive, contracted in _SHELL.findall(name.rpartition("-")[2])
    )


def uncontracted(name: str) -> str:
    """Return a basis name without its contractions.

    Parameters
    ----------
    name : str
        Such as ``C6.0-s2>1p2>1``.

    Returns
    -------
    str
        Such as ``C6.0-s2p2``.
    """
    return re.sub(r">\d+", "", name)


def uncontracted_basis(basis: Basis) -> Basis:
    """Return a basis with all functions of the orbital files that contracted orbitals are made of.

    Parameters
    ----------
    basis : Basis
        With names.

    Returns
    -------
    Basis
        Species without contractions are the same.
    """
    species = dict(basis.species)
    for key, entry in basis.species.items():
        if entry.name and is_contracted(entry.name):
            name = uncontracted(entry.name)
            species[key] = replace(entry, name=name, l=parse_name(name)[0].l, radial=None)
    return Basis(species, basis.orthogonal)


def _counts(shells: str) -> dict[int, tuple[int, int]]:
    """Return {l: (functions, contracted functions)}; nothing if the text is malformed."""
    counts = {}
    found = _SHELL.findall(shells)
    if "".join(a + b + (f">{c}" if c else "") for a, b, c in found) != shells:
        return {}
    for letter, primitive, contracted in found:
        if max(len(primitive), len(contracted)) > 3:
            return {}
        most, count = int(primitive), int(contracted or primitive)
        if SHELL_LETTERS.index(letter) in counts or not count <= most <= MOST_FUNCTIONS:
            return {}
        counts[SHELL_LETTERS.index(letter)] = (most, count)
    return counts if any(count for _, count in counts.values()) else {}
