"""How much a cell is strained, for series of files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from moireio.results.moire import Moire
    from moireio.system.structure import Structure


def largest_principal(tensor: npt.ArrayLike) -> float:
    """Return the eigenvalue of a symmetric strain tensor that is largest in size."""
    values = np.linalg.eigvalsh(np.asarray(tensor, dtype=float))
    return float(values[np.argmax(np.abs(values))])


def heterostrain(moire: Moire | None) -> float | None:
    """Return the strain of a moiré cell's layers against each other.

    Parameters
    ----------
    moire : Moire or None
        How the cell was built.

    Returns
    -------
    float or None
        Largest principal strain of the upper layers against the lowest; of one layer, its own.
        None without a record.
    """
    if moire is None:
        return None
    lowest, *others = [np.asarray(layer.strain) for layer in moire.layers]
    if not others:
        return largest_principal(lowest)
    values = [largest_principal(strain - lowest) for strain in others]
    return max(values, key=abs)


def cell_strain(structure: Structure, reference: Structure) -> float:
    """Return the strain between two cells of the same lattice vectors.

    Parameters
    ----------
    structure : Structure
        The strained cell.
    reference : Structure
        The cell at rest, periodic along the same vectors.

    Returns
    -------
    float
        Largest principal strain inside the plane of the periodic vectors; rotations do not count.
    """
    axes = np.flatnonzero(reference.pbc)
    metric = [s.cell[axes] @ s.cell[axes].T for s in (reference, structure)]
    # eigenvalues of F Fᵀ from the metrics of both cells
    stretch = np.sqrt(np.real(np.linalg.eigvals(np.linalg.solve(metric[0], metric[1]))))
    return float(stretch[np.argmax(np.abs(stretch - 1))] - 1)


def series_strain(structures: Sequence[Structure], records: Sequence[float | None]) -> list[float]:
    """Return the strain of every structure of a series.

    Parameters
    ----------
    structures : sequence of Structure
        The first one is at rest where records do not decide.
    records : sequence of float or None
        Strain of the layers against each other, of each.

    Returns
    -------
    list of float
        The records where all are known and differ, else the strain of each cell against the first.
    """
    known = [strain for strain in records if strain is not None]
    if len(known) == len(structures) and len(set(known)) > 1:
        return known
    return [cell_strain(structure, structures[0]) for structure in structures]
