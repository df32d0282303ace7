"""Matrices of a small space between the k points at which they were computed.

In the gauge with positions V†H(k)V is a sum of terms e^{ik·d}, d a distance of two atoms of a
block, and so are, with twice the distances, the products of H V and S V. Chebyshev interpolation on
a line, or on a rectangle, converges faster than exponentially once the nodes resolve the phase k·d.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.reduced import Grams

ACCURACY = 1e-11  # of the matrices, as a share of their size
NEAR = 1e-6  # fractional coordinates
SPARE = 1  # nodes more than the estimate


@dataclass(frozen=True, eq=False)
class Patch:
    """A line or a parallelogram in k space.

    Parameters
    ----------
    centre : (3,) array
        Fractional coordinates.
    axes : (d, 3) array
        From the centre to the sides; d = 1 or 2.
    points : (p,) array of int
        The k points of a set that lie in it.
    """

    centre: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    points: npt.NDArray[np.integer]

    def coordinates(self, k: npt.NDArray) -> npt.NDArray[np.float64]:
        """Return coordinates from −1 to 1 along each axis; shape (d,)."""
        return np.asarray(np.linalg.lstsq(self.axes.T, k - self.centre, rcond=None)[0], dtype=float)

    def holds(self, k: npt.NDArray) -> bool:
        """Return whether a k point lies in it."""
        x = self.coordinates(k)
        inside = bool(np.abs(x).max() < 1 + NEAR)
        return inside and bool(np.abs(self.centre + x @ self.axes - k).max() < NEAR)


def node_count(phase: float) -> int:
    """Return how many nodes an axis needs.

    Parameters
    ----------
    phase : float
        Largest phase of the terms from the centre to a side, radians.

    Returns
    -------
    int
        So that the remainder 2 (phase/2)ᵖ/p! of the Chebyshev series of e^{ix} is small enough.
    """
    count = 1
    while 2 * (phase / 2) ** count / math.factorial(count) > ACCURACY:
        count += 1
    return count + SPARE


class GramSeries:
    """The products of a small space as functions of k in a patch.

    Parameters
    ----------
    patch : Patch
        Where.
    counts : sequence of int
        Nodes along each axis.
    compute : callable
        Returns the `Grams` at a k.
    """

    def __init__(
        self, patch: Patch, counts: tuple[int, ...], compute: Callable[[npt.NDArray], Grams]
    ) -> None:
        self.patch, self._counts = patch, counts
        self._nodes = [np.cos(np.pi * (np.arange(n) + 0.5) / n) for n in counts]
        mesh = np.stack(np.meshgrid(*self._nodes, indexing="ij"), axis=-1).reshape(-1, len(counts))
        self.k = patch.centre + mesh @ patch.axes
        grams = [compute(k) for k in self.k]
        self.energy = grams[0].energy
        self._matrices = np.stack([g.matrices for g in grams])

    @property
    def at_nodes(self) -> list[Grams]:
        """The products at the nodes."""
        return [Grams(matrices, self.energy) for matrices in self._matrices]

    def inside(self, vectors: npt.NDArray) -> "GramSeries":
        """Return the series of some combinations of the basis.

        Parameters
        ----------
        vectors : (m, c) array
            One in a column.

        Returns
        -------
        GramSeries
            The series of the smaller space.
        """
        other = object.__new__(GramSeries)
        other.patch, other._counts, other._nodes = self.patch, self._counts, self._nodes
        other.k, other.energy = self.k, self.energy
        other._matrices = np.stack([g.inside(vectors).matrices for g in self.at_nodes])
        return other

    def at(self, k: npt.NDArray) -> Grams:
        """Return the products at a k point of the patch.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates.

        Returns
        -------
        Grams
            Interpolated.
        """
        return Grams(np.tensordot(self._weights(k), self._matrices, axes=1), self.energy)

    def overlap(self, k: npt.NDArray) -> npt.NDArray[np.complex128]:
        """Return V†S(k)V at a k point of the patch.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates.

        Returns
        -------
        (m, m) array
            Interpolated.
        """
        return np.tensordot(self._weights(k), self._matrices[:, 1], axes=1)

    def _weights(self, k: npt.NDArray) -> npt.NDArray[np.float64]:
        """Return the weight of every node at a k point."""
        weights = np.ones(1)
        for x, nodes in zip(self.patch.coordinates(k), self._nodes, strict=True):
            weights = np.outer(weights, _cardinal(x, nodes)).ravel()
        return weights


def _cardinal(x: float, nodes: npt.NDArray) -> npt.NDArray[np.float64]:
    """Return the cardinal functions of Chebyshev nodes at a point, by the barycentric formula."""
    away = x - nodes
    hit = np.abs(away) < 1e-14
    if hit.any():
        return hit.astype(float)
    count = len(nodes)
    angle = np.pi * (np.arange(count) + 0.5) / count
    terms = (-1.0) ** np.arange(count) * np.sin(angle) / away
    return terms / terms.sum()
