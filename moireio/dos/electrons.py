"""The Fermi level from moments: where the integrated density of states reaches the electrons.

Two errors limit it. Random vectors put a *statistical* one on the number of states N(E); it is
nearly the same at all energies close to each other, so that it moves the Fermi level of a metal by
itself divided by the density, but neither fills nor moves a gap. The kernel *resolves* no more than
the width of a level. So where the density vanishes at an energy at which N(E) agrees with the
electrons, three standard errors allowed, and these fill whole bands, the Fermi level is the middle
of that gap.

An exact count of the levels below one energy (the inertia of H − E S) takes the statistical error
away but for the few states between that energy and the level: then N(E) is that count and what the
moments add from there on.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from moireio.dos.kpm import Moments
from moireio.errors import MoireioError

POINTS = 2000  # energies, twice: in the whole spectrum, and around the level
CERTAIN = 3.0  # standard errors within which a gap counts as the place of the electrons
STUDENT = 4.0  # few vectors know their standard error badly: that is 3 (1 + 4/(vectors − 1))
# of the mean density: in the middle of a gap, at its ends, and where there could be one
EMPTY, EDGE, DIP = 1e-3, 0.02, 0.1
COUNTS = 3  # at most: the first may be far from the level
SLACK = 1e-5  # of the electrons: tails of the kernel
TAIL = 2.0  # widths of a level from where its density passes `EDGE` to the level


@dataclass(frozen=True)
class LevelFromMoments:
    """Where electrons fill the states that moments describe.

    Parameters
    ----------
    fermi : float
        Fermi level, eV; in a gap its middle.
    error : float or None
        Its standard error from random vectors, eV; None in a gap, which they do not move.
    resolution : float
        Standard deviation of a level there, eV.
    vbm, gap : float or None
        The highest filled level, and the gap above it, as resolved; eV. None where there is none.
    counted : bool
        Whether as many states as the electrons fill were counted below an energy: it is a Fermi
        level, and that given is this energy or in the same resolved gap.
    """

    fermi: float
    error: float | None
    resolution: float
    vbm: float | None = None
    gap: float | None = None
    counted: bool = False


def level_from_moments(
    parts: list[tuple[float, Moments]],
    electrons: float,
    degeneracy: float,
    counted: tuple[float, float] | None = None,
) -> LevelFromMoments:
    """Return the level to which electrons fill the states.

    Parameters
    ----------
    parts : list of (float, Moments)
        Weight of every k point (and spin), and its moments.
    electrons : float
        Electrons in the cell.
    degeneracy : float
        Electrons that a state holds.
    counted : (float, float), optional
        An energy, eV, and the number of states below it, the mean over k points.

    Returns
    -------
    LevelFromMoments
        In a metal the middle, and half the width, of the energies at which the number of states
        agrees with that of the electrons within its standard error.

    Raises
    ------
    MoireioError
        If the states cannot hold as many electrons.
    """
    low = min(m.centre - m.half for _, m in parts)
    high = max(m.centre + m.half for _, m in parts)

    def filled(energies):
        each = degeneracy * sum(w * m.below(energies) for w, m in parts)
        if counted is not None:
            energy, number = counted
            below = sum(w * m.below(np.array([energy])) for w, m in parts)
            each = each + degeneracy * (number - below)
        return np.maximum.accumulate(each.mean(axis=0)), each

    energies = np.linspace(low, high, POINTS)
    mean, each = filled(energies)
    most = float(mean[-1])
    if not 0 < electrons < most:
        raise MoireioError(f"{electrons:g} electrons do not fit into {most:g} states")
    # the second time only where N(E) could be the number of electrons
    _, certain = _errors(parts, each, mean, electrons, degeneracy)
    width = max(m.width for _, m in parts)
    ends = np.interp(electrons + certain * np.array([-1, 1]), mean, energies)
    margin = 4 * width + 2 * (energies[1] - energies[0])
    energies = np.linspace(max(low, ends[0] - margin), min(high, ends[1] + margin), POINTS)
    mean, each = filled(energies)
    error, certain = _errors(parts, each, mean, electrons, degeneracy)
    typical = most / (high - low)
    whole = abs(electrons / degeneracy - round(electrons / degeneracy)) < 1e-6
    gap = _gap_near(energies, mean, typical, electrons, certain) if whole else None
    if gap is not None:
        fermi = 0.5 * sum(gap)
        resolution = max(m.resolution(fermi) for _, m in parts)
        vbm = gap[0] - TAIL * resolution
        return LevelFromMoments(fermi, None, resolution, vbm, 2 * (fermi - vbm))
    least = max(error, 1e-9 * most)
    below, above = np.interp(electrons + least * np.array([-1, 1]), mean, energies)
    fermi = float(0.5 * (below + above))
    resolution = max(m.resolution(fermi) for _, m in parts)
    return LevelFromMoments(fermi, float(0.5 * (above - below)), resolution)


def level_from_counts(
    parts: list[tuple[float, Moments]],
    electrons: float,
    degeneracy: float,
    count: Callable[[float], float],
) -> LevelFromMoments:
    """Return the level to which electrons fill the states, from moments and exact counts.

    Parameters
    ----------
    parts, electrons, degeneracy
        As for `level_from_moments`.
    count : callable
        Returns the number of states below an energy (eV), the mean over k points.

    Returns
    -------
    LevelFromMoments
        From the last count, close to which it is, or in the same gap.
    """
    found = level_from_moments(parts, electrons, degeneracy)
    for _ in range(COUNTS):
        energy = found.fermi
        number = count(energy)
        found = level_from_moments(parts, electrons, degeneracy, (energy, number))
        if abs(degeneracy * number - electrons) < 1e-6:
            return replace(found, counted=True)
        if found.gap is not None or abs(found.fermi - energy) < found.resolution:
            break
    return found


def _errors(parts, each, mean, electrons, degeneracy):
    """Return the standard error of N(E) at the level, and how far off it certainly is not.

    One vector has no scatter, only a bound for random signs, from Σ_{i≠j} |P_ij|² ≤ n f (1 − f)
    of the projector on the filled states and the filling f.
    """
    vectors = len(each)
    states = sum(w * m.values[0, 0] for w, m in parts)
    share = electrons / (degeneracy * states)
    variance = sum(w * w * 2 * m.values[0, 0] * share * (1 - share) for w, m in parts)
    bound = degeneracy * float(np.sqrt(variance / vectors))
    if vectors == 1:
        return bound, CERTAIN * bound
    at = min(int(np.searchsorted(mean, electrons)), each.shape[1] - 1)
    error = float(each[:, at].std(ddof=1) / np.sqrt(vectors))
    return error, CERTAIN * min(error * (1 + STUDENT / (vectors - 1)), bound)


def _gap_near(
    energies: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
    typical: float,
    electrons: float,
    tolerance: float,
) -> tuple[float, float] | None:
    """Return the ends of the only gap in which N(E) is next to the number of electrons, or None."""
    density = np.gradient(mean, energies)
    near = np.abs(mean - electrons) <= tolerance + SLACK * electrons
    dips = [d for d in _runs(density < DIP * typical) if near[d].any()]
    if len(dips) != 1 or not density[dips[0]][near[dips[0]]].min() < EMPTY * typical:
        return None  # several, as of a molecule: any could be the one
    gap = dips[0][density[dips[0]] < EDGE * typical]
    return float(energies[gap[0]]), float(energies[gap[-1]])


def _runs(held: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.intp]]:
    """Return the indices of every run of true elements."""
    places = np.flatnonzero(held)
    return np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(places) else []
