"""A space that follows some levels along a line, hardly larger than their number.

The levels in a window at some k points of a line span a space each. What these have in common
changes smoothly in between, however many levels cross there: polynomials through the vectors of
each common direction follow it. What they do not have in common are levels that leave the window:
these vectors are taken as they are.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh, qr, svd

from moireio.spectrum.anchors.basis import weighted
from moireio.spectrum.anchors.interpolation import GramSeries, Patch
from moireio.spectrum.anchors.nodes import ChebyshevNodes
from moireio.spectrum.anchors.reduced import Grams

DEGREE = 3  # of the polynomials
NODES = -np.cos(np.pi * np.arange(DEGREE + 1) / DEGREE)  # from end to end
COMMON = 0.9  # share of a direction at one node that the others have, in the mean
NEW = 1e-4  # singular value of what else there is at one of the nodes


class MovingSpace:
    """A space that depends on k, and its products.

    Parameters
    ----------
    series : GramSeries
        Products of a larger space.
    patch : Patch
        The line, or a part of it.
    levels : sequence of (m, p) arrays
        Vectors of the levels at the `NODES` of the patch.
    terms : int
        Nodes that products of a fixed space need.
    """

    def __init__(
        self, series: GramSeries, patch: Patch, levels: Sequence[npt.NDArray], terms: int
    ) -> None:
        self._patch = patch
        self._moving, self._fixed = _directions([qr(x, mode="economic")[0] for x in levels])
        nodes = ChebyshevNodes((terms + 2 * DEGREE,))
        self._series = GramSeries(patch, nodes, lambda k: series.at(k).inside(self.at(k)))

    def at(self, k: npt.NDArray) -> npt.NDArray[np.complex128]:
        """Return the vectors that span it at a k point.

        Parameters
        ----------
        k : (3,) array
            On the line.

        Returns
        -------
        (m, c) array
            One in a column.
        """
        x = self._patch.coordinates(k)[0]
        others = np.array([np.delete(NODES, n) for n in range(len(NODES))])
        weights = np.prod((x - others) / (NODES[:, None] - others), axis=1)
        return np.concatenate([weighted(weights, self._moving), self._fixed], axis=1)

    def grams(self, k: npt.NDArray) -> Grams:
        """Return the products of these vectors.

        Parameters
        ----------
        k : (3,) array
            On the line.

        Returns
        -------
        Grams
            Interpolated.
        """
        return self._series.at(k)


def _directions(
    spaces: Sequence[npt.NDArray],
) -> tuple[npt.NDArray[np.complex128], npt.NDArray[np.complex128]]:
    """Return the directions that some spaces have in common, as vectors in each, and all others.

    Parameters
    ----------
    spaces : sequence of (m, p) arrays
        Orthonormal.

    Returns
    -------
    moving : (p, m, c) array
        Vectors of the same directions.
    fixed : (m, d) array
        Others.
    """
    turns = [space.conj().T @ spaces[1] for space in spaces]
    shares, directions = eigh(sum(turn.conj().T @ turn for turn in turns) / len(turns))
    common = directions[:, shares > COMMON]
    moving = np.stack([q @ (turn @ common) for q, turn in zip(spaces, turns, strict=True)])
    rest = []
    for space, vectors in zip(spaces, moving, strict=True):
        known = qr(vectors, mode="economic")[0]
        u, sizes, _ = svd(space - known @ (known.conj().T @ space), full_matrices=False)
        rest.append(u[:, sizes > 0.5])
    u, sizes, _ = svd(np.concatenate(rest, axis=1), full_matrices=False)
    return moving, u[:, sizes > NEW]
