"""Dense solvers: which one, and whether it fits."""

import pytest

from moireio.errors import MoireioError
from moireio.solvers.dense import dense_solver
from moireio.solvers.lapack import LapackSolver
from moireio.solvers.options import DenseOptions
from moireio.solvers.testing import GENERAL, REAL, random_problem


def test_devices():
    assert type(dense_solver(DenseOptions())) is LapackSolver
    pytest.importorskip("torch")
    with pytest.raises(MoireioError, match="torch knows no device 'abacus'"):
        dense_solver(DenseOptions(device="abacus"))


def test_what_fits():
    """Two matrices at least, which are half as large where they are real."""
    solver = dense_solver(DenseOptions())
    complex_problem, real_problem = (random_problem(1, k) for k in (GENERAL, REAL))
    matrix = 16 * complex_problem.n_orbitals**2
    assert solver.memory(complex_problem, 4, True) == 5 * matrix
    solver.fit(complex_problem, 4, True, 2 * matrix)
    solver.fit(real_problem, 4, True, matrix)
    for problem, limit in ((complex_problem, 1.9 * matrix), (real_problem, 0.9 * matrix)):
        with pytest.raises(MoireioError, match=r"sparse solver, or raise `memory`"):
            solver.fit(problem, 4, True, limit)
