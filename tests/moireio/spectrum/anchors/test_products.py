"""Products with H and S against dense matrices, in the gauge with positions."""

from dataclasses import replace

import numpy as np
import pytest
from anchored_systems import bilayer, carbon, solve_from_anchors

import moireio
from moireio.solvers import mkl, registry, sparse
from moireio.solvers.pencil import Pencil
from moireio.solvers.registry import make_solver
from moireio.solvers.testing import check_states, exact_levels, random_problem
from moireio.spectrum.anchors import driver, settings
from moireio.spectrum.anchors.products import BlochProducts

K = np.array([0.13, -0.27, 0.4])


@pytest.mark.parametrize("spinor", [False, True])
@pytest.mark.parametrize("orthogonal", [False, True])
def test_products_are_those_of_dense_matrices(orthogonal, spinor):
    """Blocks of several sizes, one of each two partners given."""
    problem = random_problem(2, K, orthogonal=orthogonal, spinor=spinor, copies=2)
    h, s = problem.hamiltonian, problem.overlap
    rng = np.random.default_rng(1)
    cell = 4 * np.eye(3) + rng.normal(size=(3, 3)) * 0.3
    structure = carbon(cell, rng.uniform(-6, 6, (len(h.sizes), 3)))
    products = BlochProducts(h, s, structure, threads=2)
    v = rng.normal(size=(h.n_orbitals, 5)) + 1j * rng.normal(size=(h.n_orbitals, 5))
    w, y = products(K, v, 0.7)
    phase = products.phases(K)[:, None]
    sv = v if orthogonal else phase.conj() * (s.dense(K) @ (phase * v))
    hv = phase.conj() * (h.dense(K) @ (phase * v))
    assert np.abs(y - sv).max() < 1e-12
    assert np.abs(w - (hv - 0.7 * sv)).max() < 1e-11
    assert np.abs(products.overlap(K, v) - sv).max() < 1e-12


def test_each_operator_keeps_its_type():
    """S of spinors is real where H is complex: half its size."""
    problem = random_problem(2, K, spinor=True)
    h, s = problem.hamiltonian, problem.overlap
    assert (h.dtype.kind, s.dtype.kind) == ("c", "f")
    structure = carbon(9 * np.eye(3), np.random.default_rng(1).uniform(-6, 6, (len(h.sizes), 3)))
    with_s, without = (BlochProducts(h, one, structure).nbytes for one in (s, None))
    assert with_s == 1.5 * without


@pytest.mark.parametrize("spinor", [False, True])
def test_rounded_matrices(spinor):
    """Half of the memory; products are as far off as is said, until matrices are restored."""
    problem = random_problem(2, K, spinor=spinor)
    h, s = problem.hamiltonian, problem.overlap
    structure = carbon(9 * np.eye(3), np.random.default_rng(1).uniform(-6, 6, (len(h.sizes), 3)))
    given, rounded = (BlochProducts(h, s, structure, rounded=r) for r in (False, True))
    assert given.nbytes == 2 * rounded.nbytes
    v = np.linalg.qr(np.random.default_rng(2).normal(size=(h.n_orbitals, 6)))[0].astype(complex)
    off = np.linalg.norm(given(K, v, 5.0)[0] - rounded(K, v, 5.0)[0], 2)
    assert given.rounding(5.0) == 0
    assert 0 < off < rounded.rounding(5.0) < 30 * off
    assert rounded(K, v, single=True)[0].dtype == np.complex64
    assert given(K, v, single=True)[0].dtype == np.complex64
    assert given(K, v)[0].dtype == np.complex128
    near = rounded.overlap(K, v.astype(np.complex64))
    assert near.dtype == np.complex64
    assert np.abs(near - given.overlap(K, v)).max() < 1e-5
    rounded.restore()
    assert rounded.nbytes == given.nbytes
    assert np.array_equal(rounded(K, v, 5.0)[0], given(K, v, 5.0)[0])
    assert rounded.rounding(5.0) == 0


