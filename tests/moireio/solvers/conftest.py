"""The sparse solver with each kind of factors."""

import pytest

from moireio.solvers import mkl
from moireio.solvers.registry import make_solver

BACKENDS = ["superlu", *(["pardiso"] if mkl.library() is not None else [])]


@pytest.fixture(params=BACKENDS)
def factors(request, monkeypatch):
    """Which factors the sparse solver takes: "superlu" or "pardiso"."""
    if request.param == "superlu":
        monkeypatch.setattr(mkl, "library", lambda: None)
    return request.param


@pytest.fixture
def sparse_solver(factors):
    """Return what makes a sparse solver from options and an energy."""
    return lambda sigma=None, **options: make_solver("sparse", options, sigma)
