"""Tests that every solver passes, also those of other distributions (needs pytest).

Derive from `SolverContract` and give it a fixture that returns the solver::

    class TestMine(SolverContract):
        @pytest.fixture
        def solver(self):
            return MySolver(MySolver.Options())
"""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from scipy.linalg import eigh

from moireio.errors import MoireioError
from moireio.operators.bloch import BlochSum
from moireio.solvers.base import EigenProblem, Solver, SolverCapabilities

GENERAL, REAL = (0.1, 0.23, 0.0), (0.5, 0.0, 0.0)
CELLS = ((0, 0, 0), (0, 1, 0), (1, -1, 0), (1, 0, 0))  # one of each two that are opposite
SIZES = (1, 4, 9, 4)  # orbitals of each atom


def random_problem(
    seed: int = 0,
    k: npt.ArrayLike = GENERAL,
    *,
    orthogonal: bool = False,
    spinor: bool = False,
    copies: int = 1,
    min_overlap: float | None = None,
) -> EigenProblem:
    """Return a small eigenproblem with random H and S.

    Parameters
    ----------
    seed : int
        Seed of the random numbers.
    k : (3,) array
        Fractional coordinates.
    orthogonal : bool
        Without S.
    spinor : bool
        H of spinors, S the same for both spins.
    copies : int
        Number of times that every level is there.
    min_overlap : float, optional
        Smallest eigenvalue of S at `k`.

    Returns
    -------
    EigenProblem
        With 18 orbitals, twice as many of spinors, for each copy.
    """
    rng = np.random.default_rng(seed)
    hamiltonian = _random_sum(rng, copies, 2 if spinor else 1)
    if orthogonal:
        return EigenProblem(hamiltonian, None, np.asarray(k, dtype=float))
    state = rng.bit_generator.state
    shift = 0.0
    if min_overlap is not None:
        overlap = _random_sum(rng, 1, 1, scale=0.02, onsite=1.0)
        shift = min_overlap - np.linalg.eigvalsh(overlap.dense(k))[0]
    rng.bit_generator.state = state
    overlap = _random_sum(rng, copies, 1, scale=0.02, onsite=1.0 + shift, repeat=2 if spinor else 1)
    return EigenProblem(hamiltonian, overlap, np.asarray(k, dtype=float))


def _random_sum(
    rng: np.random.Generator,
    copies: int,
    spins: int,
    *,
    scale: float = 1.0,
    onsite: float = 0.0,
    repeat: int = 1,
) -> BlochSum:
    """Return the Bloch sum of random blocks, Hermitian, the same for every copy."""
    rows, blocks = [], []
    sizes = np.array(SIZES) * spins
    for i in range(len(sizes)):
        for j in range(i, len(sizes)):
            for cell in CELLS:
                block = scale * rng.normal(size=(sizes[i], sizes[j]))
                if spins == 2:
                    block = block + 1j * scale * rng.normal(size=block.shape)
                if i == j and not any(cell):
                    block = (block + block.conj().T) / 2 + onsite * np.eye(len(block))
                rows.append((i, j, cell))
                blocks.append(block.ravel())
    n = len(sizes)
    return BlochSum(
        np.tile(sizes, copies),
        np.array([i + n * copy for copy in range(copies) for i, _, _ in rows]),
        np.array([j + n * copy for copy in range(copies) for _, j, _ in rows]),
        np.array([cell for _ in range(copies) for _, _, cell in rows]),
        np.concatenate(blocks * copies),
        half_diagonal=True,
        spinor=repeat == 2,
    )


def exact_levels(problem: EigenProblem) -> npt.NDArray:
    """Return all levels of a problem by LAPACK.

    Parameters
    ----------
    problem : EigenProblem
        H and S.

    Returns
    -------
    (n_orbitals,) array
        Ascending, eV.
    """
    return eigh(*_matrices(problem), eigvals_only=True)


def _matrices(problem: EigenProblem) -> tuple[npt.NDArray, npt.NDArray]:
    h = problem.hamiltonian.dense(problem.k)
    s = np.eye(len(h)) if problem.overlap is None else problem.overlap.dense(problem.k)
    return h, s


def check_states(
    problem: EigenProblem,
    energies: npt.NDArray,
    states: npt.NDArray,
    residual: float = 1e-6,
    deviation: float = 1e-9,
) -> None:
    """Assert that states solve a problem and are S-orthonormal.

    Parameters
    ----------
    problem : EigenProblem
        H and S.
    energies : (nb,) array
        eV.
    states : (n_orbitals, nb) array
        One in a column.
    residual : float
        Largest element of H ψ − E S ψ, eV.
    deviation : float
        Largest element of the difference between their overlaps and the unit matrix.
    """
    h, s = _matrices(problem)
    assert states.shape == (len(h), len(energies))
    assert np.abs(h @ states - s @ states * energies).max() < residual
    assert np.abs(states.conj().T @ s @ states - np.eye(len(energies))).max() < deviation


