"""Populations of groups of orbitals on a mesh."""

import numpy as np
import pytest
from scipy.linalg import eigh

import moireio
from moireio.projection.groups import make_projection
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.populations import GroupPopulations, solve_populations
from moireio.spectrum.sums import bloch_sums

K = np.array([[0, 0, 0], [0.1, 0.2, 0]])


@pytest.mark.parametrize("band_range", [None, (2, 9)])
def test_against_dense_matrices(made, band_range):
    with moireio.open(made["gr_ab"]) as file:
        sums, overlap, _ = bloch_sums(file)
        indicator = make_projection(file, ["atom", "shell"]).indicator
        energies, weights, notes = solve_populations(
            sums, overlap, K, SolverChoice("dense"), indicator, band_range=band_range
        )
        chosen = slice(None) if band_range is None else slice(2, 10)
        assert notes == []
        for n, k in enumerate(K):
            s = overlap.dense(k)
            levels, states = eigh(sums[0].dense(k), s)
            assert energies[0, n] == pytest.approx(levels[chosen], abs=1e-9)
            expected = (indicator @ (states.conj() * (s @ states)).real).T[chosen]
            alone = np.diff(levels, prepend=-np.inf)[chosen] > 1e-3
            alone &= np.diff(levels, append=np.inf)[chosen] > 1e-3
            assert alone.sum() > 3
            assert weights[0, n][alone] == pytest.approx(expected[alone], abs=1e-7)
        atoms = weights[..., :4].sum(axis=-1)
        assert atoms == pytest.approx(np.ones(atoms.shape))
        energies, weights, _ = solve_populations(sums, overlap, K, SolverChoice("dense"))
        assert weights.shape == (*energies.shape, 0)


def test_degenerate_levels_share_their_populations():
    """Any rotation among degenerate states gives the same populations."""
    from scipy.sparse import csr_array

    class Problem:
        overlap, k = None, np.zeros(3)

    rng = np.random.default_rng(0)
    states = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    turned = states.copy()
    turned[:, 1:4] = states[:, 1:4] @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    energies = np.array([0.0, 1.0, 1.0 + 1e-7, 1.0 + 2e-7, 2.0, 3.0])
    reduce = GroupPopulations(csr_array(np.kron(np.eye(2), np.ones(3))))
    first, second = (reduce(Problem, energies, s) for s in (states, turned))
    assert first == pytest.approx(second)
    assert first.sum(axis=1) == pytest.approx(np.ones(6))
