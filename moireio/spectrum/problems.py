"""Eigenproblems at many k points: shared among processes, within memory."""

import os
from dataclasses import dataclass

import numpy as np

from moireio.errors import MoireioError
from moireio.runtime.memory import usable_memory
from moireio.runtime.processes import in_order, worker_pool
from moireio.solvers import mkl
from moireio.solvers.base import EigenProblem, SolverDiagnostics
from moireio.solvers.dependent import NEARLY
from moireio.solvers.registry import can_count, make_solver

# Below this many multiplications in all, starting processes costs more than it saves.
SERIAL_WORK = 5e8
THREADED_SIZE = 600
# From this size on the sparse solver is faster, if the states wanted are few.
SPARSE_SIZE, FEW = 1500, 20
WORK_MATRICES, LEAST_MATRICES = 5, 2  # H, S and LAPACK's workspace
# Fewer k points for each process are better solved by its threads.
FEW_TASKS = 3


@dataclass(frozen=True, eq=False)
class SolverChoice:
    """Which solver, and what it may use.

    Parameters
    ----------
    name : {"auto", "dense", "sparse", "slepc"}
        "auto" takes the sparse one for a few bands of a large matrix.
    device : {"cpu", "cuda"}
        Where to compute.
    jobs : int, optional
        Processes that share the k points, or threads where there is no memory for more
        processes; by default one per core.
    memory : float, optional
        Bytes that may be used; by default nearly all that are free.
    single : bool or None
        Factors of the sparse solver in single precision; None: where only levels of large matrices
        are wanted.
    prove : bool
        The sparse solver counts levels on both sides of those it found.
    launcher : str, optional
        What starts the processes of slepc, as ``mpirun -n 4``; by default one per core.
    python : str, optional
        Which Python has slepc4py.
    drop : float
        Elements below it, eV, are left out by the sparse solver, and corrected for to first order.
    cutoff : float
        Combinations of orbitals with smaller eigenvalues of S are left out.
    """

    name: str = "auto"
    device: str = "cpu"
    jobs: int | None = None
    memory: float | None = None
    single: bool | None = None
    prove: bool = False
    launcher: str | None = None
    python: str | None = None
    drop: float = 0.0
    cutoff: float = 0.0

    def resolved(self, n, bands):
        """Return the name of the solver.

        Parameters
        ----------
        n : int
            Number of states.
        bands : int or None
            How many are wanted; None for all.

        Returns
        -------
        {"dense", "sparse", "slepc"}
            What to use.
        """
        if self.name != "auto":
            return self.name
        few = bands is not None and FEW * bands < n and n >= SPARSE_SIZE
        return "sparse" if few and self.device == "cpu" and can_count(n) else "dense"


