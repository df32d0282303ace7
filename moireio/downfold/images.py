"""From matrices on a mesh of k points to matrices of lattice vectors R."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.structure import Structure

SEARCH = 2  # cells of the mesh in which nearest images are sought
EQUAL = 1e-4  # Å


def require_mesh(structure: Structure, shape: Sequence[int], label: str) -> None:
    """Raise if a mesh has several points along a vector without periodicity.

    Parameters
    ----------
    structure : Structure
        The atoms.
    shape : sequence of three int
        Points along each reciprocal vector.
    label : str
        The file, for messages.

    Raises
    ------
    MoireioError
        With the vector.
    """
    for axis in range(3):
        if shape[axis] > 1 and not structure.pbc[axis]:
            raise MoireioError(
                f"is not periodic along {'abc'[axis]}, but the mesh has {shape[axis]} points there",
                path=label,
                remedy="one point there",
            )


def nearest_images(
    structure: Structure,
    shape: Sequence[int],
    boxes: npt.NDArray[Any],
    rows: npt.NDArray[np.int64],
    columns: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[Any]]]:
    """Return matrices of lattice vectors, each element at the nearest of its images.

    The Fourier sum over a mesh of N points gives matrices in N cells, the same in all images of
    these cells by N lattice vectors. An element goes to the image in which its two atoms are
    nearest, in equal parts where several are.

    Parameters
    ----------
    structure : Structure
        The atoms.
    shape : sequence of three int
        Points along each reciprocal vector.
    boxes : (c, N, n, m) array
        Matrices in the cells of the mesh, the last index fastest.
    rows, columns : (n,) and (m,) arrays of int64
        Atom of each row and column.

    Returns
    -------
    cells : (n_cells, 3) array of int64
        Lattice vectors R.
    components : list of c (n_cells, n, m) arrays
        The matrices.
    """
    steps = np.indices(tuple(shape)).reshape(3, -1).T
    reach = [range(-SEARCH, SEARCH + 1) if periodic else range(1) for periodic in structure.pbc]
    images = np.array(np.meshgrid(*reach, indexing="ij")).reshape(3, -1).T * np.asarray(shape)
    count, n_atoms = len(images), len(structure)
    weights = np.zeros((len(steps), count, n_atoms, n_atoms), dtype=np.float32)
    offset = structure.positions[None, :] - structure.positions[:, None]
    for place, step in enumerate(steps):
        shifts = (step + images) @ structure.cell
        distance = np.linalg.norm(offset + shifts[:, None, None], axis=-1)
        near = distance < distance.min(axis=0) + EQUAL
        weights[place] = near / near.sum(axis=0)
    used = [tuple(x) for x in np.argwhere(weights.any(axis=(2, 3)))]
    every = np.array([steps[place] + images[image] for place, image in used])
    cells, where = np.unique(every, axis=0, return_inverse=True)
    shape_out = (len(boxes), len(cells), *boxes.shape[2:])
    out = np.zeros(shape_out, dtype=boxes.dtype)
    for (place, image), target in zip(used, where.ravel(), strict=True):
        weight = weights[place, image][np.ix_(rows, columns)]
        out[:, target] += boxes[:, place] * weight
    return cells.astype(np.int64), list(out)
