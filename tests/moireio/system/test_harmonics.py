"""Real spherical harmonics and Gaunt integrals against SciPy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from systems import rotation_of_orbitals

from moireio.system.harmonics import coupled, fill_block, gaunt, harmonics, unit_vectors


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


def sphere(degree):
    """Directions and weights of a quadrature that is exact up to a degree."""
    z, weight = np.polynomial.legendre.leggauss(degree // 2 + 1)
    angle = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    s = np.sqrt(1 - z * z)
    unit = [np.outer(s, np.cos(angle)), np.outer(s, np.sin(angle)), np.outer(z, angle**0)]
    return np.array([v.ravel() for v in unit]), np.repeat(weight, len(angle)) * 2 * np.pi / (
        degree + 1
    )


def test_orthonormal():
    vectors, weight = sphere(12)
    values = harmonics(6, vectors)
    np.testing.assert_allclose((values * weight) @ values.T, np.eye(49), atol=1e-12)


@given(st.integers(0, 10_000), st.booleans())
def test_rotations_mix_only_equal_l(seed, mirrored):
    """Y(R r) = D Y(r) with one orthogonal D per l, the same for all r."""
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix() * (-1 if mirrored else 1)
    vectors = directions(9, seed)
    D = rotation_of_orbitals(range(5), turn)
    np.testing.assert_allclose(D @ D.T, np.eye(25), atol=1e-9)
    np.testing.assert_allclose(harmonics(4, turn @ vectors), D @ harmonics(4, vectors), atol=1e-9)


def test_directions():
    length, unit = unit_vectors(np.array([[3.0, 0], [0, 0], [4, 0]]))
    assert length.tolist() == [5, 0]
    np.testing.assert_allclose(unit, [[0.6, 0], [0, 0], [0.8, 1]])


@pytest.mark.parametrize(("l1", "l2"), [(0, 1), (1, 1), (2, 1), (2, 3)])
def test_coupled_elements_fill_a_block(l1, l2):
    """Σ_L of the elements is the product of the two harmonics; parts are parts of the whole."""
    vectors = directions(5, 3)
    values = harmonics(l1 + l2, vectors)
    block = np.zeros((2 * l1 + 1, 2 * l2 + 1, 5))
    momenta = range(abs(l1 - l2), l1 + l2 + 1, 2)
    one = np.ones(5)
    fill_block(block, ((one, coupled(l1, l2, L, values)) for L in momenta))
    first, second = (values[n * n : (n + 1) ** 2] for n in (l1, l2))
    np.testing.assert_allclose(block, first[:, None] * second, atol=1e-13)
    rows, columns = [0], [2 * l2, 0]
    part = np.zeros((1, 2, 5))
    fill_block(part, ((one, coupled(l1, l2, L, values, rows, columns)) for L in momenta))
    np.testing.assert_array_equal(part, block[rows][:, columns])