class EigenproblemSet:
    """The eigenproblems of a Hamiltonian at some k points.

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
        How many are wanted; by default all.
    near : float or None
        Where the sparse solver begins to look for them, eV.
    states : bool
        Give the states too.
    """

    def __init__(self, sums, overlap, k, solver, bands=None, near=None, states=False):
        self._sums, self._overlap, self._k = sums, overlap, np.asarray(k, dtype=float)
        self._choice, self._bands, self._states = solver, bands, states
        self.name = solver.resolved(sums[0].n_orbitals, bands)
        self._jobs = solver.jobs or os.cpu_count() or 1
        self._most = {}
        self._diagnostics = SolverDiagnostics()
        self._engine = make_solver(
            self.name,
            solver.device,
            self._jobs if self.name == "sparse" else 1,
            near,
            single=solver.single,
            verify_count=solver.prove,
            drop=solver.drop,
            overlap_cutoff=solver.cutoff,
            launcher=solver.launcher,
            python=solver.python,
        )

    @property
    def shape(self):
        """Number of spin channels, of k points and of orbitals."""
        return len(self._sums), len(self._k), self._sums[0].n_orbitals

    def close(self):
        """End processes that the solver started."""
        if self.name == "slepc":
            self._engine.close()

    def count_below(self, channel, point, energy):
        """Return how many levels lie below an energy.

        Parameters
        ----------
        channel, point : int
            Which problem.
        energy : float
            eV.

        Returns
        -------
        int
            Their number.
        """
        self._fitting(True)
        return self._engine.count_below(self._problem(channel, point), energy)

    def levels(self, tasks, window, reduce=None):
        """Solve problems, shared among processes where that pays.

        Parameters
        ----------
        tasks : list of tuple of two int
            Channel and point of each.
        window : tuple of two int or None
            First and last index (inclusive, from 0) of the states wanted; None for all.
        reduce : callable, optional
            Returns from (problem, energies, states) what is yielded instead of the states. It is
            called in the process that found them, so that only its result travels.

        Yields
        ------
        task : tuple of two int
            One of those given, in their order.
        energies : (nb,) array
            eV.
        states : (n, nb) array or None
            S-orthonormal; None if not asked for.

        Raises
        ------
        MoireioError
            If memory does not suffice, or S is not positive definite.
        """
        n = self._sums[0].n_orbitals
        if not tasks:
            return
        jobs = min(self._jobs, len(tasks), self._fitting())
        if self._engine.forks and len(tasks) * float(n) ** 3 < SERIAL_WORK:
            jobs = 1
        many = False
        if self.name == "sparse":
            many = len(tasks) >= FEW_TASKS * jobs and jobs > 1
            jobs = jobs if many else 1
            self._engine.use_threads(self._jobs)
        with self._quiet():
            if many:
                # where the levels are, once for all
                yield tasks[0], *self._noted(self._solve(tasks[0], window, reduce))
                # the precision that it took tells how many processes fit
                self._most.clear()
                jobs = min(jobs, self._fitting())
                if jobs > 1:
                    self._engine.stay_single()
                    self._engine.use_threads(1)
                tasks = tasks[1:]
            if jobs == 1:
                for task in tasks:
                    yield task, *self._noted(self._solve(task, window, reduce))
                return
        with worker_pool(jobs, _initialise, ((self, window, reduce),)) as pool:
            for task, found in zip(tasks, in_order(pool, _work, tasks), strict=True):
                yield task, *self._noted(found)

    def _quiet(self):
        """Limit threads of BLAS: they pay only for large matrices, and never beside MKL's."""
        from threadpoolctl import threadpool_limits

        if self.name == "sparse":
            return mkl.beside()
        return threadpool_limits(1 if self._sums[0].n_orbitals < THREADED_SIZE else None)

    def notes(self):
        """Return what the solver changed, or what endangers results, a list of lines."""
        seen, choice, notes = self._diagnostics, self._choice, []
        smallest = f"{seen.min_overlap_eigenvalue:.1e}"
        if choice.drop:
            notes.append(
                f"--drop {choice.drop:g} left out {100 * (1 - seen.kept_fraction):.0f} % of "
                f"elements; energies were corrected by {seen.largest_correction:.1e} eV at most"
            )
        if choice.cutoff and self._overlap is not None:
            notes.append(
                f"--overlap-cutoff {choice.cutoff:g} left out up to {seen.n_removed} of "
                f"{self._sums[0].n_orbitals} states; the smallest eigenvalue of S is {smallest}"
            )
        elif seen.min_overlap_eigenvalue < NEARLY:
            notes.append(
                f"orbitals nearly depend on each other: S has an eigenvalue of {smallest}, "
                "by which errors of H are divided (--overlap-cutoff leaves such states out)"
            )
        return notes

    def _solve(self, task, window, reduce=None):
        problem = self._problem(*task)
        if self._states:
            energies, states = self._engine.eigenpairs(problem, window)
        else:
            energies, states = self._engine.eigenvalues(problem, window), None
        if reduce is not None:
            states = reduce(problem, energies, states)
        return energies, states, self._engine.diagnostics

    def _noted(self, found):
        energies, states, diagnostics = found
        self._diagnostics = self._diagnostics.merged(diagnostics)
        return energies, states

    def _problem(self, channel, point):
        return EigenProblem(self._sums[channel], self._overlap, self._k[point])

    def _all_real(self):
        return all(one.is_real(k) for one in self._sums for k in self._k)

    def _fitting(self, count=False):
        """Return how many processes fit into memory, to count states or to find them."""
        precise = count or self._states
        if precise not in self._most:
            self._most[precise] = self._count_fitting(precise)
        return self._most[precise]

    def _count_fitting(self, precise):
        n = self._sums[0].n_orbitals
        limit = usable_memory(self._choice.memory)
        if self._engine.forks:
            least = LEAST_MATRICES * (8 if self._all_real() else 16) * float(n) ** 2
            if least > limit:
                raise MoireioError(
                    f"dense matrices of {n} states need at least {least / 1e9:.1f} GB, "
                    f"{limit / 1e9:.1f} GB may be used",
                    remedy="--bands with the sparse solver, or --memory allows more",
                )
            return max(1, int(limit / (WORK_MATRICES * 16 * float(n) ** 2)))
        if self.name != "sparse":
            return 1  # slepc's memory may be that of many machines
        general = int(np.argmin([self._sums[0].is_real(k) for k in self._k]))
        asked = self._problem(0, general), self._bands or n, precise
        need = self._engine.memory(*asked)
        if need > limit:
            self._engine.save_memory()
            need = self._engine.memory(*asked)
        if need > limit:
            half = "" if self._engine.is_single else "--precision float32 needs about half; "
            raise MoireioError(
                f"the factors of {n} states need about {need / 1e9:.1f} GB, "
                f"{limit / 1e9:.1f} GB may be used",
                remedy=f"{half}--memory allows more",
            )
        if self._engine.memory(*asked, double=True) > limit:
            self._engine.save_memory(double=True)
        if self._engine.memory(*asked, double=True) > limit:
            self._engine.stay_single()
        return int(limit / need)


_STATE = None


def _initialise(state):
    global _STATE
    _STATE = state


def _work(task):
    from threadpoolctl import threadpool_limits

    problems, window, reduce = _STATE
    with threadpool_limits(1):
        return problems._solve(task, window, reduce)
