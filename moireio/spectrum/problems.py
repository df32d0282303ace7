"""Eigenproblems at many k points: the one driver, which shares them among processes.

It keeps within memory, sets threads, and notes what endangers results, for every solver by the
same rules; what a solver is able to do, it reads from its `SolverCapabilities`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.runtime.memory import usable_memory
from moireio.runtime.processes import in_order, worker_pool
from moireio.runtime.threads import blas_beside_mkl, blas_threads, cores
from moireio.solvers.base import EigenProblem, SolverDiagnostics
from moireio.solvers.near_dependence import NEAR_DEPENDENCE
from moireio.spectrum.anchors.settings import (
    FEWEST_BEYOND,
    Accuracy,
    AnchoredRange,
    reach,
)
from moireio.spectrum.choice import SolverChoice

if TYPE_CHECKING:
    from moireio.operators.bloch import BlochSum
    from moireio.spectrum.anchors.anchor import Anchor
    from moireio.spectrum.anchors.products import BlochProducts
    from moireio.system.structure import Structure

Task = tuple[int, int]  # spin channel, k point
Solution = tuple[npt.NDArray[np.float64], npt.NDArray[Any] | None, SolverDiagnostics]
# from a problem, its energies and its states
Reduction = Callable[[EigenProblem, npt.NDArray[np.float64], Any], npt.NDArray[Any]]

# Below this many multiplications in all, starting processes costs more than it saves.
SERIAL_WORK = 5e8
THREADED_SIZE = 600
# Fewer k points for each process are better solved by a solver's own threads.
FEW_TASKS = 3


class EigenproblemSet:
    """The eigenproblems of a Hamiltonian at some k points.

    It can be used as a context manager, which frees the solver's memory and ends its processes.

    Parameters
    ----------
    sums : list of moireio.operators.bloch.BlochSum
        H; of collinear spin, two.
    overlap : moireio.operators.bloch.BlochSum or None
        S; None if orthogonal.
    k : (nk, 3) array
        Fractional coordinates.
    solver : SolverChoice
        How to solve.
    bands : int, optional
        How many bands are wanted; by default all.
    sigma : float, optional
        Energy near them, eV.
    states : bool
        Find the states too.
    structure : Structure, optional
        Positions of the atoms. With them the levels of large cells at many k points are found
        from those at a few, the anchors, where the solver is chosen automatically.

    Attributes
    ----------
    solver : moireio.solvers.base.Solver
        Finds the levels in this process.
    accuracy : dict of int to Accuracy
        By spin channel, how the levels were found, where anchors were used.
    found : dict of int to list of Anchor
        By spin channel, k points that were solved with their states, of which some are anchors.
    keep_anchor : callable or None
        Called with the spin channel and each k point that was solved for others.
    restored : dict of int to sequence of Anchor
        By spin channel, what an interrupted run gave to `keep_anchor`.
    confirmed : dict of (int, int) to array
        By spin channel and k point, energies that an interrupted run had, eV: where levels are
        counted, they need not be counted again.

    Raises
    ------
    MoireioError
        If there is no such solver, or does not have an option that was given.
    """

    def __init__(
        self,
        sums: "Sequence[BlochSum]",
        overlap: "BlochSum | None",
        k: npt.ArrayLike,
        solver: SolverChoice,
        bands: int | None = None,
        sigma: float | None = None,
        states: bool = False,
        structure: "Structure | None" = None,
    ):
        self._structure = structure
        self.accuracy: dict[int, Accuracy] = {}
        self.found: dict[int, list[Anchor]] = {}
        self._wider: dict[int, AnchoredRange] = {}
        self._products: dict[int, BlochProducts] = {}
        self.keep_anchor: Callable[[int, Anchor], object] | None = None
        self.restored: Mapping[int, Sequence[Anchor]] = {}
        self.confirmed: Mapping[Task, npt.NDArray] = {}
        self._sums, self._overlap, self._k = sums, overlap, np.asarray(k, dtype=float)
        self._choice, self._states = solver, states
        n_orbitals = sums[0].n_orbitals
        self._bands = n_orbitals if bands is None else bands
        self._jobs = solver.jobs or cores()
        self._n_fitting: dict[bool, int] = {}
        self._diagnostics = SolverDiagnostics()
        few = bands is not None and self._may_anchor(len(self._k), (0, bands - 1))
        self.solver = (solver.for_anchors() if few else solver).make(n_orbitals, bands, sigma)
        self.solver.use_threads(self._jobs)

    def __enter__(self) -> "EigenproblemSet":
        """Return the set."""
        return self

    def __exit__(self, *error: object) -> None:
        """Close the solver."""
        self.close()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of spin channels, of k points and of orbitals."""
        return len(self._sums), len(self._k), self._sums[0].n_orbitals

    @property
    def tolerance(self) -> float:
        """Largest bound on the error of an energy from anchors, eV."""
        return self._choice.anchoring.tolerance

    @property
    def counts(self) -> bool:
        """Whether the solver numbers bands by counting levels."""
        return self.solver.capabilities.counts_levels

    def close(self) -> None:
        """Free the solver's memory, and end processes that it started."""
        self.solver.close()

    def count_below(self, channel: int, point: int, energy: float) -> int:
        """Return the number of levels below an energy.

        Parameters
        ----------
        channel, point : int
            Spin channel and k point.
        energy : float
            eV.

        Returns
        -------
        int
            Their number.

        Raises
        ------
        MoireioError
            If memory does not suffice, or S is not positive definite.
        """
        self._processes(states=self.solver.capabilities.counts_levels)
        return self.solver.count_below(self._problem(channel, point), energy)

    def levels(
        self,
        tasks: Sequence[tuple[int, int]],
        band_range: tuple[int, int] | None,
        reduce: Callable[..., Any] | None = None,
    ) -> Iterator[tuple[tuple[int, int], npt.NDArray, Any]]:
        """Solve problems, shared among processes where that pays.

        Parameters
        ----------
        tasks : list of tuple of two int
            Spin channel and k point of each.
        band_range : tuple of two int or None
            First and last band (inclusive, from 0); None for all.
        reduce : callable, optional
            Returns from (problem, energies, states) what is yielded instead of the states. It is
            called in the process that found them, so that only its result travels.

        Yields
        ------
        task : tuple of two int
            One of those given, in their order.
        energies : (nb,) array
            eV.
        states : (n_orbitals, nb) array or None
            S-orthonormal; None if not asked for.

        Raises
        ------
        MoireioError
            If memory does not suffice, or S is not positive definite.
        """
        if not tasks:
            return
        if self.anchored(tasks, band_range):
            assert band_range is not None
            for channel in dict.fromkeys(c for c, _ in tasks):
                points = [p for c, p in tasks if c == channel]
                yield from self._anchored(channel, points, band_range, reduce)
            return
        jobs = min(len(tasks), self._processes(self._states))
        work = len(tasks) * float(self.shape[2]) ** 3
        with self._thread_limits():
            if self.solver.capabilities.own_threads:
                self.solver.use_threads(self._jobs)
                jobs = jobs if len(tasks) >= FEW_TASKS * jobs else 1
                if jobs > 1:
                    # the levels found here show all copies of the solver where to begin
                    yield tasks[0], *self._noted(self._solve(tasks[0], band_range, reduce))
                    jobs, tasks = self._share(jobs), tasks[1:]
            elif work < SERIAL_WORK:
                jobs = 1
            if jobs == 1:
                for task in tasks:
                    yield task, *self._noted(self._solve(task, band_range, reduce))
                return
        with worker_pool(jobs, _initialise, ((self, band_range, reduce),)) as pool:
            for task, solution in zip(tasks, in_order(pool, _work, tasks), strict=True):
                yield task, *self._noted(solution)

    def anchored(
        self, tasks: Sequence[tuple[int, int]], band_range: tuple[int, int] | None
    ) -> bool:
        """Return whether problems will be solved from anchors.

        Parameters
        ----------
        tasks : list of tuple of two int
            Spin channel and k point of each.
        band_range : tuple of two int or None
            First and last band; None for all.

        Returns
        -------
        bool
            Whether there are enough of them, and the sparse solver was chosen automatically.
        """
        points = len(tasks) // max(len({channel for channel, _ in tasks}), 1)
        return self._may_anchor(points, band_range)

    def _may_anchor(self, points: int, band_range: tuple[int, int] | None) -> bool:
        """Return whether anchors save time at a number of k points."""
        choice, n_orbitals = self._choice, self.shape[2]
        if self._structure is None or choice.name != "auto" or band_range is None:
            return False
        if any(choice.options.get(name) for name in ("drop", "overlap_cutoff")):
            return False
        if choice.resolved(n_orbitals, self._bands) != "sparse":
            return False
        return choice.anchoring.pays(points, n_orbitals, band_range)

    def _anchored(
        self, channel: int, points: list[int], band_range: tuple[int, int], reduce: Reduction | None
    ) -> "Iterator[tuple[Task, npt.NDArray, Any]]":
        """Yield the levels of one spin channel, most of them from anchors."""
        from moireio.spectrum.anchors.anchor import Anchor
        from moireio.spectrum.anchors.driver import Use, anchored_levels
        from moireio.spectrum.anchors.factors import AnchorFactors

        before = None if self._states else self._wider.get(channel)
        if before is not None and before.has(points, band_range):
            parts, self.accuracy[channel] = before.part(band_range)
            yield from (((channel, p), parts[p], None) for p in points)
            return
        assert self._structure is not None
        self.solver.use_threads(self._jobs)
        if hasattr(self.solver, "keep_factor"):
            self.solver.keep_factor = True

        def solve(place: int, bands: tuple[int, int], use: Use) -> Anchor:
            k, first, states = self._k[points[place]], bands[0], np.zeros((self.shape[2], 0))
            self._processes(states=True)
            problem = self._problem(channel, points[place])
            with blas_beside_mkl():
                if use is Use.ANCHOR and hasattr(self.solver, "eigenpairs_and_more"):
                    energies, states, first = self.solver.eigenpairs_and_more(problem, bands)
                elif use is Use.LEVELS:
                    energies = self.solver.eigenvalues(problem, bands)
                else:
                    energies, states = self.solver.eigenpairs(problem, bands)
            self._diagnostics = self._diagnostics.merged(self.solver.diagnostics)
            return Anchor(k, energies, states, first)

        # those of earlier ranges of bands at these k points serve again
        settings, first_found = self._choice.anchoring, self.found.setdefault(channel, [])
        wider = reach(band_range, self.shape[2])
        again = [a for a in first_found if a.covers(wider, 0)]
        rest = [a for a in first_found if a not in again and a.covers(band_range, FEWEST_BEYOND)]
        known = {channel: [*settings.anchors.get(channel, ()), *rest]}

        def keep(anchor: Anchor) -> None:
            if anchor.states.shape[1] == len(anchor.energies):
                first_found.append(anchor)
            if self.keep_anchor is not None:
                self.keep_anchor(channel, anchor)

        def made(products: "BlochProducts") -> None:
            self._products[channel] = products

        def count(place: int, energy: float) -> int:
            return self.count_below(channel, points[place], energy)

        quick = getattr(self.solver, "quick_count", None)

        def quick_count(place: int, energy: float) -> int | None:
            assert quick is not None
            self._processes(states=True)
            return quick(self._problem(channel, points[place]), energy)

        found = anchored_levels(
            self._sums[channel],
            self._overlap,
            self._structure,
            self._k[points],
            band_range,
            solve,
            replace(settings, anchors=known),
            factors=AnchorFactors(
                *(
                    getattr(self.solver, name, None)
                    for name in ("respond", "keep_factors", "free_factors")
                )
            ),
            made=made,
            channel=channel,
            threads=self._jobs,
            memory=self._choice.memory,
            keep=keep,
            restored=[*self.restored.get(channel, ()), *again],
            states=self._states,
            count=count if self._choice.options.get("verify_count") else None,
            quick_count=None if quick is None else quick_count,
            confirmed={
                place: self.confirmed[channel, point]
                for place, point in enumerate(points)
                if (channel, point) in self.confirmed
            },
        )
        table: dict[int, npt.NDArray] = {}
        try:
            for place, energies, states, accuracy in found:
                self.accuracy[channel] = accuracy
                task = channel, points[place]
                table[points[place]] = energies
                kept = states
                if reduce is not None:
                    kept = reduce(self._problem(*task), energies, states)
                yield task, energies, kept
        finally:
            self._products.pop(channel, None)
        self._wider[channel] = AnchoredRange(band_range, table, self.accuracy[channel])

    def notes(self) -> list[str]:
        """Return approximations of the solver, and properties of S that endanger results.

        Returns
        -------
        list of str
            A line each.
        """
        seen, given = self._diagnostics, self._choice.options
        notes = self._about_anchors()
        smallest = f"{seen.min_overlap_eigenvalue:.1e}"
        if given.get("drop"):
            notes.append(
                f"`drop` {given['drop']:g} left out {100 * (1 - seen.kept_fraction):.0f} % of "
                f"elements; energies were corrected by {seen.largest_correction:.1e} eV at most"
            )
        if given.get("overlap_cutoff") and self._overlap is not None:
            notes.append(
                f"`overlap_cutoff` {given['overlap_cutoff']:g} left out up to {seen.n_removed} "
                f"of {self.shape[2]} combinations of orbitals; the smallest eigenvalue of S is "
                f"{smallest}"
            )
        elif seen.min_overlap_eigenvalue < NEAR_DEPENDENCE:
            notes.append(
                f"orbitals nearly depend on each other: S has an eigenvalue of {smallest}, "
                "by which errors of H are divided (`overlap_cutoff` leaves such states out)"
            )
        return notes

    def _about_anchors(self) -> list[str]:
        """Return why k points were solved directly, and known anchors not used."""
        notes = [line for channel in sorted(self.accuracy) for line in self.accuracy[channel].notes]
        known = sum(map(len, self._choice.anchoring.anchors.values()))
        unused = sum(one.unused for one in self.accuracy.values()) if self.accuracy else known
        if not unused:
            return notes
        why = "bands beyond those that are wanted are missing there"
        if not self.accuracy:
            why = "levels are found from anchors only where `solver` auto takes the sparse one"
        return [*notes, f"{unused} of {known} known anchors were not used: {why}"]

    def _thread_limits(self) -> AbstractContextManager:
        """Limit threads of BLAS: they pay only for large matrices, and never beside MKL's."""
        if self.solver.capabilities.own_threads:
            return blas_beside_mkl()
        return blas_threads(1 if self.shape[2] < THREADED_SIZE else self._choice.jobs)

    def _solve(
        self, task: Task, band_range: tuple[int, int] | None, reduce: Reduction | None
    ) -> Solution:
        problem = self._problem(*task)
        if self._states:
            energies, states = self.solver.eigenpairs(problem, band_range)
        else:
            energies, states = self.solver.eigenvalues(problem, band_range), None
        if reduce is not None:
            states = reduce(problem, energies, states)
        return energies, states, self.solver.diagnostics

    def _noted(self, solution: Solution) -> tuple[npt.NDArray[np.float64], npt.NDArray[Any] | None]:
        """Return energies and states of a solution; keep its diagnostics."""
        energies, states, diagnostics = solution
        self._diagnostics = self._diagnostics.merged(diagnostics)
        return energies, states

    def _problem(self, channel: int, point: int) -> EigenProblem:
        k, products = self._k[point], self._products.get(channel)
        own = None if products is None else products.at(k)
        return EigenProblem(self._sums[channel], self._overlap, k, own)

    def _processes(self, states: bool) -> int:
        """Return how many processes may solve problems, or refuse them for want of memory.

        Parameters
        ----------
        states : bool
            States are wanted, or counts of levels; else energies only.

        Returns
        -------
        int
            At least 1.
        """
        capabilities = self.solver.capabilities
        if capabilities.elsewhere:
            return 1
        if states not in self._n_fitting:
            limit = usable_memory(self._choice.memory)
            if self._choice.memory is not None:
                limit -= sum(products.nbytes for products in self._products.values())
            largest = self._largest_problem(), self._bands, states
            self.solver.fit(*largest, limit)
            self._n_fitting[states] = max(1, int(limit / self.solver.memory(*largest)))
        return min(self._jobs, self._n_fitting[states]) if capabilities.forks else 1

    def _share(self, jobs: int) -> int:
        """Return how many copies of a solver with threads of its own fit, and prepare it.

        The precision that the first k point took is known, and with it the memory.
        """
        self._n_fitting.clear()
        jobs = min(jobs, self._processes(self._states))
        if jobs > 1:
            limit = usable_memory(self._choice.memory)
            self.solver.fit(self._largest_problem(), self._bands, self._states, limit / jobs)
            self.solver.use_threads(1)
        return jobs

    def _largest_problem(self) -> EigenProblem:
        """Return a problem that takes as much memory as any: one at a complex k, if there is."""
        real = [self._sums[0].is_real(k) for k in self._k]
        return self._problem(0, int(np.argmin(real)))


_STATE: "tuple[EigenproblemSet, tuple[int, int] | None, Reduction | None] | None" = None


def _initialise(
    state: "tuple[EigenproblemSet, tuple[int, int] | None, Reduction | None]",
) -> None:
    global _STATE
    _STATE = state


def _work(task: Task) -> Solution:
    assert _STATE is not None
    problems, band_range, reduce = _STATE
    with blas_threads(1):
        return problems._solve(task, band_range, reduce)
