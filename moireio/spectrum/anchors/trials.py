"""Bounds at single k points before levels are interpolated: whether the anchors suffice there."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.margins import NEAR
from moireio.spectrum.anchors.norms import norm_ratio
from moireio.spectrum.anchors.reduced import RitzLevels
from moireio.spectrum.anchors.space import WORST

if TYPE_CHECKING:
    from moireio.spectrum.anchors.method import AnchoredLevels

# Share of the tolerance above which levels are corrected, to spare another round of all levels:
# halfway between k points that were tried bounds may be larger.
CAREFUL = 0.5
LARGEST_RATIO = 3  # of the norms of residuals in S⁻¹ and plain ones, mostly


def bound_at(
    own: "AnchoredLevels", k: npt.NDArray[np.float64], before: npt.NDArray | None = None
) -> tuple[float, RitzLevels | None, slice]:
    """Return about the largest bound at a k, the levels that were found, and those wanted.

    Parameters
    ----------
    own : AnchoredLevels
        With anchors; its space is used as it is.
    k : (3,) array
        Fractional coordinates.
    before : (nb,) array, optional
        Energies of the wanted levels that were found there before, eV. Without them these are
        the levels closest to those of the two anchors next to k, on average.

    Returns
    -------
    bound : float
        eV; ∞ where a level may be missing, or too few were found.
    levels : RitzLevels or None
        None with such a bound.
    part : slice
        Those that are wanted.
    """
    count = own.wanted[1] - own.wanted[0] + 1
    target = _expected(own, k) if before is None else before
    unknown = np.inf, None, slice(0)
    if own.nearest_known(k, target) is None:  # about the same energies: no need to look
        return unknown
    levels = own.space.levels(k, own.scales())
    if len(levels) < count:
        return unknown
    shifts = range(len(levels) - count + 1)
    start = min(shifts, key=lambda s: np.abs(levels.energies[s : s + count] - target).sum())
    part = slice(start, start + count)
    known = own.nearest_known(k, levels.energies[part])
    if known is None:
        return unknown
    enough = CAREFUL * own.tolerance

    def bound(ratio: float) -> float:
        return float(own.bounds_between(levels, part, known, ratio, enough)[part].max())

    value = bound(1.0)
    if enough / LARGEST_RATIO**2 < value <= enough and not own.products.orthogonal:
        value = bound(_ratio_at(own, k, levels.part(part)))
    return value, levels, part


def _expected(own: "AnchoredLevels", k: npt.NDArray) -> npt.NDArray[np.float64]:
    """Return about the energies that are wanted at a k, between those of the next anchors."""
    anchors = own.all_anchors()
    away = [float(np.linalg.norm((a.k - k) @ own.reciprocal)) for a in anchors]
    near = np.argsort(away)[:2]
    begin, count = own.wanted[0], own.wanted[1] - own.wanted[0] + 1
    energies = [anchors[n].energies[begin - anchors[n].first :][:count] for n in near]
    return np.average(energies, axis=0, weights=[1 / max(away[n], NEAR) for n in near])


def _ratio_at(own: "AnchoredLevels", k: npt.NDArray, levels: RitzLevels) -> float:
    """Return the norm in S⁻¹ of the largest residuals of levels, as a multiple of the plain one."""
    worst = np.argsort(-levels.residuals)[:WORST]
    vectors = own.space.vectors(levels.vectors[:, worst])
    chosen = RitzLevels(levels.energies[worst], vectors, levels.products[np.ix_(worst, worst)])
    return norm_ratio(own.products, k, own.space.residuals(k, chosen, vectors))
