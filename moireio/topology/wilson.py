"""Wilson loops: Wannier centres, their winding, and Z2.

W(k2) is the product of the unitary parts of the links as k1 goes from 0 to 1. The centres of hybrid
Wannier functions are −arg λ/2π for its eigenvalues λ, in units of a1; their sum winds by −C as k2
goes from 0 to 1 in a right-handed cell. Z2 by the largest gap between the centres: A. A. Soluyanov,
D. Vanderbilt, Phys. Rev. B 83, 235401 (2011).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.topology.chern import LEAST_LINK, Subspace
from moireio.topology.links import Links, unitary_part

STEP = 0.25  # of a1: further than this the sum of the centres may not move between two rows
DEPTH = 9  # how often a step between rows or k points may be halved


@dataclass(frozen=True, eq=False)
class WannierCentres:
    """Centres of hybrid Wannier functions.

    Parameters
    ----------
    k2 : (n,) array
        Coordinates along the second reciprocal vector.
    centres : (n, nb) array
        In units of the first lattice vector, ascending, in [0, 1).
    """

    k2: npt.NDArray[np.float64]
    centres: npt.NDArray[np.float64]


class WilsonLoops:
    """Wilson loops along the first reciprocal vector, each computed once.

    Parameters
    ----------
    space : Subspace
        The states.
    links : Links
        Their overlaps.
    points : int
        k points along a loop; steps with poor links are divided.
    depth : int
        How often a step between rows may be halved.
    """

    def __init__(self, space: Subspace, links: Links, points: int, depth: int = DEPTH) -> None:
        self._space, self._links, self._points = space, links, points
        self._depth = depth
        self._known: dict[float, npt.NDArray[np.float64]] = {}

    def prepare(self, rows: npt.ArrayLike) -> None:
        """Find the states on some rows in one go; `rows` are coordinates k2."""
        rows = np.asarray(rows, dtype=float)
        x = np.arange(self._points) / self._points
        self._space.prepare(
            self._links.plane.k(np.tile(x, len(rows)), np.repeat(rows, self._points))
        )

    def centres(self, k2: float) -> npt.NDArray[np.float64]:
        """Return the Wannier centres at one k2, in units of a1, ascending; shape (nb,)."""
        if k2 not in self._known:
            eigenvalues = np.linalg.eigvals(self._loop(k2))
            self._known[k2] = np.sort((-np.angle(eigenvalues) / (2 * np.pi)) % 1.0)
        return self._known[k2]

    def _loop(self, k2: float) -> npt.NDArray[Any]:
        """Return W(k2)."""
        self.prepare([k2])
        product = None
        for n in range(self._points):
            link = self._step(n / self._points, (n + 1) / self._points, k2)
            product = link if product is None else product @ link
        assert product is not None
        return product

    def _step(self, x: float, x2: float, k2: float, depth: int = DEPTH) -> npt.NDArray[Any]:
        k, k_next = self._links.plane.k([x, x2], k2)
        unitary, singular = unitary_part(self._space.link(self._links, k, k_next))
        if singular[-1] > LEAST_LINK or depth == 0:
            return unitary
        middle = 0.5 * (x + x2)
        self._space.prepare(self._links.plane.k(middle, k2))
        return self._step(x, middle, k2, depth - 1) @ self._step(middle, x2, k2, depth - 1)

    def found(self) -> WannierCentres:
        """Return all centres that were computed."""
        rows = sorted(self._known)
        return WannierCentres(np.array(rows), np.array([self._known[row] for row in rows]))

    def winding(self, rows: int) -> int | None:
        """Return minus the winding of the sum of the centres, which equals the Chern number.

        Parameters
        ----------
        rows : int
            Loops between k2 = 0 and 1; more are added where the centres move fast.

        Returns
        -------
        int or None
            Counter-clockwise in the right-handed reciprocal cell; None if the centres move too
            fast to be followed.
        """
        places = np.arange(rows + 1) / rows
        self.prepare(places[:-1])
        total = 0.0
        for low, high in pairwise(places):
            moved = self._moved(float(low), float(high), self._depth)
            if moved is None:
                return None
            total += moved
        return -round(total) * self._links.plane.orientation

    def _sum(self, k2: float) -> float:
        return float(self.centres(k2 % 1.0).sum())

    def _moved(self, low: float, high: float, depth: int) -> float | None:
        """Return by how much the sum of the centres moves between two rows."""
        change = self._sum(high) - self._sum(low)
        change -= round(change)
        if abs(change) <= STEP:
            return change
        if depth == 0:
            return None
        middle = 0.5 * (low + high)
        parts = [self._moved(*ends, depth - 1) for ends in ((low, middle), (middle, high))]
        return None if None in parts else sum(p for p in parts if p is not None)

    def z2(self, rows: int) -> tuple[int | None, float]:
        """Return Z2 of a group of bands that time reversal maps onto itself.

        Parameters
        ----------
        rows : int
            Steps between k2 = 0 and 1/2; more are added where the centres move fast.

        Returns
        -------
        z2 : int or None
            0 or 1: how often, modulo 2, the centres cross the middle of the largest gap between
            them; None if they move too fast to be followed.
        gap : float
            The smallest of these gaps, in units of a1.
        """
        places = np.arange(rows + 1) / (2 * rows)
        self.prepare(places)
        crossings, smallest = 0, 1.0
        for low, high in pairwise(places):
            found = self._crossings(float(low), float(high), self._depth)
            if found is None:
                return None, 0.0
            crossings += found
        for row in sorted(self._known):
            if row <= 0.5:
                smallest = min(smallest, largest_gap(self.centres(row))[1])
        return crossings % 2, smallest

    def _crossings(self, low: float, high: float, depth: int) -> int | None:
        first, second = self.centres(low), self.centres(high)
        middle, width = largest_gap(first)
        if _motion(first, second, middle) < 0.5 * width:
            other = largest_gap(second)[0]
            between = (second > min(middle, other)) & (second < max(middle, other))
            return int(between.sum())
        if depth == 0:
            return None
        half = 0.5 * (low + high)
        parts = [self._crossings(*ends, depth - 1) for ends in ((low, half), (half, high))]
        return None if None in parts else sum(p for p in parts if p is not None)


def largest_gap(centres: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the middle and the width of the largest gap between points on a circle.

    Parameters
    ----------
    centres : (nb,) array
        Ascending, in [0, 1).

    Returns
    -------
    middle : float
        In [0, 1).
    width : float
        The same unit; 1 for one centre.
    """
    gaps = np.diff(np.append(centres, centres[0] + 1.0))
    widest = int(np.argmax(gaps))
    return float((centres[widest] + 0.5 * gaps[widest]) % 1.0), float(gaps[widest])


def _motion(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64], start: float) -> float:
    """Return the largest distance between centres that follow each other from a point on."""
    one, two = (np.sort((centres - start) % 1.0) for centres in (first, second))
    return float(np.abs(one - two).max())
