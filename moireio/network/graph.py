"""Structures as graphs: atoms and the directed edges between them."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure


@dataclass(frozen=True, eq=False)
class Graph:
    """The edges of a structure: all pairs but the on-site ones, sorted by their first atom.

    Parameters
    ----------
    structure : Structure
        The atoms.
    pairs : Pairs
        All pairs, with both partners of each.
    species : (N,) array of int
        Species of the atoms, as the model numbers them.

    Attributes
    ----------
    bonds : Pairs
        The pairs without the on-site ones; edge n is pair n of these.
    partner : (n,) array of int
        Number of every edge's partner.
    """

    structure: Structure
    pairs: Pairs
    species: npt.NDArray[np.int64]
    bonds: Pairs = field(init=False)
    partner: npt.NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        """Leave out on-site pairs and find partners."""
        pairs = self.pairs
        onsite = pairs.onsite()
        if (onsite < 0).any():
            atom = int(np.flatnonzero(onsite < 0)[0])
            raise MoireioError(f"the pairs hold no on-site pair of atom {atom}")
        is_bond = np.ones(len(pairs), dtype=bool)
        is_bond[onsite] = False
        bonds = pairs.select(is_bond)
        partner = bonds.partner()
        if (partner < 0).any():
            raise MoireioError("the pairs do not hold both partners of each")
        object.__setattr__(self, "bonds", bonds)
        object.__setattr__(self, "partner", partner)

    def __len__(self) -> int:
        """Return the number of edges."""
        return len(self.bonds)

    def first(self, edges: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the first atoms of some edges.

        Parameters
        ----------
        edges : (n,) array of int
            Numbers of the edges.

        Returns
        -------
        (n,) array of int
            Atoms.
        """
        return np.searchsorted(self.bonds.indptr, edges, side="right") - 1

    def vectors(
        self, i: npt.NDArray[np.int64], edges: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Return the vectors of some edges.

        Parameters
        ----------
        i : (n,) array of int
            First atoms of the edges, from `first`.
        edges : (n,) array of int
            Numbers of the edges.

        Returns
        -------
        (n, 3) array
            From the first atom to the second, Å.
        """
        s, bonds = self.structure, self.bonds
        return s.positions[bonds.j[edges]] + bonds.R[edges] @ s.cell - s.positions[i]
