"""Energies of a block file's Hamiltonian at many k points."""

import os

import numpy as np

from moireio.errors import MoireioError
from moireio.processes import worker_pool
from moireio.results import BandStructure
from moireio.solvers import EigenProblem, can_count, make_solver

# Below this many multiplications in all, starting processes costs more than it saves.
SERIAL_WORK = 5e8
THREADED_SIZE = 600
# From this size on the sparse solver is faster, if the states wanted are few.
SPARSE_SIZE, FEW = 1500, 20
WORK_MATRICES = 5  # H, S and LAPACK's workspace


def solve_bands(
    file, path, *, bands=None, around=None, solver="auto", device="cpu", jobs=None, progress=None
):
    """Return the energies of a block file along a path.

    Parameters
    ----------
    file : BlockFile
        With a Hamiltonian, and an overlap unless its basis is orthogonal.
    path : KPath
        The k points.
    bands : int, optional
        How many bands; by default all. The same bands are kept at every k.
    around : float, optional
        Energy in eV around which they are chosen; by default the Fermi level, or where that is
        unknown, the gap that the number of electrons tells.
    solver : {"auto", "dense", "sparse"}
        How to solve; "auto" takes the sparse one for a few bands of a large matrix.
    device : {"cpu", "cuda"}
        Where to compute.
    jobs : int, optional
        Processes that share the k points, or threads of the sparse solver; by default one per
        core.
    progress : callable, optional
        Called with 1 after every k point.

    Returns
    -------
    BandStructure
        Energies in eV.

    Raises
    ------
    MoireioError
        If H or S is missing, S not positive definite, or the Fermi level needed and unknown.
    """
    hamiltonian = file.hamiltonian
    spin = hamiltonian.meta.spin
    channels = range(2) if spin == "collinear" else (None,)
    overlap = file.overlap
    if overlap is not None:
        overlap = overlap.assembler(spinor=spin == "spinor")
    sums = [hamiltonian.assembler(component=c) for c in channels]
    if solver == "auto":
        few = bands is not None and FEW * bands < sums[0].n and sums[0].n >= SPARSE_SIZE
        solver = "sparse" if few and device == "cpu" and can_count(sums[0].n) else "dense"
    near = next((e for e in (around, file.electrons.fermi) if e is not None), 0.0)
    engine = make_solver(solver, device, jobs or os.cpu_count() or 1, near)
    tasks = [(c, n) for c in range(len(sums)) for n in range(len(path))]
    window = None
    if bands is not None:
        if around is None:
            around = file.electrons.fermi
        if around is not None:
            below = _below(sums, overlap, path, engine, around)
        elif file.electrons.count is not None:
            below = file.electrons.count / (1 if spin == "spinor" else 2)
        else:
            raise MoireioError(
                "the Fermi level is unknown", path=file.label, remedy="say --around E in eV"
            )
        window = _window(sums[0].n, bands, below)
    state = (engine, sums, overlap, path.k, window)
    width = sums[0].n if window is None else window[1] - window[0] + 1
    energies = np.empty((len(sums), len(path), width))
    for (channel, n), found in _run(state, tasks, jobs, engine.forks):
        energies[channel, n] = found
        if progress:
            progress(1)
    return BandStructure(
        path,
        energies,
        fermi=file.electrons.fermi,
        electrons=file.electrons.count,
        spinor=spin == "spinor",
        first_band=0 if window is None else window[0],
        source=hamiltonian.meta.source,
    )


def _below(sums, overlap, path, engine, energy):
    """Return how many bands lie below an energy: the mean over a few points of the path."""
    if not np.isfinite(energy):
        raise MoireioError(f"{energy} is no energy")
    sample = np.unique(np.linspace(0, len(path) - 1, min(4, len(path))).astype(int))
    below = [
        engine.count_below(EigenProblem(s, overlap, path.k[p]), energy)
        for s in sums
        for p in sample
    ]
    return float(np.mean(below))


def _window(n, count, below):
    """Return the first and the last of some bands, as many above as below."""
    if not 1 <= count <= n:
        raise MoireioError(f"{count} bands were asked for, there are {n}")
    first = min(max(round(below - count / 2), 0), n - count)
    return first, first + count - 1


_STATE = None


def _initialise(state):
    global _STATE
    _STATE = state


def _solve(task):
    from threadpoolctl import threadpool_limits

    engine, sums, overlap, k, window = _STATE
    channel, n = task
    with threadpool_limits(1):
        return task, engine.energies(EigenProblem(sums[channel], overlap, k[n]), window)


def _run(state, tasks, jobs, forks):
    """Yield (task, energies), k points shared among processes where that pays."""
    from threadpoolctl import threadpool_limits

    engine, sums, overlap, k, window = state
    n = sums[0].n
    jobs = min(jobs or os.cpu_count() or 1, len(tasks), _fitting(n))
    if jobs == 1 or not forks or len(tasks) * float(n) ** 3 < SERIAL_WORK:
        # BLAS threads only pay for large matrices.
        with threadpool_limits(1 if n < THREADED_SIZE else None):
            for channel, point in tasks:
                problem = EigenProblem(sums[channel], overlap, k[point])
                yield (channel, point), engine.energies(problem, window)
        return
    with worker_pool(jobs, _initialise, (state,)) as pool:
        yield from pool.map(_solve, tasks)


def _fitting(n):
    """Return how many dense problems of n states fit into half of the machine's memory."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 1
    return max(1, int(memory / 2 / (WORK_MATRICES * 16 * float(n) ** 2)))
