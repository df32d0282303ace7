"""Blocks from dense matrices, against the way over sparse ones."""

import numpy as np
import pytest
from wannier_files import random_model

from moireio.errors import DamagedError
from moireio.formats.assembly.dense import source_from_dense, symmetrise_matrices
from moireio.formats.assembly.elements import source_from_matrices
from moireio.formats.assembly.sites import sites

CENTRES = np.array([[0, 0, 0], [1, 1, 1], [0, 0, 0], [2, 1, 0], [0, 0, 0], [1, 1, 1]], dtype=float)


@pytest.mark.parametrize("centres", [CENTRES, np.arange(18).reshape(6, 3), None])
@pytest.mark.parametrize("spinor", [None, "blocks", "interleaved"])
def test_same_as_by_sparse_matrices(centres, spinor):
    cells, matrices = random_model(1, 12 if spinor else 6)
    matrices[:, 0, 1] = matrices[:, 1, 0] = 0
    _, _, orbitals = sites(np.eye(3), centres, 6, spinor=spinor)
    spin = "spinor" if spinor else "none"
    ours = source_from_dense("hamiltonian", cells, [matrices], orbitals, spin=spin)
    other = source_from_matrices("hamiltonian", cells, matrices, orbitals, label="test", spin=spin)
    for name in ("indptr", "j", "R"):
        np.testing.assert_array_equal(getattr(ours.pairs, name), getattr(other.pairs, name))
    np.testing.assert_array_equal(ours.data, other.data)
    assert ours.meta == other.meta


def test_real_numbers_stay_real():
    cells, matrices = random_model(2, 3)
    matrices = matrices.real + 0j
    orbitals = sites(np.eye(3), None, 3)[2]
    assert source_from_dense("hamiltonian", cells, [matrices], orbitals).data.dtype == np.float64


def test_deviation_from_hermitian():
    cells, matrices = random_model(3, 3)
    exact = matrices.copy()
    assert symmetrise_matrices(cells, matrices, name="hamiltonian", label="x") == 0
    matrices[4, 1, 2] += 1e-5
    found = symmetrise_matrices(cells, matrices, name="hamiltonian", label="x", limit=1e-4)
    assert found == pytest.approx(1e-5)
    np.testing.assert_allclose(matrices, exact, atol=5.001e-6)
    matrices[4, 1, 2] += 1.0
    with pytest.raises(
        DamagedError, match=r"functions 2 and 3 at R = -1 0 0 .* differ by 1\.0e\+00"
    ):
        symmetrise_matrices(cells, matrices, name="hamiltonian", label="x", limit=1e-4)
    with pytest.raises(DamagedError, match="not its partner"):
        symmetrise_matrices(cells[:-1], exact[:-1], name="hamiltonian", label="x")
