"""Counts of levels at k points that are no anchors, which show that none is missing there.

Inertia gives the number of levels below an energy for the price of the factors alone, a quarter of
that of an anchor, and the space of the anchors stays as it is.
"""

from collections.abc import Callable, Iterable

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.reduced import RitzLevels

LEAST_GAP = 1e-4  # eV
GHOST = 5e-3  # eV: levels with larger residuals may be none
FARTHER = 1.5  # of the distance that is wanted: so far a wider gap is looked for

Sides = tuple[float | None, float | None]


def cut(levels: RitzLevels, part: slice, side: int, depth: float, least: float) -> float | None:
    """Return an energy in a gap below or above the levels that are wanted.

    Parameters
    ----------
    levels : RitzLevels
        Found at a k point.
    part : slice
        Those that are wanted.
    side : {0, 1}
        Below them, or above.
    depth : float
        How far from them it should be, eV.
    least : float
        How far it must be, eV.

    Returns
    -------
    float or None
        eV; nearer than `depth` where levels farther away were not found, or not well; None where
        there are no levels or gaps.
    """
    sign = -1 if side == 0 else 1
    beyond = slice(part.start, None, -1) if side == 0 else slice(part.stop - 1, None)
    energies, residuals = sign * levels.energies[beyond], levels.residuals[beyond]
    wrong = np.flatnonzero(residuals > GHOST)
    count = int(wrong[0]) if len(wrong) else len(energies)
    if count < 2:
        return None
    energies, residuals = energies[:count], residuals[:count]
    gaps = np.diff(energies) - 2 * np.maximum(residuals[1:], residuals[:-1])
    middle = 0.5 * (energies[1:] + energies[:-1])
    away = middle - energies[0]
    good = (gaps > LEAST_GAP) & (away > least)
    if not good.any():
        return None
    right = good & (away >= depth) & (away <= FARTHER * depth)
    if right.any():  # in a wide gap single precision is sure
        chosen = int(np.argmax(np.where(right, gaps, 0)))
    else:  # as far as possible
        nearer = np.where(good & (away < depth), away, -np.inf)
        farther = np.where(good & (away > depth), -away, -np.inf)
        chosen = int(np.argmax(nearer if np.isfinite(nearer).any() else farther))
    return float(sign * middle[chosen])


def confirmed(
    levels: RitzLevels, part: slice, first: int, counts: Iterable[tuple[float, int]]
) -> Sides:
    """Return between which energies counts confirm the levels that were found at a k point.

    Parameters
    ----------
    levels : RitzLevels
        Found there.
    part : slice
        Those that are wanted.
    first : int
        Number of the first of all that were found.
    counts : iterable of (float, int)
        Energies (eV), and how many levels are below each.

    Returns
    -------
    low, high : float or None
        eV; None on a side where none does.
    """
    low = high = None
    for energy, count in counts:
        below = int((levels.energies < energy).sum())
        between = slice(*sorted((below, part.start if below <= part.start else part.stop)))
        hit = (np.abs(levels.energies - energy) <= levels.residuals).any()
        if hit or first + below != count or (levels.residuals[between] > GHOST).any():
            continue
        if below <= part.start:
            low = energy if low is None else min(low, energy)
        elif below >= part.stop:
            high = energy if high is None else max(high, energy)
    return low, high


class LevelCounts:
    """Counts at k points.

    Parameters
    ----------
    count : callable, optional
        Returns the number of levels below an energy at a k point, by its index, or None.

    Attributes
    ----------
    at : dict of int to list of (float, int)
        By index of the k point, energies (eV) and the number of levels below each.
    refuted : set of int
        k points where counts did not confirm the levels that were found.
    """

    def __init__(self, count: Callable[[int, float], int | None] | None = None) -> None:
        self._count = count
        self.at: dict[int, list[tuple[float, int]]] = {}
        self.refuted: set[int] = set()

    @property
    def are_possible(self) -> bool:
        """Whether levels can be counted."""
        return self._count is not None

    def add(
        self,
        point: int,
        levels: RitzLevels,
        part: slice,
        first: int,
        wanted: Iterable[tuple[int, float, float]],
    ) -> bool:
        """Count levels at a k point.

        Parameters
        ----------
        point : int
            Its index.
        levels, part, first
            As for `confirmed`.
        wanted : iterable of (int, float, float)
            Sides, and depths as for `cut`.

        Returns
        -------
        bool
            Whether the levels were confirmed.
        """
        assert self._count is not None
        cuts = [(side, cut(levels, part, side, *depths)) for side, *depths in wanted]
        for side, energy in cuts:
            number = None if energy is None else self._count(point, energy)
            if energy is None or number is None:
                break
            self.at.setdefault(point, []).append((energy, number))
            if confirmed(levels, part, first, [(energy, number)])[side] is None:
                break
        else:
            return bool(cuts)
        self.refuted.add(point)
        return False


def spread_from_counts(
    starts: tuple[list[tuple[int, npt.NDArray, float]], list[tuple[int, npt.NDArray, float]]],
    proven: Iterable[tuple[int, npt.NDArray, Sides, tuple[float, float]]],
    nearest: Callable[[int, list[tuple[int, npt.NDArray, float]]], npt.NDArray],
) -> tuple[npt.NDArray, npt.NDArray]:
    """Return the energies of the nearest levels that may be missing, with counts as starts too.

    A count on one side confirms the levels there only where none may have come in from the other.

    Parameters
    ----------
    starts : pair of list
        For both sides, where levels are known from anchors: point, place and energy.
    proven : iterable of (int, (3,) array, Sides, (float, float))
        k points with counts: index, place, energies between which they confirm what was found, and
        the lowest and the highest energy that is wanted.
    nearest : callable
        From a side and starts to the energies at all k points.

    Returns
    -------
    low, high : (nk,) arrays
        eV.
    """
    own = [list(side) for side in starts]
    single = []
    for point, place, (low, high), ends in proven:
        if low is not None and high is not None:
            own[0].append((point, place, low))
            own[1].append((point, place, high))
        else:
            single.append((point, place, (low, high), ends))
    found = [nearest(side, own[side]) for side in (0, 1)]
    extra: list[list[tuple[int, npt.NDArray, float]]] = [[], []]
    for point, place, (low, high), (bottom, top) in single:
        if low is not None and found[1][point] > top:
            extra[0].append((point, place, low))
        if high is not None and found[0][point] < bottom:
            extra[1].append((point, place, high))
    for side in (0, 1):
        if extra[side]:
            found[side] = nearest(side, own[side] + extra[side])
    return found[0], found[1]
