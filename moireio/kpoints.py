"""Eigenproblems at many k points: shared among processes, kept as they come, gone on with."""

import contextlib
import json
import os
import time
from dataclasses import dataclass

import numpy as np

from moireio.errors import MoireioError
from moireio.memory import free_memory
from moireio.processes import in_order, worker_pool
from moireio.solvers import EigenProblem, can_count, make_solver

# Below this many multiplications in all, starting processes costs more than it saves.
SERIAL_WORK = 5e8
THREADED_SIZE = 600
# From this size on the sparse solver is faster, if the states wanted are few.
SPARSE_SIZE, FEW = 1500, 20
WORK_MATRICES = 5  # H, S and LAPACK's workspace
USABLE = 0.9  # of the free memory
# Fewer k points for each process are better solved by its threads.
FEW_TASKS = 3
SHORT = 10.0  # s


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
    single : bool
        Factors of the sparse solver in single precision.
    prove : bool
        The sparse solver counts levels on both sides of those it found.
    launcher : str, optional
        What starts the processes of slepc, as ``mpirun -n 4``; by default one per core.
    python : str, optional
        Which Python has slepc4py.
    drop : float
        Elements below it, eV, are left out by the sparse solver, and corrected for to first order.
    """

    name: str = "auto"
    device: str = "cpu"
    jobs: int | None = None
    memory: float | None = None
    single: bool = False
    prove: bool = False
    launcher: str | None = None
    python: str | None = None
    drop: float = 0.0

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


class KPoints:
    """The eigenproblems of a Hamiltonian at some k points.

    Parameters
    ----------
    sums : list of moireio.kspace.BlochSum
        H; of collinear spin, two.
    overlap : moireio.kspace.BlochSum or None
        S; None if orthogonal.
    k : (nk, 3) array
        Fractional coordinates.
    solver : SolverChoice
        How to solve.
    bands : int, optional
        How many are wanted; by default all.
    near : float or None
        Where the sparse solver begins to look for them, eV.
    """

    def __init__(self, sums, overlap, k, solver, bands=None, near=None):
        self._sums, self._overlap, self._k = sums, overlap, np.asarray(k, dtype=float)
        self._choice, self._bands = solver, bands
        self.name = solver.resolved(sums[0].n, bands)
        self._jobs = solver.jobs or os.cpu_count() or 1
        self._most = None
        self._kept, self._shift = 1.0, 0.0
        self._engine = make_solver(
            self.name,
            solver.device,
            1,
            near,
            single=solver.single,
            prove=solver.prove,
            drop=solver.drop,
            launcher=solver.launcher,
            python=solver.python,
        )

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
        self._fitting()
        return self._engine.count_below(self._problem(channel, point), energy)

    def levels(self, tasks, window):
        """Solve problems, shared among processes where that pays.

        Parameters
        ----------
        tasks : list of tuple of two int
            Channel and point of each.
        window : tuple of two int or None
            First and last index (inclusive, from 0) of the states wanted; None for all.

        Yields
        ------
        task : tuple of two int
            One of those given, in their order.
        energies : (nb,) array
            eV.

        Raises
        ------
        MoireioError
            If memory does not suffice, or S is not positive definite.
        """
        from threadpoolctl import threadpool_limits

        n = self._sums[0].n
        if not tasks:
            return
        jobs = min(self._jobs, len(tasks), self._fitting())
        # BLAS threads only pay for large matrices.
        threads = 1 if n < THREADED_SIZE else None
        if self._engine.forks and len(tasks) * float(n) ** 3 < SERIAL_WORK:
            jobs = 1
        if self.name == "sparse":
            if len(tasks) < FEW_TASKS * jobs:
                jobs = 1
            # BLAS of another library next to MKL's threads ruins both
            threads = 1
            self._engine.use_threads(1 if jobs > 1 else self._jobs)
            if jobs > 1:
                # where the levels are, once for all
                with threadpool_limits(threads):
                    yield tasks[0], self._noted(self._solve(tasks[0], window))
                self._engine.release()
                tasks = tasks[1:]
        if jobs == 1:
            with threadpool_limits(threads):
                for task in tasks:
                    yield task, self._noted(self._solve(task, window))
            return
        with worker_pool(jobs, _initialise, ((self, window),)) as pool:
            for task, found in zip(tasks, in_order(pool, _work, tasks), strict=True):
                yield task, self._noted(found)

    def note(self):
        """Return what was left out and what that changed, None if nothing was."""
        if not self._choice.drop:
            return None
        return (
            f"--drop {self._choice.drop:g} left out {100 * (1 - self._kept):.0f} % of elements; "
            f"energies were corrected by {self._shift:.1e} eV at most"
        )

    def _solve(self, task, window):
        energies = self._engine.energies(self._problem(*task), window)
        own = (self._engine.kept, self._engine.shift) if self._choice.drop else (1.0, 0.0)
        return energies, own

    def _noted(self, found):
        energies, (kept, shift) = found
        self._kept, self._shift = min(self._kept, kept), max(self._shift, shift)
        return energies

    def _problem(self, channel, point):
        return EigenProblem(self._sums[channel], self._overlap, self._k[point])

    def _fitting(self):
        """Return how many processes fit into memory."""
        if self._most is None:
            self._most = self._count_fitting()
        return self._most

    def _count_fitting(self):
        n = self._sums[0].n
        limit = self._choice.memory or USABLE * free_memory()
        if self._engine.forks:
            return max(1, int(limit / (WORK_MATRICES * 16 * float(n) ** 2)))
        if self.name != "sparse":
            return 1  # slepc's memory may be that of many machines
        general = int(np.argmin([self._sums[0].is_real(k) for k in self._k]))
        need = self._engine.memory(self._problem(0, general), self._bands or 1)
        if need > limit:
            half = "" if self._choice.single else "--precision float32 needs about half; "
            raise MoireioError(
                f"the factors of {n} states need about {need / 1e9:.1f} GB, "
                f"{limit / 1e9:.1f} GB may be used",
                remedy=f"{half}--memory allows more",
            )
        return int(limit / need)


_STATE = None


def _initialise(state):
    global _STATE
    _STATE = state


def _work(task):
    from threadpoolctl import threadpool_limits

    problems, window = _STATE
    with threadpool_limits(1):
        return problems._solve(task, window)


class Record:
    """Energies of finished k points in a file, from which an interrupted run goes on.

    Every line is JSON; the first tells which run it is. Runs of a few seconds leave no file.

    Parameters
    ----------
    path : str
        The file; the run removes it when all is done.
    key : dict
        What identifies the run.
    resume : bool
        Go on with what is there, if the key is the same; else begin anew.
    """

    def __init__(self, path, key, resume):
        self._path = path
        self.window, self.found, self.known = None, {}, False
        self._stream, self._waiting = None, []
        self._begin = time.monotonic()
        known = self._read(key) if resume else None
        if known is None:
            self._write({"key": key})
        else:
            self._stream = open(path, "r+", encoding="utf-8")  # noqa: SIM115
            self._stream.seek(known)
            self._stream.truncate()  # a line that was not finished

    def set_window(self, window):
        """Keep which states are wanted."""
        if not self.known:
            self.window, self.known = window, True
            self._write({"window": window})

    def add(self, task, energies):
        """Keep the energies of a k point.

        Parameters
        ----------
        task : tuple of two int
            Channel and point.
        energies : (nb,) array
            eV.
        """
        self._write({"task": list(task), "energies": [float(e) for e in energies]})

    def close(self, done):
        """Close the file; remove it if the run is done."""
        if self._stream is not None:
            self._stream.close()
        if done:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def _write(self, record):
        self._waiting.append(json.dumps(record) + "\n")
        if self._stream is None and time.monotonic() - self._begin >= SHORT and len(record) > 1:
            self._stream = open(self._path, "w", encoding="utf-8")  # noqa: SIM115
        if self._stream is not None:
            self._stream.writelines(self._waiting)
            self._stream.flush()
            self._waiting = []

    def _read(self, key):
        """Read what is there; return how many bytes of it are whole, None if nothing fits."""
        try:
            with open(self._path, "rb") as stream:
                lines = stream.read().splitlines(keepends=True)
        except FileNotFoundError:
            return None
        size = 0
        for n, line in enumerate(lines):
            try:
                record = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            if n == 0 and record.get("key") != json.loads(json.dumps(key)):
                raise MoireioError(
                    "belongs to another run", path=self._path, remedy="remove it, or no --resume"
                )
            if "window" in record:
                self.window, self.known = record["window"] and tuple(record["window"]), True
            if "task" in record:
                self.found[tuple(record["task"])] = np.array(record["energies"])
            size += len(line)
        return size or None
