"""What solvers share: diagnostics, and defaults of the protocol."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.solvers.base import Solver, SolverDiagnostics, not_positive, too_large
from moireio.solvers.testing import exact_levels, random_problem

diagnostics = st.builds(
    SolverDiagnostics,
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0, 1) | st.just(np.inf),
    st.integers(0, 9),
)


@given(diagnostics, diagnostics, diagnostics)
def test_diagnostics_are_merged_in_any_order(a, b, c):
    """The worst of all; without any approximation nothing changes."""
    assert a.merged(b) == b.merged(a)
    assert a.merged(b).merged(c) == a.merged(b.merged(c))
    assert a.merged(a) == a == a.merged(SolverDiagnostics())
    assert a.merged(b).kept_fraction <= a.kept_fraction
    assert a.merged(b).largest_correction >= a.largest_correction
    assert a.merged(b).min_overlap_eigenvalue <= a.min_overlap_eigenvalue
    assert a.merged(b).n_removed >= a.n_removed


class Least(Solver):
    """As little as a solver has to define, for orthogonal orbitals."""

    name = "least"

    def eigenpairs(self, problem, band_range=None):
        energies, states = np.linalg.eigh(problem.hamiltonian.dense(problem.k))
        first, last = band_range or (0, len(energies) - 1)
        return energies[first : last + 1], states[:, first : last + 1]

    def memory(self, problem, bands, states):
        return 1e9


def test_the_protocol_supplies_the_rest():
    solver, problem = Least(), random_problem(1, orthogonal=True)
    exact = exact_levels(problem)
    assert np.abs(solver.eigenvalues(problem, (2, 5)) - exact[2:6]).max() < 1e-12
    assert solver.count_below(problem, exact[6:8].mean()) == 7
    solver.fit(problem, 4, False, 1.1e9)
    with pytest.raises(MoireioError, match=r"18 orbitals need at least 1\.0 GB with the least sol"):
        solver.fit(problem, 4, False, 0.5e9)
    assert solver.diagnostics == SolverDiagnostics()
    solver.use_threads(3)
    solver.close()


def test_a_solver_without_states_is_no_solver():
    class Nothing(Solver):
        name = "nothing"

    with pytest.raises(TypeError, match="abstract"):
        Nothing()


def test_errors_are_one_line():
    error = not_positive([0.1, 0.25, 0])
    assert str(error).startswith("the overlap is not positive definite at k = 0.1 0.25 0 (")
    assert "`overlap_cutoff`" in str(error)
    error = too_large("dense", 10**5, 3.2e11, 1.6e10)
    assert "100000 orbitals need at least 320.0 GB with the dense solver, 16.0 GB" in str(error)
    assert error.remedy == "raise `memory`"
