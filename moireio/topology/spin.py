"""Spin-up and spin-down parts of a group of spinor bands, by the eigenvalues of P·σz·P.

E. Prodan, Phys. Rev. B 80, 125327 (2009): where P·σz·P has a gap around 0, its two eigenspaces are
smooth in k and have Chern numbers of their own, half the difference of which is the spin Chern
number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.symmetry.exact import Key, key_of
from moireio.topology.bandgroups import BandGroup
from moireio.topology.links import Links
from moireio.topology.mesh_states import Gap, MeshStates

LEAST_SPIN = 0.1  # |⟨σz⟩| below which a state has no spin


class SpinSpace:
    """The spin-up or the spin-down part of a group of bands.

    Parameters
    ----------
    states : MeshStates
        States of spinors.
    group : BandGroup
        The bands.
    links : Links
        Has S(k).
    up : bool
        Which part.
    """

    def __init__(self, states: MeshStates, group: BandGroup, links: Links, up: bool) -> None:
        self._states, self._group, self._links, self._up = states, group, links, up
        self._turns: dict[Key, npt.NDArray[Any]] = {}

    def prepare(self, k: npt.NDArray[np.float64]) -> None:
        """Find the states at some k points."""
        self._states.prepare(k)

    def at(self, k: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return the part's states at a k point."""
        return self._states.group(k, self._group) @ self._turn(k)

    def _turn(self, k: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
        """Return the part's coefficients in the bands."""
        key = key_of(k)
        if key not in self._turns:  # eigenvectors of equal spins would differ at k and k + G
            states = self._states.group(k, self._group)
            values, turn = np.linalg.eigh(self._states.spin_matrix(k, states, self._links))
            self._turns[key] = turn[:, (values > 0) == self._up]
        return self._turns[key]

    def link(
        self, links: Links, k: npt.NDArray[np.float64], k2: npt.NDArray[np.float64]
    ) -> npt.NDArray[Any]:
        """Return the overlaps of the part's states at two k points."""
        matrix = self._states.overlaps(k, k2, self._group, links)
        return self._turn(k).conj().T @ matrix @ self._turn(k2)

    def smallest_gap(self) -> Gap:
        """Return the smallest direct gap of the bands."""
        return self._states.smallest_gap(self._group)


def spin_gap(
    states: MeshStates, group: BandGroup, links: Links, k: npt.NDArray[np.float64]
) -> tuple[int, float]:
    """Return how P·σz·P divides a group of bands at some k points.

    Parameters
    ----------
    states : MeshStates
        States of spinors, prepared at these k points.
    group : BandGroup
        The bands.
    links : Links
        Has S(k).
    k : (n, 3) array
        Fractional.

    Returns
    -------
    up : int
        States with a positive eigenvalue; −1 if their number changes.
    least : float
        Smallest |eigenvalue| of P·σz·P.
    """
    values = np.array(
        [np.linalg.eigvalsh(states.spin_matrix(p, states.group(p, group), links)) for p in k]
    )
    counts = (values > 0).sum(axis=1)
    return int(counts[0]) if (counts == counts[0]).all() else -1, float(np.abs(values).min())
