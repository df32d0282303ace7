"""H(k) and S(k) in one sparse pattern."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from scipy.sparse import csr_array, triu

from moireio.solvers import pencil as module
from moireio.solvers.base import EigenProblem
from moireio.solvers.pencil import LocalLevels, Pencil
from moireio.solvers.testing import GENERAL, REAL, check_states, exact_levels, random_problem


@settings(max_examples=15)
@given(
    seed=st.integers(0, 1000),
    k=st.sampled_from([GENERAL, REAL]),
    kind=st.sampled_from([{}, {"orthogonal": True}, {"spinor": True}]),
    sigma=st.floats(-5, 5),
)
def test_matrices(seed, k, kind, sigma):
    """H, S and H − σS, whole and as triangles, at the k of the pattern and at another one."""
    first = random_problem(seed, GENERAL, **kind)
    pencil = Pencil(first)
    problem = EigenProblem(first.hamiltonian, first.overlap, np.array(k))
    assert pencil.fits(problem)
    h = problem.hamiltonian.dense(k)
    s = np.eye(len(h)) if problem.overlap is None else problem.overlap.dense(k)
    for values, exact in zip(pencil.values(problem), (h, s), strict=True):
        assert np.abs(pencil.whole(values).toarray() - exact).max() < 1e-12
        assert np.abs(pencil.triangle(values).toarray() - np.triu(exact)).max() < 1e-12
    for keep in (True, False):
        shifted = pencil.whole(pencil.shifted(problem, sigma, keep)).toarray()
        assert np.abs(shifted - (h - sigma * s)).max() < 1e-12
    assert np.abs(pencil.whole(pencil.overlap_values(problem)).toarray() - s).max() < 1e-12


@pytest.mark.parametrize("economical", [True, False])
def test_overlap_of_one_spin_is_shared(economical):
    """S of spinors is that of one spin, with the rows of each."""
    problem = random_problem(3, spinor=True)
    s = problem.overlap.dense(problem.k)
    matrix, rows, upper = Pencil(problem).overlap(problem, economical)
    assert rows.shape == (2, problem.n_orbitals // 2)
    assert upper == economical
    matrix = matrix.toarray()
    whole = np.triu(matrix) + np.triu(matrix, 1).conj().T if upper else matrix
    for one in rows:
        assert np.abs(whole - s[np.ix_(one, one)]).max() < 1e-12
    assert np.abs(s[np.ix_(*rows)]).max() == 0


def test_small_elements_are_left_out_and_corrected_for():
    """To first order in them; without any, levels stay as they are."""
    problem = random_problem(4)
    whole, pencil = Pencil(problem), Pencil(problem, drop=0.3)
    assert len(pencil.indices) < pencil.n_elements == len(whole.indices)
    h, s = (whole.whole(v).toarray() for v in whole.values(problem))
    levels, states = eigh(*(pencil.whole(v).toarray() for v in pencil.values(problem)))
    exact = exact_levels(problem)
    expectation = np.einsum("ij,ij->j", states.conj(), h @ states).real
    expectation /= np.einsum("ij,ij->j", states.conj(), s @ states).real
    corrected = pencil.corrected(problem, levels, states)
    assert np.abs(corrected - np.sort(expectation)).max() < 1e-12
    assert np.abs(corrected - exact).mean() < np.abs(levels - exact).mean()
    levels, states = eigh(h, s)
    assert whole.corrected(problem, levels, states) is levels
    check_states(problem, levels, states)


@given(share=st.floats(0, 1))
def test_a_guess_lies_among_the_levels(share):
    """All orbitals of a small system are neighbours: the guess is the quantile of its levels."""
    problem = random_problem(5)
    pencil, exact = Pencil(problem), exact_levels(problem)
    guess = pencil.local_levels(*pencil.values(problem)).level(share)
    assert guess == pytest.approx(np.quantile(exact, share), abs=1e-9)


class Lattice:
    """An operator on a square lattice: one orbital a site, and what it has with each neighbour."""

    def __init__(self, side, onsite, bond):
        ring = np.roll(np.eye(side), 1, axis=1)
        ring = ring + ring.T
        whole = np.kron(ring, np.eye(side)) + np.kron(np.eye(side), ring)
        self._matrix = triu(csr_array(onsite * np.eye(side**2) + bond * whole)).tocsr()
        self.n_orbitals = side**2

    def upper_pattern(self):
        return self._matrix.indptr, self._matrix.indices

    def upper_values(self, k):
        return self._matrix.data


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.8])
def test_a_guess_from_part_of_a_crystal(share, monkeypatch):
    """Orbitals on its edge, whose bonds are cut, do not decide."""
    monkeypatch.setattr(module, "LOCAL", 60)
    h, s = Lattice(24, 1.0, -1.0), Lattice(24, 1.0, 0.1)
    problem = EigenProblem(h, s, np.zeros(3))
    pencil = Pencil(problem)
    h, s = (pencil.whole(v).toarray() for v in pencil.values(problem))
    levels = eigh(h, s, eigvals_only=True)
    guess = pencil.local_levels(*pencil.values(problem)).level(share)
    assert abs((levels < guess).mean() - share) < 0.03  # 0.07 with all orbitals alike


def test_a_count_corrects_a_guess():
    """Of levels about as dense, but all 0.3 eV higher, a count leads nearly to the right one."""
    energies = np.linspace(-1, 1, 41) + 0.2 * np.linspace(-1, 1, 41) ** 2
    local = LocalLevels(energies, np.linspace(0, 1, 41))
    share, real = 0.6, energies + 0.3
    first = local.level(share)
    assert first == pytest.approx(np.quantile(energies, share))
    second = local.level(share, first, (real < first).mean())
    assert abs(second - np.quantile(real, share)) < 0.3 * abs(first - np.quantile(real, share))
    assert local.level(2.0) == energies[-1]


def test_memory_grows_with_what_is_kept():
    problem = random_problem(6)
    pencil = Pencil(problem)
    lean = pencil.memory(16, True, True)
    assert min(lean) > 0
    assert pencil.memory(16, True, False)[1] > lean[1]
    assert Pencil(random_problem(6, copies=3)).memory(16, True, True)[0] > 2 * lean[0]


def with_gap(width, inside=3):
    """Levels 2 meV apart but for a gap above 0 eV, with a few states of a surface in it."""
    count = 1000
    below = -2e-3 * np.arange(count)[::-1]
    above = width + 2e-3 * np.arange(count)
    surface = np.linspace(0, width, inside + 2)[1:-1]
    energies = np.concatenate([below, surface, above])
    weights = np.concatenate([np.ones(count), np.full(inside, 0.1), np.ones(count)])
    return LocalLevels(energies, np.cumsum(weights) / weights.sum())


@pytest.mark.parametrize("wrong", [-0.01, 0.0, 0.01])
def test_a_shift_in_the_gap(wrong):
    """A quarter of it from the end that is wanted, though shares are wrong by a percent."""
    local = with_gap(1.0)
    if wrong <= 0:
        assert abs(local.gap(0.5 + wrong - 1e-3) - 0.25) < 0.05
    if wrong >= 0:
        assert abs(local.gap(0.5 + wrong + 3e-3) - 0.75) < 0.05


def test_no_gap_near_the_levels():
    assert with_gap(1.0).gap(0.3) is None, "far away"
    assert with_gap(0.2).gap(0.5) is None, "too narrow"
    assert with_gap(1.0, inside=400).gap(0.5) is None, "full of levels"
    assert LocalLevels(np.array([0.3]), np.array([0.5])).gap(0.5) is None
    sparse = LocalLevels(np.linspace(-20, 20, 41), np.linspace(0, 1, 41))
    assert sparse.gap(0.5) is None, "levels of a few atoms"
