"""Factors of either kind behind one interface."""

import numpy as np
import pytest

from moireio.solvers import factoriser as factoriser_module
from moireio.solvers.factoriser import Factoriser
from moireio.solvers.pencil import Pencil
from moireio.solvers.testing import GENERAL, REAL, exact_levels, random_problem


@pytest.mark.parametrize("k", [GENERAL, REAL])
def test_solutions_and_counts(factors, k):
    """Of H − σS at one shift after another, with the analysis of the first."""
    problem = random_problem(3, k)
    pencil = Pencil(problem)
    factoriser, exact = Factoriser(pencil, 1), exact_levels(problem)
    right = np.random.default_rng(0).normal(size=(problem.n_orbitals, 3))
    h, s = problem.hamiltonian.dense(k), problem.overlap.dense(k)
    for count in (0, 7, 18):
        sigma = np.concatenate([exact[:1] - 2, exact, exact[-1:] + 2])[count : count + 2].mean()
        values = pencil.shifted(problem, sigma)
        factor = factoriser.factorise(values)
        assert factor is factoriser.prepared(k == REAL, False)
        assert factoriser.negative(factor, values) == count
        assert np.abs((h - sigma * s) @ factor.solve(right) - right).max() < 1e-9
        factoriser.forget()


@pytest.mark.parametrize("largest", [factoriser_module.LARGEST, 1])
def test_real_and_complex_matrices_in_turn(factors, monkeypatch, largest):
    """Each is analysed once, unless they are large."""
    monkeypatch.setattr(factoriser_module, "LARGEST", largest)
    made = []
    problems = {k: random_problem(3, k) for k in (GENERAL, REAL)}
    pencil = Pencil(problems[GENERAL])
    factoriser = Factoriser(pencil, 1)
    for k in (GENERAL, REAL, GENERAL):
        values = pencil.shifted(problems[k], 0.1)
        factor = factoriser.factorise(values, keep=False)
        assert factor.dtype == values.dtype
        right = np.ones((pencil.indptr.size - 1, 1))
        h, s = problems[k].hamiltonian.dense(k), problems[k].overlap.dense(k)
        assert np.abs((h - 0.1 * s) @ factor.solve(right) - right).max() < 1e-9
        made.append(factor)
    assert (made[0] is made[2]) == (largest > 1)
