"""Slater–Koster models: shells, on-site energies, two-centre integrals of the distance."""

from dataclasses import dataclass, field

import numpy as np

from moireio.errors import MoireioError
from moireio.system.basis import SHELL_LETTERS, Basis, SpeciesBasis
from moireio.system.harmonics import fill_block, harmonics, unit_vectors
from moireio.tightbinding.slaterkoster import angular_parts, channel_weights

# A neighbour at just the cutoff counts, whatever the rounding of its distance.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Law:
    """How a two-centre integral depends on the distance: V e^{−(r − r0)/decay} (r0/r)^power.

    Parameters
    ----------
    value : float
        V, eV (a number for overlaps): the integral at r0, or everywhere.
    r0 : float, optional
        Å.
    decay : float, optional
        Å; without it there is no exponential.
    power : float
        Without it (0) there is no power; Harrison's is 2.
    """

    value: float
    r0: float | None = None
    decay: float | None = None
    power: float = 0.0

    def __call__(self, r):
        """Return the integral at some distances.

        Parameters
        ----------
        r : array
            Å, above 0.

        Returns
        -------
        array
            In the unit of V.
        """
        out = np.full_like(r, self.value)
        if self.decay is not None:
            out *= np.exp((self.r0 - r) / self.decay)
        if self.power:
            out *= (self.r0 / r) ** self.power
        return out


@dataclass(frozen=True)
class Shell:
    """The orbitals of one angular momentum.

    Parameters
    ----------
    label : str
        "s", "p" or "d", or one of these with a star for a second shell.
    m : tuple of int
        Which of its orbitals there are, ascending.
    """

    label: str
    m: tuple

    @property
    def l(self):  # noqa: E743
        """Angular momentum."""
        return SHELL_LETTERS.index(self.label[0])


@dataclass(frozen=True)
class ModelSpecies:
    """One species of a model.

    Parameters
    ----------
    shells : tuple of Shell
        In the order of the orbitals.
    onsite : tuple of float
        Energy of every orbital, eV.
    valence : float
        Electrons that it brings.
    """

    shells: tuple
    onsite: tuple
    valence: float

    @property
    def spans(self):
        """Where each shell's orbitals stand, a list of slices."""
        ends = np.cumsum([len(s.m) for s in self.shells])
        return [slice(int(e) - len(s.m), int(e)) for s, e in zip(self.shells, ends, strict=True)]


@dataclass(frozen=True)
class Bond:
    """The two-centre integrals of two species in a range of distances.

    Parameters
    ----------
    species : (str, str)
        First and second.
    cutoff : float
        Longest bond, Å.
    above : float
        Only bonds longer than this, Å.
    smooth : (float, float), optional
        Radius r_c and width w of a factor 1 / (1 + e^{(r − r_c)/w}), Å.
    hopping, overlap : dict of (str, str, int) to Law
        By the label of the first species' shell, that of the second's, and the channel |m|.
    """

    species: tuple
    cutoff: float
    above: float = 0.0
    smooth: tuple | None = None
    hopping: dict = field(default_factory=dict)
    overlap: dict = field(default_factory=dict)

    def reversed(self):
        """Return the same bond with the species in the other order."""
        turned = [
            {(b, a, m): law for (a, b, m), law in laws.items()}
            for laws in (self.hopping, self.overlap)
        ]
        return Bond(self.species[::-1], self.cutoff, self.above, self.smooth, *turned)

    def factor(self, r):
        """Return what all integrals are multiplied by.

        Parameters
        ----------
        r : (n,) array
            Distances, Å.

        Returns
        -------
        (n,) array
            0 outside of the range, inside it 1 or the smooth factor.
        """
        inside = (r > self.above + ROUNDING) & (r <= self.cutoff + ROUNDING)
        if self.smooth is None:
            return inside.astype(float)
        radius, width = self.smooth
        # The tail is cut where e^x would overflow; it is 0 long before.
        return inside / (1 + np.exp(np.minimum((r - radius) / width, 700)))


