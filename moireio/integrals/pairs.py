"""Which atoms overlap."""

import numpy as np

from moireio.errors import MoireioError
from moireio.system.neighbours import close_pairs


def overlapping_pairs(structure, basis):
    """Return all pairs of atoms closer than the sum of their cutoffs.

    Parameters
    ----------
    structure : Structure
        The atoms.
    basis : Basis
        With cutoffs.

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
    missing = [n for n in names if basis[n].cutoff is None]
    if missing:
        raise MoireioError(f"the cutoff of the orbitals of {missing[0]} is not known")
    cutoff = np.array([basis[n].cutoff for n in names])
    return close_pairs(structure, cutoff[:, None] + cutoff)
