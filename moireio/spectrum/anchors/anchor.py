"""Levels that were found directly, from which others follow."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.reduced import RitzLevels

CLEAR = 1e-3  # eV: no gap within a degenerate group


@dataclass(frozen=True, eq=False)
class Anchor:
    """Levels at a k point that was solved directly.

    Parameters
    ----------
    k : (3,) array
        Fractional coordinates.
    energies : (c,) array
        eV, ascending.
    states : (n, c) array
        S-orthonormal, in the phases of H(k).
    first : int
        Number (from 0) of the first level, as counted by inertia.
    responses : (n, c) array, optional
        Changes of states with k, in the same phases.
    axes : (c, 3) array, optional
        Direction of each change, fractional; those that were read from files have none.
    """

    k: npt.NDArray[np.float64]
    energies: npt.NDArray[np.float64]
    states: npt.NDArray
    first: int
    responses: npt.NDArray | None = None
    axes: npt.NDArray[np.float64] | None = None

    def covers(self, wanted: tuple[int, int], margin: int = 1) -> bool:
        """Return whether there are the levels that are wanted and some on both sides.

        Parameters
        ----------
        wanted : tuple of two int
            First and last band (inclusive, from 0).
        margin : int
            How many there must be on each side, as long as the spectrum has them.

        Returns
        -------
        bool
            Also False without states.
        """
        last = self.first + len(self.energies) - 1
        below, above = max(wanted[0] - margin, 0), min(wanted[1] + margin, len(self.states) - 1)
        whole = self.states.shape[1] == len(self.energies)
        return whole and self.first <= below and above <= last

    def range(self, wanted: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return the lowest energy, the first and the last that is wanted, and the highest."""
        begin, end = wanted[0] - self.first, wanted[1] - self.first
        e = self.energies
        return float(e[0]), float(e[begin]), float(e[end]), float(e[-1])

    def ends(self, n_orbitals: int) -> tuple[float, float]:
        """Return the lowest and the highest energy, infinite at the ends of the spectrum."""
        low = float(self.energies[0]) if self.first else -np.inf
        last = self.first + len(self.energies)
        return low, float(self.energies[-1]) if last < n_orbitals else np.inf

    def seen(
        self, levels: RitzLevels, part: slice, wanted: tuple[int, int], n_orbitals: int
    ) -> tuple[float, float]:
        """Return the energies between which all levels of the anchor were found.

        Parameters
        ----------
        levels : RitzLevels
            Found at the same k.
        part : slice
            Those that are wanted.
        wanted : tuple of two int
            First and last band (inclusive, from 0).
        n_orbitals : int
            Number of all levels.

        Returns
        -------
        low, high : float
            Those of the nearest levels that were not found, or of the anchor's last ones, eV;
            infinite at the ends of the spectrum.
        """
        begin, end = wanted[0] - self.first, wanted[1] + 1 - self.first
        below = _first_other(-self.energies[:begin][::-1], -levels.energies[: part.start][::-1])
        above = _first_other(self.energies[end:], levels.energies[part.stop :])
        low, high = self.ends(n_orbitals)
        return float(max(low, -below)), float(min(high, above))

    def first_of(self, levels: RitzLevels, wanted: tuple[int, int]) -> int:
        """Return the number of the first of the levels that were found at the anchor."""
        energy = in_a_gap(self.energies, wanted[0] - self.first, wanted[1] + 1 - self.first)
        below = self.first + int((self.energies < energy).sum())
        return below - int((levels.energies < energy).sum())


def _first_other(energies: npt.NDArray, others: npt.NDArray) -> float:
    """Return the first of some ascending energies that others lack; infinite if there is none."""
    count = min(len(energies), len(others))
    different = np.flatnonzero(np.abs(energies[:count] - others[:count]) > CLEAR)
    first = int(different[0]) if len(different) else count
    return float(energies[first]) if first < len(energies) else np.inf


def in_a_gap(energies: npt.NDArray[np.float64], start: int, stop: int) -> float:
    """Return an energy near some levels where there is no level, as far from others as possible.

    Parameters
    ----------
    energies : (c,) array
        eV, ascending; two at least.
    start, stop : int
        The levels, a slice of them.

    Returns
    -------
    float
        In the widest gap between the levels and those next to them; where that is none, as within
        a group of degenerate levels, in the nearest gap beyond.
    """
    gaps = np.diff(energies)
    for more in range(1, len(energies)):
        begin, end = max(start - more, 0), min(stop + more - 1, len(gaps))
        widest = begin + int(np.argmax(gaps[begin:end]))
        if gaps[widest] > CLEAR:
            break
    return float(0.5 * (energies[widest] + energies[widest + 1]))