@dataclass(frozen=True)
class Model:
    """A tight-binding model.

    Parameters
    ----------
    name : str
        How it is called.
    species : dict of str to ModelSpecies
        By name; usually symbols.
    bonds : tuple of Bond
        Integrals of bonds of the same two species add up.
    citation : str
        Where the numbers come from.
    """

    name: str
    species: dict
    bonds: tuple
    citation: str = ""

    @property
    def orthogonal(self):
        """Whether the orbitals are orthonormal."""
        return not any(bond.overlap for bond in self.bonds)

    def between(self, a, b):
        """Return the bonds from one species to another, a list.

        Parameters
        ----------
        a, b : str
            Names in the model.

        Returns
        -------
        list of Bond
            In this order of the species.
        """
        found = [bond for bond in self.bonds if bond.species == (a, b)]
        if a != b:
            found += [bond.reversed() for bond in self.bonds if bond.species == (b, a)]
        return found

    def cutoff(self, a, b):
        """Return the length of the longest bonds of two species, Å; 0 if there are none."""
        return max((bond.cutoff for bond in self.between(a, b)), default=0.0)

    def names_for(self, structure):
        """Tell which of the model's species each species of a structure is.

        Parameters
        ----------
        structure : Structure
            The atoms.

        Returns
        -------
        list of str
            One for each of `Structure.species_names`: the same name, or else its element's symbol.

        Raises
        ------
        MoireioError
            If the model does not know one.
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
                    remedy=f"it knows {', '.join(self.species)}",
                )
        return names

    def basis(self, structure):
        """Return the basis of a structure in this model.

        Parameters
        ----------
        structure : Structure
            The atoms.

        Returns
        -------
        Basis
            With the electrons of every species. Cutoffs are half the longest bond of a species to
            its like, or to any other if there is none.
        """
        names = self.names_for(structure)
        species = {}
        for own, name in zip(structure.species_names, names, strict=True):
            known = self.species[name]
            like = self.cutoff(name, name) or max(self.cutoff(name, n) for n in self.species)
            complete = all(len(s.m) == 2 * s.l + 1 for s in known.shells)
            # Incomplete shells have an entry of l for every orbital, so that m is no riddle.
            orbitals = [(s.l, m) for s in known.shells for m in s.m]
            species[own] = SpeciesBasis(
                l=[s.l for s in known.shells] if complete else [v for v, _ in orbitals],
                m=None if complete else [m for _, m in orbitals],
                name=self.name,
                cutoff=like / 2 if like else None,
                valence=known.valence,
            )
        return Basis(species, orthogonal=self.orthogonal)

    def reach(self, structure):
        """Return how far the species of a structure are bonded.

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
        out = np.array([[self.cutoff(a, b) for b in names] for a in names])
        return np.where(out > 0, out + 2 * ROUNDING, 0.0)

    def blocks(self, kind, a, b, vectors):
        """Return blocks ⟨a| O |b at d⟩.

        Parameters
        ----------
        kind : {"hopping", "overlap"}
            Of the Hamiltonian (eV) or the overlap.
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
        own = distance == 0
        r = np.where(own, 1.0, distance)
        out = np.zeros((len(first.onsite), len(second.onsite), len(r)))
        top = max(s.l for s in first.shells) + max(s.l for s in second.shells)
        values = harmonics(top, unit)
        radial = self._channels(kind, a, b, r, ~own)
        for one, rows in zip(first.shells, first.spans, strict=True):
            for two, columns in zip(second.shells, second.spans, strict=True):
                if (one.label, two.label) not in radial:
                    continue
                weights, momenta = channel_weights(one.l, two.l)
                places = [[m + s.l for m in s.m] for s in (one, two)]
                angular = angular_parts(one.l, two.l, values, *places)
                integrals = radial[one.label, two.label]
                terms = [
                    (sum(V * weights[mu, n] for mu, V in integrals.items()), angular[n])
                    for n in range(len(momenta))
                ]
                fill_block(out[rows, columns], terms)
        if a == b and own.any():
            diagonal = first.onsite if kind == "hopping" else np.ones(len(first.onsite))
            out[:, :, own] = np.diag(diagonal)[:, :, None]
        return out

    def _channels(self, kind, a, b, r, bonded):
        """Return V_μ(r) by the labels of two shells and the channel."""
        radial = {}
        for bond in self.between(a, b):
            factor = bond.factor(r) * bonded
            for (one, two, mu), law in getattr(bond, kind).items():
                for key in {(one, two), (two, one)} if a == b else {(one, two)}:
                    channels = radial.setdefault(key, {})
                    channels[mu] = channels.get(mu, 0.0) + law(r) * factor
        return radial
