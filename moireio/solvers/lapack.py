"""Dense eigenproblems with LAPACK."""

import numpy as np

from moireio.solvers import Remarks, not_positive
from moireio.solvers.dependent import canonical, least_eigenvalue


class LapackSolver:
    """All eigenvalues by divide and conquer, or a window of them (``gvd``, ``gvx``).

    Parameters
    ----------
    cutoff : float
        Combinations of orbitals with smaller eigenvalues of S are left out.
    """

    name = "dense"
    forks = True

    def __init__(self, cutoff=0.0):
        self._cutoff = cutoff
        self.remarks, self._checked = Remarks(), False

    def energies(self, problem, window=None):
        """Return energies in eV, ascending (see `moireio.solvers.Solver`)."""
        return self._solve(problem, window, eigvals_only=True)

    def pairs(self, problem, window=None):
        """Return energies and states (see `moireio.solvers.Solver`)."""
        return self._solve(problem, window, eigvals_only=False)

    def _solve(self, problem, window, eigvals_only):
        from scipy.linalg import eigh

        h, s = problem.dense()
        basis = None
        if s is not None and self._cutoff > 0:
            h, basis, values = canonical(h, s, self._cutoff)
            found = Remarks(least=float(values[0]), removed=len(values) - len(h))
            self.remarks, s = self.remarks.with_those(found), None
        elif s is not None and not self._checked:
            self._check(s, problem.k)
        try:
            found = eigh(
                h,
                s,
                lower=False,
                eigvals_only=eigvals_only,
                overwrite_a=True,
                overwrite_b=True,
                check_finite=False,
                subset_by_index=window,
                driver=None if window else ("evd" if s is None else "gvd"),
            )
        except np.linalg.LinAlgError as error:
            if s is None:
                raise
            raise not_positive(problem.k) from error
        if eigvals_only or basis is None:
            return found
        return found[0], basis @ found[1]

    def _check(self, s, k):
        """Look at the smallest eigenvalue of S, once."""
        from scipy.linalg import cho_solve, cholesky

        try:
            factor = cholesky(s, check_finite=False)
        except np.linalg.LinAlgError as error:
            raise not_positive(k) from error
        least = least_eigenvalue(
            lambda right: cho_solve((factor, False), right, check_finite=False), len(s), s.dtype
        )
        self.remarks, self._checked = self.remarks.with_those(Remarks(least=least)), True

    def count_below(self, problem, energy):
        """Return how many states lie below an energy (see `moireio.solvers.Solver`)."""
        return int(np.searchsorted(self.energies(problem), energy))
