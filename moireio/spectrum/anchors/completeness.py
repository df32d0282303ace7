"""Where no level can be missing: how far bands move from an anchor on.

All levels of an anchor between its lowest and its highest are known, as inertia counted them. A
band beyond them, of which the basis may know nothing, comes nearer by no more than its velocity
times the distance in k. Folded bands of a supercell do not couple at all: nothing else shows them.
A level of an anchor whose states the basis does not hold at the next k point is lost there, and may
come back unseen: from then on it is as if it were beyond.
"""

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.anchor import Anchor

if TYPE_CHECKING:
    from moireio.spectrum.anchors.products import BlochProducts

STEP = 2e-3  # Å⁻¹, of differences
DIRECTIONS = 6  # of the velocity in a plane
FASTER = 1.1  # velocities elsewhere, as multiples of those of the anchors


def velocity(
    products: "BlochProducts",
    anchor: Anchor,
    axes: npt.NDArray[np.float64],
    reciprocal: npt.NDArray[np.float64],
) -> float:
    """Return the largest velocity of the states of an anchor and their combinations.

    Parameters
    ----------
    products : BlochProducts
        H and S.
    anchor : Anchor
        With its states.
    axes : (d, 3) array
        Orthonormal directions along which k varies, Cartesian.
    reciprocal : (3, 3) array
        Reciprocal cell, one vector a row, Å⁻¹.

    Returns
    -------
    float
        Norm of ψ†(∂H/∂k − E ∂S/∂k)ψ, eV Å; E is the middle of the energies.
    """
    energy = 0.5 * float(anchor.energies[0] + anchor.energies[-1])
    states = products.phases(anchor.k).conj()[:, None] * anchor.states
    slopes = []
    for axis in axes:
        step = STEP * axis @ np.linalg.inv(reciprocal)
        difference = (
            products(anchor.k + step, states, energy, single=True)[0]
            - products(anchor.k - step, states, energy, single=True)[0]
        )
        slopes.append(states.conj().T @ difference / (2 * STEP))
    if len(slopes) == 2:
        angles = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
        slopes = [np.cos(a) * slopes[0] + np.sin(a) * slopes[1] for a in angles]
    return max((float(np.linalg.norm(slope, 2)) for slope in slopes), default=0.0)


def directions(places: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return orthonormal directions along which points vary.

    Parameters
    ----------
    places : (nk, 3) array
        Cartesian.

    Returns
    -------
    (d, 3) array
        One direction a row.
    """
    _, sizes, axes = np.linalg.svd(places - places.mean(axis=0), full_matrices=False)
    return axes[sizes > 1e-6 * max(sizes.max(initial=0), 1e-6)]


def known_ranges(
    anchors: list[Anchor],
    distances: npt.NDArray[np.float64],
    speed: float,
    n_orbitals: int,
) -> npt.NDArray[np.float64]:
    """Return the energies between which each anchor leaves no level out.

    Parameters
    ----------
    anchors : list of Anchor
        With levels on both sides of those that are wanted.
    distances : (na, ...) array
        Distances of k points from each anchor, Å⁻¹.
    speed : float
        Largest velocity of the anchors' states, eV Å.
    n_orbitals : int
        Number of all levels.

    Returns
    -------
    (na, ..., 2) array
        eV; infinite at the ends of the spectrum.
    """
    low, high = zip(*(anchor.ends(n_orbitals) for anchor in anchors), strict=True)
    shift = FASTER * speed * distances
    shape = (-1,) + (1,) * (distances.ndim - 1)
    return np.stack([np.reshape(low, shape) + shift, np.reshape(high, shape) - shift], axis=-1)


def widest_known(
    ranges: npt.NDArray[np.float64], low: float, high: float
) -> tuple[float, float] | None:
    """Return, of the energies at a k where no level is missing, those that reach farthest around.

    A missing level lies outside the range of every anchor, and so outside what ranges that overlap
    cover together.

    Parameters
    ----------
    ranges : (na, 2) array
        As from `known_ranges`, eV.
    low, high : float
        Lowest and highest level that is wanted, eV.

    Returns
    -------
    tuple of two float or None
        eV; None where a level that is wanted may be missing.
    """
    joined: list[tuple[float, float]] = []
    for begin, end in sorted((float(a), float(b)) for a, b in ranges if a < b):
        if joined and begin < joined[-1][1]:
            joined[-1] = joined[-1][0], max(joined[-1][1], end)
        else:
            joined.append((begin, end))
    return next(((begin, end) for begin, end in joined if begin < low and high < end), None)


def nearest_unseen(
    starts: Iterable[tuple[int, npt.NDArray[np.float64], float]],
    places: npt.NDArray[np.float64],
    edges: Mapping[int, Sequence[tuple[float, int]]],
    lost: Callable[[int, int], float],
    speed: float,
) -> npt.NDArray[np.float64]:
    """Return, for many k points, the energy from which on levels may have been left out.

    Parameters
    ----------
    starts : iterable of (int, (3,) array, float)
        Anchors: a k point at or next to it, its place (Å⁻¹), and the energy from which on levels
        are left out there, eV.
    places : (nk, 3) array
        k points, Å⁻¹.
    edges : mapping of int to sequence of (float, int)
        Neighbours of k points.
    lost : callable
        Returns the lowest energy of the levels at a k point that do not go on at a neighbour, eV.
    speed : float
        By which levels come nearer, eV Å.

    Returns
    -------
    (nk,) array
        eV; the largest that a way from an anchor gives, −∞ where there is none.
    """
    found = np.full(len(places), -np.inf)

    def step(place: npt.NDArray, energy: float, there: int) -> tuple[float, int, int]:
        ways.append((place, energy))
        value = energy - speed * float(np.linalg.norm(places[there] - place))
        return -value, there, len(ways) - 1

    ways: list[tuple[npt.NDArray, float]] = []
    queue = [step(place, energy, point) for point, place, energy in starts]
    heapq.heapify(queue)
    done: set[int] = set()
    while queue:
        value, here, way = heapq.heappop(queue)
        if here in done:
            continue
        done.add(here)
        found[here] = -value
        for _, there in edges.get(here, ()):
            if there in done:
                continue
            place, energy = ways[way]
            least = lost(here, there)
            if least < -value:
                place, energy = places[here], least
            heapq.heappush(queue, step(place, energy, there))
    return found
