"""Dense eigenproblems with LAPACK."""

from contextlib import nullcontext

import numpy as np
import numpy.typing as npt

from moireio.runtime.threads import blas_threads
from moireio.solvers.base import EigenProblem, SolverCapabilities, not_positive
from moireio.solvers.dense import DenseSolver
from moireio.solvers.near_dependence import canonical_orthogonalisation, smallest_eigenvalue
from moireio.solvers.options import DenseOptions

# From this size on S is factorised by one thread: OpenBLAS 0.3.30 crashes with more above some
# 14,000 rows (a buffer of its Cholesky factorisation overflows), and the rest takes far longer.
ONE_THREAD = 8000


class LapackSolver(DenseSolver):
    """All eigenvalues by divide and conquer, or a range of them (``evd``, ``evr``).

    Parameters
    ----------
    options : DenseOptions
        Its options.
    """

    capabilities = SolverCapabilities(forks=True)

    def __init__(self, options: DenseOptions):
        super().__init__(options)
        self._checked = False

    def eigenvalues(
        self, problem: EigenProblem, band_range: tuple[int, int] | None = None
    ) -> npt.NDArray:
        """Return energies in eV, ascending (see `moireio.solvers.base.Solver`)."""
        return self._solve(problem, band_range, eigvals_only=True)

    def eigenpairs(
        self, problem: EigenProblem, band_range: tuple[int, int] | None = None
    ) -> tuple[npt.NDArray, npt.NDArray]:
        """Return energies and states (see `moireio.solvers.base.Solver`)."""
        return self._solve(problem, band_range, eigvals_only=False)

    def _solve(self, problem, band_range, eigvals_only):
        from scipy.linalg import eigh

        h, transform = self._standard_form(problem)
        if band_range is not None and band_range[1] >= len(h):  # some combinations were left out
            if band_range[0] >= len(h):
                energies = np.zeros(0)
                return energies if eigvals_only else (energies, np.zeros((problem.n_orbitals, 0)))
            band_range = band_range[0], len(h) - 1
        solution = eigh(
            h,
            lower=True,
            eigvals_only=eigvals_only,
            overwrite_a=True,
            check_finite=False,
            subset_by_index=band_range,
            driver=None if band_range else "evd",
        )
        return solution if eigvals_only else (solution[0], transform(solution[1]).conj())

    def _standard_form(self, problem):
        """Return H of an ordinary eigenproblem, and the map from its states to those wanted.

        Both of the complex conjugates: their lower triangles lie in memory as LAPACK wants them.
        """
        from scipy.linalg import get_lapack_funcs, solve_triangular

        h, s = problem.dense()
        if s is None:
            return h.T, lambda states: states
        if self.options.overlap_cutoff > 0:
            h, basis, values = canonical_orthogonalisation(h, s, self.options.overlap_cutoff)
            self._note(min_overlap_eigenvalue=float(values[0]), n_removed=len(values) - len(h))
            return h.T, lambda states: basis.conj() @ states
        dtype = np.result_type(h, s)
        h, s = h.astype(dtype, copy=False).T, s.astype(dtype, copy=False).T
        kind = "hegst" if dtype.kind == "c" else "sygst"
        factorise, reduce = get_lapack_funcs(("potrf", kind), (h, s))
        with blas_threads(1) if len(s) >= ONE_THREAD else nullcontext():
            lower, info = factorise(s, lower=True, overwrite_a=True, clean=False)
        if info:
            raise not_positive(problem.k)
        if not self._checked:
            self._check(lower)
        h, _ = reduce(h, lower, lower=True, overwrite_a=True)

        def transform(states):
            return solve_triangular(
                lower, states, trans="C", lower=True, overwrite_b=True, check_finite=False
            )

        return h, transform

    def _check(self, lower):
        """Look at the smallest eigenvalue of S, once."""
        from scipy.linalg import cho_solve

        smallest = smallest_eigenvalue(
            lambda right: cho_solve((lower, True), right, check_finite=False),
            len(lower),
            lower.dtype,
        )
        self._note(min_overlap_eigenvalue=smallest)
        self._checked = True
