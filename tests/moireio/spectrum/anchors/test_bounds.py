"""Bounds on energies against exact errors."""

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from moireio.spectrum.anchors.bounds import quadratic_bounds


def random_hermitian(rng, size):
    matrix = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
    return matrix + matrix.conj().T


def ritz(h, vectors):
    q, _ = np.linalg.qr(vectors)
    energies, y = np.linalg.eigh(q.conj().T @ h @ q)
    x = q @ y
    residuals = h @ x - x * energies
    return energies, residuals.conj().T @ residuals


@given(
    seed=st.integers(0, 10**6),
    size=st.integers(2, 24),
    begin=st.integers(0, 20),
    count=st.integers(1, 12),
    spoil=st.floats(-8, 0.5),
    splitting=st.sampled_from([None, 0.0, 1e-7, 1e-4, 1e-2]),
    first=st.integers(0, 4),
    last=st.integers(5, 12),
)
@settings(max_examples=300, deadline=None)
def test_bounds_are_never_below_the_error(seed, size, begin, count, spoil, splitting, first, last):
    """Some levels inside the spectrum, their states spoiled, and none of them missing."""
    rng = np.random.default_rng(seed)
    h = random_hermitian(rng, size)
    exact, vectors = np.linalg.eigh(h)
    if splitting is not None:  # groups of near levels
        exact = np.sort(np.round(exact / 4) * 4 + splitting * rng.integers(0, 4, size))
        h = (vectors * exact) @ vectors.conj().T
    begin = min(begin, size - 1)
    end = min(begin + count, size)
    noise = rng.normal(size=(size, end - begin)) * 10.0 ** rng.uniform(
        spoil - 3, spoil, end - begin
    )
    energies, products = ritz(h, vectors[:, begin:end] + noise)
    known = (exact[begin - 1] if begin else -np.inf, exact[end] if end < size else np.inf)
    norm = np.sqrt(np.linalg.eigvalsh(products)[-1])
    assume(known[0] < energies[0] - norm and energies[-1] + norm < known[1])  # these, no others
    bounds = quadratic_bounds(energies, products, slice(first, last), known)
    assert (np.abs(energies - exact[begin:end]) <= bounds + 1e-12 * np.abs(exact).max()).all()


@given(seed=st.integers(0, 10**6), size=st.integers(3, 30))
@settings(max_examples=100, deadline=None)
def test_bounds_are_near_the_error(seed, size):
    """An isolated level with a small residual: the error is near r²/η, and the bound not above."""
    rng = np.random.default_rng(seed)
    exact = np.sort(rng.uniform(-5, 5, size))
    h = np.diag(exact).astype(complex)
    vectors = np.eye(size) + 1e-5 * rng.normal(size=(size, size))
    energies, products = ritz(h, vectors[:, :2])
    bounds = quadratic_bounds(energies, products, known=(-np.inf, exact[2]))
    residuals = np.sqrt(np.diagonal(products).real)
    gap = exact[2] - energies
    assert (bounds <= residuals).all() or (gap < residuals).any()
    assert (bounds <= (residuals**2).sum() / np.maximum(gap, 1e-300) * 1.0001).all()


def test_no_bound_beyond_what_is_known():
    """A level that one of unknown energy may pass has no bound, nor one that a bad one may."""
    energies, products = np.array([0.0, 1.0]), np.diag([1e-6, 1e-6]).astype(complex)
    assert np.isinf(quadratic_bounds(energies, products, known=(0.5, 3.0))).tolist() == [
        True,
        False,
    ]
    passing = np.diag([0.0, 4.0]).astype(complex)
    assert np.isinf(quadratic_bounds(energies, passing, known=(-1.9, 2.9))).all()
    # where others are far enough from both it cannot pass
    assert np.allclose(quadratic_bounds(energies, passing, known=(-10, 11)), [0, 0.4], atol=0.02)


def test_degenerate_levels_share_a_bound():
    """Two levels of one energy: the distance to the others counts, not that between them."""
    energies = np.array([-1.0, 0.0, 0.0, 1.0])
    products = np.diag([0, 1e-6, 1e-6, 0]).astype(complex)
    bounds = quadratic_bounds(energies, products, slice(1, 3), (-1, 1))
    assert np.allclose(bounds[1:3], 1e-6, rtol=1e-2, atol=0)  # the norm of both, as a matrix
    assert bounds[1:3].min() > 0


def test_a_poor_level_does_not_spoil_a_good_one():
    """Residuals that differ by a factor of a thousand: each level has a bound by its own."""
    energies = np.array([0.0, 0.1])
    products = np.outer([1e-5, 1e-2], [1e-5, 1e-2]).astype(complex)
    bounds = quadratic_bounds(energies, products, known=(-1, 1.1))
    assert np.allclose(bounds, [1e-10, 1e-4], rtol=0.1)


def test_a_level_that_may_lie_between_others():
    """Of three near levels the last has a large residual: it may be the second, or the first."""
    energies = np.array([0.0, 1e-7, 4e-6, 1.0])
    products = np.diag([0, 0, 2.5e-5, 0]).astype(complex)
    bounds = quadratic_bounds(energies, products, slice(0, 2), (-1, 2))
    assert bounds[0] >= 2e-5
    assert bounds[1] >= 0.999e-7


@given(seed=st.integers(0, 10**6), enough=st.floats(-6, 0))
@settings(max_examples=100, deadline=None)
def test_bounds_that_are_enough(seed, enough):
    """Those wanted are below what is enough, or the least ones; never below the least."""
    rng = np.random.default_rng(seed)
    exact, vectors = np.linalg.eigh(random_hermitian(rng, 20))
    h = (vectors * exact) @ vectors.conj().T
    noise = rng.normal(size=(20, 10)) * 10.0 ** rng.uniform(-4, -1, 10)
    energies, products = ritz(h, vectors[:, 5:15] + noise)
    given = energies, products, slice(3, 7), (exact[4], exact[15])
    least, found = quadratic_bounds(*given), quadratic_bounds(*given, 10.0**enough)
    assert (found >= least).all()
    assert found[3:7].max() <= max(10.0**enough, least[3:7].max())
