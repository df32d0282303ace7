"""Factors by MKL's Pardiso, and the inertia that they give."""

import os
from contextlib import nullcontext

import numpy as np
import pytest
from scipy.sparse import csr_array, triu

from moireio.errors import MoireioError
from moireio.runtime.threads import blas_beside_mkl, blas_threads, mkl_threads
from moireio.solvers import mkl, pardiso

pytestmark = pytest.mark.skipif(mkl.library() is None, reason="MKL is not installed")


@pytest.mark.parametrize("seed", range(6))
def test_inertia_of_complex_matrices(seed, monkeypatch):
    """The factor D gives the number of negative eigenvalues, also with pivots of two rows."""
    from scipy.sparse import coo_array

    if seed in (2, 3):  # numbers of eight bytes; and where only the analysis shows that
        monkeypatch.setattr(pardiso, "MOST_SHORT", 0 if seed == 2 else 4000)

    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 400))
    i, j = rng.integers(0, n, size=(2, 3 * n))
    values = rng.normal(size=3 * n) + 1j * rng.normal(size=3 * n)
    a = coo_array((values, (i, j)), shape=(n, n)).toarray()
    a = a + a.conj().T
    if seed % 2:  # no diagonal: every pivot has two rows at first
        np.fill_diagonal(a, 0)
    pattern = coo_array(np.triu(a != 0) | np.eye(n, dtype=bool)).tocsr()
    pattern.sort_indices()
    rows = np.repeat(np.arange(n), np.diff(pattern.indptr))
    factor = pardiso.PardisoFactor(pattern.indptr, pattern.indices, False)
    assert factor.index_type == (np.int64 if seed in (2, 3) else np.int32)
    counter = pardiso.Counter(pattern.indptr, pattern.indices)
    levels = np.linalg.eigvalsh(a)
    for shift in [*rng.choice(levels, 3) + 0.01, 0.003]:
        elements = (a - shift * np.eye(n))[rows, pattern.indices]
        factor.factorise(elements)
        assert factor.negative == (levels < shift).sum() == counter(elements)
        right = rng.normal(size=(n, 2)) + 0j
        error = (a - shift * np.eye(n)) @ factor.solve(right) - right
        assert np.abs(error).max() < 1e-6


def banded(n=3000):
    """Return an upper triangle, (indptr, indices, values), and the whole matrix."""
    columns = np.arange(n)[:, None] + [0, 1, 7]
    indptr = np.concatenate([[0], np.cumsum((columns < n).sum(axis=1))])
    indices = columns[columns < n]
    rows = np.repeat(np.arange(n), np.diff(indptr))
    rng = np.random.default_rng(0)
    values = rng.normal(size=len(rows)) + 1j * rng.normal(size=len(rows)) * (rows != indices)
    upper = csr_array((values, indices, indptr), shape=(n, n))
    return (indptr, indices, values), upper + triu(upper, 1).conj().T


def test_factors_outlive_limits_on_threads():
    """A limit comes and goes; one beside MKL leaves it its own threads."""
    (indptr, indices, values), whole = banded()
    right = np.random.default_rng(1).normal(size=(len(indptr) - 1, 5)) + 0j
    factor = pardiso.PardisoFactor(indptr, indices, False, 2)
    for limit in (nullcontext, lambda: blas_threads(1), blas_beside_mkl):
        with limit():
            factor.factorise(values)
            assert np.abs(whole @ factor.solve(right) - right).max() < 1e-8
        assert np.abs(whole @ factor.solve(right) - right).max() < 1e-8


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core")
def test_threads_that_change(monkeypatch):
    """Factors are made again, unless the elements are gone: then it is one clear line."""
    (indptr, indices, values), whole = banded()
    right = np.random.default_rng(1).normal(size=(len(indptr) - 1, 5)) + 0j
    factor = pardiso.PardisoFactor(indptr, indices, False, 2)
    factor.factorise(values)
    monkeypatch.setattr(pardiso, "mkl_threads", lambda library, count: mkl_threads(library, 1))
    assert np.abs(whole @ factor.solve(right) - right).max() < 1e-8
    factor.factorise(values, keep=False)
    assert np.abs(whole @ factor.solve(right) - right).max() < 1e-8
    monkeypatch.undo()
    with pytest.raises(MoireioError, match="number of threads changed"):
        factor.solve(right)
    factor.factorise(values)
    assert np.abs(whole @ factor.solve(right) - right).max() < 1e-8


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("single", [True, False])
def test_elements_have_no_part_in_solutions(real, single):
    """So they need not be kept; factors are forgotten and made again."""
    (indptr, indices, values), _ = banded()
    values = values.real if real else values
    right = np.random.default_rng(1).normal(size=(len(indptr) - 1, 5))
    factor = pardiso.PardisoFactor(indptr, indices, real, 2, single)
    factor.factorise(values)
    solution, negative = factor.solve(right), factor.negative
    tolerance = (1e-3 if single else 1e-9) * np.abs(solution).max()
    for _ in range(2):
        factor.forget()
        factor.factorise(values, keep=False)
        assert np.abs(factor.solve(right) - solution).max() < tolerance
        assert factor.negative == negative


def test_solutions_with_the_upper_factor():
    """Of a positive definite matrix A = Pᵀ L Lᴴ P: x xᴴ = A⁻¹ if Lᴴ P x = 1."""
    (indptr, indices, values), whole = banded(60)
    rows = np.repeat(np.arange(60), np.diff(indptr))
    shift = 1 - np.linalg.eigvalsh(whole.toarray())[0]
    values = values + shift * (rows == indices)
    factor = pardiso.PardisoFactor(indptr, indices, False, positive=True)
    factor.factorise(values)
    assert factor.negative == 0
    x = factor.solve_upper(np.eye(60))
    inverse = np.linalg.inv(whole.toarray() + shift * np.eye(60))
    assert np.abs(x @ x.conj().T - inverse).max() < 1e-12


def test_an_unclear_factor_is_not_counted():
    """Vectors that are no products with a Hermitian D of small blocks give no count."""
    rng = np.random.default_rng(0)
    n = 40
    probes = pardiso.probe_vectors(n)[:, 1:]
    for d in (rng.normal(size=(n, n)), np.diag(rng.normal(size=n - 1), 1), -1j * np.eye(n)):
        assert pardiso.count_negative(d @ probes) is None
    assert pardiso.count_negative(-np.eye(n) @ probes) == n
