"""Slater–Koster angular functions in terms of spherical harmonics.

A two-centre integral between orbitals of angular momenta l1 and l2 is a sum over the channels
μ = |m| along the bond (σ, π, δ), or equally a sum over L = |l1 − l2|, |l1 − l2| + 2, …, l1 + l2:

    ⟨l1 m1 | H | l2 m2 (d)⟩ = Σ_μ V_μ(d) E_μ(d̂)
                            = Σ_L (Σ_μ V_μ T_μL) Σ_M G(l1 m1, l2 m2, L M) Y_LM(d̂)

with the Gaunt integrals G. T follows from d along z, where E_μ is 1 for m1 = m2 = ±μ and 0
otherwise. These are the table of Slater and Koster, Phys. Rev. 94, 1498 (1954).

Signs: V_spσ is ⟨s|H|p⟩ with the p orbital's positive lobe pointing away from the s atom, and V_psσ
the same with the two species exchanged. So every V_l1l2μ has the sign that the table gives it with
the bond from the orbital of lower l to that of higher l.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from moireio.system.harmonics import coupled, gaunt

CHANNELS = ("sigma", "pi", "delta")


@lru_cache(maxsize=64)
def channel_weights(l1: int, l2: int) -> tuple[npt.NDArray[np.float64], range]:
    """Return T, which turns integrals of channels into integrals of angular momenta.

    Parameters
    ----------
    l1, l2 : int
        Angular momenta of the first and the second orbital.

    Returns
    -------
    weights : (channels, channels) array
        Row μ, one column for each L.
    momenta : range
        The L.
    """
    momenta = range(abs(l1 - l2), l1 + l2 + 1, 2)
    along_z = np.array(
        [
            [
                gaunt(l1, l2, L)[l1 + mu, l2 + mu, L] * np.sqrt((2 * L + 1) / (4 * np.pi))
                for mu in range(len(momenta))
            ]
            for L in momenta
        ]
    )
    sign = (-1) ** (l1 + l2) if l1 > l2 else 1
    return sign * np.linalg.inv(along_z), momenta


def angular_parts(
    l1: int,
    l2: int,
    values: npt.NDArray[np.float64],
    rows: Sequence[int],
    columns: Sequence[int],
) -> list[dict[tuple[int, int], npt.NDArray[np.float64]]]:
    """Return Σ_M G Y_LM for every L of a pair of shells.

    Parameters
    ----------
    l1, l2 : int
        Angular momenta.
    values : ((l1 + l2 + 1)², n) array
        Harmonics of the directions of the bonds.
    rows, columns : sequence of int
        The orbitals of either shell, by m + l.

    Returns
    -------
    list of dict
        The elements of `moireio.system.harmonics.coupled` for every L.
    """
    momenta = channel_weights(l1, l2)[1]
    return [coupled(l1, l2, L, values, rows, columns) for L in momenta]
