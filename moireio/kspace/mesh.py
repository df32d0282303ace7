"""Regular meshes of k points, and the symmetry that makes some of them equivalent.

An operation x → W x + t of the crystal (fractional coordinates) turns k into W⁻ᵀ k. Time reversal
turns it into −k. Which operations a Hamiltonian obeys is for the caller to check.
"""

from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

from moireio.errors import MoireioError

MOST_POINTS = 5_000_000


@dataclass(frozen=True, eq=False)
class KMesh:
    """A regular mesh k = (n + shift) / shape.

    Parameters
    ----------
    shape : (int, int, int)
        Points along each reciprocal vector; 1 where the structure is not periodic.
    shift : (float, float, float)
        Displacement in steps of the mesh; 0 is centred at Γ.
    """

    shape: tuple
    shift: tuple = (0.0, 0.0, 0.0)

    def __len__(self):
        """Return the number of points."""
        return int(np.prod(self.shape))

    @property
    def k(self):
        """Fractional coordinates, the last index fastest; shape (n, 3)."""
        places = np.indices(self.shape).reshape(3, -1).T
        return (places + np.asarray(self.shift)) / np.asarray(self.shape)

    def index(self, k):
        """Return which points of the mesh some k are.

        Parameters
        ----------
        k : (n, 3) array
            Fractional coordinates, in any cell.

        Returns
        -------
        (n,) array of int or None
            Indices; None if one of them is no point of the mesh.
        """
        shape = np.asarray(self.shape)
        places = k * shape - np.asarray(self.shift)
        whole = np.rint(places).astype(np.int64)
        if np.abs(places - whole).max(initial=0) > 1e-6:
            return None
        return np.ravel_multi_index(tuple((whole % shape).T), self.shape)

    def simplices(self, reciprocal):
        """Cut the cell into segments, triangles or tetrahedra with mesh points as corners.

        Every parallelepiped of the mesh is cut along its shortest diagonal.

        Parameters
        ----------
        reciprocal : (3, 3) array
            Reciprocal lattice vectors as rows.

        Returns
        -------
        (m, d + 1) array of int
            Corners; d is the number of axes with more than one point, and m = d! times the
            number of points.
        """
        axes = [n for n in range(3) if self.shape[n] > 1]
        steps = [reciprocal[n] / self.shape[n] for n in axes]
        signs = np.array(np.meshgrid(*[[1, -1]] * len(axes))).reshape(len(axes), -1).T
        if len(axes):
            lengths = [np.linalg.norm(s @ np.array(steps)) for s in signs]
            sign = signs[int(np.argmin(np.round(lengths, 9)))]
        places = np.indices(self.shape).reshape(3, -1).T
        out = []
        for order in permutations(range(len(axes))):
            corner = places.copy()
            corners = [corner]
            for n in order:
                corner = corner.copy()
                corner[:, axes[n]] += sign[n]
                corners.append(corner)
            wrapped = [tuple((c % self.shape).T) for c in corners]
            out.append(np.stack([np.ravel_multi_index(c, self.shape) for c in wrapped], axis=1))
        return np.concatenate(out)


@dataclass(frozen=True, eq=False)
class ReducedMesh:
    """The points of a mesh that differ, and where all others come from.

    Parameters
    ----------
    mesh : KMesh
        The whole mesh.
    k : (n, 3) array
        The points that differ, fractional.
    weights : (n,) array
        Their share of the mesh; the sum is 1.
    point : (len(mesh),) array of int
        Point of `k` that every point of the mesh is equivalent to.
    operation : (len(mesh),) array of int
        Index of the symmetry that takes the point of the mesh there.
    symmetries : tuple of Symmetry
        All that were used; the first is the identity.
    """

    mesh: KMesh
    k: np.ndarray
    weights: np.ndarray
    point: np.ndarray
    operation: np.ndarray
    symmetries: tuple = field(default=())

    def __len__(self):
        """Return the number of points that differ."""
        return len(self.k)


def make_mesh(structure, counts=None, spacing=None, shift=None):
    """Make a mesh for a structure.

    Parameters
    ----------
    structure : Structure
        Its cell, and which of its axes are periodic.
    counts : sequence of int, optional
        Points along the periodic axes, or along all three.
    spacing : float, optional
        Largest distance of neighbouring points, Å⁻¹ with the 2π, instead of `counts`.
    shift : sequence of float, optional
        In steps of the mesh, along the periodic axes or all three; by default 0.

    Returns
    -------
    KMesh
        With one point along axes that are not periodic.

    Raises
    ------
    MoireioError
        If the numbers do not fit the structure.
    """
    periodic = np.flatnonzero(structure.pbc)
    if counts is None:
        if not (np.isfinite(spacing) and spacing > 0):
            raise MoireioError(f"a mesh spacing of {spacing} makes no sense", remedy="1/Å, > 0")
        lengths = np.linalg.norm(structure.reciprocal[periodic], axis=1)
        counts = np.maximum(np.ceil(lengths / spacing - 1e-9), 1)
    shape = _along(structure, counts, "--mesh", 1).astype(int)
    offset = np.zeros(3) if shift is None else _along(structure, shift, "--shift", 0)
    if (shape < 1).any():
        raise MoireioError("a mesh needs at least one point along every axis")
    if np.prod(shape.astype(float)) > MOST_POINTS:
        text = " × ".join(map(str, shape))
        raise MoireioError(f"the mesh {text} has too many points", remedy=f"≤ {MOST_POINTS:.0e}")
    return KMesh(tuple(shape.tolist()), tuple(offset.tolist()))


def _along(structure, values, option, neutral):
    """Return one number per lattice vector from one per periodic axis, or check all three."""
    values, pbc = np.asarray(values, dtype=float), structure.pbc
    out = np.full(3, float(neutral))
    if len(values) == 3:
        if (values[~pbc] != neutral).any():
            names = ", ".join("abc"[n] for n in np.flatnonzero(~pbc))
            raise MoireioError(
                f"the structure is not periodic along {names}", remedy=f"{option} {neutral} there"
            )
        return values
    if len(values) != pbc.sum():
        raise MoireioError(
            f"{option} has {len(values)} numbers, the structure has {pbc.sum()} periodic axes",
            remedy=f"{option} takes one number for each of them",
        )
    out[pbc] = values
    return out


def reduce_mesh(mesh, operations):
    """Keep one of every set of equivalent points.

    Parameters
    ----------
    mesh : KMesh
        All points.
    operations : list of Symmetry
        A group, the identity first. Those that do not map the mesh onto itself are not used.

    Returns
    -------
    ReducedMesh
        With weights.
    """
    k = mesh.k
    images, kept = [], []
    for one in operations:
        index = mesh.index(k @ one.rotation.T)
        if index is not None:
            images.append(index)
            kept.append(one)
    images = np.array(images)
    operation = images.argmin(axis=0)
    lowest = images.min(axis=0)
    chosen, point, counts = np.unique(lowest, return_inverse=True, return_counts=True)
    return ReducedMesh(mesh, k[chosen], counts / len(mesh), point, operation, tuple(kept))
