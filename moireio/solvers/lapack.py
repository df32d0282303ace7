"""Dense eigenproblems with LAPACK."""

from contextlib import nullcontext

import numpy as np

from moireio.solvers.base import SolverDiagnostics, not_positive
from moireio.solvers.dependent import canonical, least_eigenvalue

# From this size on S is factorised by one thread: OpenBLAS 0.3.30 crashes with more above some
# 14,000 rows (a buffer of its Cholesky factorisation overflows), and the rest takes far longer.
ONE_THREAD = 8000


class LapackSolver:
    """All eigenvalues by divide and conquer, or a window of them (``evd``, ``evr``).

    Parameters
    ----------
    cutoff : float
        Combinations of orbitals with smaller eigenvalues of S are left out.
    """

    name = "dense"
    forks = True

    def __init__(self, cutoff=0.0):
        self._cutoff = cutoff
        self.diagnostics, self._checked = SolverDiagnostics(), False

    def eigenvalues(self, problem, window=None):
        """Return energies in eV, ascending (see `moireio.solvers.base.Solver`)."""
        return self._solve(problem, window, eigvals_only=True)

    def eigenpairs(self, problem, window=None):
        """Return energies and states (see `moireio.solvers.base.Solver`)."""
        return self._solve(problem, window, eigvals_only=False)

    def _solve(self, problem, window, eigvals_only):
        from scipy.linalg import eigh

        h, back = self._reduced(problem)
        found = eigh(
            h,
            lower=True,
            eigvals_only=eigvals_only,
            overwrite_a=True,
            check_finite=False,
            subset_by_index=window,
            driver=None if window else "evd",
        )
        return found if eigvals_only else (found[0], back(found[1]).conj())

    def _reduced(self, problem):
        """Return H of an ordinary problem, and what makes states of its states.

        All of the complex conjugates: their lower triangles lie in memory as LAPACK wants them.
        """
        from scipy.linalg import get_lapack_funcs, solve_triangular

        h, s = problem.dense()
        if s is None:
            return h.T, lambda states: states
        if self._cutoff > 0:
            h, basis, values = canonical(h, s, self._cutoff)
            found = SolverDiagnostics(
                min_overlap_eigenvalue=float(values[0]), n_removed=len(values) - len(h)
            )
            self.diagnostics = self.diagnostics.merged(found)
            return h.T, lambda states: basis.conj() @ states
        dtype = np.result_type(h, s)
        h, s = h.astype(dtype, copy=False).T, s.astype(dtype, copy=False).T
        kind = "hegst" if dtype.kind == "c" else "sygst"
        factorise, reduce = get_lapack_funcs(("potrf", kind), (h, s))
        with _one_thread() if len(s) >= ONE_THREAD else nullcontext():
            lower, info = factorise(s, lower=True, overwrite_a=True, clean=False)
        if info:
            raise not_positive(problem.k)
        if not self._checked:
            self._check(lower)
        h, _ = reduce(h, lower, lower=True, overwrite_a=True)

        def back(states):
            return solve_triangular(
                lower, states, trans="C", lower=True, overwrite_b=True, check_finite=False
            )

        return h, back

    def _check(self, lower):
        """Look at the smallest eigenvalue of S, once."""
        from scipy.linalg import cho_solve

        least = least_eigenvalue(
            lambda right: cho_solve((lower, True), right, check_finite=False),
            len(lower),
            lower.dtype,
        )
        self.diagnostics, self._checked = (
            self.diagnostics.merged(SolverDiagnostics(min_overlap_eigenvalue=least)),
            True,
        )

    def count_below(self, problem, energy):
        """Return how many states lie below an energy (see `moireio.solvers.base.Solver`)."""
        return int(np.searchsorted(self.eigenvalues(problem), energy))


def _one_thread():
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, user_api="blas")
