"""Counts of levels at k points whose levels follow from anchors."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

GAP = 1e-3  # eV: where a gap is wider, a count inside it is sure


def cuts(
    energies: npt.NDArray[np.float64],
    errors: npt.NDArray[np.float64],
    first: int,
    wanted: tuple[int, int],
) -> list[tuple[float, int]]:
    """Return an energy below and one above the bands that are wanted, each in a gap.

    Parameters
    ----------
    energies : (c,) array
        Levels at one k point, eV, ascending, with those that are wanted among them.
    errors : (c,) array
        Bounds on their errors, eV.
    first : int
        Number of the first of them.
    wanted : tuple of two int
        First and last band (inclusive, from 0).

    Returns
    -------
    list of (float, int)
        Two energies, eV, and the number of levels that must be below each.
    """
    start, stop = wanted[0] - first, wanted[1] + 1 - first
    below = _cut(energies, errors, range(start, 0, -1))
    above = _cut(energies, errors, range(stop, len(energies)))
    lowest = float(energies[start] - errors[start]) - GAP
    highest = float(energies[stop - 1] + errors[stop - 1]) + GAP
    return [
        (energy, first + place)
        for energy, place in (below or (lowest, start), above or (highest, stop))
    ]


def _cut(
    energies: npt.NDArray[np.float64], errors: npt.NDArray[np.float64], places: range
) -> tuple[float, int] | None:
    """Return an energy in the first wide gap, or the widest, below one of these levels."""
    widest: tuple[float, float, int] | None = None
    for place in places:
        low, high = energies[place - 1] + errors[place - 1], energies[place] - errors[place]
        if not np.isfinite(high - low):  # the error of one of them is not known
            break
        if widest is None or high - low > widest[0]:
            widest = high - low, float(0.5 * (low + high)), place
        if high - low > GAP:
            break
    return None if widest is None else widest[1:]


def complete(
    levels: tuple[int, npt.NDArray[np.float64], npt.NDArray[np.float64]],
    wanted: tuple[int, int],
    count: Callable[[float], int],
) -> bool:
    """Return whether the numbers of the bands that are wanted are those that counts give.

    Parameters
    ----------
    levels : tuple of (int, (c,) array, (c,) array)
        Number of the first level at one k point, energies and bounds on their errors, eV.
    wanted : tuple of two int
        First and last band (inclusive, from 0).
    count : callable
        Returns the number of levels below an energy.

    Returns
    -------
    bool
        True if no level is missing among them, and none is false.
    """
    first, energies, errors = levels
    return all(count(energy) == number for energy, number in cuts(energies, errors, first, wanted))
