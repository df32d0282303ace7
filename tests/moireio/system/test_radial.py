"""Radial functions: interpolation and the ends of the grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orbitals import EXPONENTS, GRID, gaussian, gaussian_basis

from moireio.errors import MoireioError
from moireio.system.basis import SpeciesBasis
from moireio.system.radial import OVERRUN, RadialFunction, interpolate, radial_functions
from moireio.units import BOHR_ANGSTROM


@given(st.tuples(*[st.floats(-2, 2)] * 3), st.integers(0, 10**6))
def test_parabolas_are_interpolated_exactly(coefficients, seed):
    """Slopes are those of parabolas through three neighbours: inner pieces reproduce them."""
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.1, 1, 8))
    at = rng.uniform(x[1], x[-2], 20)
    f = np.polyval(coefficients, x)
    np.testing.assert_allclose(interpolate(x, f, at), np.polyval(coefficients, at), atol=1e-9)


@given(st.integers(0, 10**6))
def test_grid_points_are_kept(seed):
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.1, 1, 8))
    f = rng.normal(size=8)
    np.testing.assert_allclose(interpolate(x, f, x), f, atol=1e-12)


@pytest.mark.parametrize("l", [0, 1, 2, 3])
def test_a_gaussian_on_its_grid_and_between(l):  # noqa: E741
    function = radial_functions("C", gaussian_basis())[{0: 0, 1: 2, 2: 4, 3: 6}[l]]
    assert function.l == l
    r = np.linspace(0.0, 6.9, 200)
    expected = gaussian(l, EXPONENTS[l][0], r) * BOHR_ANGSTROM**-1.5
    np.testing.assert_allclose(function(r * BOHR_ANGSTROM), expected, atol=1e-5)
    near = np.array([0.0, GRID[0] / 2, GRID[0] / 4])  # below the grid: R ~ r^l
    values = function(near * BOHR_ANGSTROM)
    assert values[0] == (0 if l else values[1])
    assert values[2] == pytest.approx(values[1] / 2**l)


def test_end_of_a_function():
    r = np.linspace(0.01, 5, 100)
    long = RadialFunction(0, r, np.ones(100), 3.0)
    assert long.end == 3.0 + OVERRUN
    assert RadialFunction(0, r, np.ones(100), 4.99).end == 5.0
    np.testing.assert_allclose(long(np.array([3.0, long.end - 1e-9])), 1)
    assert (long(np.array([long.end, 9.0])) == 0).all()


def test_without_radial_functions():
    with pytest.raises(MoireioError, match="species C has no radial functions"):
        radial_functions("C", SpeciesBasis((0,), cutoff=3.0))
    whole = gaussian_basis("p1")
    part = SpeciesBasis((1,), cutoff=whole.cutoff, m=(0,), radial=whole.radial)
    with pytest.raises(MoireioError, match="incomplete shells"):
        radial_functions("C", part)
