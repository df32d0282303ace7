"""Atomic-orbital bases: which orbitals every species carries."""

import re
from dataclasses import dataclass, field

import numpy as np

from moireio.errors import MoireioError
from moireio.units import BOHR_ANGSTROM

SHELL_LETTERS = "spdfgh"
# m = −l … l
ORBITALS = {
    "s": ("s",),
    "p": ("py", "pz", "px"),
    "d": ("dxy", "dyz", "dz2", "dxz", "dx2-y2"),
}
_NAME = re.compile(
    r"^(?P<pao>(?P<element>[A-Z][a-z]?)(?P<radius>\d+(\.\d+)?)?[^-]*)-(?P<shells>.+)$"
)
_SHELL = re.compile(r"([spdfgh])(\d+)(?:>(\d+))?")


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
        Radius where the radial functions vanish, Å.
    valence : float, optional
        Electrons of the neutral pseudo-atom.
    m : tuple of int, optional
        One m per orbital, where a shell is incomplete (as a single p_z).
    radial : tuple of two arrays, optional
        Grid r (n_r,) in Å and functions R (n_radial, n_r) in Å^(-3/2).
    """

    l: tuple  # noqa: E741
    name: str | None = None
    cutoff: float | None = None
    valence: float | None = None
    m: tuple | None = None
    radial: tuple | None = None

    def __post_init__(self):
        """Check that m, where given, fits l."""
        object.__setattr__(self, "l", tuple(int(v) for v in self.l))
        if any(not 0 <= v < len(SHELL_LETTERS) for v in self.l):
            raise MoireioError(f"basis: angular momenta {self.l} are not between 0 and 5")
        if self.m is not None:
            object.__setattr__(self, "m", tuple(int(v) for v in self.m))

    @property
    def size(self):
        """Number of orbitals, spin not counted."""
        return len(self.m) if self.m is not None else sum(2 * v + 1 for v in self.l)

    @property
    def groups(self):
        """Names of runs of orbitals and their lengths, a list of (str, int).

        Such as ("p1", 3) for the first whole p shell; ("pz", 1) for every orbital where shells are
        incomplete.
        """
        if self.m is None:
            letters = [SHELL_LETTERS[v] for v in self.l]
            counts = [letters[: n + 1].count(letter) for n, letter in enumerate(letters)]
            return [(f"{a}{n}", 2 * v + 1) for a, n, v in zip(letters, counts, self.l, strict=True)]
        if len(self.l) != len(self.m):
            return [("", 1)] * len(self.m)
        pairs = zip(map(SHELL_LETTERS.__getitem__, self.l), self.l, self.m, strict=True)
        return [(ORBITALS[a][m + v] if a in ORBITALS else f"{a} {m}", 1) for a, v, m in pairs]

    def same_radial(self, other):
        """Tell whether two bases have the same radial functions.

        Parameters
        ----------
        other : SpeciesBasis
            With radial functions, as this one.

        Returns
        -------
        bool
            To nine digits.
        """
        return all(
            a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-12)
            for a, b in zip(self.radial, other.radial, strict=True)
        )

    @property
    def label(self):
        """The name, or shells in the notation ``s2p2d1``."""
        if self.name:
            return self.name
        return "".join(f"{SHELL_LETTERS[v]}{self.l.count(v)}" for v in sorted(set(self.l)))


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

    species: dict = field(default_factory=dict)
    orthogonal: bool = False

    def __getitem__(self, name):
        """Return the `SpeciesBasis` of a species.

        Raises
        ------
        MoireioError
            If there is none.
        """
        try:
            return self.species[name]
        except KeyError:
            known = ", ".join(self.species) or "none"
            raise MoireioError(
                f"no basis for species {name}",
                remedy=f"known: {known}; build-twist and overlap take --basis",
            ) from None

    def covers(self, structure):
        """Tell whether every species of a structure has a basis.

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

    def sizes(self, structure):
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

    def valence(self, structure):
        """Return the number of electrons of the neutral structure, or None if unknown.

        Parameters
        ----------
        structure : Structure
            The atoms.

        Returns
        -------
        float or None
            Sum of the pseudo-atoms' electrons.
        """
        values = [self[s].valence for s in structure.species_of_atoms]
        return None if any(v is None for v in values) else float(sum(values))


def parse_name(name):
    """Read an OpenMX basis name such as ``Mo7.0-s3p2d1`` or ``H5.0-s4>1``.

    Parameters
    ----------
    name : str
        Orbital file, a hyphen, and the number of radial functions of each shell.

    Returns
    -------
    SpeciesBasis
        Angular momenta in OpenMX's order (all s, then all p, …) and the cutoff in Å; no valence.
    element : str
        The element's symbol; "E" for an empty atom.

    Raises
    ------
    MoireioError
        If the text is not such a name.
    """
    match = _NAME.match(name)
    shells = match.group("shells") if match else ""
    if not match or not shells or _SHELL.sub("", shells):
        raise MoireioError(f"{name!r} is not a basis name", remedy="expected one like Mo7.0-s3p2d1")
    counts = {}
    for letter, primitive, contracted in _SHELL.findall(shells):
        counts[SHELL_LETTERS.index(letter)] = int(contracted or primitive)
    momenta = tuple(v for v in sorted(counts) for _ in range(counts[v]))
    radius = match.group("radius")
    cutoff = float(radius) * BOHR_ANGSTROM if radius else None
    return SpeciesBasis(l=momenta, name=name, cutoff=cutoff), match.group("element")
