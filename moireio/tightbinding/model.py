"""Slater–Koster models: shells, on-site energies, two-centre integrals of the distance."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.basis import SHELL_LETTERS, Basis, SpeciesBasis
from moireio.system.harmonics import fill_block, harmonics, unit_vectors
from moireio.system.structure import Structure
from moireio.tightbinding.slaterkoster import angular_parts, channel_weights

# A neighbour at just the cutoff counts, whatever the rounding of its distance.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Law:
    """How a two-centre integral depends on the distance: V e^{−(r − r0)/decay} (r0/r)^power.

    Parameters
    ----------
    value : float
        V, eV (no unit for overlaps): the integral at r0, or at all distances.
    r0 : float, optional
        Distance at which the integral is V, Å; None if it is V at all distances.
    decay : float, optional
        Decay length, Å; None for no exponential.
    power : float
        Exponent; 0 for no power law, 2 in Harrison's.
    """

    value: float
    r0: float | None = None
    decay: float | None = None
    power: float = 0.0

    def __call__(self, r: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the integral at some distances.

        Parameters
        ----------
        r : array
            Distances above 0, Å.

        Returns
        -------
        array
            Integrals, in the unit of V.
        """
        integral = np.full_like(r, self.value)
        if self.r0 is None:
            return integral
        if self.decay is not None:
            integral *= np.exp((self.r0 - r) / self.decay)
        if self.power:
            integral *= (self.r0 / r) ** self.power
        return integral


@dataclass(frozen=True)
class OrbitalShell:
    """The orbitals of one angular momentum, all or some of them.

    Parameters
    ----------
    label : str
        "s", "p" or "d", or one of these with a star for a second shell.
    m : tuple of int
        The orbitals that belong to the model, ascending.
    """

    label: str
    m: tuple[int, ...]

    @property
    def l(self) -> int:  # noqa: E743
        """Angular momentum."""
        return SHELL_LETTERS.index(self.label[0])


@dataclass(frozen=True)
class ModelSpecies:
    """One species of a model.

    Parameters
    ----------
    shells : tuple of OrbitalShell
        In the order of the orbitals.
    onsite : tuple of float
        Energy of every orbital, eV.
    valence : float
        Electrons of a neutral atom that occupy the model's orbitals.
    """

    shells: tuple[OrbitalShell, ...]
    onsite: tuple[float, ...]
    valence: float

    @property
    def spans(self) -> list[slice]:
        """Range of each shell among the orbitals."""
        ends = np.cumsum([len(s.m) for s in self.shells])
        return [slice(int(e) - len(s.m), int(e)) for s, e in zip(self.shells, ends, strict=True)]


Laws = Mapping[tuple[str, str, int], Law]


