"""Bessel functions, transforms and tables against closed forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orbitals import EXPONENTS, gaussian_basis
from scipy.special import gamma, spherical_jn

from moireio.integrals.radial import Q_MAX, STEP, bessel, q_grid, tables, transforms
from moireio.system.radial import radial_functions
from moireio.units import BOHR_ANGSTROM


@given(st.integers(0, 8), st.lists(st.floats(0, 500), min_size=1, max_size=20))
def test_bessel_functions(lmax, x):
    x = np.array(x)
    expected = np.array([spherical_jn(n, x) for n in range(lmax + 1)])
    np.testing.assert_allclose(bessel(lmax, x), expected, atol=1e-11)


@given(st.floats(1.0, 30.0))
def test_grid_of_momenta(reach):
    q = q_grid(reach)
    assert q[0] == pytest.approx(np.pi / (1.1 * reach))
    np.testing.assert_allclose(np.diff(q), q[0])
    assert q[-1] - q[0] < Q_MAX <= q[-1] * (1 + 1e-12)


def transform(l, a, q):  # noqa: E741
    """∫ r² N r^l e^(−a r²) j_l(qr) dr = N √π q^l e^(−q²/4a) / (2^(l+2) a^(l+3/2))."""
    norm = np.sqrt(2 * (2 * a) ** (l + 1.5) / gamma(l + 1.5))
    return norm * np.sqrt(np.pi) * q**l * np.exp(-q * q / 4 / a) / (2 ** (l + 2) * a ** (l + 1.5))


def test_transforms_of_gaussians():
    functions = radial_functions("C", gaussian_basis("s2p1d1f1"))
    q = np.linspace(0.1, 20, 100)
    exponents = [EXPONENTS[0][0], EXPONENTS[0][1], *(EXPONENTS[n][0] for n in (1, 2, 3))]
    for function, a, F in zip(functions, exponents, transforms(functions, q), strict=True):
        expected = transform(function.l, a, q * BOHR_ANGSTROM) * BOHR_ANGSTROM**1.5
        np.testing.assert_allclose(F, expected, atol=2e-7)


@pytest.mark.parametrize("momentum", [0, 1, 2, 3])
def test_tables_of_gaussians(momentum):
    """∫ q² q^L e^(−b q²) j_L(qd) dq = √π d^L e^(−d²/4b) / (2^(L+2) b^(L+3/2))."""
    b, reach = 0.4, 6.0
    q = q_grid(reach)
    product = (q**momentum * np.exp(-b * q * q))[None]
    table = tables({momentum: product}, q, reach)[momentum][0]
    d = np.random.default_rng(0).uniform(0, reach, 200)
    piece, x = np.divmod(d / STEP, 1)
    values = sum(table[n, piece.astype(int)] * x**n for n in range(4))
    expected = np.sqrt(np.pi) * d**momentum * np.exp(-d * d / 4 / b)
    expected /= 2 ** (momentum + 2) * b ** (momentum + 1.5)
    np.testing.assert_allclose(values, expected, atol=1e-9)
    if momentum:
        assert table[0, 0] == 0
