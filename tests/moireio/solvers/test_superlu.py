"""Factors and counts where MKL is not installed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array

from moireio.errors import MoireioError
from moireio.solvers import superlu
from moireio.solvers.base import SingularError


def pattern(a):
    """Return indptr, indices and elements of the upper triangle, the diagonal included."""
    n = len(a)
    upper = csr_array(np.triu(a != 0) | np.eye(n, dtype=bool))
    upper.sort_indices()
    rows = np.repeat(np.arange(n), np.diff(upper.indptr))
    return upper.indptr, upper.indices, a[rows, upper.indices]


@given(seed=st.integers(0, 10**6), n=st.integers(1, 25), real=st.booleans(), hollow=st.booleans())
def test_solutions_and_counts(seed, n, real, hollow):
    """Also without a diagonal, where pivots take two rows."""
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n)) + (0 if real else 1j * rng.normal(size=(n, n)))
    a = (a + a.conj().T) * (rng.random((n, n)) < 0.7)
    a = np.triu(a) + np.triu(a, 1).conj().T
    if hollow:
        np.fill_diagonal(a, 0)
    levels = np.linalg.eigvalsh(a)
    if np.abs(levels).min() < 1e-3:
        return
    indptr, indices, values = pattern(a)
    assert superlu.DenseCounter(indptr, indices)(values) == (levels < 0).sum()
    factor = superlu.SuperLUFactor(indptr, indices, real)
    factor.factorise(values)
    right = rng.normal(size=(n, 2))
    assert np.abs(a @ factor.solve(right) - right).max() < 1e-8


def test_a_singular_matrix():
    indptr, indices, values = pattern(np.ones((3, 3)))
    with pytest.raises(SingularError):
        superlu.SuperLUFactor(indptr, indices, True).factorise(values)


def test_too_many_orbitals_are_not_counted(monkeypatch):
    monkeypatch.setattr(superlu, "MOST_COUNTED", 3)
    with pytest.raises(MoireioError, match=r"levels of 5 orbitals.*pip install mkl"):
        superlu.DenseCounter(np.arange(6), np.arange(5))
