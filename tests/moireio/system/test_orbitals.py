"""Orbitals in space: values, order, norm."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orbitals import EXPONENTS, gaussian, gaussian_basis
from scipy.spatial.transform import Rotation
from systems import rotation_of_orbitals

from moireio.system.orbitals import orbital_values
from moireio.units import BOHR_ANGSTROM


def test_values_and_order():
    """s, then y, z, x of the p shell, times the radial part."""
    basis = gaussian_basis("s1p1")
    d = np.array([[0.3, -0.4, 1.2], [0.0, 0.0, 0.7]])
    r = np.linalg.norm(d, axis=1)
    s, p = (gaussian(n, EXPONENTS[n][0], r / BOHR_ANGSTROM) * BOHR_ANGSTROM**-1.5 for n in (0, 1))
    expected = np.column_stack(
        [s / np.sqrt(4 * np.pi), *(np.sqrt(3 / 4 / np.pi) * p * d[:, m] / r for m in (1, 2, 0))]
    )
    np.testing.assert_allclose(orbital_values(basis, d), expected, atol=1e-5)


def test_orbitals_are_normalised():
    """Those of different l are orthogonal as well, and of one l as their Gaussians are."""
    basis = gaussian_basis("s1p1d1f1")
    x = np.linspace(-5, 5, 61)
    points = np.stack(np.meshgrid(x, x, x, indexing="ij"), -1).reshape(-1, 3)
    values = orbital_values(basis, points)
    assert values.shape == (len(points), basis.size)
    norm = values.T @ values * (x[1] - x[0]) ** 3
    np.testing.assert_allclose(norm, np.eye(basis.size), atol=2e-4)


@given(st.integers(0, 10**6))
def test_rotated_points(seed):
    """φ(R r) = D φ(r)."""
    basis = gaussian_basis("s2p1d1f1")
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    d = np.random.default_rng(seed).normal(size=(6, 3))
    D = rotation_of_orbitals(basis.l, turn)
    np.testing.assert_allclose(
        orbital_values(basis, d @ turn.T), orbital_values(basis, d) @ D.T, atol=1e-9
    )


def test_zero_far_away_and_finite_at_the_nucleus():
    basis = gaussian_basis("s1p1")
    values = orbital_values(basis, [[0.0, 0.0, 0.0], [0.0, 0.0, 9.0]])
    assert values[0, 0] == pytest.approx(
        gaussian(0, EXPONENTS[0][0], 0.0) * BOHR_ANGSTROM**-1.5 / np.sqrt(4 * np.pi), rel=1e-5
    )
    assert (values[0, 1:] == 0).all()
    assert (values[1] == 0).all()
