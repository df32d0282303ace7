"""Band numbers from one k point to the next, by the continuity of the space of their states."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.reduced import RitzLevels

CONTINUED = 0.8  # share of every wanted state that the next k point's levels must hold
CROSSING = 0.3  # levels that may cross a cut between two levels
DEEPEST = 7  # halvings of a step


@dataclass(frozen=True, eq=False)
class Place:
    """Levels at one k, with the images of their vectors under S.

    Parameters
    ----------
    k : (3,) array
        Fractional coordinates.
    levels : RitzLevels
        Converged ones.
    images : (m, c) array
        V†S(k)V times their vectors.
    """

    k: npt.NDArray[np.float64]
    levels: RitzLevels
    images: npt.NDArray[np.complex128]

    @classmethod
    def of(cls, k: npt.NDArray, levels: RitzLevels, overlap: npt.NDArray) -> "Place":
        """Return levels at a k point, where V†S(k)V is known; shape (m, m)."""
        return cls(k, levels, overlap @ levels.vectors)

    @property
    def complete(self) -> bool:
        """Whether all levels of the space are converged, so that none can appear or vanish."""
        return len(self.levels) == len(self.images)


def shares_of(here: Place, there: Place) -> npt.NDArray[np.float64]:
    """Return how much of every state here is in every one there; shape (c, c')."""
    both = here.images.conj().T @ there.levels.vectors
    both += here.levels.vectors.conj().T @ there.images
    return np.asarray(np.abs(0.5 * both) ** 2)


def shifted(here: Place, there: Place, first: int, wanted: tuple[int, int]) -> int | None:
    """Return the band number of the first level at the next k point.

    Parameters
    ----------
    here, there : Place
        Two k points close to each other.
    first : int
        Number of the first level here.
    wanted : tuple of two int
        First and last band (inclusive) that must go on.

    Returns
    -------
    int or None
        The number of the first level there; None if a wanted state is not continued in the levels
        there, or one there not in those here: the step is too long, or a level is missing.
    """
    shares = shares_of(here, there)
    start, stop = wanted[0] - first, wanted[1] + 1 - first
    if start < 0 or stop > len(here.levels):
        return None
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    if rows[start:stop].min(initial=1) < CONTINUED:
        return None
    shift = _shift(shares, start, stop)
    if shift is None:
        return None
    begin, end = start + shift, stop + shift
    if begin < 0 or end > len(there.levels) or columns[begin:end].min(initial=1) < CONTINUED:
        return None
    return first - shift


def _shift(shares: npt.NDArray[np.float64], start: int, stop: int) -> int | None:
    """Return how many places up the levels move that lie next to a cut which none crosses.

    Bands are numbered by energy: what counts is a cut, within the wanted levels or at their ends,
    with the same states below it at both k points. Wanted states themselves may be crossed by
    others, and then change their numbers.
    """
    count, other = shares.shape
    rows, columns = shares.sum(axis=1), shares.sum(axis=0)
    below = np.zeros((count + 1, other + 1))
    below[1:, 1:] = shares.cumsum(axis=0).cumsum(axis=1)
    crossing = below[:, -1:] + below[-1:] - 2 * below
    for number in (0, count):
        crossing[number] = np.inf
    crossing[:, [0, other]] = np.inf
    crossing[1:-1][np.minimum(rows[:-1], rows[1:]) < CONTINUED] = np.inf
    crossing[:, 1:-1][:, np.minimum(columns[:-1], columns[1:]) < CONTINUED] = np.inf
    cuts, others = np.nonzero(crossing[start : stop + 1] < CROSSING)
    shifts = np.unique(others - cuts - start)
    return int(shifts[0]) if len(shifts) == 1 else None


def follow(
    here: Place,
    there: Place,
    first: int,
    wanted: tuple[int, int],
    between: Callable[[npt.NDArray], Place],
    depth: int = DEEPEST,
    halved: int = 0,
) -> int | None:
    """Return the band number of the first level at another k point, in as many steps as needed.

    Parameters
    ----------
    here, there : Place
        Two k points.
    first : int
        Number of the first level here.
    wanted : tuple of two int
        First and last band (inclusive).
    between : callable
        Returns the levels at a k point between them.
    depth : int
        How often steps may be halved.
    halved : int
        How often they are halved at least.

    Returns
    -------
    int or None
        The number of the first level there; None if the levels do not continue.
    """
    if not halved:
        found = shifted(here, there, first, wanted)
        if found is not None or depth == 0:
            return found
    middle, less = between(0.5 * (here.k + there.k)), (depth - 1, max(halved - 1, 0))
    found = follow(here, middle, first, wanted, between, *less)
    if found is None:
        return None
    return follow(middle, there, found, wanted, between, *less)
