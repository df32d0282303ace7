"""torch's solver, on the CPU, against LAPACK's."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.solvers.dense import dense_solver
from moireio.solvers.lapack import LapackSolver
from moireio.solvers.options import DenseOptions
from moireio.solvers.testing import GENERAL, REAL, SolverContract, random_problem
from moireio.solvers.torch_dense import TorchSolver

torch = pytest.importorskip("torch")


class TestTorch(SolverContract):
    @pytest.fixture
    def solver(self):
        return TorchSolver(DenseOptions())


def test_a_gpu_that_is_absent():
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(MoireioError, match=r"finds no CUDA device \(use `device` cpu\)"):
        dense_solver(DenseOptions(device="cuda"))


@pytest.mark.parametrize("band_range", [None, (0, 3), (7, 11), (15, 17), (17, 17)])
@pytest.mark.parametrize("cutoff", [0.0, 1e-2])
@pytest.mark.parametrize("k", [GENERAL, REAL])
def test_levels_and_states_are_those_of_lapack(k, cutoff, band_range):
    """States up to their phases; with the cutoff one of the 18 bands is left out."""
    problem = random_problem(1, k, min_overlap=1e-4)
    options = DenseOptions(overlap_cutoff=cutoff)
    solvers = TorchSolver(options), LapackSolver(options)
    (energies, states), (expected, lapack_states) = (
        solver.eigenpairs(problem, band_range) for solver in solvers
    )
    assert energies.shape == expected.shape
    assert states.shape == lapack_states.shape
    scale = np.abs(expected).max(initial=1.0)
    assert np.abs(energies - expected).max(initial=0) < 1e-10 * scale
    projectors = [vectors @ vectors.conj().T for vectors in (states, lapack_states)]
    size = np.abs(projectors[1]).max(initial=1.0)
    assert np.abs(projectors[0] - projectors[1]).max() < 1e-9 * size
    energies = solvers[0].eigenvalues(problem, band_range)
    assert np.abs(energies - expected).max(initial=0) < 1e-10 * scale
    torch_notes, lapack_notes = (solver.diagnostics for solver in solvers)
    assert torch_notes.n_removed == lapack_notes.n_removed == (1 if cutoff else 0)
    assert torch_notes.min_overlap_eigenvalue == pytest.approx(
        lapack_notes.min_overlap_eigenvalue, rel=1e-2
    )
