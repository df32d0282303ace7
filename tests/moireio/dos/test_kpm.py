"""Moments of the kernel polynomial method, and what it refuses."""

import numpy as np
import pytest
from helpers import overlap_like, random_operator, random_system
from scipy.linalg import eigh
from scipy.sparse import diags_array

from moireio.dos import kpm
from moireio.errors import MoireioError
from moireio.operators.bloch import BlochSum
from moireio.solvers.base import EigenProblem


def test_the_series_is_the_damped_one():
    """Moments of known levels: a level becomes Jackson's kernel, close to a Gaussian."""
    count, half, level = 400, 10.0, 1.5
    values = np.cos(np.arange(count) * np.arccos(level / half))[None]
    found = kpm.Moments(0.0, half, values)
    edges = np.linspace(-10, 10, 4001)
    density = np.diff(found.below(edges)[0]) / (edges[1] - edges[0])
    centre = 0.5 * (edges[1:] + edges[:-1])
    mean = (density * centre).sum() * (edges[1] - edges[0])
    spread = np.sqrt((density * (centre - mean) ** 2).sum() * (edges[1] - edges[0]))
    assert mean == pytest.approx(level, abs=0.01)
    assert spread == pytest.approx(found.width, rel=0.05)
    assert density.min() > -1e-6
    assert density.sum() * (edges[1] - edges[0]) == pytest.approx(1)
    assert kpm.jackson(100)[0] == pytest.approx(1)


@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_moments_without_noise(spin):
    """Summed over all unit vectors instead of random ones the traces are exact."""
    structure, basis = random_system(3)
    sizes = basis.sizes(structure)
    h, _ = random_operator(3, sizes, spin=spin)
    s, _ = overlap_like(3, sizes)
    hk, sk = BlochSum.from_source(h), BlochSum.from_source(s, spinor=spin == "spinor")
    problem = EigenProblem(hk, sk, [0.1, 0.3, 0])
    found = kpm.moments(problem, width=1.0, count=20, noise=np.eye(problem.n_orbitals))
    energies = eigh(hk.dense(problem.k), sk.dense(problem.k), eigvals_only=True)
    assert found.centre - found.half < energies[0]
    assert found.centre + found.half > energies[-1]
    angles = np.arccos((energies - found.centre) / found.half)
    expected = np.cos(np.arange(20) * angles[:, None]).sum(axis=0)
    assert np.abs(found.values.sum(axis=0) - expected).max() < 1e-8


def problem(seed=3, spin="none"):
    """H and S of four atoms at a general k point."""
    structure, basis = random_system(seed)
    sizes = basis.sizes(structure)
    h, _ = random_operator(seed, sizes, spin=spin)
    s, _ = overlap_like(seed, sizes)
    sums = BlochSum.from_source(h), BlochSum.from_source(s, spinor=spin == "spinor")
    return EigenProblem(*sums, [0.1, 0.3, 0])


def test_too_little_memory():
    """In the words of the solvers; projections need a place for filtered vectors besides."""
    from scipy.sparse import eye_array

    small = problem()
    with pytest.raises(MoireioError, match=r"orbitals need at least .* kernel polynomial solver"):
        kpm.moments(small, width=1.0, memory=1e3)
    groups = eye_array(small.n_orbitals, format="csr")
    with pytest.raises(MoireioError, match=r"projections at .* energies need at least"):
        kpm.moments(small, width=0.001, memory=1.5e6, vectors=1, indicator=groups)


def test_more_moments_than_is_sensible():
    with pytest.raises(MoireioError, match="larger `width`"):
        kpm.moments(problem(), width=1e-7)


def test_an_overlap_that_is_not_positive():
    bad = problem()
    with pytest.raises(MoireioError, match=r"not positive definite at k = 0\.1 0\.3 0"):
        kpm.moments(EigenProblem(bad.hamiltonian, bad.hamiltonian, bad.k), width=1.0)


def test_progress_ends_at_the_whole():
    ticks = []
    kpm.moments(problem(), width=1.0, progress=lambda steps, total: ticks.append((steps, total)))
    assert sum(steps for steps, _ in ticks) == ticks[0][1]


class Diagonal:
    """Levels on the diagonal, whose traces have no noise."""

    def __init__(self, levels):
        self.levels, self.n_orbitals = levels, len(levels)

    def csr(self, k):
        """Return the matrix."""
        return diags_array(self.levels, format="csr")


@pytest.mark.parametrize("kind", [float, complex])
def test_single_precision(kind):
    """Without S; its rounding errors are far below the noise of random vectors."""
    levels = np.sort(np.random.default_rng(0).normal(size=500))
    diagonal = Diagonal(levels.astype(kind))
    found = kpm.moments(EigenProblem(diagonal, None, [0, 0, 0]), width=1, count=2000)
    angles = np.arccos((levels - found.centre) / found.half)
    expected = np.cos(np.arange(2000)[:, None] * angles).sum(axis=1)
    assert np.abs(found.values - expected).max() < 0.02  # noise: √(500/2/8) = 6
    assert found.values[:, 0] == pytest.approx(500, rel=1e-12)


class Band:
    """A random Hermitian matrix with few elements in a row."""

    def __init__(self, n, kind):
        rng = np.random.default_rng(4)
        diagonals = [rng.normal(size=n - d) * (1 + (kind is complex) * 0.7j) for d in (1, 3)]
        half = diags_array(diagonals, offsets=(1, 3))
        self.matrix = (half + half.conj().T + diags_array(rng.normal(size=n))).tocsr()
        self.n_orbitals = n

    def csr(self, k):
        """Return a copy."""
        return self.matrix.copy()


@pytest.mark.parametrize("kind", [float, complex])
def test_the_first_moments_are_exact(kind):
    """Tr A and Tr A² are known where S = 1, and take noise off the others."""
    band = Band(300, kind)
    energies = np.linalg.eigvalsh(band.matrix.toarray())
    found = kpm.moments(EigenProblem(band, None, [0, 0, 0]), width=1.0, count=60, vectors=64)
    angles = np.arccos((energies - found.centre) / found.half)
    expected = np.cos(np.arange(60) * angles[:, None]).sum(axis=0)
    assert np.abs(found.values[:, :3] - expected[:3]).max() < 1e-6 * 300
    error = found.values.std(axis=0, ddof=1) / np.sqrt(64)
    assert (np.abs(found.values.mean(axis=0) - expected) < 4 * error + 1e-3).all()
    # without: 2 (Tr B² - Σ B_ii²), for each of 64 vectors; half as much for phases
    step = np.linalg.eigh(band.matrix.toarray())[1][:, :150]
    filled = np.abs(step @ step.conj().T) ** 2
    noise = np.sqrt((filled.sum() - np.trace(filled)) * (2 if kind is float else 1) / 64)
    middle = 0.5 * (energies[149] + energies[150])
    scatter = found.below(np.array([middle]))[:, 0].std(ddof=1) / np.sqrt(64)
    assert scatter < 0.7 * noise


def test_seeds():
    one, same, other = (kpm.moments(problem(), width=1.0, seed=s).values for s in (1, 1, 2))
    assert (one == same).all()
    assert (one != other).any()
