"""How many levels beyond those that are wanted an anchor needs, so that none is missing."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.completeness import FASTER
from moireio.spectrum.anchors.interpolation import Patch
from moireio.spectrum.anchors.settings import FEWEST_BEYOND

FARTHER = 1.35  # than the middle between two anchors: levels next to the ends get lost on the way
NEAR = 1e-9  # Å⁻¹: the same k point
TINY = 1e-12  # eV
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


def bands_within(anchor: Anchor, wanted: tuple[int, int], energy: float) -> tuple[float, float]:
    """Return how many bands lie next to those that are wanted.

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
    below, above : float
        By the density of the levels of the anchor where it has none so far away.
    """
    begin, end = wanted[0] - anchor.first, wanted[1] - anchor.first
    e, counts = anchor.energies, []
    for beyond in (e[begin] - e[:begin], e[end + 1 :] - e[end]):
        farther = max(energy / max(float(beyond.max(initial=0)), TINY), 1) if len(beyond) else 1.0
        counts.append(farther * float((beyond <= energy).sum()))
    return counts[0], counts[1]


def shared_margins(counts: tuple[float, float], least: int) -> tuple[int, int]:
    """Return how many bands beyond the first and the last an anchor should have.

    Parameters
    ----------
    counts : tuple of two float
        How many come near, see `bands_within`.
    least : int
        Bands on each side, at least, unless none comes near.

    Returns
    -------
    below, above : int
        At most four times as many in all.
    """
    below, above = (_side(min(count, 4 * least), least) for count in counts)
    most = 4 * least
    if below + above > most:
        fewer = min(below, above, most // 2)
        below, above = min(below, most - fewer), min(above, most - fewer)
    return below, above


def _side(count: float, least: int) -> int:
    """Return how many bands an anchor should have on a side where some number comes near."""
    return max(int(np.ceil(count)), least) if count > 0 else FEWEST_BEYOND


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
        Bands on each side that stay in any case, unless none comes near.

    Returns
    -------
    Anchor
        With fewer levels and states.
    """
    begin, end = wanted[0] - anchor.first, wanted[1] - anchor.first
    e = anchor.energies
    low, high = (int(np.searchsorted(e, x)) for x in (e[begin] - energy, e[end] + energy))
    low = min(low - BESIDE, begin - _side(begin - low, least))
    high = max(high + BESIDE, end + 1 + _side(high - end - 1, least))
    if low <= 0 and high >= len(e):
        return anchor
    part = slice(max(low, 0), high)
    first, states = anchor.first + part.start, anchor.states[:, part].copy()
    return replace(anchor, energies=e[part], states=states, first=first)
