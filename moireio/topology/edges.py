"""Edge states of ribbons: followed along k by their overlaps, and counted where they pass energies.

Two states at neighbouring k are one and the same if |C†(k) S(k̄) C(k′)|² is large, k̄ in the
middle. A state that passes an energy upwards as k grows moves to the right. Of a layer with Chern
number C below that energy, the low edge has −C·sign((a_b × a_open)_z) more of those than left
movers, a_b along the ribbon and a_open across it; the high edge has the opposite.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, naming
from moireio.operators.bloch import BlochSum
from moireio.results.edges import EdgeCount, EdgeGap, EdgeStates
from moireio.runtime.progress import Progress
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.levels import check_result
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.selection import check_energies
from moireio.topology.ribbon import Ribbon
from moireio.topology.states import (
    INSIDE,
    EdgeRows,
    RibbonStates,
    at_k_plus_one,
    of_one_edge,
    weighed,
)

KEPT = 0.6  # of a state at the next k point
REACH = 1.5  # how much further than to first order a state may move in a step
SPLITTING = 0.05  # of the gap: states of both edges that are closer are turned to those of one
HALVINGS = 7  # of a step
OFFSET = 0.382  # of a step: no k point and no middle of two is one of high symmetry
CENTRES = (0.0, 0.5)
CLOSE = 1.07 * 2.0 ** -np.arange(4, 11)  # of a reciprocal vector: more k around the centres
SPIN = 0.1  # |⟨σ_z⟩| below which a state has no spin
NEAR = 20  # levels on either side of an energy that are followed
WINDOW_BANDS = 8  # about so many in a window inside a gap
ALL_BANDS, BANDS = 400, 40  # up to how many orbitals all bands are taken; how many beyond
SAMPLE = 4  # k points at which the levels below an energy are counted to begin with
MARGIN = 2  # levels beyond an energy that there must be among those found


@dataclass(frozen=True)
class Crossing:
    """A state that passes an energy.

    Parameters
    ----------
    k : float
        In the reciprocal vector of the periodic one, 0 … 1.
    direction : {1, -1}
        1 for right movers.
    low, high : float
        Its weights at the edges.
    spin : float
        ⟨σ_z⟩; 0 without spin.
    """

    k: float
    direction: int
    low: float
    high: float
    spin: float


class _TooFewError(Exception):
    """An energy is too close to the end of the bands that were found."""


def follow_edges(
    ribbon: Ribbon,
    energies: Sequence[float],
    *,
    points: int = 101,
    bands: int | None = None,
    energy_window: tuple[float, float] | None = None,
    centres: Sequence[float] = CENTRES,
    solver: str | SolverChoice = "auto",
    progress: Progress | None = None,
    note: Callable[[str], object] | None = None,
) -> EdgeStates:
    """Find the bands of a ribbon, and count the edge states that pass some energies.

    Parameters
    ----------
    ribbon : Ribbon
        H and S.
    energies : sequence of float
        eV, each in a gap of the layer.
    points : int
        k points along the ribbon. Between them steps are halved where states that pass an energy
        change too much to be recognised.
    bands : int, optional
        Bands around each energy, at least; by default all of a small ribbon, else 40.
    energy_window : tuple of two float, optional
        Lowest and highest energy, eV, around all energies: the states inside it instead of
        `bands`. In very wide ribbons bands lie too close together to be separated, and only a
        window inside the gap is left.
    centres : sequence of float
        Where edge states may stay in `energy_window` for a short way in k only, as where the gap
        is small: more k points around these, in the reciprocal vector of the periodic one.
    solver : {"auto", "dense", "sparse", "slepc"} or SolverChoice
        How to solve.
    progress : Progress, optional
        Steps are k points.
    note : callable, optional
        Called with each remark, a line of text.

    Returns
    -------
    EdgeStates
        Chern numbers are left open.

    Raises
    ------
    MoireioError
        If states cannot be followed through an energy, or memory does not suffice.
    """
    energies = [float(e) for e in energies]
    if not all(np.isfinite(energies)):
        raise MoireioError("`energy` is in eV")
    if points < 3:
        raise MoireioError(f"edge states are followed along 3 `points` or more, not {points}")
    choice = SolverChoice(solver) if isinstance(solver, str) else solver
    if energy_window is not None:
        check_energies(*energy_window)
        if bands is not None:
            raise MoireioError("`bands` and `energy_window` exclude each other")
        if not energy_window[0] < min(energies) <= max(energies) < energy_window[1]:
            raise MoireioError("`energy_window` has all energies inside it")
        bands = WINDOW_BANDS
    if bands is None:
        bands = ribbon.n_orbitals if ribbon.n_orbitals <= ALL_BANDS else BANDS
    bands = min(max(bands, 2 * MARGIN + 2), ribbon.n_orbitals)
    with naming(ribbon.label):
        while True:
            run = _Run(ribbon, energies, points, bands, choice, energy_window, centres)
            try:
                return run.result(progress, note)
            except _TooFewError:
                bands = min(2 * bands, ribbon.n_orbitals)


@dataclass(eq=False)
class _Run:
    """One attempt with a number of bands."""

    ribbon: Ribbon
    energies: list[float]
    points: int
    bands: int
    choice: SolverChoice
    window: tuple[float, float] | None = None
    centres: Sequence[float] = CENTRES
    shown: npt.NDArray[np.bool_] = field(init=False)
    problems: EigenproblemSet = field(init=False)
    band_range: tuple[int, int] = field(init=False)

    def result(self, progress: Progress | None, note: Callable[[str], object] | None) -> EdgeStates:
        ribbon, steps = self.ribbon, 2**HALVINGS
        shown = (np.arange(self.points) + OFFSET) / self.points
        base = np.unique(np.concatenate([shown, self._close()]))
        self.shown = np.isin(base, shown)
        widths = np.diff(base, append=base[0] + 1)
        fine = base[:, None] + widths[:, None] * np.arange(steps) / steps
        self.k = ribbon.k_points(fine.ravel())
        check_result(
            2.0 * ribbon.n_orbitals * self.bands * (HALVINGS + 4),
            self.choice.memory,
            f"{self.bands} states at a few k points",
            "choose fewer `bands`",
        )
        sigma = self.energies[0] if len(self.energies) == 1 else None
        rows, kept = EdgeRows(ribbon), []
        crossings: list[list[Crossing]] = [[] for _ in self.energies]
        few = None if self.bands >= ribbon.n_orbitals else self.bands
        with EigenproblemSet(
            ribbon.sums, ribbon.overlap, self.k, self.choice, few, sigma, states=True
        ) as self.problems:
            self.band_range = (0, ribbon.n_orbitals - 1) if self.window else self._range()
            for channel in range(len(ribbon.sums)):
                path = _Path(self, rows, channel)
                found = []
                for states in path.along(crossings):
                    found.append(replace(states, states=np.zeros((0, 0))))
                    if progress:
                        progress(1, self.points * len(ribbon.sums))
                kept.append(found)
            if note is not None:
                for line in self.problems.notes():
                    note(line)
        return self._gathered(shown, kept, crossings)

    def _close(self) -> npt.NDArray[np.float64]:
        """Return more k where edge states may stay in the window for a short way only."""
        if self.window is None:
            return np.zeros(0)
        away = np.concatenate([CLOSE, -CLOSE])
        return (np.asarray(self.centres)[:, None] + away).ravel() % 1.0

    def _range(self) -> tuple[int, int]:
        """Return the bands around all energies."""
        n_orbitals = self.ribbon.n_orbitals
        if self.bands >= n_orbitals:
            return 0, n_orbitals - 1
        sample = np.linspace(0, len(self.shown) - 1, min(SAMPLE, self.points)).astype(int)
        counts = [
            self.problems.count_below(channel, int(point) * 2**HALVINGS, energy)
            for channel in range(len(self.ribbon.sums))
            for point in sample
            for energy in self.energies
        ]
        half = self.bands // 2
        return max(min(counts) - half, 0), min(max(counts) + half, n_orbitals) - 1

    def _gathered(
        self,
        k: npt.NDArray[np.float64],
        kept: Sequence[Sequence[RibbonStates]],
        crossings: Sequence[Sequence[Crossing]],
    ) -> EdgeStates:
        def joined(name: str) -> npt.NDArray[np.float64] | None:
            arrays = [[getattr(s, name) for s in found] for found in kept]
            if arrays[0][0] is None:
                return None
            most = [max(a.shape[-1] for a in own) for own in arrays]
            whole = [
                np.stack([_padded(a, count) for a in own], axis=-2)
                for own, count in zip(arrays, most, strict=True)
            ]
            return np.concatenate(whole, axis=-1)

        gaps = tuple(
            EdgeGap(energy, *count_by_edge(found, self.ribbon.spin != "none"))
            for energy, found in zip(self.energies, crossings, strict=True)
        )
        ribbon = self.ribbon
        values: dict[str, Any] = {
            name: joined(name) for name in ("energies", "low", "high", "spin", "layers")
        }
        return EdgeStates(
            k,
            gaps=gaps,
            periodic=ribbon.periodic,
            open=ribbon.open,
            width=ribbon.width,
            first_band=None if self.window else self.band_range[0],
            period=float(np.linalg.norm(ribbon.structure.cell[ribbon.periodic])),
            **values,
        )


def _padded(array: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.float64]:
    """Return an array with NaN for the states that there are not at this k point."""
    widths = [(0, 0)] * (array.ndim - 1) + [(0, count - array.shape[-1])]
    return np.pad(array, widths, constant_values=np.nan)


def count_by_edge(crossings: Sequence[Crossing], spin: bool) -> tuple[EdgeCount, EdgeCount]:
    """Count the states that pass an energy at the low and at the high edge.

    Parameters
    ----------
    crossings : sequence of Crossing
        States of both edges.
    spin : bool
        Whether the states have a spin.

    Returns
    -------
    (EdgeCount, EdgeCount)
        Low, high.
    """

    def count(own: list[Crossing]) -> EdgeCount:
        def net(chosen: list[Crossing]) -> int:
            return sum(c.direction for c in chosen)

        return EdgeCount(
            net(own),
            net([c for c in own if c.spin > SPIN]) if spin else None,
            net([c for c in own if c.spin < -SPIN]) if spin else None,
            len(own),
            tuple(sorted(round(c.k % 1.0, 8) for c in own)),
        )

    low = [c for c in crossings if c.low >= c.high]
    return count(low), count([c for c in crossings if c.low < c.high])


class _Path:
    """States of one spin channel along the ribbon's whole zone."""

    def __init__(self, run: _Run, rows: EdgeRows, channel: int) -> None:
        self.run, self.rows, self.channel = run, rows, channel
        self.matrices = run.ribbon.sums[channel], run.ribbon.overlap

    def along(self, crossings: list[list[Crossing]]) -> Iterator[RibbonStates]:
        """Yield the states at the k points, as solved; add what passes the energies."""
        steps, points = 2**HALVINGS, len(self.run.shown)
        tasks = [(self.channel, n * steps) for n in range(points)]
        first = before = None
        for n, here in enumerate(self._solved(tasks)):
            if self.run.shown[n]:
                yield here
            here = self._near(here)
            if before is None:
                first = here
            else:
                self._between(before, here, (n - 1) * steps, n * steps, crossings)
            before = here
        assert first is not None
        assert before is not None
        last = at_k_plus_one(first, self.run.ribbon.periodic)
        self._between(before, last, (points - 1) * steps, points * steps, crossings)

    def _solved(self, tasks: list[tuple[int, int]]) -> Iterator[RibbonStates]:
        """Yield the states at some k points, in their order."""
        problems, rows, channel = self.run.problems, self.rows, self.channel
        if self.run.window is None:
            low = self.run.band_range[0]
            for (_, point), energies, states in problems.levels(tasks, self._wanted()):
                self._check(energies)
                k = self.run.k[point]
                yield weighed(rows, k, energies, states, low, channel)
            return
        for task in tasks:
            k = self.run.k[task[1]]
            first, end = (problems.count_below(*task, energy) for energy in self.run.window)
            energies, states = np.zeros(0), np.zeros((self.run.ribbon.n_orbitals, 0))
            if end > first:
                _, energies, states = next(iter(problems.levels([task], (first, end - 1))))
            yield weighed(rows, k, energies, states, first, channel)

    def _wanted(self) -> tuple[int, int] | None:
        low, high = self.run.band_range
        return None if high - low + 1 == self.run.ribbon.n_orbitals else (low, high)

    def _check(self, energies: npt.NDArray[np.float64]) -> None:
        """Ask for more bands where an energy is close to the ends of those that were found."""
        low, high = self.run.band_range
        for energy in self.run.energies:
            below = int((energies < energy).sum())
            at_top = high == self.run.ribbon.n_orbitals - 1
            if (low and below < MARGIN) or (not at_top and len(energies) - below < MARGIN):
                raise _TooFewError

    def _near(self, states: RibbonStates) -> RibbonStates:
        """Return the levels near the energies, as states of one edge each."""
        counts = [states.below(energy) - states.first for energy in self.run.energies]
        begin, end = max(min(counts) - NEAR, 0), max(counts) + NEAR
        near = states.part(begin, end)
        return of_one_edge(self.rows, near, SPLITTING, self.channel, self.run.window)

    def _between(
        self,
        left: RibbonStates,
        right: RibbonStates,
        begin: int,
        end: int,
        crossings: list[list[Crossing]],
        wanted: Sequence[int] | None = None,
    ) -> None:
        """Add what passes the energies between two k points; halve the step where it must be."""
        wanted = range(len(self.run.energies)) if wanted is None else wanted
        step = _Step(self.matrices, left, right)
        unclear = []
        for which in wanted:
            found = step.passing(self.run.energies[which])
            if found is None:
                unclear.append(which)
            else:
                crossings[which].extend(found)
        if not unclear:
            return
        if end - begin < 2:
            energy, k = self.run.energies[unclear[0]], left.k[self.run.ribbon.periodic]
            raise MoireioError(
                f"the states that pass {energy:g} eV at k = {k:.4f} cannot be followed",
                remedy="is this energy in a gap of the layer, and the ribbon wide enough?",
            )
        middle = (begin + end) // 2
        here = self._near(next(iter(self._solved([(self.channel, middle)]))))
        self._between(left, here, begin, middle, crossings, unclear)
        self._between(here, right, middle, end, crossings, unclear)


