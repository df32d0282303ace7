"""Dense eigenproblems: what LAPACK's and torch's solvers share."""

from typing import Any

import numpy as np

from moireio.solvers.base import EigenProblem, Solver, SolverDiagnostics, too_large
from moireio.solvers.options import DenseOptions

# Matrices in memory, complex: H, S and LAPACK's workspace; and the fewest with which it can work.
WORK_MATRICES, LEAST_MATRICES = 5, 2


def dense_solver(options: DenseOptions, sigma: float | None = None) -> Solver:
    """Return the dense solver of a device.

    Parameters
    ----------
    options : DenseOptions
        With the device.
    sigma : float, optional
        Not used.

    Returns
    -------
    Solver
        LAPACK's on the CPU, else torch's.
    """
    if options.device == "cpu":
        from moireio.solvers.lapack import LapackSolver

        return LapackSolver(options)
    from moireio.solvers.torch_dense import TorchSolver

    return TorchSolver(options)


class DenseSolver(Solver):
    """A solver of dense matrices.

    Parameters
    ----------
    options : DenseOptions
        Its options.
    """

    name = "dense"
    Options = DenseOptions

    def __init__(self, options: DenseOptions):
        self.options = options
        self.diagnostics = SolverDiagnostics()

    def memory(self, problem: EigenProblem, bands: int, states: bool) -> float:
        """Return about how many bytes a problem takes (see `moireio.solvers.base.Solver`)."""
        return WORK_MATRICES * 16 * float(problem.n_orbitals) ** 2

    def fit(self, problem: EigenProblem, bands: int, states: bool, limit: float) -> None:
        """Refuse a problem that does not fit (see `moireio.solvers.base.Solver`)."""
        itemsize = np.dtype(float if problem.is_real else complex).itemsize
        least = LEAST_MATRICES * itemsize * float(problem.n_orbitals) ** 2
        if least > limit:
            raise too_large(
                self.name,
                problem.n_orbitals,
                least,
                limit,
                "choose a few `bands` with the sparse solver, or raise `memory`",
            )

    def _note(self, **properties: Any) -> None:
        """Add to the diagnostics."""
        self.diagnostics = self.diagnostics.merged(SolverDiagnostics(**properties))
