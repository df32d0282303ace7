"""Layers of a stack: which atom belongs to which."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.structure import Structure

# Wider than any step inside a layer (phosphorene 2.1 Å), narrower than the gap between two.
LAYER_GAP = 2.3
FLAT = 1e-3


def with_layers(structure: Structure) -> Structure:
    """Return a slab with its atoms divided into layers, by the gaps between them.

    Parameters
    ----------
    structure : Structure
        Any structure.

    Returns
    -------
    Structure
        The same object if it has layers already, or is not a slab: periodic along two lattice
        vectors.
    """
    slab = structure.pbc.sum() == 2
    if structure.layer is not None or not slab or len(structure) == 0:
        return structure
    return replace(structure, layer=assign_layers(structure))


def layer_normal(structure: Structure) -> npt.NDArray[np.float64]:
    """Return the direction along which layers lie one above the other.

    Parameters
    ----------
    structure : Structure
        A stack of layers.

    Returns
    -------
    (3,) array
        Unit vector along the normal of the two periodic lattice vectors of a slab, and of the first
        two vectors of anything else. Its z component is positive; if that is 0, it points to
        the side of the remaining lattice vector.
    """
    axis = int(np.argmin(structure.pbc)) if structure.pbc.sum() == 2 else 2
    along = np.delete(structure.cell, axis, axis=0)
    normal = np.cross(along[0], along[1])
    normal /= np.linalg.norm(normal)
    up = normal[2] if abs(normal[2]) > FLAT else normal @ structure.cell[axis]
    return np.asarray(normal if up > 0 else -normal)


def joined_positions(structure: Structure) -> npt.NDArray[np.float64]:
    """Return positions in which no layer is cut by the border of the cell.

    Parameters
    ----------
    structure : Structure
        A stack of layers.

    Returns
    -------
    (N, 3) array
        Å. If the third lattice vector is a period, the widest gap along it lies at the border.
    """
    positions = np.array(structure.positions)
    if not structure.pbc[2] or len(structure) == 0:
        return positions
    height = positions @ np.linalg.inv(structure.cell)[:, 2]
    ascending = np.sort(height % 1)
    gaps = np.diff(ascending, append=ascending[0] + 1)
    start = ascending[(int(gaps.argmax()) + 1) % len(ascending)]
    joined = (height - start + 1e-9) % 1
    return positions + np.outer(joined - height, structure.cell[2])


def assign_layers(structure: Structure, count: int | None = None) -> npt.NDArray[np.int32]:
    """Divide the atoms of a structure into layers, by the gaps between them.

    Parameters
    ----------
    structure : Structure
        A stack of layers along its `layer_normal`.
    count : int, optional
        Number of layers; by default a new layer begins after every gap wider than `LAYER_GAP`.

    Returns
    -------
    (N,) array of int32
        Layer of each atom, from 0 at the bottom.

    Raises
    ------
    MoireioError
        If there are too few gaps.
    """
    height = joined_positions(structure) @ layer_normal(structure)
    order = np.argsort(height, kind="stable")
    gaps = np.diff(height[order])
    if count is None:
        borders = gaps > LAYER_GAP
    else:
        widest = np.sort(np.argsort(-gaps, kind="stable")[: count - 1])
        if len(widest) < count - 1 or (count > 1 and gaps[widest].min() < FLAT):
            raise MoireioError(f"the atoms do not lie in {count} layers, one above the other")
        borders = np.isin(np.arange(len(gaps)), widest)
    layer = np.zeros(len(structure), dtype=np.int32)
    layer[order[1:]] = np.cumsum(borders)
    return layer