class _Step:
    """Two neighbouring k points."""

    def __init__(
        self,
        matrices: tuple[BlochSum, BlochSum | None],
        left: RibbonStates,
        right: RibbonStates,
    ) -> None:
        self.left, self.right = left, right
        hamiltonian, overlap = matrices
        images = right.states
        if overlap is not None:
            images = overlap.csr((left.k + right.k) / 2) @ images
        self.kept = np.abs(left.states.conj().T @ images) ** 2
        self.goal = _moved(left, right.k, hamiltonian, overlap)
        self.origin = _moved(right, left.k, hamiltonian, overlap)

    def passing(self, energy: float) -> list[Crossing] | None:
        """Return the states that pass an energy; None if one is not recognised."""
        left, right = self.left, self.right
        e_left, e_right = left.energies - energy, right.energies - energy
        if not self.kept.size:
            near = _may_pass(e_left, self.goal - energy).any()
            near |= _may_pass(e_right, self.origin - energy).any()
            return None if near or left.below(energy) != right.below(energy) else []
        partner, backwards = self.kept.argmax(axis=1), self.kept.argmax(axis=0)
        sure = self.kept.max(axis=1) >= KEPT
        sure &= backwards[partner] == np.arange(len(partner))
        sure_right = np.zeros(len(e_right), dtype=bool)
        sure_right[partner[sure]] = True
        if (_may_pass(e_left, self.goal - energy) & ~sure).any():
            return None
        if (_may_pass(e_right, self.origin - energy) & ~sure_right).any():
            return None
        found = []
        for a in np.flatnonzero(sure):
            b = partner[a]
            if (e_left[a] < 0) != (e_right[b] < 0):
                found.append(self._crossing(int(a), int(b), e_left[a], e_right[b]))
        if left.below(energy) - right.below(energy) != sum(c.direction for c in found):
            return None
        if any(1 - c.low - c.high > INSIDE for c in found):
            return None
        return found

    def _crossing(self, a: int, b: int, before: float, after: float) -> Crossing:
        left, right = self.left, self.right
        share = before / (before - after)
        along = left.k + share * (right.k - left.k)
        spin = 0.0
        if left.spin is not None and right.spin is not None:
            spin = float(left.spin[2, a] + right.spin[2, b]) / 2
        return Crossing(
            float(along.sum()),
            1 if before < 0 else -1,
            float(left.low[a] + right.low[b]) / 2,
            float(left.high[a] + right.high[b]) / 2,
            spin,
        )


def _moved(
    there: RibbonStates,
    k: npt.NDArray[np.float64],
    hamiltonian: BlochSum,
    overlap: BlochSum | None,
) -> npt.NDArray[np.float64]:
    """Return the expectation values of H at another k, in eV: energies to first order in it."""
    c = there.states
    norms = (np.abs(c) ** 2).sum(axis=0)
    if overlap is not None:
        norms = (c.conj() * (overlap.csr(k) @ c)).sum(axis=0).real
    return (c.conj() * (hamiltonian.csr(k) @ c)).sum(axis=0).real / norms


def _may_pass(
    here: npt.NDArray[np.float64], there: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Return which levels, counted from an energy, may reach it in a step."""
    return (np.sign(here) * (here - there) * REACH >= np.abs(here)) | (here == 0)
