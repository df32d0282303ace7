"""moireio's tests of every solver, for this one."""

import pytest
from outsider.solver import NumpyOptions, NumpySolver

from moireio.solvers.testing import SolverContract


class TestNumpySolver(SolverContract):
    @pytest.fixture
    def solver(self):
        return NumpySolver(NumpyOptions())
