"""Block Lanczos on dense pencils."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh

from moireio.solvers.base import NotPositiveError
from moireio.solvers.lanczos import LEVELS, ROUGHLY, NotConvergedError, TooNearError, lanczos


def pencil(seed, n):
    """Return a random Hermitian H, a positive definite S, and their levels."""
    rng = np.random.default_rng(seed)
    h, a = (rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)) for _ in range(2))
    h, s = (h + h.conj().T) / 2, np.eye(n) + 0.05 * a @ a.conj().T
    return h, s, eigh(h, s, eigvals_only=True)


def around(h, s, sigma, enough, **options):
    inverse = np.linalg.inv(h - sigma * s)
    return lanczos(
        lambda x: inverse @ x, lambda x: s @ x, len(h), np.dtype(complex), sigma, enough, **options
    )


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2, 60),
    place=st.floats(0.05, 0.95),
    tolerances=st.sampled_from([None, LEVELS, ROUGHLY]),
)
def test_levels_next_to_a_shift(seed, n, place, tolerances):
    """As many as asked for, none left out between them, with S-orthonormal states."""
    h, s, exact = pencil(seed, n)
    below = int(place * (n - 1))
    sigma = (exact[below] + exact[below + 1]) / 2
    wanted = min(4, n)
    levels, states = around(h, s, sigma, lambda e: len(e) >= wanted, tolerances=tolerances)
    assert len(levels) >= wanted
    first = below + 1 - (levels < sigma).sum()
    error, largest_residual = {None: (1e-8, 1e-6), LEVELS: (1e-8, 1e-3)}.get(
        tolerances, (1e-6, 0.1)
    )
    assert np.abs(levels - exact[first : first + len(levels)]).max() < error
    residual = h @ states - s @ states * levels
    assert np.linalg.norm(residual, axis=0).max() < largest_residual
    assert np.abs(states.conj().T @ s @ states - np.eye(len(levels))).max() < 1e-9


def test_a_level_at_the_shift():
    """Its energy comes with the error."""
    h, s, exact = pencil(1, 30)
    with pytest.raises(TooNearError) as raised:
        around(h, s, exact[9] + 1e-7, lambda e: len(e) >= 4)
    assert raised.value.args[0] == pytest.approx(exact[9], abs=1e-9)


def test_an_operator_that_is_not_hermitian():
    """It gives up after as many vectors as it may use."""
    h, s, exact = pencil(4, 60)
    sigma, rng = exact[29:31].mean(), np.random.default_rng(0)
    inverse = np.linalg.inv(h - sigma * s)
    solved = []

    def solve(right):
        solved.append(right.shape[1])
        return (inverse @ right) * (1 + 0.5 * rng.normal(size=right.shape))

    with pytest.raises(NotConvergedError, match="do not converge"):
        lanczos(solve, s.__matmul__, 60, h.dtype, sigma, lambda e: len(e) >= 20, most=40)
    assert sum(solved) <= 56


def test_it_gives_up_where_nothing_more_converges():
    """Soon after the last level; those that converged come with the error."""
    h, s, exact = pencil(4, 400)
    sigma, rng = exact[199:201].mean(), np.random.default_rng(0)
    inverse = np.linalg.inv(h - sigma * s)
    wrong = rng.normal(size=inverse.shape) / 20  # of norm 2
    inverse += 1e-3 * np.abs(1 / (exact - sigma)).max() * wrong
    solved = []

    def solve(right):
        solved.append(right.shape[1])
        return inverse @ right

    def find(patience):
        solved.clear()
        with pytest.raises(NotConvergedError) as raised:
            lanczos(
                solve,
                s.__matmul__,
                400,
                h.dtype,
                sigma,
                lambda e: len(e) >= 200,
                tolerances=ROUGHLY,
                patience=patience,
                most=320,
            )
        return raised.value.levels, sum(solved)

    (few, early), (most, late) = find(6), find(None)
    assert early < 0.8 * late
    assert 0 < len(few) <= len(most)
    first = 200 - (few < sigma).sum()
    assert np.abs(few - exact[first : first + len(few)]).max() < 1e-3


def test_an_overlap_that_is_not_positive():
    h, s, _ = pencil(2, 30)
    s = s - 1.5 * np.linalg.eigvalsh(s)[10] * np.eye(30)
    with pytest.raises(NotPositiveError):
        around(h, s, 0.1, lambda e: len(e) == 30)
