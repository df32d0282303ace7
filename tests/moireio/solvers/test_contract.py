"""The tests of every solver, with the sparse solvers; each dense one has them in its own file."""

import numpy as np
import pytest
from mpi import slepc_launcher

from moireio.errors import MoireioError
from moireio.solvers import mkl, sparse
from moireio.solvers.registry import make_solver
from moireio.solvers.testing import SolverContract, exact_levels, random_problem

needs_mkl = pytest.mark.skipif(mkl.library() is None, reason="MKL is not installed")


@needs_mkl
class TestPardiso(SolverContract):
    @pytest.fixture
    def solver(self):
        return make_solver("sparse")


@needs_mkl
class TestSinglePrecision(SolverContract):
    @pytest.fixture
    def solver(self):
        return make_solver("sparse", {"precision": "float32"})

    def test_nearly_singular_overlap(self, solver):
        """Where S is as singular as single precision is precise, it is refused in a line."""
        problem = random_problem(4, min_overlap=1e-3)
        found = solver.eigenvalues(problem, (8, 11))
        assert np.abs(found - exact_levels(problem)[8:12]).max() < self.tolerance
        with pytest.raises(MoireioError, match="set `precision` to float64"):
            solver.eigenvalues(random_problem(4, min_overlap=1e-7), (8, 11))


@needs_mkl
class TestSinglePrecisionWhereItPays(SolverContract):
    """As matrices of thousands of orbitals are solved: elements are not kept, S is seen at Γ."""

    @pytest.fixture
    def solver(self, monkeypatch):
        monkeypatch.setattr(sparse, "LARGE", 1)
        return make_solver("sparse")

    # the smallest eigenvalue of S is that of `random_problem` at one k, which is not Γ
    test_overlap_that_is_not_positive = None
    test_nearly_singular_overlap = None


class TestSuperLU(SolverContract):
    @pytest.fixture
    def solver(self, monkeypatch):
        monkeypatch.setattr(mkl, "library", lambda: None)
        return make_solver("sparse")


class TestVerifiedCounts(SolverContract):
    @pytest.fixture
    def solver(self):
        return make_solver("sparse", {"verify_count": True})


class TestSlepc(SolverContract):
    @pytest.fixture(scope="class")
    @classmethod
    def solver(cls):
        solver = make_solver("slepc", {"launcher": slepc_launcher()})
        yield solver
        solver.close()
