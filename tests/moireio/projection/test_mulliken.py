"""Gross populations against sums over dense matrices."""

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.sparse import csr_array

import moireio
from moireio.projection.mulliken import MullikenPopulations, atomic_populations, gross_populations

K = np.array([0.2, 0.1, 0.0])


@pytest.mark.parametrize("count", [1, 52])
def test_populations_of_orbitals_and_groups(made, count):
    """Few states and many, by a sparse S and a dense one; groups are sums of orbitals."""
    with moireio.open(made["gr_ab"]) as file:
        s = file.overlap.assembler()
        _, states = eigh(file.hamiltonian.assembler().dense(K), s.dense(K))
        states = states[:, :count]
        expected = (states.conj() * (s.dense(K) @ states)).real
        found = gross_populations(s, K, states)
        assert found == pytest.approx(expected, abs=1e-12)
        assert found.sum(axis=0) == pytest.approx(np.ones(count))
        groups = csr_array(np.kron(np.eye(2), np.ones(26)))
        assert gross_populations(s, K, states, groups) == pytest.approx(groups @ expected)


def test_an_orthogonal_basis_needs_no_overlap():
    states = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 300)))[0]
    assert gross_populations(None, K, states) == pytest.approx(states**2)


def test_atoms_and_layers(made):
    with moireio.open(made["hbn_soc"]) as file:
        s = file.overlap.assembler(spinor=True)
        _, states = eigh(file.hamiltonian.assembler().dense(K), s.dense(K))
        found = atomic_populations(file, K, states[:, :8])
        assert found.atoms.shape == (8, len(file.structure))
        assert found.atoms.sum(axis=1) == pytest.approx(np.ones(8))
        orbitals = gross_populations(s, K, states[:, :8])
        rows = 2 * int(file.orbitals[0])
        assert found.atoms[:, 0] == pytest.approx(orbitals[:rows].sum(axis=0))


def test_layers_are_sums_of_atoms():
    atoms = np.arange(8.0).reshape(2, 4)
    layers = MullikenPopulations(atoms).by_layer(np.array([0, 1, 0, 1]))
    assert layers.tolist() == [[2, 4], [10, 12]]
