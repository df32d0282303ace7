"""Neighbour lists, by vesin."""

import contextlib
import sys
from functools import lru_cache

import numpy as np

from moireio.errors import MoireioError
from moireio.system.pairs import Pairs

TOO_CLOSE = 0.3


def neighbour_list(structure, radius, quantities, full=True):
    """Find all pairs of atoms closer than a radius.

    Parameters
    ----------
    structure : Structure
        The atoms.
    radius : float
        Å.
    quantities : str
        Letters of what is wanted, as vesin has them: i, j, S (cell of j), d, D.
    full : bool
        Both partners of every pair, or one.

    Returns
    -------
    list of arrays
        In the order of the letters; on-site pairs are not among them.
    """
    search = _vesin()(cutoff=radius, full_list=full, n_threads=1)
    arrays = structure.positions, structure.cell, structure.pbc.tolist()
    return search.compute(*arrays, quantities)


def close_pairs(structure, reach):
    """Return all pairs of atoms closer than the reach of their species.

    Parameters
    ----------
    structure : Structure
        The atoms.
    reach : (species, species) array
        Å, symmetric, in the order of `Structure.species_names`.

    Returns
    -------
    Pairs
        Sorted, on-site pairs included, both partners of each.

    Raises
    ------
    MoireioError
        If two atoms lie on top of each other.
    """
    close = structure.closest_pair(TOO_CLOSE)
    if close is not None:
        raise MoireioError(
            f"atoms {close[1]} and {close[2]} are {close[0]:.3f} Å apart, as good as in one place"
        )
    own = np.arange(len(structure), dtype=np.int32)
    i, j, R = own, own, np.zeros((len(own), 3), np.int32)
    if len(own) and reach.max() > 0:
        first, second, S, d = neighbour_list(structure, float(reach.max()), "ijSd")
        keep = d < reach[structure.species[first], structure.species[second]]
        i = np.concatenate([i, first[keep].astype(np.int32)])
        j = np.concatenate([j, second[keep].astype(np.int32)])
        R = np.concatenate([R, S[keep].astype(np.int32)])
    return Pairs.sort(len(structure), i, j, R)[0]


@lru_cache(maxsize=1)
def _vesin():
    """Return vesin's NeighborList.

    vesin imports torch where it is installed, which takes seconds and which NumPy arrays do not
    need. So it is imported as if torch were absent, and not left in place for others like that.
    """
    if "vesin" in sys.modules or "torch" in sys.modules:
        from vesin import NeighborList

        return NeighborList
    with _absent("torch", "ase", "cupy"):
        from vesin import NeighborList
    for name in [n for n in sys.modules if n.partition(".")[0] == "vesin"]:
        del sys.modules[name]
    return NeighborList


@contextlib.contextmanager
def _absent(*names):
    hidden = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
