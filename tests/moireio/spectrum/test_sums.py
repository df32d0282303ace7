"""H(k) and S(k) of block files."""

import numpy as np
import pytest
from helpers import naive_at_k, overlap_like, random_operator, random_system, write_file

import moireio
from moireio.errors import MoireioError
from moireio.spectrum.sums import bloch_sums
from moireio.system.basis import Basis

K = np.array([0.13, -0.29, 0.07])


@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_sums_of_a_file(tmp_path, spin):
    """One H, or two of collinear spin, and S of the same states, as summed block by block."""
    structure, basis = random_system(3)
    sizes = basis.sizes(structure)
    h, blocks = random_operator(3, sizes, spin=spin)
    s, overlap_blocks = overlap_like(3, sizes)
    path = write_file(tmp_path / "x.h5", structure, basis, h, s)
    with moireio.open(path) as file:
        sums, overlap, spin_of_states = bloch_sums(file)
        assert spin_of_states == spin
        assert len(sums) == (2 if spin == "collinear" else 1)
        expected = naive_at_k(overlap_blocks, sizes, K)
        if spin == "spinor":  # spin is slow inside each atom
            start = np.concatenate([[0], np.cumsum(sizes)])
            doubled = np.zeros((2 * start[-1],) * 2, dtype=complex)
            for i in range(len(sizes)):
                for j in range(len(sizes)):
                    block = expected[start[i] : start[i + 1], start[j] : start[j + 1]]
                    rows = slice(2 * start[i], 2 * start[i + 1])
                    columns = slice(2 * start[j], 2 * start[j + 1])
                    doubled[rows, columns] = np.kron(np.eye(2), block)
            expected = doubled
        assert np.abs(overlap.dense(K) - expected).max() < 1e-12
        for channel, total in enumerate(sums):
            component = channel if spin == "collinear" else None
            matrix = total.dense(K)
            assert np.abs(matrix - naive_at_k(blocks, h.sizes, K, component)).max() < 1e-12
            np.testing.assert_array_equal(matrix, matrix.conj().T)
            assert matrix.shape == expected.shape


def test_an_orthogonal_basis_has_no_overlap(tmp_path):
    structure, basis = random_system(4)
    h, blocks = random_operator(4, basis.sizes(structure))
    orthogonal = Basis(basis.species, orthogonal=True)
    path = write_file(tmp_path / "x.h5", structure, orthogonal, h)
    with moireio.open(path) as file:
        (matrix,), overlap, spin = bloch_sums(file)
        assert (overlap, spin) == (None, "none")
        assert np.abs(matrix.dense(K) - naive_at_k(blocks, h.sizes, K)).max() < 1e-12


def test_an_overlap_that_is_missing_is_an_error(tmp_path):
    """It is not taken for 1 where the basis is not orthogonal."""
    structure, basis = random_system(4)
    h, _ = random_operator(4, basis.sizes(structure))
    path = write_file(tmp_path / "x.h5", structure, basis, h)
    with moireio.open(path) as file, pytest.raises(MoireioError, match="overlap"):
        bloch_sums(file)
