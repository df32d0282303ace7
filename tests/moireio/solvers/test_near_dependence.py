"""Orbitals that nearly depend on each other."""

import numpy as np
import pytest
from helpers import overlap_like, random_operator, random_system
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh
from scipy.sparse import csr_array

from moireio.operators.bloch import BlochSum
from moireio.solvers import mkl
from moireio.solvers.base import EigenProblem
from moireio.solvers.near_dependence import ProjectedFactor, smallest_eigenvalue
from moireio.solvers.options import DenseOptions
from moireio.solvers.registry import make_solver

K = np.array([0.1, 0.23, 0.0])
CUTOFF = 1e-4


class Redundant:
    """A Bloch sum among more orbitals than it has: combinations of them, less a little."""

    def __init__(self, one, change, noise):
        self._one, self._change, self._noise, self.n_orbitals = one, change, noise, change.shape[1]

    def is_real(self, k):
        return False

    def dense(self, k, upper=False):
        return self._change.conj().T @ self._one.dense(k) @ self._change + self._noise

    def upper_pattern(self):
        n = self.n_orbitals
        rows, columns = np.triu_indices(n)
        return np.concatenate([[0], np.cumsum(np.bincount(rows))]), columns

    def upper_values(self, k):
        return self.dense(k)[np.triu_indices(self.n_orbitals)]

    def one_spin(self):
        return self, np.arange(self.n_orbitals)[None]

    def csr(self, k):
        return csr_array(self.dense(k))


def redundant(seed, more, epsilon):
    """H and S with `more` needless orbitals, errors of 0.01 eV in H, and the true levels."""
    rng = np.random.default_rng(seed)
    structure, basis = random_system(seed, 6)
    sizes = basis.sizes(structure)
    h = BlochSum.from_source(random_operator(seed, sizes)[0])
    s = BlochSum.from_source(overlap_like(seed, sizes)[0])
    change = np.concatenate(
        [np.eye(h.n_orbitals), rng.normal(size=(h.n_orbitals, more)) / 3], axis=1
    )
    # errors only where S is small: they do nothing else
    small = np.linalg.svd(change)[2][h.n_orbitals :].T
    noise = rng.normal(size=(more, more))
    noise = 0.01 * small @ (noise + noise.T) @ small.T
    levels = eigh(h.dense(K), s.dense(K), eigvals_only=True)
    tiny = epsilon * small @ small.T
    return Redundant(h, change, noise), Redundant(s, change, tiny), levels


@pytest.mark.parametrize("solver", ["dense", "sparse", "superlu", "torch"])
@pytest.mark.parametrize("more", [1, 3, 7])
def test_ghosts_are_left_out(solver, more, monkeypatch):
    """With a cutoff the levels are those without the needless orbitals; without it they are not."""
    if solver == "superlu":
        monkeypatch.setattr(mkl, "library", lambda: None)
    h, s, levels = redundant(3, more, 1e-8)
    problem = EigenProblem(h, s, K)
    kind = {"superlu": "sparse", "torch": "dense"}.get(solver, solver)
    if solver == "torch":
        from moireio.solvers.torch_dense import TorchSolver

        engine = TorchSolver(DenseOptions(overlap_cutoff=CUTOFF))
    else:
        engine = make_solver(kind, {"overlap_cutoff": CUTOFF})
    for window in [(0, 4), (len(levels) // 2, len(levels) // 2 + 3), (len(levels) - 3, None)]:
        first, last = window[0], len(levels) - 1 if window[1] is None else window[1]
        found, states = engine.eigenpairs(problem, (first, last))
        assert np.abs(found - levels[first : last + 1]).max() < 1e-6
        gram = states.conj().T @ s.dense(K) @ states
        assert np.abs(gram - np.eye(len(found))).max() < 1e-6
    assert engine.diagnostics.n_removed == more
    assert engine.diagnostics.min_overlap_eigenvalue == pytest.approx(1e-8, rel=0.2)
    middle = (levels[5] + levels[6]) / 2
    assert engine.count_below(problem, middle) == 6
    ghosts = eigh(h.dense(K), s.dense(K), eigvals_only=True)
    assert max(abs(ghosts[0] - levels[0]), abs(ghosts[-1] - levels[-1])) > 100


@given(st.integers(0, 10**6), st.integers(1, 5))
def test_inverse_among_orthogonal_vectors(seed, m):
    """Solutions and signs of a matrix restricted to the complement of some vectors."""
    rng = np.random.default_rng(seed)
    n = m + int(rng.integers(1, 12))
    a = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    a = a + a.conj().T
    q = np.linalg.qr(rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)))[0]
    small, rest = q[:, :m], q[:, m:]

    class Inverse:
        dtype = np.dtype(complex)

        def solve(self, right):
            return np.linalg.solve(a, right)

    own = rest.conj().T @ a @ rest
    levels = np.linalg.eigvalsh(own)
    if min(np.abs(levels).min(), np.abs(np.linalg.eigvalsh(a)).min()) < 1e-3:
        return
    restricted = ProjectedFactor(Inverse(), small)
    right = rng.normal(size=(n, 2)) + 0j
    expected = rest @ np.linalg.solve(own, rest.conj().T @ right)
    assert np.abs(restricted.solve(right) - expected).max() < 1e-6
    whole = int((np.linalg.eigvalsh(a) < 0).sum())
    assert restricted.negative(whole) == (levels < 0).sum()


@pytest.mark.parametrize("least", [1e-9, 1e-3])
def test_least_eigenvalue(least):
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(60, 60)))[0]
    s = q @ np.diag(np.geomspace(least, 5, 60)) @ q.T
    found = smallest_eigenvalue(lambda x: np.linalg.solve(s, x), 60, np.dtype(float))
    assert found == pytest.approx(least, rel=0.01)


def test_small_eigenvalues_are_told(made, tmp_path, run):
    """What the note says is the smallest eigenvalue of S; a usual basis is not spoken of."""
    h, s, _ = redundant(5, 2, 1e-8)
    for kind in ("dense", "sparse"):
        engine = make_solver(kind)
        engine.eigenvalues(EigenProblem(h, s, K), (4, 6))
        assert engine.diagnostics.min_overlap_eigenvalue == pytest.approx(1e-8, rel=0.2)
    done = run("band", made["gr_ab"], "-n", "3", "--text", tmp_path / "b.txt")
    assert "depend" not in done.stderr
