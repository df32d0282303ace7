"""Neighbour lists, by vesin."""

import contextlib
import sys
from functools import lru_cache


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
