"""Factors in single precision: solutions as good as asked for, or an error."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh

from moireio.solvers import mixed_precision
from moireio.solvers.mixed_precision import (
    CorrectedFactor,
    ImpreciseError,
    RecycledResidualFactor,
)


class Dense:
    """The inverse of a dense matrix, with relative errors like those of single precision."""

    def __init__(self, matrix, error=0.0, seed=0):
        self.n, self.dtype = len(matrix), np.dtype(complex)
        self._inverse = np.linalg.inv(matrix)
        self._error, self._rng = error, np.random.default_rng(seed)

    def solve(self, right):
        out = self._inverse @ right
        noise = self._rng.normal(size=out.shape) + 1j * self._rng.normal(size=out.shape)
        size = np.linalg.norm(out, axis=0) / np.sqrt(2 * self.n)
        return out + self._error * size * noise


def pencil(seed, n=40):
    """Return a random Hermitian H, a positive definite S, and their levels and states."""
    rng = np.random.default_rng(seed)
    h, a = (rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)) for _ in range(2))
    h, s = (h + h.conj().T) / 2, np.eye(n) + 0.02 * a @ a.conj().T
    return h, s, *eigh(h, s)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), level=st.integers(1, 38), place=st.floats(-0.3, 0.3))
def test_a_count_is_not_trusted_across_a_level(seed, level, place):
    """Factors of another shift pass where no level lies between, and fail where one does."""
    h, s, levels, states = pencil(seed)
    sigma = (levels[level] + levels[level + 1]) / 2
    half = (levels[level + 1] - levels[level]) / 2
    images = s @ states
    near = CorrectedFactor(Dense(h - (sigma + 0.1 * place * half) * s), None)
    near.check_count(levels - sigma, images)
    beyond = levels[level + 1] + 0.1 * half
    with pytest.raises(ImpreciseError):
        CorrectedFactor(Dense(h - beyond * s), None).check_count(levels - sigma, images)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), power=st.integers(-7, -1))
def test_improved_levels_are_exact_or_refused(seed, power):
    """Errors of states enter levels by their square, and what they are is known."""
    h, s, levels, states = pencil(seed)
    first, last = 14, 25
    sigma = (levels[19] + levels[20]) / 2
    rng = np.random.default_rng(seed)
    spoilt = states[:, first:last] + 10.0**power * rng.normal(size=(len(h), last - first)) / 6
    factor = CorrectedFactor(Dense(h - sigma * s, 1e-4), lambda x: (h - sigma * s) @ x)
    try:
        offsets, vectors = factor.improved(spoilt, lambda x: s @ x)
    except ImpreciseError:
        assert power > -6
        return
    wrong = np.abs(sigma + offsets - levels[first:last]).max()
    assert wrong < 1e-8
    assert power < -2
    gram = vectors.conj().T @ s @ vectors
    assert np.abs(gram - np.eye(last - first)).max() < 1e-10


def test_corrections_end_or_fail():
    h, s, levels, _ = pencil(1)
    matrix = h - (levels[19] + levels[20]) / 2 * s
    right = np.random.default_rng(0).normal(size=(len(h), 3)) + 0j
    for error, most, enough in ((1e-4, 1, True), (1e-2, 1, False), (1e-2, 8, True), (3, 8, False)):
        factor = CorrectedFactor(Dense(matrix, error), lambda x: matrix @ x, most)
        if enough:
            exact = np.linalg.solve(matrix, right)
            wrong = np.linalg.norm(factor.solve(right) - exact, axis=0)
            assert (wrong < 3 * mixed_precision.NOISE * np.linalg.norm(exact, axis=0)).all()
        else:
            with pytest.raises(ImpreciseError):
                factor.solve(right)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), power=st.integers(-6, -1), distance=st.floats(1e-3, 0.5))
def test_refined_solutions(seed, power, distance):
    """To double precision, or refused; recycled directions serve later right-hand sides."""
    h, s, levels, _ = pencil(seed)
    matrix = h - (levels[19] + distance * (levels[20] - levels[19])) * s
    factor = RecycledResidualFactor(Dense(matrix, 10.0**power), lambda x: matrix @ x)
    rng = np.random.default_rng(seed)
    for columns in (4, 1, 2):
        right = rng.normal(size=(len(h), columns)) + 1j * rng.normal(size=(len(h), columns))
        try:
            residual = right - matrix @ factor.solve(right)
        except ImpreciseError:
            assert power > -5
            return
        limit = 1e3 * mixed_precision.EXACT * np.linalg.norm(right, axis=0)
        assert (np.linalg.norm(residual, axis=0) < limit).all()


def test_a_fallback_solves_where_corrections_do_not_suffice():
    h, s, levels, _ = pencil(3)
    matrix = h - (levels[19] + levels[20]) / 2 * s
    rough, right = Dense(matrix, 0.05), np.ones((len(h), 2), dtype=complex)

    def product(x):
        return matrix @ x

    with pytest.raises(ImpreciseError):
        CorrectedFactor(rough, product, 1).solve(right)
    fallback = RecycledResidualFactor(rough, product)
    for _ in range(2):
        solution = CorrectedFactor(rough, product, 1, fallback).solve(right)
        assert np.abs(matrix @ solution - right).max() < 1e-9
