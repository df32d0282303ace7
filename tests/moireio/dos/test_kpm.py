"""Moments of the kernel polynomial method, and what it refuses."""

import numpy as np
import pytest
from helpers import overlap_like, random_operator, random_system
from scipy.linalg import eigh

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


def test_chemical_potential_of_exact_moments():
    """Between the levels that are filled and those that are not, as precisely as the kernel."""
    exact = problem()
    levels = eigh(exact.hamiltonian.dense(exact.k), exact.overlap.dense(exact.k), eigvals_only=True)
    found = kpm.moments(exact, width=0.02, noise=np.eye(exact.n_orbitals))
    total = kpm.Moments(found.centre, found.half, found.values.sum(axis=0)[None])
    gaps = np.diff(levels)
    filled = int(np.argmax(gaps)) + 1
    level, error = kpm.chemical_potential([(1.0, total)], 2.0 * filled, 2.0)
    assert levels[filled - 1] - 0.1 < level < levels[filled] + 0.1
    assert error >= 0
    with pytest.raises(MoireioError, match="do not fit"):
        kpm.chemical_potential([(1.0, total)], 4.0 * len(levels), 2.0)
