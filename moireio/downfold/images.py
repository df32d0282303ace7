"""From matrices on a mesh of k points to matrices of lattice vectors R."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.neighbours import reduced
from moireio.system.structure import Structure

NEAR = (-1, 0, 1)  # steps from the rounded image, along reduced vectors, to all nearest ones
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
    search = _Search(structure, shape)
    found = [search.near(step) for step in steps]
    cells, where = np.unique(
        np.concatenate([R for _, _, R, _ in found]), axis=0, return_inverse=True
    )
    out = np.zeros((len(boxes), len(cells), *boxes.shape[2:]), dtype=boxes.dtype)
    ends = np.cumsum([len(R) for _, _, R, _ in found])
    n_atoms = len(structure)
    for place, ((i, j, _, weights), end) in enumerate(zip(found, ends, strict=True)):
        targets = where.ravel()[end - len(i) : end]
        for target in np.unique(targets):
            mine = targets == target
            weight = np.zeros((n_atoms, n_atoms))
            weight[i[mine], j[mine]] = weights[mine]
            out[:, target] += boxes[:, place] * weight[np.ix_(rows, columns)]
    return cells.astype(np.int64), list(out)


class _Search:
    """The nearest images of pairs of atoms by lattice vectors of a mesh's supercell.

    Its vectors are reduced, so that those images lie next to the rounded one, however skewed the
    cell is and wherever the atoms are.
    """

    def __init__(self, structure: Structure, shape: Sequence[int]) -> None:
        periodic = np.flatnonzero(structure.pbc)
        whole = np.diag(np.asarray(shape, dtype=np.int64))[periodic]
        vectors = reduced(whole @ structure.cell) @ whole  # in cells
        self._cell, self._vectors = structure.cell, vectors
        self._inverse = np.linalg.pinv(vectors @ structure.cell)
        self._offset = structure.positions[None, :] - structure.positions[:, None]
        self._around = np.array(list(product(NEAR, repeat=len(periodic))), dtype=np.int64)

    def near(
        self, step: npt.NDArray[np.int64]
    ) -> tuple[
        npt.NDArray[np.int64],
        npt.NDArray[np.int64],
        npt.NDArray[np.int64],
        npt.NDArray[np.float64],
    ]:
        """Return atoms i and j, the lattice vector R and the weight of each nearest image."""
        apart = self._offset + step @ self._cell
        rounded = -np.rint(apart @ self._inverse).astype(np.int64)
        images = (rounded[:, :, None] + self._around) @ self._vectors
        distance = np.linalg.norm(apart[:, :, None] + images @ self._cell, axis=-1)
        near = distance < distance.min(axis=2, keepdims=True) + EQUAL
        i, j, image = np.nonzero(near)
        return i, j, step + images[i, j, image], 1.0 / near.sum(axis=2)[i, j]