def test_k_points_that_repeat():
    """One k point many times, and two in turns: each is right, and the run ends."""
    structure, h, s = bilayer()
    for distinct in ([[0.1, 0.2, 0]], [[0.1, 0.2, 0], [0.3, 0, 0]]):
        k = np.tile(np.array(distinct), (10, 1))
        found = solve_from_anchors(structure, h, s, k, (1, 2))
        assert found.ratio <= 1


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize("k", [K, np.zeros(3), np.array([0.5, 0, -0.5])])
def test_products_in_the_phases_of_the_matrices(orthogonal, k):
    """Where H and S are real, so are the products of real vectors."""
    problem = random_problem(3, k, orthogonal=orthogonal, copies=2)
    h, s = problem.hamiltonian, problem.overlap
    rng = np.random.default_rng(1)
    structure = carbon(4 * np.eye(3), rng.uniform(-6, 6, (len(h.sizes), 3)))
    products = BlochProducts(h, s, structure, threads=2).at(k)
    v = rng.normal(size=(h.n_orbitals, 5))
    if not problem.is_real:
        v = v + 1j * rng.normal(size=v.shape)
    sv = v if orthogonal else s.dense(k) @ v
    w = products.shifted(v, 0.7)
    assert w.dtype == v.dtype
    assert np.abs(w - (h.dense(k) @ v - 0.7 * sv)).max() < 1e-11
    if not orthogonal:
        assert products.overlap(v).dtype == v.dtype
        assert np.abs(products.overlap(v) - sv).max() < 1e-12


@pytest.mark.parametrize("accuracy", [1e-9, 1e-6])
@pytest.mark.parametrize("spinor", [False, True])
@pytest.mark.parametrize("k", [K, np.zeros(3)])
def test_a_solver_takes_them(accuracy, spinor, k, monkeypatch):
    """The same levels and states without the whole matrices, in less memory."""
    if mkl.library() is None:
        pytest.skip("MKL is not installed")
    monkeypatch.setattr(sparse, "ALIKE", 1)
    problem = random_problem(4, k, spinor=spinor, copies=3)
    h, s = problem.hamiltonian, problem.overlap
    structure = carbon(4 * np.eye(3), np.random.default_rng(1).uniform(-6, 6, (len(h.sizes), 3)))
    own = replace(problem, products=BlochProducts(h, s, structure).at(k))
    engines = [make_solver("sparse", {"accuracy": accuracy}) for _ in range(2)]
    exact = exact_levels(problem)
    for engine, one in zip(engines, (problem, own), strict=True):
        levels, states = engine.eigenpairs(one, (20, 29))
        assert np.abs(levels - exact[20:30]).max() < accuracy
        check_states(problem, levels, states, residual=1e-3)
    whole, less = (e.memory(p, 10, True) for e, p in zip(engines, (problem, own), strict=True))
    # in double precision only S of one spin would be made
    assert less == whole if spinor and engines[1].mode == sparse.DOUBLE else less < whole
    monkeypatch.setattr(Pencil, "whole", None)
    engines[1].eigenpairs(own, (20, 29))


@pytest.mark.parametrize(("fits", "large"), [(True, True), (False, True), (True, False)])
def test_anchors_share_them_with_the_solver(twisted, monkeypatch, fits, large):
    """In large cells, where memory suffices for anchors."""
    monkeypatch.setattr(driver, "SHARED", 1 if large else 5000)
    monkeypatch.setattr(registry, "SPARSE_SIZE", 100)
    monkeypatch.setattr(settings, "LEAST_POINTS", 20)
    if not fits:
        monkeypatch.setattr(driver, "EXPECTED", 1e12)
    seen = []
    for name in ("eigenpairs", "eigenvalues"):
        solve = getattr(sparse.SparseSolver, name)

        def noted(self, problem, band_range, solve=solve):
            seen.append(problem.products)
            return solve(self, problem, band_range)

        monkeypatch.setattr(sparse.SparseSolver, name, noted)
    with moireio.open(twisted) as file:
        path = moireio.make_path(file.structure, "GM", 20)
        moireio.solve_bands(file, path, bands=4, jobs=1)
    assert seen
    assert all((products is not None) == (fits and large) for products in seen)
