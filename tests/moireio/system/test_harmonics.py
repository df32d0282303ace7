"""Real spherical harmonics and Gaunt integrals against SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moireio.system.harmonics import gaunt, harmonics, unit_vectors


def directions(n, seed=0):
    return unit_vectors(np.random.default_rng(seed).normal(size=(3, n)))[1]


def complex_harmonic(l, m, vectors):  # noqa: E741
    from scipy.special import sph_harm_y

    x, y, z = vectors
    return sph_harm_y(l, m, np.arccos(z), np.arctan2(y, x))


def real_harmonic(l, m, vectors):  # noqa: E741
    """From the complex ones, without their Condon–Shortley phase."""
    value = (-1) ** m * complex_harmonic(l, abs(m), vectors)
    if m == 0:
        return value.real
    return np.sqrt(2) * (value.real if m > 0 else value.imag)


def test_against_scipy():
    vectors = directions(50)
    values = harmonics(6, vectors)
    for l in range(7):  # noqa: E741
        for m in range(-l, l + 1):
            expected = real_harmonic(l, m, vectors)
            np.testing.assert_allclose(values[l * l + l + m], expected, atol=1e-13)


def test_order_of_p_and_d():
    x, y, z = vectors = directions(20, 1)
    values = harmonics(2, vectors)
    np.testing.assert_allclose(values[1:4], np.sqrt(3 / 4 / np.pi) * np.array([y, z, x]))
    c = np.sqrt(15 / 4 / np.pi)
    d = [
        c * x * y,
        c * y * z,
        c / np.sqrt(12) * (3 * z * z - 1),
        c * x * z,
        c / 2 * (x * x - y * y),
    ]
    np.testing.assert_allclose(values[4:9], d, atol=1e-14)


@given(st.integers(0, 10_000))
def test_parity_to_the_last_digit(seed):
    vectors = directions(3, seed)
    for l in range(7):  # noqa: E741
        part = slice(l * l, (l + 1) ** 2)
        assert (harmonics(6, -vectors)[part] == (-1) ** l * harmonics(6, vectors)[part]).all()


@pytest.mark.parametrize(("l1", "l2"), [(0, 0), (1, 1), (1, 2), (2, 3), (3, 3)])
def test_gaunt_expands_products(l1, l2):
    """Y_l1 Y_l2 = Σ_L Σ_M G Y_LM at any point."""
    vectors = directions(12, 2)
    values = harmonics(l1 + l2, vectors)
    one, two = (values[n * n : (n + 1) ** 2] for n in (l1, l2))
    total = np.zeros((2 * l1 + 1, 2 * l2 + 1, 12))
    for L in range(l1 + l2 + 1):
        total += np.einsum("abm,mp->abp", gaunt(l1, l2, L), values[L * L : (L + 1) ** 2])
    np.testing.assert_allclose(total, one[:, None] * two[None], atol=1e-13)
    for L in range(abs(l1 - l2) + 1, l1 + l2, 2):
        assert not gaunt(l1, l2, L).any()
