"""Levels by their index: slices, copies, shifts that hit a level."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.solvers import search
from moireio.solvers.base import EigenProblem
from moireio.solvers.registry import make_solver
from moireio.solvers.testing import check_states, exact_levels, random_problem


def chain(n):
    """A chain of n orbitals with hopping 1; an odd one has a level at exactly 0."""
    from moireio.operators.bloch import BlochSum

    sites = np.arange(n)
    i = np.concatenate([sites, sites[:-1]])
    j = np.concatenate([sites, sites[1:]])
    order = np.lexsort([j, i])
    blocks = np.concatenate([np.zeros(n), np.ones(n - 1)])[order]
    cells = np.zeros((len(i), 3), dtype=int)
    total = BlochSum(np.ones(n, dtype=int), i[order], j[order], cells, blocks, half_diagonal=True)
    levels = np.sort(2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)))
    return EigenProblem(total, None, np.zeros(3)), levels


@pytest.mark.parametrize("k", [(0.1, 0.3, 0), (0, 0.5, 0)])
@pytest.mark.parametrize("copies", [1, 4])
def test_all_levels_by_slices(sparse_solver, monkeypatch, copies, k):
    """Levels from several shifts: all of them, the states orthonormal, also of cut levels."""
    monkeypatch.setattr(search, "SLICE", 5)
    monkeypatch.setattr(search, "SEAM", 3)
    problem = random_problem(1, k, copies=copies)
    exact, solver = exact_levels(problem), sparse_solver()
    assert np.abs(solver.eigenvalues(problem) - exact).max() < 1e-8
    for band_range in (None, (3, len(exact) // 2)):
        first, last = band_range or (0, len(exact) - 1)
        levels, states = solver.eigenpairs(problem, band_range)
        assert np.abs(levels - exact[first : last + 1]).max() < 1e-8
        check_states(problem, levels, states, deviation=1e-7)


@pytest.mark.parametrize("copies", [4, 20])
def test_more_copies_than_a_block_of_lanczos_has(sparse_solver, copies):
    problem = random_problem(2, copies=copies)
    exact, solver = exact_levels(problem), sparse_solver()
    middle = copies * 9
    for first, last in (
        (middle - 3, middle + 4),
        (middle + copies // 2 - 1, middle + copies // 2),
        (0, 1),
        (copies + 1, copies + 1),
    ):
        levels = solver.eigenvalues(problem, (first, last))
        assert np.abs(levels - exact[first : last + 1]).max() < 1e-9


@pytest.mark.parametrize("distance", [0.0, 1e-9, -1e-6])
def test_a_shift_that_hits_a_level_is_moved(sparse_solver, distance):
    problem = random_problem(1, orthogonal=True)
    exact = exact_levels(problem)
    solver = sparse_solver(float(exact[4]) + distance)
    assert np.abs(solver.eigenvalues(problem, (3, 6)) - exact[3:7]).max() < 1e-9


def test_chain_with_a_level_at_zero(sparse_solver):
    """A matrix that is exactly singular, where the search begins."""
    problem, exact = chain(201)
    solver = sparse_solver(0.0)
    assert np.abs(solver.eigenvalues(problem, (95, 105)) - exact[95:106]).max() < 1e-9
    assert solver.count_below(problem, 0.5) == (exact < 0.5).sum()


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    sigma=st.one_of(st.none(), st.floats(-60, 60)),
    first=st.integers(0, 17),
    count=st.integers(1, 18),
)
def test_any_range_from_any_shift(seed, sigma, first, count):
    problem = random_problem(seed)
    exact = exact_levels(problem)
    last = min(first + count, len(exact)) - 1
    solver = make_solver("sparse", {}, sigma)
    assert np.abs(solver.eigenvalues(problem, (first, last)) - exact[first : last + 1]).max() < 1e-8


def test_bands_that_are_not_there(sparse_solver):
    """Where combinations of orbitals are left out, the last bands are missing."""
    problem = random_problem(1)
    values = np.linalg.eigvalsh(problem.overlap.dense(problem.k))
    kept = 15
    solver = sparse_solver(overlap_cutoff=float(values[2:4].mean()))
    with pytest.raises(MoireioError, match=f"there are {kept} levels only"):
        solver.eigenvalues(problem, (kept - 2, kept))


def test_the_next_shift_is_near_the_middle_of_the_energies(sparse_solver, monkeypatch):
    """From a wider gap off the middle the nearer levels beyond one end would be found first."""
    from moireio.operators.bloch import BlochSum
    from moireio.solvers import sparse

    inside = [0, 0.02, 0.04, 0.06, 0.36, 0.38, 0.62, 0.64, 0.94, 0.96, 0.98, 1.0]
    outside = np.concatenate([-0.1 - 0.01 * np.arange(60), 1.1 + 0.3 * np.arange(60)])
    levels = np.sort(np.concatenate([inside, outside]))
    sites, cells = np.arange(len(levels)), np.zeros((len(levels), 3), dtype=int)
    total = BlochSum(np.ones_like(sites), sites, sites, cells, levels, half_diagonal=False)
    problem, solver = EigenProblem(total, None, np.zeros(3)), sparse_solver(0.21)
    shifts, plain = [], sparse.lanczos

    def recorded(solve, overlap, n, dtype, sigma, *args, **kwargs):
        shifts.append(sigma)
        return plain(solve, overlap, n, dtype, sigma, *args, **kwargs)

    monkeypatch.setattr(sparse, "lanczos", recorded)
    for _ in range(2):
        assert np.abs(solver.eigenvalues(problem, (60, 71)) - inside).max() < 1e-9
    assert 0.38 < shifts[-1] < 0.62
