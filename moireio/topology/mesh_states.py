"""States of some bands at the k points that topology asks for, each solved once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.projection.groups import flipped_rows
from moireio.runtime.progress import Progress
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.irreducible import obeys_time_reversal
from moireio.spectrum.states import BlochStates, solve_states
from moireio.spectrum.sums import bloch_sums
from moireio.topology.bandgroups import BandGroup
from moireio.topology.links import Links

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile

EXACT = 1e-9  # eV: below, T may replace solutions
DIGITS = 10**10
HALVINGS = 8  # of the steps towards the smallest gap
Key = tuple[int, ...]


def key_of(k: npt.NDArray[np.float64]) -> Key:
    """Return the same key for all k points that differ by reciprocal lattice vectors."""
    return tuple(int(n) % DIGITS for n in np.rint(np.asarray(k) * DIGITS))


@dataclass(frozen=True)
class Gap:
    """A difference of energies of neighbouring bands.

    Parameters
    ----------
    value : float
        eV; infinite where there is no band beyond.
    k : tuple of float
        Where it is smallest, fractional.
    """

    value: float = np.inf
    k: tuple[float, ...] = (0.0, 0.0, 0.0)


class MeshStates:
    """States of neighbouring bands, and of one more on each side, by k point.

    Parameters
    ----------
    file : BlockFile
        With H, and S unless its basis is orthogonal.
    groups : sequence of BandGroup
        All bands between the lowest and the highest are kept.
    solver : SolverChoice, optional
        How to solve.
    progress : Progress, optional
        Steps are the k points that are asked for first, those of the meshes.
    note : callable, optional
        Called with remarks of the solver.

    Attributes
    ----------
    reverses : bool
        Whether H obeys time reversal.
    solves : int
        Eigenproblems that were solved: fewer than k points where states follow from anchors.
    """

    def __init__(
        self,
        file: BlockFile,
        groups: Sequence[BandGroup],
        *,
        solver: SolverChoice | None = None,
        progress: Progress | None = None,
        note: Callable[[str], object] | None = None,
    ) -> None:
        self.file, self._solver = file, solver or SolverChoice()
        self._progress, self._note = progress, note
        sums, _, self.spin = bloch_sums(file)
        self.n_orbitals, self.channels = sums[0].n_orbitals, len(sums)
        self.low = max(min(g.first for g in groups) - 2, 0)
        self.high = min(max(g.last for g in groups), self.n_orbitals - 1)
        spinor = self.spin == "spinor"
        self.reverses = all(obeys_time_reversal(s, spinor) for s in sums)
        self._exactly = self.reverses and all(
            obeys_time_reversal(s, spinor, tolerance=EXACT) for s in sums
        )
        self._flipped = flipped_rows(sums[0].sizes, spinor)
        self._known: dict[tuple[int, Key], tuple[npt.NDArray[np.float64], npt.NDArray[Any]]] = {}
        self.solves = 0

    def _count(self, solved: int) -> None:
        self.solves += solved

    def prepare(self, k: npt.NDArray[np.float64]) -> None:
        """Find the states at some k points, those that are not known in one go.

        Parameters
        ----------
        k : (n, 3) array
            Fractional.
        """
        wanted: dict[Key, npt.NDArray[np.float64]] = {}
        for point in k:
            key = key_of(point)
            there = (0, key) in self._known
            if not there and not (self._exactly and key_of(-point) in wanted):
                wanted.setdefault(key, np.asarray(point, dtype=float) % 1.0)
        if not wanted:
            return
        points = np.array(list(wanted.values()))
        states = solve_states(
            self.file,
            points,
            band_range=(self.low, self.high),
            solver=self._solver,
            progress=None if self.solves else self._progress,
            note=self._note,
            solved=self._count,
        )
        for found in states:
            self._keep(found)

    def _keep(self, found: BlochStates) -> None:
        part = slice(self.low - found.first_band, self.high + 1 - found.first_band)
        energies, states = found.energies[part], found.coefficients[:, part]
        if len(energies) != self.high + 1 - self.low:
            raise MoireioError(
                f"only {len(found.energies)} bands were found of {self.low + 1} to {self.high + 1}",
                path=self.file.label,
                remedy="near-dependent orbitals were left out: choose lower bands",
            )
        self._known[found.channel, key_of(found.k)] = energies, states
        back = found.channel, key_of(-found.k)
        if self._exactly and back not in self._known:
            self._known[back] = energies, self.reversed(states)

    def reversed(self, states: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the time-reversed states, K or −iσ_y K; they belong to −k.

        Parameters
        ----------
        states : (n_orbitals, nb) array
            Coefficients.

        Returns
        -------
        (n_orbitals, nb) array
            Coefficients at −k.
        """
        turned = states.conj()
        if self.spin == "spinor":
            sign = np.where(self._flipped > np.arange(self.n_orbitals), -1.0, 1.0)
            turned = sign[:, None] * turned[self._flipped]
        return turned

    def spin_matrix(
        self, k: npt.NDArray[np.float64], states: npt.NDArray[Any], links: Links
    ) -> npt.NDArray[Any]:
        """Return ⟨m|σz|n⟩ of spinors.

        Parameters
        ----------
        k : (3,) array
            Fractional.
        states : (n_orbitals, nb) array
            S-orthonormal.
        links : Links
            Has S(k).

        Returns
        -------
        (nb, nb) array
            Hermitian.
        """
        sign = np.where(self._flipped > np.arange(self.n_orbitals), 1.0, -1.0)
        matrix = (sign[:, None] * states).conj().T @ links.overlap_times(k, states)
        return 0.5 * (matrix + matrix.conj().T)

    def group(
        self, k: npt.NDArray[np.float64], group: BandGroup, channel: int = 0
    ) -> npt.NDArray[Any]:
        """Return the states of a group at a k point that was prepared.

        Parameters
        ----------
        k : (3,) array
            Fractional.
        group : BandGroup
            Among those given.
        channel : int
            Spin channel.

        Returns
        -------
        (n_orbitals, nb) array
            S-orthonormal.
        """
        _, states = self._known[channel, key_of(k)]
        return states[:, group.first - 1 - self.low : group.last - self.low]

    def gap(self, k: npt.NDArray[np.float64], group: BandGroup, channel: int = 0) -> float:
        """Return the direct gap of a group to its neighbours at a k point that was prepared.

        Parameters
        ----------
        k : (3,) array
            Fractional.
        group : BandGroup
            Among those given.
        channel : int
            Spin channel.

        Returns
        -------
        float
            eV; infinite where the group is the whole spectrum.
        """
        energies, _ = self._known[channel, key_of(k)]
        first, end = group.first - 1 - self.low, group.last - self.low
        gaps = [np.inf]
        if first > 0:
            gaps.append(energies[first] - energies[first - 1])
        if end < len(energies):
            gaps.append(energies[end] - energies[end - 1])
        return float(min(gaps))

    def smallest_gap(self, group: BandGroup, channel: int = 0) -> Gap:
        """Return the smallest direct gap of a group over all k points that are known."""
        smallest = Gap()
        for known_channel, key in self._known:
            if known_channel == channel:
                k = np.array(key) / DIGITS
                value = self.gap(k, group, channel)
                if value < smallest.value:
                    smallest = Gap(value, tuple(float(v) for v in k))
        return smallest

    def approach_gap(
        self, group: BandGroup, steps: tuple[npt.NDArray[np.float64], ...], channel: int = 0
    ) -> None:
        """Solve more k points, ever closer to the smallest direct gap of a group.

        Parameters
        ----------
        group : BandGroup
            Among those given.
        steps : tuple of two (3,) arrays
            First steps from the smallest gap so far, fractional; they are halved eight times.
        channel : int
            Spin channel.
        """
        first, second = steps
        around = [first, second, first + second, first - second]
        for _ in range(HALVINGS):
            middle = np.array(self.smallest_gap(group, channel).k)
            around = [0.5 * step for step in around]
            self.prepare(np.array([middle + sign * step for step in around for sign in (1, -1)]))
