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

from moireio.spectrum.anchors.basis import weighted
from moireio.spectrum.anchors.nodes import Nodes
from moireio.spectrum.anchors.reduced import Grams

NEAR = 1e-6  # fractional coordinates


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
    corners : (v, 2) array, optional
        Corners of the convex part of a parallelogram that counts, coordinates from −1 to 1.
    """

    centre: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]
    points: npt.NDArray[np.integer]
    corners: npt.NDArray[np.float64] | None = None

    def coordinates(self, k: npt.NDArray) -> npt.NDArray[np.float64]:
        """Return coordinates from −1 to 1 along each axis; shape (d,)."""
        return np.asarray(np.linalg.lstsq(self.axes.T, k - self.centre, rcond=None)[0], dtype=float)

    def nodes(self, nodes: Nodes) -> npt.NDArray[np.float64]:
        """Return the k points of some nodes, (p, 3), fractional coordinates."""
        return np.asarray(self.centre + nodes.points @ self.axes)

    def holds(self, k: npt.NDArray) -> bool:
        """Return whether a k point lies in it."""
        x = self.coordinates(k)
        inside = bool(np.abs(x).max() < 1 + NEAR)
        if inside and self.corners is not None:
            from scipy.spatial import ConvexHull

            sides = ConvexHull(self.corners).equations
            inside = bool((sides[:, :2] @ x + sides[:, 2]).max() < NEAR)
        return inside and bool(np.abs(self.centre + x @ self.axes - k).max() < NEAR)


def term_count(
    phases: npt.NDArray[np.float64], sizes: npt.NDArray[np.float64], left_out: float
) -> int:
    """Return how many Chebyshev polynomials the products of a small space need along a line.

    The terms of e^{ix} = Σ_n (2 − δ_n0) i^n J_n(x) T_n from n on are near 2 (x/2)^n/n!. Products
    of H V with itself have sums of two phases: Σ_ab |H_a||H_b| (|x_a| + |x_b|)^n follows from the
    sums over single ones by the binomial theorem.

    Parameters
    ----------
    phases : (b,) array
        |x| of all blocks from the middle of the line to its end, radians.
    sizes : (b,) array
        Their norms, eV, as a sum over the blocks of an atom.
    left_out : float
        What the others may add to products of H V with itself, eV². Terms of different blocks are
        taken to add up, while most cancel: products of vectors are a thousand times better.

    Returns
    -------
    int
        As many as leave no more out.
    """
    moments = [float(sizes.sum())]
    count = 0
    while True:
        count += 1
        moments.append(float(sizes @ phases**count))
        both = sum(math.comb(count, n) * moments[n] * moments[count - n] for n in range(count + 1))
        if 2 * both / (2**count * math.factorial(count)) <= left_out:
            return count


class GramSeries:
    """The products of a small space as functions of k in a patch.

    Parameters
    ----------
    patch : Patch
        Where.
    nodes : Nodes
        Where in it they are computed.
    compute : callable
        Returns the `Grams` at a k.
    """

    def __init__(self, patch: Patch, nodes: Nodes, compute: Callable[[npt.NDArray], Grams]) -> None:
        self.patch, self._nodes = patch, nodes
        self.k = patch.nodes(nodes)
        grams = [compute(k) for k in self.k]
        self.energy = grams[0].energy
        self._matrices = np.stack([g.matrices for g in grams])
        self._overlaps = self._matrices[:, 1].copy()

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
        other.patch, other._nodes = self.patch, self._nodes
        other.k, other.energy = self.k, self.energy
        other._matrices = np.stack([g.inside(vectors).matrices for g in self.at_nodes])
        other._overlaps = other._matrices[:, 1].copy()
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
        return Grams(weighted(self._weights(k), self._matrices), self.energy)

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
        return weighted(self._weights(k), self._overlaps)

    def _weights(self, k: npt.NDArray) -> npt.NDArray[np.float64]:
        """Return the weight of every node at a k point."""
        return self._nodes.weights(self.patch.coordinates(k))
