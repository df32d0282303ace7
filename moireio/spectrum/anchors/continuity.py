"""Band numbers from one k point to the next, by the continuity of the space of their states."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.reduced import RitzLevels

CONTINUED = 0.8  # share of every wanted state that the next k point's levels must hold
CLEAR = 0.3  # of a band: how far the mean shift may be from a whole number
DEEPEST = 7  # halvings of a step


@dataclass(frozen=True, eq=False)
class Place:
    """Levels at one k, and the metric in which their vectors are orthonormal.

    Parameters
    ----------
    k : (3,) array
        Fractional coordinates.
    levels : RitzLevels
        Converged ones.
    overlap : (m, m) array
        V†S(k)V.
    """

    k: npt.NDArray[np.float64]
    levels: RitzLevels
    overlap: npt.NDArray[np.complex128]


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
    metric = 0.5 * (here.overlap + there.overlap)
    shares = np.abs(here.levels.vectors.conj().T @ metric @ there.levels.vectors) ** 2
    start, stop = wanted[0] - first, wanted[1] + 1 - first
    if start < 0 or stop > len(here.levels):
        return None
    part = shares[start:stop]
    if part.sum(axis=1).min(initial=1) < CONTINUED:
        return None
    index = part @ np.arange(len(there.levels)) / part.sum(axis=1)
    mean = float(np.mean(index - np.arange(start, stop)))
    shift = round(mean)
    if abs(mean - shift) > CLEAR:
        return None
    begin, end = start + shift, stop + shift
    if begin < 0 or end > len(there.levels):
        return None
    if shares[:, begin:end].sum(axis=0).min(initial=1) < CONTINUED:
        return None
    return first - shift


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
