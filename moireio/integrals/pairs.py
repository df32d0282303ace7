"""Pairs of atoms whose orbitals overlap."""

import numpy as np

from moireio.errors import MoireioError
from moireio.system.basis import Basis
from moireio.system.neighbours import close_pairs
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure


def overlapping_pairs(structure: Structure, basis: Basis) -> Pairs:
    """Return all pairs of atoms closer than the sum of their cutoffs.

    Parameters
    ----------
    structure : Structure
        The atoms.
    basis : Basis
        Orbitals of every species, with cutoffs.

    Returns
    -------
    Pairs
        Sorted, on-site pairs included, both partners of each.

    Raises
    ------
    MoireioError
        If two atoms lie on top of each other, or a cutoff is unknown.
    """
    names = structure.species_names
    cutoffs = []
    for name in names:
        cutoff = basis[name].cutoff
        if cutoff is None:
            raise MoireioError(f"the cutoff of the orbitals of {name} is not known")
        cutoffs.append(cutoff)
    reach = np.array(cutoffs)
    return close_pairs(structure, reach[:, None] + reach)
