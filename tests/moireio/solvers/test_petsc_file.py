"""Sparse matrices as PETSc's binary files."""

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

from moireio.solvers import petsc_file


@pytest.mark.parametrize("index", [4, 8])
@pytest.mark.parametrize("paired", [False, True])
def test_matrix_file(tmp_path, monkeypatch, index, paired):
    """The file holds the matrix, also when it is written in many pieces."""
    monkeypatch.setattr(petsc_file, "CHUNK", 40)
    n = 17
    a = random_array((n, n), density=0.3, rng=np.random.default_rng(0), format="csr")
    a.sort_indices()
    matrix = a * (1 + 0.5j) if paired else a
    petsc_file.write_matrix(tmp_path / "a", matrix, paired, index)
    raw = (tmp_path / "a").read_bytes()
    size = n * (1 + paired)
    count = a.nnz * (4 if paired else 1)
    whole = np.frombuffer(raw, f">i{index}", 4 + size + count)
    assert list(whole[:4]) == [1211216, size, size, count]
    indptr = np.concatenate([[0], np.cumsum(whole[4 : 4 + size])])
    values = np.frombuffer(raw, ">f8", offset=index * len(whole))
    stored = csr_array((values, whole[4 + size :], indptr), shape=(size, size)).toarray()
    if paired:
        x = np.random.default_rng(1).normal(size=n) * (1 - 2j)
        assert np.abs((stored @ x.view(float)).view(complex) - matrix @ x).max() < 1e-14
    else:
        assert (stored == matrix.toarray()).all()


@pytest.mark.parametrize("index", [4, 8])
def test_matrix_file_of_complex_numbers(tmp_path, index):
    n = 9
    a = random_array((n, n), density=0.4, rng=np.random.default_rng(0), format="csr") * (1 + 0.5j)
    a.sort_indices()
    petsc_file.write_matrix(tmp_path / "a", a, False, index)
    raw = (tmp_path / "a").read_bytes()
    whole = np.frombuffer(raw, f">i{index}", 4 + n + a.nnz)
    assert list(whole[:4]) == [1211216, n, n, a.nnz]
    indptr = np.concatenate([[0], np.cumsum(whole[4 : 4 + n])])
    values = np.frombuffer(raw, ">c16", offset=index * len(whole))
    stored = csr_array((values, whole[4 + n :], indptr), shape=(n, n)).toarray()
    assert (stored == a.toarray()).all()