@dataclass(frozen=True)
class Bond:
    """The two-centre integrals of two species in a range of distances.

    Parameters
    ----------
    species : (str, str)
        Names of the first and the second species.
    cutoff : float
        Longest bond, Å.
    above : float
        Bonds of this length and shorter are excluded, Å.
    smooth : (float, float), optional
        Radius r_c and width w of a factor 1 / (1 + e^{(r − r_c)/w}), Å.
    hopping, overlap : dict of (str, str, int) to Law
        Integrals by the label of the first species' shell, that of the second's, and the channel
        |m|.
    """

    species: tuple[str, str]
    cutoff: float
    above: float = 0.0
    smooth: tuple[float, float] | None = None
    hopping: Laws = field(default_factory=dict)
    overlap: Laws = field(default_factory=dict)

    def reversed(self) -> "Bond":
        """Return the same bond with the species in the other order."""
        first, second = self.species
        hopping, overlap = (
            {(b, a, m): law for (a, b, m), law in laws.items()}
            for laws in (self.hopping, self.overlap)
        )
        return Bond((second, first), self.cutoff, self.above, self.smooth, hopping, overlap)

    def factor(self, r: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the common factor of all integrals.

        Parameters
        ----------
        r : (n,) array
            Distances, Å.

        Returns
        -------
        (n,) array
            0 outside of the range of distances; inside it 1, or the smooth factor.
        """
        inside = (r > self.above + ROUNDING) & (r <= self.cutoff + ROUNDING)
        if self.smooth is None:
            return inside.astype(float)
        radius, width = self.smooth
        # The tail is cut where e^x would overflow; it is 0 long before.
        return inside / (1 + np.exp(np.minimum((r - radius) / width, 700)))


@dataclass(frozen=True)
class TightBindingModel:
    """A tight-binding model.

    Parameters
    ----------
    name : str
        Name of the model.
    species : dict of str to ModelSpecies
        Species by name, usually the symbol of the element.
    bonds : tuple of Bond
        Integrals of bonds of the same two species add up.
    citation : str
        Source of the numbers.
    """

    name: str
    species: Mapping[str, ModelSpecies]
    bonds: tuple[Bond, ...]
    citation: str = ""

    @property
    def orthogonal(self) -> bool:
        """Whether the orbitals are orthonormal."""
        return not any(bond.overlap for bond in self.bonds)

    def between(self, a: str, b: str) -> list[Bond]:
        """Return the bonds from one species to another.

        Parameters
        ----------
        a, b : str
            Names in the model.

        Returns
        -------
        list of Bond
            Each from species `a` to species `b`.
        """
        bonds = [bond for bond in self.bonds if bond.species == (a, b)]
        if a != b:
            bonds += [bond.reversed() for bond in self.bonds if bond.species == (b, a)]
        return bonds

    def cutoff(self, a: str, b: str) -> float:
        """Return the length of the longest bonds of two species.

        Parameters
        ----------
        a, b : str
            Names in the model.

        Returns
        -------
        float
            Å; 0 if there are no bonds.
        """
        return max((bond.cutoff for bond in self.between(a, b)), default=0.0)

    def names_for(self, structure: Structure) -> list[str]:
        """Return the model's name of each species of a structure.

        Parameters
        ----------
        structure : Structure
            The atoms.

        Returns
        -------
        list of str
            One for each of `Structure.species_names`: the same name, or else the symbol of its
            element.

        Raises
        ------
        MoireioError
            If the model lacks one.
        """
        names = list(structure.species_names)
        if set(names) <= set(self.species):
            return names
        symbols = structure.element_symbols
        for number, name in enumerate(names):
            if name in self.species:
                continue
            atoms = np.flatnonzero(structure.species == number)
            names[number] = symbols[atoms[0]] if len(atoms) else name
            if names[number] not in self.species:
                raise MoireioError(
                    f"the model {self.name} has no species {name}",
                    remedy=f"it has {', '.join(self.species)}",
                )
        return names

    def basis(self, structure: Structure) -> Basis:
        """Return the basis of a structure in this model.

        Parameters
        ----------
        structure : Structure
            The atoms.

        Returns
        -------
        Basis
            With the electrons of every species. Cutoffs are half the longest bond between atoms
            of the species, or to any other species if there is none.
        """
        names = self.names_for(structure)
        bases = {}
        for label, name in zip(structure.species_names, names, strict=True):
            species = self.species[name]
            longest = self.cutoff(name, name) or max(self.cutoff(name, n) for n in self.species)
            complete = all(len(s.m) == 2 * s.l + 1 for s in species.shells)
            # Incomplete shells have an entry of l for every orbital, so that m is unambiguous.
            orbitals = [(s.l, m) for s in species.shells for m in s.m]
            bases[label] = SpeciesBasis(
                l=tuple(s.l for s in species.shells) if complete else tuple(v for v, _ in orbitals),
                m=None if complete else tuple(m for _, m in orbitals),
                name=self.name,
                cutoff=longest / 2 if longest else None,
                valence=species.valence,
            )
        return Basis(bases, orthogonal=self.orthogonal)

    def reach(self, structure: Structure) -> npt.NDArray[np.float64]:
        """Return the lengths of the longest bonds between the species of a structure.

        Parameters
        ----------
        structure : Structure
            The atoms.

        Returns
        -------
        (species, species) array
            Å; 0 where there is no bond.
        """
        names = self.names_for(structure)
        cutoffs = np.array([[self.cutoff(a, b) for b in names] for a in names])
        return np.where(cutoffs > 0, cutoffs + 2 * ROUNDING, 0.0)

    def blocks(
        self,
        integrals: Literal["hopping", "overlap"],
        a: str,
        b: str,
        vectors: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float64]:
        """Return blocks ⟨a| O |b at d⟩.

        Parameters
        ----------
        integrals : {"hopping", "overlap"}
            The Hamiltonian (eV) or the overlap.
        a, b : str
            Names of species in the model.
        vectors : (3, n) array
            d, Å; 0 is the atom itself.

        Returns
        -------
        (n_a, n_b, n) array
            Every number depends on its own vector only.
        """
        first, second = self.species[a], self.species[b]
        distance, unit = unit_vectors(vectors)
        onsite = distance == 0
        r = np.where(onsite, 1.0, distance)
        blocks = np.zeros((len(first.onsite), len(second.onsite), len(r)))
        top = max(s.l for s in first.shells) + max(s.l for s in second.shells)
        values = harmonics(top, unit)
        radial = self._channels(integrals, a, b, r, ~onsite)
        for shell_a, rows in zip(first.shells, first.spans, strict=True):
            for shell_b, columns in zip(second.shells, second.spans, strict=True):
                channels = radial.get((shell_a.label, shell_b.label))
                if channels is None:
                    continue
                weights, momenta = channel_weights(shell_a.l, shell_b.l)
                components = [[m + s.l for m in s.m] for s in (shell_a, shell_b)]
                angular = angular_parts(shell_a.l, shell_b.l, values, *components)
                terms = [
                    (sum(V * weights[mu, n] for mu, V in channels.items()), angular[n])
                    for n in range(len(momenta))
                ]
                fill_block(blocks[rows, columns], terms)
        if a == b and onsite.any():
            diagonal = first.onsite if integrals == "hopping" else np.ones(len(first.onsite))
            blocks[:, :, onsite] = np.diag(diagonal)[:, :, None]
        return blocks

    def _channels(self, integrals, a, b, r, bonded):
        """Return V_μ(r) by the labels of two shells and the channel μ."""
        radial = {}
        for bond in self.between(a, b):
            factor = bond.factor(r) * bonded
            for (label_a, label_b, mu), law in getattr(bond, integrals).items():
                orders = {(label_a, label_b)}
                if a == b:
                    orders.add((label_b, label_a))
                for order in orders:
                    channels = radial.setdefault(order, {})
                    channels[mu] = channels.get(mu, 0.0) + law(r) * factor
        return radial
