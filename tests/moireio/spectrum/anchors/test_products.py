"""Products with H and S against dense matrices, in the gauge with positions."""

import numpy as np
import pytest
from anchored_systems import bilayer, carbon, solve_from_anchors

from moireio.solvers.testing import random_problem
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


def test_k_points_that_repeat():
    """One k point many times, and two in turns: each is right, and the run ends."""
    structure, h, s = bilayer()
    for distinct in ([[0.1, 0.2, 0]], [[0.1, 0.2, 0], [0.3, 0, 0]]):
        k = np.tile(np.array(distinct), (10, 1))
        found = solve_from_anchors(structure, h, s, k, (1, 2))
        assert found.ratio <= 1
