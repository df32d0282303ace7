"""Overlap and position matrices of a structure, by runs of atoms."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from moireio.integrals.radial import Radial
from moireio.integrals.twocentre import TwoCentre
from moireio.operators.catalogue import operator_type
from moireio.operators.twocentre import PairSource, place_blocks
from moireio.system.basis import Basis
from moireio.system.harmonics import gaunt
from moireio.system.pairs import Pairs
from moireio.system.radial import radial_functions
from moireio.system.structure import Structure

Storage = Literal["full", "upper"]


class OrbitalIntegrals:
    """Tables of the integrals between the orbitals of some species.

    Parameters
    ----------
    basis : Basis
        With radial functions. The tables serve any structure of these species.
    position : bool
        Whether to tabulate position matrices too.
    """

    def __init__(self, basis: Basis, position: bool = False):
        self.basis = basis
        self.names = list(basis.species)
        sets: list[list[Radial]] = [
            list(radial_functions(name, basis[name])) for name in self.names
        ]
        species = range(len(sets))
        wanted = [(a, b) for a in species for b in species if a <= b]
        # The sets r R of every species follow those of its orbitals.
        self._first_raised = len(sets)
        self._expansions: list[npt.NDArray[np.float64]] = []
        if position:
            wanted += [(self._first_raised + a, b) for a, b in wanted]
            for shells in sets[: self._first_raised]:
                raised, expansion = _raised(shells)
                sets.append(raised)
                self._expansions.append(expansion)
        self._tables = TwoCentre(sets, wanted)

    def overlap(self, a: int, b: int, vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return ⟨φ_a | φ_b(d)⟩ for species a ≤ b.

        Parameters
        ----------
        a, b : int
            Indices into `names`.
        vectors : (3, n) array
            d, Å.

        Returns
        -------
        (n_a, n_b, n) array
            Every number depends on its own vector only, to the last digit.
        """
        return self._tables(a, b, vectors)

    def position(
        self, a: int, b: int, vectors: npt.NDArray[np.float64]
    ) -> list[npt.NDArray[np.float64]]:
        """Return ⟨φ_a | r | φ_b(d)⟩ for species a ≤ b, r from the first atom.

        c φ = √(4π/3) Σ_l'm' G(l m, 1 c, l' m') (r R) Y_l'm' with l' = l ± 1, whose overlaps have
        the same form.

        Parameters
        ----------
        a, b : int
            Indices into `names`.
        vectors : (3, n) array
            d, Å.

        Returns
        -------
        list of three (n_a, n_b, n) arrays
            x, y, z; Å.
        """
        raised = self._tables(self._first_raised + a, b, vectors)
        return [np.tensordot(along, raised, axes=1) for along in self._expansions[a]]


class OverlapSource(PairSource):
    """The overlap of a structure's orbitals.

    Parameters
    ----------
    structure : Structure
        The atoms.
    integrals : OrbitalIntegrals
        Tables for its species.
    pairs : Pairs
        Pairs of atoms that overlap.
    storage : {"full", "upper"}
        Both partners of every pair, or one.
    """

    def __init__(
        self,
        structure: Structure,
        integrals: OrbitalIntegrals,
        pairs: Pairs,
        storage: Storage = "full",
    ):
        if storage == "upper":
            pairs = pairs.select(pairs.upper())
        meta = operator_type("overlap").meta(storage=storage, source="two-centre integrals")
        super().__init__(structure, integrals.basis, pairs, meta)
        self._integrals = integrals

    def _fill(self, out, offsets, species, swapped, vectors):
        place_blocks(out, offsets, self._integrals.overlap(*species, vectors), swapped)


class PositionSource(PairSource):
    """⟨iα| r − τ_i |jβ⟩ of a structure's orbitals.

    The partner of a pair is computed by the rule
    P_ij(R) = P_ji(−R)ᵀ + (τ_j + R − τ_i) S_ij(R), which therefore holds exactly.

    Parameters
    ----------
    structure : Structure
        The atoms.
    integrals : OrbitalIntegrals
        Tables for its species, with positions.
    pairs : Pairs
        Pairs of atoms that overlap.
    """

    def __init__(self, structure: Structure, integrals: OrbitalIntegrals, pairs: Pairs):
        meta = operator_type("position").meta(source="two-centre integrals")
        super().__init__(structure, integrals.basis, pairs, meta)
        self._integrals = integrals

    def _fill(self, out, offsets, species, swapped, vectors):
        a, b = species
        blocks = self._integrals.position(a, b, vectors)
        overlap = self._integrals.overlap(a, b, vectors) if swapped else None
        onsite = (vectors == 0).all(axis=0)
        for axis, block in enumerate(blocks):
            if swapped:
                block -= vectors[axis] * overlap
            elif a == b and onsite.any():
                mean = (block + block.transpose(1, 0, 2)) / 2
                block = np.where(onsite, mean, block)
            place_blocks(out[axis], offsets, block, swapped)


def _raised(shells):
    """Return the shells r R with l ± 1, and the matrices that expand x φ, y φ, z φ in them.

    The matrices have shape (3, orbitals, orbitals of the new shells).
    """
    raised, entries = [], []
    row = column = 0
    for shell in shells:
        for momentum in (shell.l - 1, shell.l + 1):
            if momentum < 0:
                continue
            raised.append(_RaisedShell(shell, momentum))
            entries.append((row, column, shell.l, momentum))
            column += 2 * momentum + 1
        row += 2 * shell.l + 1
    expansion = np.zeros((3, row, column))
    for row, column, l1, l2 in entries:
        g = np.sqrt(4 * np.pi / 3) * gaunt(l1, 1, l2)  # (m1, (y, z, x), m2)
        for axis, m in enumerate((2, 0, 1)):
            expansion[axis, row : row + 2 * l1 + 1, column : column + 2 * l2 + 1] = g[:, m]
    return raised, expansion


class _RaisedShell:
    """r R(r) as the radial part of orbitals of another angular momentum.

    Near the nucleus R still follows the l of its own orbitals.
    """

    def __init__(self, shell, momentum):
        self.l, self.end = momentum, shell.end
        self._shell = shell

    def __call__(self, r):
        return r * self._shell(r)
