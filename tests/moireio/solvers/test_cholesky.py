"""Factors of the overlap, and random vectors by them."""

import numpy as np
import pytest

import moireio
from moireio.errors import MoireioError
from moireio.solvers import mkl
from moireio.solvers.base import NotPositiveError
from moireio.solvers.cholesky import MklCholesky, SuperLUCholesky, factorise

KINDS = [SuperLUCholesky, *([MklCholesky] if mkl.library() else [])]


@pytest.fixture
def overlap(made):
    with moireio.open(made["gr_ab"]) as file:
        return file.overlap.assembler()


@pytest.mark.parametrize("k", [[0, 0, 0], [0.1, 0.2, 0]])
@pytest.mark.parametrize("kind", KINDS)
def test_factors_and_random_vectors(overlap, kind, k):
    """Real and complex vectors; with all unit vectors the covariance is S⁻¹ exactly."""
    s = overlap.csr(k)
    factor = kind(s)
    rng = np.random.default_rng(2)
    real = rng.normal(size=(s.shape[0], 3))
    for r in (real, real + 1j * rng.normal(size=real.shape)):
        assert np.abs(s @ factor.solve(r) - r).max() < 1e-10
        v = factor.whiten(r)
        assert np.abs(v.conj().T @ (s @ v) - r.conj().T @ r).max() < 1e-10
    unit = factor.whiten(np.eye(s.shape[0]))
    inverse = np.linalg.inv(s.toarray())
    assert np.abs(unit @ unit.conj().T - inverse).max() < 1e-9 * np.abs(inverse).max()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_not_positive_is_refused(overlap, kind):
    s = overlap.csr([0.1, 0.2, 0])
    with pytest.raises(NotPositiveError):
        kind((s - 2 * s.diagonal().mean().real * overlap.csr([0, 0, 0])).tocsr())


@pytest.mark.parametrize("with_mkl", [True, False])
def test_factors_beyond_a_limit_are_refused(overlap, monkeypatch, with_mkl):
    if not with_mkl:
        monkeypatch.setattr(mkl, "library", lambda: None)
    s = overlap.csr([0.1, 0.2, 0])
    factor = factorise(s, memory=1e9)
    assert 0 < factor.nbytes < 1e9
    with pytest.raises(MoireioError, match=r"factors of the overlap need about .*raise `memory`"):
        factorise(s, memory=0.5 * factor.nbytes)
