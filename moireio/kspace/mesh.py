"""Regular meshes of k points, and their reduction by symmetry."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Self

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.symmetry.crystal import Symmetry
from moireio.system.structure import Structure

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

    shape: tuple[int, int, int]
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    def __len__(self) -> int:
        """Return the number of points."""
        return int(np.prod(self.shape))

    @property
    def k(self) -> npt.NDArray[np.float64]:
        """Fractional coordinates, the last index fastest; shape (n, 3)."""
        steps = np.indices(self.shape).reshape(3, -1).T
        return (steps + np.asarray(self.shift)) / np.asarray(self.shape)

    def midway(self, pbc: Sequence[bool] | npt.NDArray[np.bool_]) -> Self:
        """Return the mesh whose points lie midway between those of this one.

        Parameters
        ----------
        pbc : (3,) array of bool
            Along which vectors the structure is periodic: only there, also where this mesh has one
            point.

        Returns
        -------
        KMesh
            The same shape, shifted by half a step.
        """
        shift = np.asarray(self.shift) + np.where(pbc, 0.5, 0.0)
        return replace(self, shift=(float(shift[0]), float(shift[1]), float(shift[2])))

    def index(self, k: npt.NDArray[np.float64]) -> npt.NDArray[np.int64] | None:
        """Return the indices of some k among the points of the mesh.

        Parameters
        ----------
        k : (n, 3) array
            Fractional coordinates, in any cell of the reciprocal lattice.

        Returns
        -------
        (n,) array of int or None
            Indices; None if one of the k is no point of the mesh.
        """
        shape = np.asarray(self.shape)
        steps = k * shape - np.asarray(self.shift)
        whole = np.rint(steps).astype(np.int64)
        if np.abs(steps - whole).max(initial=0) > 1e-6:
            return None
        return np.ravel_multi_index(tuple((whole % shape).T), self.shape)

    def simplices(self, reciprocal: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
        """Cut the cell into segments, triangles or tetrahedra with mesh points as corners.

        Every parallelepiped of the mesh is cut along its shortest diagonal.

        Parameters
        ----------
        reciprocal : (3, 3) array
            Reciprocal lattice vectors as rows, Å⁻¹.

        Returns
        -------
        (m, d + 1) array of int
            Indices of the corners; d is the number of axes with more than one point, and m = d!
            times the number of points.
        """
        axes = [n for n in range(3) if self.shape[n] > 1]
        steps = [reciprocal[n] / self.shape[n] for n in axes]
        signs = np.array(np.meshgrid(*[[1, -1]] * len(axes))).reshape(len(axes), -1).T
        if len(axes):
            lengths = [np.linalg.norm(s @ np.array(steps)) for s in signs]
            sign = signs[int(np.argmin(np.round(lengths, 9)))]
        origins = np.indices(self.shape).reshape(3, -1).T
        simplices = []
        for order in permutations(range(len(axes))):
            corner = origins.copy()
            corners = [corner]
            for n in order:
                corner = corner.copy()
                corner[:, axes[n]] += sign[n]
                corners.append(corner)
            wrapped = [tuple((c % self.shape).T) for c in corners]
            simplices.append(
                np.stack([np.ravel_multi_index(c, self.shape) for c in wrapped], axis=1)
            )
        return np.concatenate(simplices)


@dataclass(frozen=True, eq=False)
class ReducedMesh:
    """The inequivalent points of a mesh, and the map of all others onto them.

    Parameters
    ----------
    mesh : KMesh
        The whole mesh.
    k : (n, 3) array
        The inequivalent points, fractional.
    weights : (n,) array
        Their share of the mesh; the sum is 1.
    point : (len(mesh),) array of int
        Index into `k` of the point that each point of the mesh is equivalent to.
    operation : (len(mesh),) array of int
        Index into `symmetries` of the operation that maps the point of the mesh there.
    symmetries : tuple of Symmetry
        The operations that were used; the first is the identity.
    """

    mesh: KMesh
    k: npt.NDArray[np.float64]
    weights: npt.NDArray[np.float64]
    point: npt.NDArray[np.int64]
    operation: npt.NDArray[np.int64]
    symmetries: tuple[Symmetry, ...] = ()

    def __len__(self) -> int:
        """Return the number of inequivalent points."""
        return len(self.k)


def make_mesh(
    structure: Structure,
    mesh: Sequence[int] | None = None,
    spacing: float | None = None,
    shift: Sequence[float] | None = None,
) -> KMesh:
    """Make a mesh for a structure.

    Parameters
    ----------
    structure : Structure
        The cell and its periodic axes.
    mesh : sequence of int, optional
        Points along the periodic axes, or along all three.
    spacing : float, optional
        Largest distance of neighbouring points, Å⁻¹ with the 2π, instead of `mesh`.
    shift : sequence of float, optional
        Displacement in steps of the mesh, along the periodic axes or all three; by default 0.

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
    if mesh is None:
        if spacing is None or not (np.isfinite(spacing) and spacing > 0):
            raise MoireioError(
                f"{spacing} is no distance of k points", remedy="`spacing` is in 1/Å, above 0"
            )
        lengths = np.linalg.norm(structure.reciprocal[periodic], axis=1)
        mesh = np.maximum(np.ceil(lengths / spacing - 1e-9), 1).tolist()
    shape = _along_axes(structure, mesh, "mesh", 1).astype(int)
    offset = np.zeros(3) if shift is None else _along_axes(structure, shift, "shift", 0)
    if (shape < 1).any():
        raise MoireioError("a mesh needs at least one point along every axis")
    if np.prod(shape.astype(float)) > MOST_POINTS:
        text = " × ".join(map(str, shape))
        raise MoireioError(
            f"the mesh {text} has too many points",
            remedy=f"at most {MOST_POINTS}: give fewer with `mesh`, or a larger `spacing`",
        )
    return KMesh(tuple(shape.tolist()), tuple(offset.tolist()))


