"""k points from which functions of k follow in a patch, and the weight of each."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.linalg import lu_factor, lu_solve, qr

CANDIDATES = 4  # times the degree, along each axis
HIT = 1e-14  # distance from a node, coordinates from −1 to 1


class Nodes(Protocol):
    """Points, and how functions follow from their values there.

    Attributes
    ----------
    points : (p, d) array
        Coordinates from −1 to 1.
    """

    points: npt.NDArray[np.float64]

    def weights(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the weight of every node at a point; shape (p,)."""
        ...


class ChebyshevNodes:
    """Zeros of Chebyshev polynomials along each axis, for polynomials of as many powers each.

    Parameters
    ----------
    counts : tuple of int
        Nodes along each axis.

    Attributes
    ----------
    points : (p, d) array
        Coordinates from −1 to 1.
    """

    def __init__(self, counts: tuple[int, ...]) -> None:
        self._axes = [np.cos(np.pi * (np.arange(n) + 0.5) / n) for n in counts]
        mesh = np.stack(np.meshgrid(*self._axes, indexing="ij"), axis=-1)
        self.points = mesh.reshape(-1, len(counts))

    def weights(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the weight of every node at a point.

        Parameters
        ----------
        x : (d,) array
            Coordinates from −1 to 1.

        Returns
        -------
        (p,) array
            They add up to 1.
        """
        weights = np.ones(1)
        for own, nodes in zip(x, self._axes, strict=True):
            weights = np.outer(weights, _cardinal(float(own), nodes)).ravel()
        return weights


class PlaneNodes:
    """Points of a convex region of a plane, for polynomials of a total degree.

    They are those of a fine mesh at which the polynomials differ most (approximate Fekete points:
    A. Sommariva and M. Vianello, Comput. Math. Appl. 57, 1324 (2009)): about half as many as a
    mesh of zeros of the same degree along both axes.

    Parameters
    ----------
    region : (v, 2) array
        Points whose convex hull it is, coordinates from −1 to 1.
    degree : int
        Total degree of the polynomials.

    Attributes
    ----------
    points : ((degree + 1)(degree + 2)/2, 2) array
        Coordinates from −1 to 1.
    """

    def __init__(self, region: npt.NDArray[np.float64], degree: int) -> None:
        from scipy.spatial import Delaunay

        a, b = np.indices((degree + 1, degree + 1)).reshape(2, -1)
        self._powers = np.stack([a, b])[:, a + b <= degree]
        line = np.cos(np.linspace(0, np.pi, CANDIDATES * degree + 1))
        mesh = np.stack(np.meshgrid(line, line, indexing="ij"), axis=-1).reshape(-1, 2)
        hull = Delaunay(region)
        corners = region[np.unique(hull.convex_hull)]
        candidates = np.concatenate([corners, mesh[hull.find_simplex(mesh) >= 0]])
        _, _, order = qr(self._values(candidates), mode="economic", pivoting=True)
        self.points = candidates[order[: self._powers.shape[1]]]
        self._factors = lu_factor(self._values(self.points))

    def _values(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return products of Chebyshev polynomials at some points; shape (terms, points)."""
        degree = int(self._powers.max())
        one = [np.polynomial.chebyshev.chebvander(x[:, axis], degree) for axis in range(2)]
        return (one[0][:, self._powers[0]] * one[1][:, self._powers[1]]).T

    def weights(self, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the weight of every node at a point.

        Parameters
        ----------
        x : (2,) array
            Coordinates from −1 to 1.

        Returns
        -------
        (p,) array
            They add up to 1.
        """
        factors, pivots = self._factors
        # while it runs, LAPACK's wrapper counts pivots from 1 in place: each thread needs its own
        return np.asarray(lu_solve((factors, pivots.copy()), self._values(x[None])[:, 0]))


def _cardinal(x: float, nodes: npt.NDArray) -> npt.NDArray[np.float64]:
    """Return the cardinal functions of Chebyshev nodes at a point, by the barycentric formula."""
    away = x - nodes
    hit = np.abs(away) < HIT
    if hit.any():
        return hit.astype(float)
    count = len(nodes)
    angle = np.pi * (np.arange(count) + 0.5) / count
    terms = (-1.0) ** np.arange(count) * np.sin(angle) / away
    return terms / terms.sum()
