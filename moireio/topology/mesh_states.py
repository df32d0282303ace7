"""States of some bands at the k points that topology asks for, each solved once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.projection.groups import flipped_rows
from moireio.runtime.progress import Progress
from moireio.solvers.registry import automatic
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.irreducible import obeys_time_reversal
from moireio.spectrum.states import BlochStates, solve_states
from moireio.spectrum.sums import bloch_sums
from moireio.symmetry.exact import PARTS, ExactSymmetry, Key, key_of
from moireio.topology.bandgroups import BandGroup
from moireio.topology.links import Links, plane_of
from moireio.topology.nearby import NEIGHBOURS, Found, NearbyStates

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile

SMALL, LARGE = 800, 2500  # orbitals between which states follow from those at k points nearby
HELPING = 6  # bands beyond each end that are solved too, for these
SPARSE = 1000  # orbitals from which on the sparse solver is quicker for a few bands
KEPT = 8  # bands of groups whose overlaps are kept
NEARER = 0.7  # as close the next trial must be as the one before
FIRST_SPACING = 0.08  # Å⁻¹, of the k points that are solved first
FEW = 8  # k points that are solved without progress, before meshes are
HALVINGS = 8  # of the steps towards the smallest gap


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
        Steps are the k points of the meshes: the first that are solved in larger number.
    note : callable, optional
        Called with remarks of the solver.

    Attributes
    ----------
    reverses : bool
        Whether H obeys time reversal.
    symmetry : ExactSymmetry
        Operations that give states at equivalent k points.
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
        sums, overlap, self.spin = bloch_sums(file)
        self.n_orbitals, self.channels = sums[0].n_orbitals, len(sums)
        self.low = max(min(g.first for g in groups) - 2, 0)
        self.high = min(max(g.last for g in groups), self.n_orbitals - 1)
        spinor = self.spin == "spinor"
        self.reverses = all(obeys_time_reversal(s, spinor) for s in sums)
        self.symmetry = ExactSymmetry(file.structure, file.basis, spinor, sums, overlap)
        self._flipped = flipped_rows(sums[0].sizes, spinor)
        self._known: dict[tuple[int, Key], Found] = {}
        self._overlaps: dict[tuple[int, BandGroup, Key, Key], npt.NDArray[Any]] = {}
        self.solves = 0
        self._range, self._nearby = (self.low, self.high), None
        choice = self._solver
        bands = self.high - self.low + 1 + 2 * HELPING
        by_anchors = choice.name == "auto" and choice.resolved(self.n_orbitals, bands) == "sparse"
        pays = SMALL < self.n_orbitals <= LARGE and NEIGHBOURS * bands < self.n_orbitals
        if pays and not (by_anchors or choice.anchoring.direct):
            low = max(self.low - HELPING, 0)
            high = min(self.high + HELPING, self.n_orbitals - 1)
            self._range = low, high
            self._nearby = NearbyStates(
                np.repeat(file.structure.positions, file.hamiltonian.sizes, axis=0),
                plane_of(file.structure, file.label),
                sums,
                overlap,
                slice(self.low - low, self.high - low + 1),
                slice(min(g.first for g in groups) - 1 - low, max(g.last for g in groups) - low),
                (low == 0, high == self.n_orbitals - 1),
                self.symmetry,
            )
            few = automatic(self.n_orbitals, bands, choice.device, SPARSE) == "sparse"
            if choice.name == "auto" and few:
                self._solver = replace(choice, name="sparse")

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
        asked: dict[Key, tuple[npt.NDArray[np.float64], int]] = {}
        for point in k:
            key = key_of(point)
            if (0, key) not in self._known and key not in asked:
                asked[key] = self.symmetry.representative(point)
                first = key_of(asked[key][0])
                if (0, first) not in self._known:
                    wanted[first] = asked[key][0] % 1.0
        if wanted and self._nearby is None:
            self._solve(list(wanted.values()))
        elif wanted and self._nearby is not None:
            self._prepare_nearby(list(wanted.values()), self._nearby)
        for key, (point, number) in asked.items():
            for channel in range(self.channels) if number else ():
                found = self._known[channel, key_of(point)]
                states = self.symmetry.turn(number, point, found.states)
                self._known[channel, key] = replace(found, states=states, operation=number)

    def _solve(self, points: list[npt.NDArray[np.float64]]) -> None:
        """Solve some k points, and keep their states."""
        for found in self._solved(points):
            energies, states = self._add(found)
            self._known[found.channel, key_of(found.k)] = Found(energies, states)

    def _solved(self, points: list[npt.NDArray[np.float64]]) -> list[BlochStates]:
        progress = self._progress
        if len(points) > FEW:
            self._progress = None
        return solve_states(
            self.file,
            np.array(points),
            band_range=self._range,
            solver=self._solver,
            progress=progress if len(points) > FEW else None,
            note=self._note,
            solved=self._count,
        )

    def _prepare_nearby(self, missing: list[npt.NDArray[np.float64]], nearby: NearbyStates) -> None:
        """Find states from those at k points close by; solve those that are far from all."""
        spacing, tried = FIRST_SPACING, dict.fromkeys(map(key_of, missing), np.inf)
        while missing:
            rest = []
            for k in missing:
                distance = nearby.distance(0, k)
                closer = distance < NEARER * tried[key_of(k)]
                if closer:
                    tried[key_of(k)] = distance
                if not closer or not self._follow(k, nearby):
                    rest.append(k)
            first: list[npt.NDArray[np.float64]] = []
            missing = []
            for k in rest:  # those that are solved now are not close to each other
                alone = all(nearby.plane.distance(k, other) > spacing for other in first)
                (first if alone else missing).append(k)
            if first:
                self._solve(first)
            spacing *= 0.5

    def _follow(self, k: npt.NDArray[np.float64], nearby: NearbyStates) -> bool:
        """Find the states at a k point from those close by, if they follow from them."""
        whole = []
        for channel in range(self.channels):
            found = nearby.find(channel, k)
            if found is None:
                return False
            whole.append(found)
        for channel, found in enumerate(whole):
            self._known[channel, key_of(k)] = found
        return True

    def _add(self, found: BlochStates) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any]]:
        """Return the bands of the groups that were solved; more may help elsewhere."""
        low, high = self._range
        part = slice(low - found.first_band, high + 1 - found.first_band)
        energies, states = found.energies[part], found.coefficients[:, part]
        if len(energies) < self.high + 1 - low:
            raise MoireioError(
                f"only {len(found.energies)} bands were found of {self.low + 1} to {self.high + 1}",
                path=self.file.label,
                remedy="near-dependent orbitals were left out: choose lower bands",
            )
        if self._nearby is not None and len(energies) == high + 1 - low:
            self._nearby.add(found.channel, found.k, energies, states)
        inner = slice(self.low - low, self.high + 1 - low)
        return energies[inner], states[:, inner]

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
        return self._known[channel, key_of(k)].states[:, self.columns(group)]

    def columns(self, group: BandGroup) -> slice:
        """Return which of the bands that are kept are those of a group."""
        return slice(group.first - 1 - self.low, group.last - self.low)

    def overlaps(
        self,
        k: npt.NDArray[np.float64],
        k2: npt.NDArray[np.float64],
        group: BandGroup,
        links: Links,
        channel: int = 0,
    ) -> npt.NDArray[Any]:
        """Return ⟨u_m(k)|u_n(k')⟩ of the bands of a group; small matrices are kept.

        Parameters
        ----------
        k, k2 : (3,) array
            Fractional, next to each other; both were prepared.
        group : BandGroup
            Among those given.
        links : Links
            How overlaps are found.
        channel : int
            Spin channel.

        Returns
        -------
        (nb, nb) array
            The matrix.
        """
        first, second, columns = key_of(k), key_of(k2), self.columns(group)
        for place, other in (((first, second), False), ((second, first), True)):
            kept = self._overlaps.get((channel, group, *place))
            if kept is not None:
                return kept.conj().T if other else kept
        one, two = self._known[channel, first], self._known[channel, second]
        number = one.operation
        if number and number == two.operation:
            before, before2 = (self.symmetry.source(number, point) for point in (k, k2))
            part = self.overlaps(before, before2, group, links, channel)
            step = links.plane.cartesian(np.asarray(k2) - k)
            return self.symmetry.turned_overlap(number, part, step)
        part = links.between(k, one.states[:, columns], k2, two.states[:, columns])
        if group.count <= KEPT:
            self._overlaps[channel, group, first, second] = part
        return part

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
        if self._known[channel, key_of(k)].rough:
            self._sharpen(k)
        return self._gap(self._known[channel, key_of(k)].energies, group)

    def _gap(self, energies: npt.NDArray[np.float64], group: BandGroup) -> float:
        first, end = group.first - 1 - self.low, group.last - self.low
        gaps = [np.inf]
        if first > 0:
            gaps.append(energies[first] - energies[first - 1])
        if end < len(energies):
            gaps.append(energies[end] - energies[end - 1])
        return float(min(gaps))

    def smallest_gap(self, group: BandGroup, channel: int = 0) -> Gap:
        """Return the smallest direct gap of a group over all k points that are known."""
        while True:
            smallest, rough = Gap(), False
            for (known_channel, key), found in self._known.items():
                if known_channel == channel:
                    value = self._gap(found.energies, group)
                    if value < smallest.value:
                        k = np.array(key) / PARTS
                        smallest, rough = Gap(value, tuple(float(v) for v in k)), found.rough
            if not rough:
                return smallest
            self._sharpen(np.array(smallest.k))

    def _sharpen(self, k: npt.NDArray[np.float64]) -> None:
        """Solve a k point for its energies; states remain, for the sake of their overlaps."""
        for found in self._solved([self.symmetry.representative(k)[0] % 1.0]):
            energies, _ = self._add(found)
            for key in self.symmetry.images(found.k):
                kept = self._known.get((found.channel, key))
                if kept is not None and kept.rough:
                    self._known[found.channel, key] = replace(kept, energies=energies, rough=False)

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