class SolverContract:
    """Tests of a solver.

    Attributes
    ----------
    tolerance : float
        Largest error of a level, eV.
    """

    tolerance = 1e-8

    @pytest.fixture
    def solver(self) -> Solver:
        """Return the solver; to be replaced."""
        pytest.fail("the class of tests needs a fixture `solver`")

    def test_attributes(self, solver: Solver) -> None:
        """It has a name, capabilities, and a frozen dataclass of options with defaults."""
        assert solver.name
        assert isinstance(solver.name, str)
        assert isinstance(solver.capabilities, SolverCapabilities)
        assert dataclasses.is_dataclass(type(solver).Options)
        options = type(solver).Options()
        with pytest.raises(dataclasses.FrozenInstanceError):
            options.an_attribute = 1

    @pytest.mark.parametrize("k", [GENERAL, REAL])
    @pytest.mark.parametrize("kind", [{}, {"orthogonal": True}, {"spinor": True}])
    def test_levels_and_states(self, solver: Solver, k: tuple, kind: dict) -> None:
        """All of them, and ranges at both ends and in the middle."""
        problem = random_problem(8, k, **kind)
        exact = exact_levels(problem)
        assert problem.is_real == (k == REAL and "spinor" not in kind)
        n = problem.n_orbitals
        for band_range in (None, (0, 2), (n // 2 - 2, n // 2 + 1), (n - 2, n - 1), (3, 3)):
            first, last = band_range or (0, n - 1)
            expected = exact[first : last + 1]
            energies = solver.eigenvalues(problem, band_range)
            assert energies.shape == expected.shape
            assert np.abs(energies - expected).max() < self.tolerance
            energies, states = solver.eigenpairs(problem, band_range)
            assert np.abs(energies - expected).max() < self.tolerance
            check_states(problem, energies, states)

    @pytest.mark.parametrize("copies", [2, 10])
    def test_degenerate_levels(self, solver: Solver, copies: int) -> None:
        """Every copy of a level is found, in ranges that cut through copies too."""
        problem = random_problem(2, copies=copies)
        exact = exact_levels(problem)
        middle = copies * 9
        for first, last in ((middle - 3, middle + 4), (0, 1), (copies + 1, copies + 1)):
            energies, states = solver.eigenpairs(problem, (first, last))
            assert np.abs(energies - exact[first : last + 1]).max() < self.tolerance
            check_states(problem, energies, states)

    @pytest.mark.parametrize("k", [GENERAL, REAL])
    def test_count_below(self, solver: Solver, k: tuple) -> None:
        """Between levels, and beyond all of them."""
        problem = random_problem(3, k)
        exact = exact_levels(problem)
        for count in (1, 5, len(exact) - 1):
            assert solver.count_below(problem, exact[count - 1 : count + 1].mean()) == count
        assert solver.count_below(problem, exact[0] - 1) == 0
        assert solver.count_below(problem, exact[-1] + 1) == len(exact)

    @pytest.mark.parametrize("smallest", [1e-3, 1e-7])
    def test_nearly_singular_overlap(self, solver: Solver, smallest: float) -> None:
        """Errors are divided by the smallest eigenvalue of S, which is noted if it is looked at."""
        problem = random_problem(4, min_overlap=smallest)
        exact = exact_levels(problem)
        middle = exact[8:12]
        assert np.abs(solver.eigenvalues(problem, (8, 11)) - middle).max() < 1e-7
        seen = solver.diagnostics.min_overlap_eigenvalue
        assert not np.isfinite(seen) or abs(seen / smallest - 1) < 0.1

    @pytest.mark.parametrize("smallest", [-1e-3, -0.3])
    def test_overlap_that_is_not_positive(self, solver: Solver, smallest: float) -> None:
        """One clear line with the k point, whatever is asked for, and again the second time."""
        problem = random_problem(5, min_overlap=smallest)
        asked = (
            lambda: solver.eigenvalues(problem, (3, 6)),
            lambda: solver.eigenpairs(problem, (3, 6)),
            lambda: solver.eigenvalues(problem),
        )
        for ask in (*asked, *asked):
            with pytest.raises(MoireioError, match=r"not positive definite at k = 0\.1 0\.23 0"):
                ask()

    def test_memory(self, solver: Solver) -> None:
        """It is positive, and grows; what does not fit is refused in a line."""
        small, large = random_problem(6), random_problem(6, copies=8)
        need = solver.memory(small, 4, True)
        assert 0 < need < solver.memory(large, 4, True)
        solver.fit(small, 4, True, 100 * need)
        with pytest.raises(MoireioError, match=r"orbitals need .* may be used"):
            solver.fit(small, 4, True, 1.0)

    def test_threads_and_close(self, solver: Solver) -> None:
        """It works on after a change of threads, and after its memory was freed, also twice."""
        problem = random_problem(7)
        exact = exact_levels(problem)
        solver.use_threads(1)
        assert np.abs(solver.eigenvalues(problem, (4, 9)) - exact[4:10]).max() < self.tolerance
        solver.close()
        solver.close()
        assert np.abs(solver.eigenvalues(problem, (4, 9)) - exact[4:10]).max() < self.tolerance
