"""Dense solvers: which one, and whether it fits."""

import numpy as np
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


def test_a_gpu_that_is_absent():
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(MoireioError, match=r"finds no CUDA device \(use `device` cpu\)"):
        dense_solver(DenseOptions(device="cuda"))


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


def test_the_smallest_eigenvalue_of_s_is_looked_at_once():
    """At the first k point."""
    solver = dense_solver(DenseOptions())
    first, second = (random_problem(1, min_overlap=value) for value in (1e-3, 1e-4))
    for problem in (first, second):
        solver.eigenvalues(problem)
    assert solver.diagnostics.min_overlap_eigenvalue == pytest.approx(1e-3, rel=0.01)
    cutoff = dense_solver(DenseOptions(overlap_cutoff=1e-2))
    energies = [cutoff.eigenvalues(problem) for problem in (first, second)]
    assert [len(e) for e in energies] == [17, 17]
    assert cutoff.diagnostics.n_removed == 1
    assert cutoff.diagnostics.min_overlap_eigenvalue == pytest.approx(1e-4, rel=0.01)
    assert np.isfinite(energies).all()
