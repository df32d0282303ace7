"""Neighbour lists, by matscipy."""

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure

TOO_CLOSE = 0.3  # Å


def neighbour_list(
    structure: Structure, radius: float | npt.NDArray[np.float64], quantities: str
) -> list[npt.NDArray]:
    """Find all pairs of atoms closer than a radius, both partners of each.

    Parameters
    ----------
    structure : Structure
        The atoms.
    radius : float or (species, species) array
        Å; for each pair of species, in the order of `Structure.species_names`, or for all.
    quantities : str
        Letters of the arrays to return, as matscipy has them: i, j, S (cell of j), d (distance, Å),
        D (vector from i to j, Å).

    Returns
    -------
    list of arrays
        In the order of the letters, ascending in i; on-site pairs are not among them.
    """
    from matscipy.neighbours import neighbour_list as search

    arrays = search(
        quantities,
        cutoff=radius,
        positions=structure.positions,
        cell=structure.cell,
        pbc=structure.pbc,
        numbers=structure.species,
    )
    return list(arrays) if len(quantities) > 1 else [arrays]


def close_pairs(structure: Structure, reach: npt.NDArray[np.float64]) -> Pairs:
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
    atoms = np.arange(len(structure), dtype=np.int32)
    i, j, R = atoms, atoms, np.zeros((len(atoms), 3), np.int32)
    if len(atoms) and reach.max() > 0:
        first, second, cells = neighbour_list(structure, reach, "ijS")
        i = np.concatenate([i, first.astype(np.int32)])
        j = np.concatenate([j, second.astype(np.int32)])
        R = np.concatenate([R, cells.astype(np.int32)])
    return Pairs.sort(len(structure), i, j, R)[0]
