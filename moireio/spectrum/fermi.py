"""The Fermi level of given levels."""

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError

BOLTZMANN = 8.617333262e-5  # eV/K
ROOM = 300.0  # K
SHARP = 1e-6  # electrons


def fermi_level(
    energies: npt.ArrayLike,
    weights: npt.ArrayLike,
    electrons: float,
    temperature: float = ROOM,
    degeneracy: float = 1.0,
) -> float:
    """Return the level to which electrons fill some states.

    The sum of Fermi functions over all states is the number of electrons. Of an insulator, where
    every level in the gap does, it is the middle of the gap.

    Parameters
    ----------
    energies : (ns, nk, nb) or (nk, nb) array
        eV.
    weights : (nk,) array
        Share of every k point; the sum is 1.
    electrons : float
        Electrons in the cell.
    temperature : float
        Electronic temperature, K; 0 is allowed.
    degeneracy : float
        Electrons that a state holds: 2 where spin is left out, else 1.

    Returns
    -------
    float
        eV.

    Raises
    ------
    MoireioError
        If the states cannot hold as many electrons.
    """
    energies = np.asarray(energies, dtype=float)
    shares = np.broadcast_to(np.asarray(weights)[:, None], energies.shape)
    order = np.argsort(energies, axis=None, kind="stable")
    levels, held = energies.ravel()[order], degeneracy * shares.ravel()[order]
    filled = np.cumsum(held)
    if not 0 < electrons <= filled[-1] + SHARP:
        raise MoireioError(f"{electrons:g} electrons do not fit into {filled[-1]:g} states")
    # the last level with electrons in it, and the one above
    top = int(np.searchsorted(filled, electrons - SHARP))
    above = min(top + 1, len(levels) - 1)
    kt = BOLTZMANN * temperature
    middle = 0.5 * (levels[top] + levels[above])
    if abs(filled[top] - electrons) < SHARP:
        rest = _filled(levels, held, middle, kt) - electrons if kt > 0 else 0.0
        if abs(rest) < SHARP or above == top:
            return float(middle)
    if kt <= 0:
        return float(levels[top])
    from scipy.optimize import brentq

    reach = 40 * kt + 1e-3

    def missing(level: float) -> float:
        return _filled(levels, held, level, kt) - electrons

    return float(brentq(missing, levels[0] - reach, levels[-1] + reach, xtol=1e-9))


def _filled(
    levels: npt.NDArray[np.float64], held: npt.NDArray[np.float64], level: float, kt: float
) -> float:
    """Return how many electrons there are with a Fermi level at `level`."""
    from scipy.special import expit

    return float(held @ expit((level - levels) / kt))
