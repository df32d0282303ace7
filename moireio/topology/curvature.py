"""Berry curvature of a group of bands: at single k points, and over the zone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from moireio.topology.chern import FluxMesh, Subspace
from moireio.topology.links import Links, Plane

PLAQUETTE = 0.0025  # of the reciprocal vectors


def curvature_at(
    space: Subspace, links: Links, k: npt.ArrayLike, plaquette: float = PLAQUETTE
) -> npt.NDArray[np.float64]:
    """Return the Berry curvature Ω_z of a group of bands, summed over them.

    Parameters
    ----------
    space : Subspace
        The states.
    links : Links
        Their overlaps.
    k : (n, 3) array
        Fractional.
    plaquette : float
        Edges of the plaquette around each k, in reciprocal lattice vectors.

    Returns
    -------
    (n,) array
        Å², ∇ × i⟨u|∇u⟩, counter-clockwise; the error falls as the square of `plaquette`.
    """
    plane = links.plane
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (0.5 * plaquette)
    corners = np.atleast_2d(k)[:, None] + plane.k(*signs.T)[None]
    space.prepare(corners.reshape(-1, 3))
    turns = []
    for corner in corners:
        states = [space.at(point) for point in corner]
        turn = 1.0 + 0.0j
        for n in range(4):
            m = (n + 1) % 4
            matrix = links.between(corner[n], states[n], corner[m], states[m])
            turn *= np.exp(1j * np.angle(np.linalg.det(matrix)))
        turns.append(turn)
    return -np.angle(turns) * plane.orientation / (plane.area * plaquette**2)


def curvature_of(fluxes: FluxMesh, links: Links) -> npt.NDArray[np.float64]:
    """Return the mean Berry curvature over each plaquette of a mesh.

    Parameters
    ----------
    fluxes : FluxMesh
        Fluxes through the plaquettes.
    links : Links
        With the plane.

    Returns
    -------
    (N1, N2) array
        Å².
    """
    return fluxes.flux / (links.plane.area / (fluxes.shape[0] * fluxes.shape[1]))


def plaquette_middles(plane: Plane, shape: tuple[int, int]) -> npt.NDArray[np.float64]:
    """Return the middles of the plaquettes of a mesh, (N1, N2, 3) fractional."""
    first, second = (np.indices(shape).reshape(2, -1) + 0.5) / np.array(shape)[:, None]
    return plane.k(first, second).reshape(*shape, 3)
