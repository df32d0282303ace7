"""Dense eigenproblems with LAPACK."""

import numpy as np

from moireio.solvers import not_positive


class LapackSolver:
    """All eigenvalues by divide and conquer, or a window of them (``gvd``, ``gvx``)."""

    name = "dense"
    forks = True

    def energies(self, problem, window=None):
        """Return energies in eV, ascending (see `moireio.solvers.Solver`)."""
        return self._solve(problem, window, eigvals_only=True)

    def pairs(self, problem, window=None):
        """Return energies and states (see `moireio.solvers.Solver`)."""
        return self._solve(problem, window, eigvals_only=False)

    @staticmethod
    def _solve(problem, window, eigvals_only):
        from scipy.linalg import eigh

        h, s = problem.dense()
        try:
            return eigh(
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

    def count_below(self, problem, energy):
        """Return how many states lie below an energy (see `moireio.solvers.Solver`)."""
        return int(np.searchsorted(self.energies(problem), energy))
