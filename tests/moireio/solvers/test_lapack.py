"""LAPACK's solver."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.solvers.lapack import LapackSolver
from moireio.solvers.options import DenseOptions
from moireio.solvers.registry import make_solver
from moireio.solvers.testing import SolverContract, check_states, exact_levels, random_problem


class TestLapack(SolverContract):
    @pytest.fixture
    def solver(self):
        return make_solver("dense")


def test_the_smallest_eigenvalue_of_s_is_looked_at_once():
    """At the first k point."""
    solver = LapackSolver(DenseOptions())
    first, second = (random_problem(1, min_overlap=value) for value in (1e-3, 1e-4))
    for problem in (first, second):
        solver.eigenvalues(problem)
    assert solver.diagnostics.min_overlap_eigenvalue == pytest.approx(1e-3, rel=0.01)
    cutoff = LapackSolver(DenseOptions(overlap_cutoff=1e-2))
    energies = [cutoff.eigenvalues(problem) for problem in (first, second)]
    assert [len(e) for e in energies] == [17, 17]
    assert cutoff.diagnostics.n_removed == 1
    assert cutoff.diagnostics.min_overlap_eigenvalue == pytest.approx(1e-4, rel=0.01)
    assert np.isfinite(energies).all()


def test_bands_that_are_no_longer_there():
    """Where combinations of orbitals are left out, a range ends with the last band, or is empty."""
    problem = random_problem(1, min_overlap=1e-4)
    n = problem.n_orbitals
    solver = LapackSolver(DenseOptions(overlap_cutoff=1e-2))
    whole = solver.eigenvalues(problem)
    assert len(whole) == n - 1
    energies, states = solver.eigenpairs(problem, (n - 4, n - 1))
    np.testing.assert_allclose(energies, whole[-3:], atol=1e-10)
    s = problem.overlap.dense(problem.k)
    np.testing.assert_allclose(states.conj().T @ s @ states, np.eye(3), atol=1e-10)
    energies, states = solver.eigenpairs(problem, (n - 1, n - 1))
    assert (energies.shape, states.shape) == ((0,), (n, 0))
    assert solver.eigenvalues(problem, (n - 1, n - 1)).shape == (0,)


def test_a_cutoff_below_all_eigenvalues_changes_nothing():
    problem = random_problem(2, min_overlap=1e-2)
    solver = LapackSolver(DenseOptions(overlap_cutoff=1e-4))
    energies, states = solver.eigenpairs(problem)
    np.testing.assert_allclose(energies, exact_levels(problem), atol=1e-9)
    check_states(problem, energies, states)
    assert solver.diagnostics.n_removed == 0


def test_an_overlap_that_is_not_positive_has_a_remedy():
    """A line with the k point and the parameter that helps, which then does."""
    problem = random_problem(5, min_overlap=-1e-3)
    with pytest.raises(MoireioError, match=r"k = 0\.1 0\.23 0 .*`overlap_cutoff`"):
        LapackSolver(DenseOptions()).eigenvalues(problem)
    energies = LapackSolver(DenseOptions(overlap_cutoff=1e-2)).eigenvalues(problem)
    assert len(energies) == problem.n_orbitals - 1
