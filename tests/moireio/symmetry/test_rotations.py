"""Rotation matrices of orbitals and spins against other ways to get them."""

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from moireio.errors import MoireioError
from moireio.symmetry.rotations import (
    SIGMA,
    axis_and_angle,
    rotated_harmonics,
    rotated_orbitals,
    rotated_spin,
)
from moireio.system.basis import SpeciesBasis
from moireio.system.harmonics import harmonics


def random_operation(seed):
    rng = np.random.default_rng(seed)
    return Rotation.random(random_state=rng).as_matrix() * rng.choice([-1, 1])


@pytest.mark.parametrize("degree", range(6))
def test_harmonics_at_points(degree):
    """The turned function at r is the function at g⁻¹ r."""
    points = np.random.default_rng(degree).normal(size=(3, 50))
    points /= np.linalg.norm(points, axis=0)
    for seed in range(6):
        g = random_operation(seed)
        d = rotated_harmonics(degree, g)
        there = harmonics(degree, g.T @ points)[degree**2 :]
        assert np.abs(there - d.T @ harmonics(degree, points)[degree**2 :]).max() < 1e-13
        assert np.abs(d @ d.T - np.eye(2 * degree + 1)).max() < 1e-13
        other = random_operation(seed + 100)
        assert np.abs(
            rotated_harmonics(degree, g @ other) - d @ rotated_harmonics(degree, other)
        ).max() < (1e-13)


def test_p_orbitals_turn_as_vectors():
    g = random_operation(3)
    order = [1, 2, 0]  # y, z, x
    assert np.abs(rotated_harmonics(1, g) - g[np.ix_(order, order)]).max() < 1e-14


def test_d_orbitals_about_z():
    """dxy and dx²−y² turn by twice the angle, from the addition theorem."""
    angle = 0.4
    g = Rotation.from_rotvec([0, 0, angle]).as_matrix()
    d = rotated_harmonics(2, g)
    c, s = np.cos(2 * angle), np.sin(2 * angle)
    assert d[4, 4] == pytest.approx(c)
    assert d[0, 4] == pytest.approx(s)
    assert d[2, 2] == pytest.approx(1)


def test_spins():
    """Against the exponential; spins turn as vectors: U σ_a U† = Σ_b σ_b g_ba."""
    for seed in range(8):
        g = random_operation(seed)
        proper = g * np.sign(np.linalg.det(g))
        u = rotated_spin(g)
        vector = Rotation.from_matrix(proper).as_rotvec()
        assert np.abs(u - expm(-0.5j * np.einsum("a,abc->bc", vector, SIGMA))).max() < 1e-12
        turned = np.einsum("ij,ajk,lk->ail", u, SIGMA, u.conj())
        assert np.abs(turned - np.einsum("ba,bij->aij", proper, SIGMA)).max() < 1e-12
    third = rotated_spin(Rotation.from_rotvec([0, 0, 2 * np.pi / 3]).as_matrix())
    assert np.abs(third - np.diag(np.exp([-1j * np.pi / 3, 1j * np.pi / 3]))).max() < 1e-14
    assert np.abs(rotated_spin(-np.eye(3)) - np.eye(2)).max() == 0


def test_axes_and_angles():
    for seed in range(8):
        g = random_operation(seed)
        axis, angle = axis_and_angle(g)
        proper = g * np.sign(np.linalg.det(g))
        assert np.abs(Rotation.from_rotvec(axis * angle).as_matrix() - proper).max() < 1e-12
    for axis in ([1.0, 0, 0], [0, 0, 1.0], [0.6, 0.8, 0], [0.48, 0.6, 0.64]):
        half = Rotation.from_rotvec(np.pi * np.array(axis)).as_matrix()
        found, angle = axis_and_angle(half)
        assert angle == pytest.approx(np.pi)
        assert np.abs(found - axis).max() < 1e-7
    assert axis_and_angle(np.eye(3))[1] == 0


def test_orbitals_of_an_atom():
    basis = SpeciesBasis(l=(0, 0, 1, 2))
    g = random_operation(1)
    whole = rotated_orbitals("X", basis, g)
    assert whole.shape == (10, 10)
    assert np.abs(whole[2:5, 2:5] - rotated_harmonics(1, g)).max() == 0
    assert np.abs(whole[5:, 5:] - rotated_harmonics(2, g)).max() == 0
    assert np.abs(whole[:5, 5:]).max() == 0


def test_incomplete_shells():
    lone = SpeciesBasis(l=(1, 1), m=(0, 0))
    over = np.diag([1.0, -1, -1])
    assert np.abs(rotated_orbitals("C", lone, over) + np.eye(2)).max() < 1e-14
    with pytest.raises(MoireioError, match="the orbitals of C are no complete shell"):
        rotated_orbitals("C", lone, random_operation(0))
    plane = SpeciesBasis(l=(1, 1), m=(-1, 1))  # y and x
    turn = Rotation.from_rotvec([0, 0, 0.3]).as_matrix()
    assert np.abs(rotated_orbitals("C", plane, turn) - turn[:2, :2].T).max() < 1e-14
