"""SLEPc under MPI against LAPACK, beyond the tests of all solvers."""

import tempfile

import numpy as np
import pytest
from mpi import slepc_launcher

import moireio
from moireio.operators.bloch import BlochSum
from moireio.solvers import search
from moireio.solvers.base import EigenProblem
from moireio.solvers.registry import make_solver
from moireio.solvers.testing import exact_levels, random_problem
from moireio.spectrum.choice import SolverChoice


@pytest.fixture(scope="module")
def launcher():
    return slepc_launcher()


@pytest.fixture(scope="module")
def solver(launcher):
    solver = make_solver("slepc", {"launcher": launcher})
    yield solver
    solver.close()


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """An empty folder for temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


class Dense:
    """A Bloch sum with one large block, the same at every k."""

    def __init__(self, matrix):
        self._matrix, self.n_orbitals = matrix, len(matrix)

    def upper_pattern(self):
        rows, columns = np.triu_indices(self.n_orbitals)
        return np.searchsorted(rows, np.arange(self.n_orbitals + 1)), columns

    def upper_values(self, k):
        return self._matrix[np.triu_indices(self.n_orbitals)]


@pytest.mark.parametrize("dtype", [float, complex])
def test_counts_of_a_large_block(solver, dtype):
    """Every rank's part of the factors is counted."""
    rng = np.random.default_rng(0)
    n = 700 if dtype is complex else 1400
    a = rng.normal(size=(n, n)) + (1j * rng.normal(size=(n, n)) if dtype is complex else 0)
    a = a + a.conj().T
    levels = np.linalg.eigvalsh(a)
    problem = EigenProblem(Dense(a), None, [0.1, 0.2, 0.0])
    for n in (10, len(a) // 2, len(a) - 7):
        assert solver.count_below(problem, levels[n - 1 : n + 1].mean()) == n


def test_a_shift_again(solver):
    """Where nothing is left to be factorised, no rank falls behind the commands."""
    problem = EigenProblem(Dense(np.diag(np.arange(8.0))), None, [0.0, 0.0, 0.0])
    assert {solver.count_below(problem, 2.5) for _ in range(100)} == {3}


@pytest.mark.parametrize("name", ["gr_ab", "hbn_soc", "o2_col"])
def test_real_files(made, name, launcher, temporary):
    with moireio.open(made[name]) as file:
        path = moireio.make_path(file.structure, "GMKG" if name != "o2_col" else "GX", 5)
        dense, slepc = (
            moireio.solve_bands(file, path, bands=8, solver=SolverChoice(s, options=o))
            for s, o in (("dense", {}), ("slepc", {"launcher": launcher}))
        )
        assert slepc.first_band == dense.first_band
        assert np.abs(slepc.energies - dense.energies).max() < 1e-9
    assert not list(temporary.iterdir())


def test_level_on_the_shift(launcher):
    """A matrix that is exactly singular, and a shift that nearly hits a level."""
    n = 51
    sites = np.arange(n)
    i, j = np.concatenate([sites, sites[:-1]]), np.concatenate([sites, sites[1:]])
    order = np.lexsort([j, i])
    blocks = np.concatenate([np.zeros(n), np.ones(n - 1)])[order]
    cells = np.zeros((len(i), 3), dtype=int)
    chain = BlochSum(np.ones(n, dtype=int), i[order], j[order], cells, blocks, half_diagonal=True)
    problem = EigenProblem(chain, None, np.zeros(3))
    exact = np.sort(2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)))
    for sigma in (0.0, exact[25] + 1e-9, exact[24] - 1e-6):
        solver = make_solver("slepc", {"launcher": launcher}, float(sigma))
        assert np.abs(solver.eigenvalues(problem, (23, 28)) - exact[23:29]).max() < 1e-11
        assert solver.count_below(problem, 0.5) == (exact < 0.5).sum()
        solver.close()


def test_all_levels_by_slices(solver, monkeypatch):
    monkeypatch.setattr(search, "SLICE", 8)
    problem = random_problem(1, orthogonal=True)
    assert np.abs(solver.eigenvalues(problem) - exact_levels(problem)).max() < 1e-8
