"""How many levels beyond those that are wanted an anchor needs, so that none is missing."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.completeness import FASTER
from moireio.spectrum.anchors.interpolation import Patch

FARTHER = 1.35  # than the middle between two anchors: levels next to the ends get lost on the way
NEAR = 1e-9  # Å⁻¹: the same k point
BESIDE = 2  # levels beyond that, as long as there are some


def movement(
    k: npt.NDArray[np.float64],
    lines: Iterable[Patch],
    others: Sequence[npt.NDArray[np.float64]],
    reciprocal: npt.NDArray[np.float64],
    speed: float,
) -> float:
    """Return by how much levels may move from an anchor to half-way to the next one on a line.

    Parameters
    ----------
    k : (3,) array
        That of the anchor, fractional.
    lines : iterable of Patch
        Lines, at whose ends are anchors.
    others : sequence of (3,) array
        k points of other anchors.
    reciprocal : (3, 3) array
        Reciprocal cell, one vector a row, Å⁻¹.
    speed : float
        Largest velocity of states, eV Å.

    Returns
    -------
    float
        eV, for the farthest of the next anchors; more than that by some 40 per cent.
    """
    farthest = 0.0
    for line in lines:
        if line.holds(k):
            axis = line.axes[0]
            ends = [line.centre - axis, line.centre + axis]
            places = np.array([*ends, *(place for place in others if line.holds(place))])
            direction = axis @ reciprocal
            along = (places - k) @ reciprocal @ (direction / np.linalg.norm(direction))
            ahead = [side[side > NEAR] for side in (along, -along)]
            farthest = max([farthest, *(float(side.min()) for side in ahead if len(side))])
    return FARTHER * FASTER * speed * farthest / 2


def bands_within(anchor: Anchor, wanted: tuple[int, int], energy: float) -> float:
    """Return how many bands lie next to those that are wanted, on the side with more of them.

    Parameters
    ----------
    anchor : Anchor
        With levels on both sides.
    wanted : tuple of two int
        First and last band that are wanted.
    energy : float
        How far from these, eV.

    Returns
    -------
    float
        By the density of the levels of the anchor where it has none so far away.
    """
    begin, end = wanted[0] - anchor.first, wanted[1] - anchor.first
    e, counts = anchor.energies, [0.0]
    for beyond in (e[begin] - e[:begin], e[end + 1 :] - e[end]):
        reached = float(beyond.max(initial=0))
        if reached > 0:
            counts.append(max(energy / reached, 1) * float((beyond <= energy).sum()))
    return max(counts)


def trimmed(anchor: Anchor, wanted: tuple[int, int], energy: float, least: int) -> Anchor:
    """Return an anchor without levels that are too far away to be of use.

    Parameters
    ----------
    anchor : Anchor
        With more levels than were asked for, perhaps.
    wanted : tuple of two int
        First and last band that are wanted.
    energy : float
        How far from these the others may be, eV.
    least : int
        Bands on each side that stay in any case.

    Returns
    -------
    Anchor
        With fewer levels and states.
    """
    begin, end = wanted[0] - anchor.first, wanted[1] - anchor.first
    e = anchor.energies
    low = min(int(np.searchsorted(e, e[begin] - energy)) - BESIDE, begin - least)
    high = max(int(np.searchsorted(e, e[end] + energy)) + BESIDE, end + 1 + least)
    if low <= 0 and high >= len(e):
        return anchor
    part = slice(max(low, 0), high)
    first, states = anchor.first + part.start, anchor.states[:, part].copy()
    return replace(anchor, energies=e[part], states=states, first=first)