def _along_axes(
    structure: Structure, values: npt.ArrayLike, parameter: str, neutral: float
) -> npt.NDArray[np.float64]:
    """Return three numbers from one per periodic axis, or check three."""
    numbers, pbc = np.asarray(values, dtype=float), structure.pbc
    if len(numbers) == 3:
        if (numbers[~pbc] != neutral).any():
            axes = ", ".join("abc"[n] for n in np.flatnonzero(~pbc))
            raise MoireioError(
                f"the structure is not periodic along {axes}",
                remedy=f"`{parameter}` must be {neutral} there",
            )
        return numbers
    if len(numbers) != pbc.sum():
        raise MoireioError(
            f"`{parameter}` has {len(numbers)} numbers, but {pbc.sum()} axes are periodic",
            remedy="give one number for each periodic axis",
        )
    out = np.full(3, float(neutral))
    out[pbc] = numbers
    return out


def reduce_mesh(mesh: KMesh, operations: Sequence[Symmetry]) -> ReducedMesh:
    """Keep one of every set of equivalent points.

    Parameters
    ----------
    mesh : KMesh
        All points.
    operations : sequence of Symmetry
        A group, the identity first. Operations that do not map the mesh onto itself are not used.

    Returns
    -------
    ReducedMesh
        The inequivalent points with their weights.
    """
    k = mesh.k
    images, symmetries = [], []
    for operation in operations:
        index = mesh.index(k @ operation.rotation.T)
        if index is not None:
            images.append(index)
            symmetries.append(operation)
    image = np.array(images)
    representatives, point, counts = np.unique(
        image.min(axis=0), return_inverse=True, return_counts=True
    )
    return ReducedMesh(
        mesh=mesh,
        k=k[representatives],
        weights=counts / len(mesh),
        point=point,
        operation=image.argmin(axis=0),
        symmetries=tuple(symmetries),
    )
