"""The space group of a structure, from operations found with a tolerance."""

from __future__ import annotations

import numpy as np

from moireio.symmetry.finder import crystal_operations, upright_cell
from moireio.system.structure import Structure

TOLERANCE = 1e-3  # Å


def group_symbol(structure: Structure, tolerance: float = TOLERANCE) -> str | None:
    """Return the international symbol of a structure's group.

    Parameters
    ----------
    structure : Structure
        Any; of a slab the operations are those that keep it, as of the space group of slabs with
        vacuum between them.
    tolerance : float
        How far a moved atom may lie from the one that it replaces, Å.

    Returns
    -------
    str or None
        Such as "P622"; None if the operations are those of no space group.

    Notes
    -----
    The operations are compared by atom (time ∝ N log N); spglib only names the group.
    """
    import spglib

    operations = crystal_operations(structure, tolerance)
    cell = upright_cell(structure)
    inverse = np.linalg.inv(cell)
    found = spglib.get_spacegroup_type_from_symmetry(
        np.array([o.lattice for o in operations], dtype=np.intc),
        np.array([o.translation @ inverse for o in operations]),
        lattice=cell,
        symprec=tolerance,
    )
    if found is None:
        return None
    symbol = found["international_short"] if isinstance(found, dict) else found.international_short
    return str(symbol)


def loses_symmetry(before: Structure, after: Structure, tolerance: float = TOLERANCE) -> bool:
    """Whether a structure has operations that another one of the same atoms lacks.

    Parameters
    ----------
    before, after : Structure
        The atoms in the same order; the cells may differ by a strain.
    tolerance : float
        How far a moved atom may lie from the one that it replaces, Å.

    Returns
    -------
    bool
        True if a rotation of `before`, as a matrix of lattice vectors, is none of `after`.
    """
    old, new = (
        {o.lattice.tobytes() for o in crystal_operations(structure, tolerance)}
        for structure in (before, after)
    )
    return not old <= new
