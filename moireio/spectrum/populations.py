"""All levels at many k points, with the populations of groups of orbitals."""

import os

import numpy as np

from moireio.runtime.processes import in_order, worker_pool
from moireio.solvers.base import EigenProblem, not_positive

SERIAL_WORK = 5e8  # multiplications below which starting processes costs more than it saves
THREADED_SIZE = 600
DEGENERATE = 1e-5  # eV


def solve_states(problem, indicator=None):
    """Return all levels at one k point, and their populations.

    Parameters
    ----------
    problem : EigenProblem
        H and S.
    indicator : (ng, n) sparse array, optional
        A 1 where a row of H belongs to a group.

    Returns
    -------
    energies : (n,) array
        eV, ascending.
    weights : (n, ng) array
        Gross populations. Those of degenerate levels, which depend on the choice of the states,
        are replaced by their mean.

    Raises
    ------
    MoireioError
        If S is not positive definite.
    """
    from scipy.linalg import eigh

    h, s = (None if m is None else _double(m) for m in problem.dense())
    try:
        found = eigh(
            h,
            s,
            lower=False,
            eigvals_only=indicator is None,
            overwrite_a=True,
            overwrite_b=True,
            check_finite=False,
            driver="evd" if s is None else "gvd",
        )
    except np.linalg.LinAlgError as error:
        if s is None:
            raise
        raise not_positive(problem.k) from error
    if indicator is None:
        return found, np.zeros((problem.n_orbitals, 0))
    energies, states = found
    images = states if s is None else problem.overlap.dense(problem.k) @ states
    weights = (indicator @ (states.conj() * images).real).T
    return energies, _mean_of_degenerate(energies, weights)


def _double(matrix):
    return matrix.astype(np.complex128 if matrix.dtype.kind == "c" else np.float64, copy=False)


def _mean_of_degenerate(energies, weights):
    first = np.flatnonzero(np.concatenate([[True], np.diff(energies) > DEGENERATE]))
    if len(first) == len(energies):
        return weights
    sizes = np.diff(np.append(first, len(energies)))
    means = np.add.reduceat(weights, first, axis=0) / sizes[:, None]
    return np.repeat(means, sizes, axis=0)


def states_on_mesh(sums, overlap, k, indicator=None, jobs=None, progress=None):
    """Return all levels at many k points, the points shared among processes where that pays.

    Parameters
    ----------
    sums : list of BlochSum
        H, of either spin.
    overlap : BlochSum or None
        S.
    k : (nk, 3) array
        Fractional coordinates.
    indicator : (ng, n) sparse array, optional
        Groups of rows.
    jobs : int, optional
        Processes; by default one per core.
    progress : callable, optional
        Called with 1 after every k point.

    Returns
    -------
    energies : (ns, nk, n) array
        eV.
    weights : (ns, nk, n, ng) array
        Populations.
    """
    groups = 0 if indicator is None else indicator.shape[0]
    shape = (len(sums), len(k), sums[0].n_orbitals)
    energies, weights = np.empty(shape), np.empty((*shape, groups))
    tasks = [(c, n) for c in range(shape[0]) for n in range(shape[1])]
    for (c, n), found in _run((sums, overlap, k, indicator), tasks, jobs):
        energies[c, n], weights[c, n] = found
        if progress:
            progress(1)
    return energies, weights


_STATE = None


def _initialise(state):
    global _STATE
    _STATE = state


def _at(state, task):
    sums, overlap, k, indicator = state
    channel, n = task
    return task, solve_states(EigenProblem(sums[channel], overlap, k[n]), indicator)


def _in_worker(task):
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        return _at(_STATE, task)


def _run(state, tasks, jobs):
    from threadpoolctl import threadpool_limits

    n = state[0][0].n_orbitals
    cores = jobs or os.cpu_count() or 1
    jobs = min(cores, len(tasks), fitting(n))
    if jobs == 1 or len(tasks) * float(n) ** 3 < SERIAL_WORK:
        # BLAS threads only pay for large matrices
        with threadpool_limits(1 if n < THREADED_SIZE else cores):
            for task in tasks:
                yield _at(state, task)
        return
    with worker_pool(jobs, _initialise, (state,)) as pool:
        yield from in_order(pool, _in_worker, tasks)


def fitting(n):
    """Return how many dense problems of n states fit into half of the machine's memory."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 1
    return max(1, int(memory / 2 / (7 * 16 * float(n) ** 2)))
