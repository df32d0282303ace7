"""Products by MKL, and its threads."""

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array, triu

from moireio.runtime.threads import blas_beside_mkl, blas_threads, mkl_threads
from moireio.solvers import mkl

pytestmark = pytest.mark.skipif(mkl.library() is None, reason="MKL is not installed")


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(1, 30),
    columns=st.integers(0, 5),
    upper=st.booleans(),
    kinds=st.tuples(st.booleans(), st.booleans()),
)
def test_products(seed, n, columns, upper, kinds):
    """Real and complex matrices and vectors, whole matrices and triangles."""
    rng = np.random.default_rng(seed)
    a = random_array((n, n), density=0.4, rng=rng, format="csr")
    a = csr_array(a + a.T + 1j * (a - a.T) if kinds[0] else a + a.T)
    a.sort_indices()
    given_part = triu(a, format="csr") if upper else a
    given_part.sort_indices()
    vectors = rng.normal(size=(n, columns)) * (1 + 2j if kinds[1] else 1)
    images = mkl.Product(csr_array(given_part), 1, upper)(vectors)
    assert images.shape == vectors.shape
    assert np.abs(images - a @ vectors).max(initial=0) < 1e-12
    assert (images.dtype.kind == "c") == any(kinds)


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.complex64, np.complex128])
def test_a_step_in_place(kind):
    """2 A x − y, written over y, in the precision of A."""
    rng = np.random.default_rng(1)
    a = csr_array(random_array((40, 40), density=0.2, rng=rng)).astype(kind)
    x, y = ((rng.normal(size=(40, 3)) * (1 + 1j)).astype(kind) for _ in range(2))
    expected = 2 * (a @ x) - y
    product = mkl.Product(a)
    assert product(x) == pytest.approx(a @ x, abs=1e-4)
    product.advance(x, y)
    assert y.dtype == kind
    assert np.abs(y - expected).max() < (1e-4 if np.finfo(kind).eps > 1e-10 else 1e-12)


def test_threads_are_set_and_restored():
    """Also inside a limit on all BLAS libraries."""
    library = mkl.library()
    before = library.MKL_Get_Max_Threads()
    for limit in (blas_beside_mkl, lambda: blas_threads(1)):
        with limit():
            within = library.MKL_Get_Max_Threads()
            with mkl_threads(library, 2) as threads:
                assert threads == min(2, os.cpu_count())
            assert library.MKL_Get_Max_Threads() == within
    assert library.MKL_Get_Max_Threads() == before
