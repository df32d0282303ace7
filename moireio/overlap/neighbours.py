"""Which atoms overlap."""

import numpy as np

from moireio.errors import MoireioError
from moireio.neighbours import neighbour_list
from moireio.pairs import Pairs

TOO_CLOSE = 0.3


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
    close = structure.closest_pair(TOO_CLOSE)
    if close is not None:
        raise MoireioError(
            f"atoms {close[1]} and {close[2]} are {close[0]:.3f} Å apart, as good as in one place"
        )
    names = structure.species_names
    missing = [n for n in names if basis[n].cutoff is None]
    if missing:
        raise MoireioError(f"the cutoff of the orbitals of {missing[0]} is not known")
    cutoff = np.array([basis[n].cutoff for n in names])[structure.species]
    i, j, S, d = neighbour_list(structure, 2 * float(cutoff.max()), "ijSd")
    keep = d < cutoff[i] + cutoff[j]
    own = np.arange(len(structure), dtype=np.int32)
    i = np.concatenate([own, i[keep].astype(np.int32)])
    j = np.concatenate([own, j[keep].astype(np.int32)])
    R = np.concatenate([np.zeros((len(own), 3), np.int32), S[keep].astype(np.int32)])
    return Pairs.sort(len(structure), i, j, R)[0]
