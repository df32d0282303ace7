"""Overlaps ⟨u_k|u_k'⟩ of the cell-periodic parts of Bloch states at neighbouring k points.

With q = k' − k (Cartesian), k̄ = (k + k')/2 and τ_α the position of orbital α's atom::

    ⟨u_k|u_k'⟩ = c(k)† e^{−iq·τ/2} [S(k̄) − i q·D(k̄)] e^{−iq·τ/2} c(k') + O(q²)
    D_αβ(R) = P_αβ(R) − ½ (τ_β + R − τ_α) S_αβ(R)

D holds the dipole of each pair of orbitals about the middle between their atoms; it is Hermitian
and periodic in k, so that without it Chern numbers, Z2 and windings are the same, curvature and
Wannier centres are not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.operators.bloch import BlochSum
from moireio.operators.blocks import OperatorMeta, OperatorSource, read_pairs

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.system.structure import Structure

DENSE = 300  # orbitals; below, dense matrices are quicker


def side_of(normal: npt.ArrayLike) -> int:
    """Return on which side of a layer a normal of it points.

    Parameters
    ----------
    normal : (3,) array
        Any length will do.

    Returns
    -------
    {1, -1}
        1 towards +z, or for a layer upright in its cell towards +y or +x.
    """
    unit = np.asarray(normal) / np.linalg.norm(normal)
    return 1 if unit[np.flatnonzero(np.abs(unit) > 1e-6)[-1]] > 0 else -1


@dataclass(frozen=True, eq=False)
class Plane:
    """The plane of k points of a layer.

    Parameters
    ----------
    axes : (int, int)
        The two lattice vectors along which the structure is periodic.
    reciprocal : (2, 3) array
        Their reciprocal vectors inside the plane, Cartesian, Å⁻¹ with the 2π.
    """

    axes: tuple[int, int]
    reciprocal: npt.NDArray[np.float64]

    @property
    def normal(self) -> npt.NDArray[np.float64]:
        """Cross product of the two reciprocal vectors, Å⁻²; shape (3,)."""
        return np.cross(*self.reciprocal)

    @property
    def orientation(self) -> int:
        """1 where a turn from the first vector to the second is counter-clockwise, else −1.

        Counter-clockwise is seen from +z, or for a layer upright in its cell from +y or +x.
        """
        return side_of(self.normal)

    @property
    def area(self) -> float:
        """Area of the zone, Å⁻²."""
        return float(np.linalg.norm(self.normal))

    def k(self, first: npt.ArrayLike, second: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return k points in fractional coordinates.

        Parameters
        ----------
        first, second : (n,) array
            Coordinates along the two reciprocal vectors.

        Returns
        -------
        (n, 3) array
            0 along the third.
        """
        first, second = np.broadcast_arrays(np.atleast_1d(first), np.atleast_1d(second))
        k = np.zeros((len(first), 3))
        k[:, self.axes[0]], k[:, self.axes[1]] = first, second
        return k

    def cartesian(self, k: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return k points or differences of them in Å⁻¹.

        Parameters
        ----------
        k : (…, 3) array
            Fractional.

        Returns
        -------
        (…, 3) array
            Inside the plane.
        """
        return np.asarray(k, dtype=float)[..., list(self.axes)] @ self.reciprocal

    def distance(self, k: npt.ArrayLike, k2: npt.ArrayLike) -> float:
        """Return how far two k points are apart, the shortest way round, Å⁻¹.

        Parameters
        ----------
        k, k2 : (3,) arrays
            Fractional.

        Returns
        -------
        float
            With the 2π.
        """
        difference = np.asarray(k, dtype=float) - k2
        return float(np.linalg.norm(self.cartesian(difference - np.rint(difference))))

    def in_plane(self, vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return two components of Cartesian vectors inside the plane.

        Parameters
        ----------
        vectors : (…, 3) array
            Cartesian.

        Returns
        -------
        (…, 2) array
            Along two unit vectors, of which a turn from the first to the second is
            counter-clockwise; x and y where the plane is that of x and y.
        """
        normal = self.orientation * self.normal / np.linalg.norm(self.normal)
        first = np.eye(3)[int(np.argmin(np.abs(normal) > 1 - 1e-9))]
        if abs(normal[0]) > 0.9:
            first = np.eye(3)[1]
        first = first - normal * (first @ normal)
        first /= np.linalg.norm(first)
        return np.asarray(vectors, dtype=float) @ np.stack([first, np.cross(normal, first)]).T


def plane_of(structure: Structure, label: str | None = None) -> Plane:
    """Return the plane of k points of a layer.

    Parameters
    ----------
    structure : Structure
        Periodic along two lattice vectors.
    label : str, optional
        The file, for messages.

    Returns
    -------
    Plane
        The plane.

    Raises
    ------
    MoireioError
        If it is periodic along one vector or three.
    """
    axes = np.flatnonzero(structure.pbc)
    if len(axes) != 2:
        raise MoireioError(
            f"the structure is periodic along {len(axes)} lattice vectors, expected are two",
            path=label,
            remedy="Chern numbers and curvature are those of layers",
        )
    lattice = structure.cell[axes]
    reciprocal = np.asarray(2 * np.pi * np.linalg.pinv(lattice).T, dtype=np.float64)
    return Plane((int(axes[0]), int(axes[1])), reciprocal)


class Dipoles:
    """Dipoles of pairs of orbitals about the middle between their atoms, along one vector.

    Parameters
    ----------
    position : OperatorSource
        ⟨iα,0|r − τ_i|jβ,R⟩, Å.
    overlap : OperatorSource or None
        S, both partners of every pair; None for orthogonal orbitals.
    structure : Structure
        The atoms.
    vector : (3,) array
        Cartesian, Å⁻¹.
    """

    def __init__(
        self,
        position: OperatorSource,
        overlap: OperatorSource | None,
        structure: Structure,
        vector: npt.NDArray[np.float64],
    ) -> None:
        self._position, self._overlap, self._vector = position, overlap, vector
        self.pairs, self.sizes = position.pairs, position.sizes
        self.meta = OperatorMeta(
            "dipole", "1", dtype=position.meta.dtype, source=position.meta.source
        )
        self._shift = (self._displacements(structure)) @ vector
        if overlap is not None:
            pairs = self.pairs
            self._found = overlap.pairs.find(pairs.i, pairs.j, pairs.R)

    def _displacements(self, structure: Structure) -> npt.NDArray[np.float64]:
        pairs, positions = self.pairs, structure.positions
        return positions[pairs.j] + pairs.R @ structure.cell - positions[pairs.i]

    def rows(self, i0: int, i1: int) -> npt.NDArray[Any]:
        """Return the blocks of the atoms ``i0 <= i < i1``, shape (n,)."""
        data = np.tensordot(self._vector, self._position.rows(i0, i1), 1)
        if self._overlap is None:  # S = 1 has no pair at a distance
            return data
        span = self.pairs.rows(i0, i1)
        there = self._found[span]
        elements = self.pairs.block_elements(self.sizes)[span]
        overlap = np.zeros_like(data)
        values, _ = read_pairs(self._overlap, there[there >= 0])
        overlap[np.repeat(there >= 0, elements)] = values
        return data - 0.5 * np.repeat(self._shift[span], elements) * overlap


class Links:
    """⟨u_k|u_k'⟩ between S-orthonormal states.

    Parameters
    ----------
    structure : Structure
        The atoms, periodic along two vectors.
    plane : Plane
        Its k points.
    sizes : (N,) array of int
        Rows of every atom in H(k).
    overlap : BlochSum or None
        S(k) of these rows; None for orthogonal orbitals.
    dipoles : tuple of two BlochSum, optional
        Dipoles along the two reciprocal vectors of the plane.

    Attributes
    ----------
    kind : {"position", "midpoint"}
        With dipoles of pairs of orbitals, or without.
    """

    def __init__(
        self,
        structure: Structure,
        plane: Plane,
        sizes: npt.NDArray[np.integer],
        overlap: BlochSum | None,
        dipoles: tuple[BlochSum, BlochSum] | None = None,
    ) -> None:
        self.plane, self._overlap, self._dipoles = plane, overlap, dipoles
        self.positions = np.repeat(structure.positions, sizes, axis=0)
        self.kind = "midpoint" if dipoles is None else "position"

    @classmethod
    def from_file(cls, file: BlockFile, *, position: bool = True) -> Self:
        """Return the links of a block file.

        Parameters
        ----------
        file : BlockFile
            With H, S unless its basis is orthogonal, and position matrices if they are to be used.
        position : bool
            Use ``/position`` where there is one.

        Returns
        -------
        Links
            For states of either spin.
        """
        structure = file.structure
        plane = plane_of(structure, file.label)
        spinor = file.hamiltonian.meta.spin == "spinor"
        operator = file.overlap
        overlap = None if operator is None else operator.assembler(spinor=spinor)
        dipoles = None
        if position and "position" in file:
            whole = None if operator is None else operator.full()
            one, two = (
                BlochSum.from_source(
                    Dipoles(file.operator("position"), whole, structure, vector), spinor=spinor
                )
                for vector in plane.reciprocal
            )
            dipoles = one, two
        return cls(structure, plane, file.hamiltonian.sizes, overlap, dipoles)

    def between(
        self,
        k: npt.NDArray[np.float64],
        states: npt.NDArray[Any],
        k2: npt.NDArray[np.float64],
        states2: npt.NDArray[Any],
    ) -> npt.NDArray[Any]:
        """Return the matrix ⟨u_m(k)|u_n(k')⟩.

        Parameters
        ----------
        k, k2 : (3,) arrays
            Fractional. k' − k must be short; coefficients do not change when a reciprocal lattice
            vector is added to k.
        states, states2 : (n_orbitals, nb) arrays
            S-orthonormal coefficients at k and k', in lattice gauge.

        Returns
        -------
        (nb, nb') array
            The overlaps.
        """
        step = k2 - k
        phase = np.exp(-0.5j * (self.positions @ self.plane.cartesian(step)))[:, None]
        left, right = states.conj() * phase, states2 * phase
        middle = 0.5 * (k + k2)
        turned = right if self._overlap is None else _times(self._overlap, middle, right)
        if self._dipoles is not None:
            for axis, dipole in zip(self.plane.axes, self._dipoles, strict=True):
                if step[axis]:
                    turned = turned - 1j * step[axis] * _times(dipole, middle, right)
        return left.T @ turned

    def dipoles_times(
        self, k: npt.NDArray[np.float64], states: npt.NDArray[Any]
    ) -> npt.NDArray[Any] | None:
        """Return D(k) c, the two components inside the plane.

        Parameters
        ----------
        k : (3,) array
            Fractional.
        states : (n_orbitals, nb) array
            Coefficients.

        Returns
        -------
        (2, n_orbitals, nb) array or None
            Å; None without dipoles.
        """
        if self._dipoles is None:
            return None
        along = np.array([_times(dipole, k, states) for dipole in self._dipoles])
        components = np.linalg.inv(self.plane.in_plane(self.plane.reciprocal))
        return np.tensordot(components, along, 1)

    def overlap_times(
        self, k: npt.NDArray[np.float64], states: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """Return S(k) c.

        Parameters
        ----------
        k : (3,) array
            Fractional.
        states : (n_orbitals, nb) array
            Coefficients.

        Returns
        -------
        (n_orbitals, nb) array
            The products.
        """
        return states if self._overlap is None else _times(self._overlap, k, states)


def _times(
    total: BlochSum, k: npt.NDArray[np.float64], states: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    matrix = total.dense(k) if total.n_orbitals <= DENSE else total.csr(k)
    return matrix @ states


def unitary_part(
    matrix: npt.NDArray[Any],
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Return the unitary factor of a polar decomposition.

    Parameters
    ----------
    matrix : (n, n) array
        A link.

    Returns
    -------
    unitary : (n, n) array
        U V† of the singular value decomposition U s V†.
    singular : (n,) array
        s, descending.
    """
    u, singular, vh = np.linalg.svd(matrix)
    return u @ vh, singular
