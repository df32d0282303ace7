"""Plane lattices and deformations."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moireio.moire import plane

numbers = st.floats(-0.2, 0.2)
angles = st.floats(-179, 179)
whole = st.integers(-12, 12)


@given(numbers, numbers, numbers, angles)
def test_polar_takes_apart_what_was_put_together(xx, yy, xy, angle):
    strain = np.array([[xx, xy], [xy, yy]])
    split, turn = plane.polar((np.eye(2) + strain) @ plane.rotation(angle))
    assert np.abs(split - strain).max() < 1e-12
    assert turn == pytest.approx(angle, abs=1e-10)


@given(numbers, numbers, numbers, st.sampled_from([0, 0.5, 1, -1, -0.5]))
def test_power(xx, yy, xy, exponent):
    strain = np.array([[xx, xy], [xy, yy]])
    values = np.linalg.eigvalsh(np.eye(2) + strain) ** exponent
    power = plane.power(strain, exponent)
    assert np.abs(power - power.T).max() < 1e-14
    assert np.allclose(np.linalg.eigvalsh(np.eye(2) + power), np.sort(values), atol=1e-12)
    assert np.abs(power @ strain - strain @ power).max() < 1e-12


@given(whole, whole, whole, whole)
def test_supercell_points_are_all_and_different(a, b, c, d):
    matrix = np.array([[a, b], [c, d]])
    det = a * d - b * c
    if det <= 0:
        return
    points = plane.supercell_points(matrix)
    assert len(points) == det
    assert ((points >= 0) & (points < 1)).all()
    lattice = points @ matrix
    assert np.abs(lattice - np.round(lattice)).max() < 1e-9
    assert len({tuple(p) for p in np.round(points * det).astype(int)}) == det


@given(whole, whole, whole, whole, st.floats(0.5, 2), st.floats(20, 160))
def test_reduction_keeps_the_lattice_and_ignores_the_cell(a, b, c, d, ratio, angle):
    if a * d - b * c not in (1, -1):
        return
    t = np.radians(angle)
    rows = np.array([[1.0, 0.0], [ratio * np.cos(t), ratio * np.sin(t)]])
    other = np.array([[a, b], [c, d]]) @ rows
    if np.linalg.det(other) < 0:
        other = other[::-1]
    first, m = plane.reduce(rows)
    second, n = plane.reduce(other)
    assert abs(round(np.linalg.det(m))) == 1
    assert np.allclose(m @ rows, first)
    assert np.allclose(n @ other, second, atol=1e-9)
    assert np.linalg.norm(first, axis=1) == pytest.approx(np.linalg.norm(second, axis=1), rel=1e-6)
    assert first[0] @ first[1] > -1e-9


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1, 0], [0.5, np.sqrt(3) / 2]], "hexagonal"),
        ([[1, 0], [-0.5, np.sqrt(3) / 2]], "hexagonal"),
        ([[2, 1], [-1, 2]], "square"),
        ([[3.3, 0], [0, 4.4]], "rectangular"),
        ([[1, 0.4], [1, -0.4]], "centred rectangular"),
        ([[1, 0], [0.5, 1.7]], "centred rectangular"),
        ([[1, 0], [0.3, 1.7]], "oblique"),
    ],
)
def test_bravais_classes(rows, expected):
    rows = np.array(rows, dtype=float)
    for turn in (0, 17.0):
        assert plane.bravais_class(rows @ plane.rotation(turn).T) == expected


def test_hilbert_curve_visits_neighbours():
    side = 16
    grid = np.stack(np.meshgrid(*[np.arange(side)] * 2, indexing="ij"), -1).reshape(-1, 2)
    index = plane.hilbert_index((grid + 0.5) / side, 4)
    assert sorted(index) == list(range(side * side))
    steps = np.abs(np.diff(grid[np.argsort(index)], axis=0)).sum(axis=1)
    assert (steps == 1).all()


@given(numbers, angles, st.floats(0, 0.5))
def test_uniaxial_strain(magnitude, direction, poisson):
    """Stretched along the direction, narrowed across it."""
    strain = plane.uniaxial(magnitude, direction, poisson)
    along, across = plane.rotation(direction).T
    assert strain @ along == pytest.approx(magnitude * along, abs=1e-12)
    assert strain @ across == pytest.approx(-poisson * magnitude * across, abs=1e-12)
    principal = np.sort([magnitude, -poisson * magnitude])
    assert plane.principal(strain) == pytest.approx(principal, abs=1e-12)


def test_right_angles_are_exact():
    for n in range(-4, 5):
        turn = plane.rotation(90.0 * n)
        assert set(np.abs(turn).ravel()) == {0.0, 1.0}
    assert (plane.rotation(90.0) == [[0, -1], [1, 0]]).all()


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[2.46, 0], [1.23, 2.13042249]], "hexagonal"),
        ([[3.2, 0], [0.00000001, 3.20000001]], "square"),
        ([[3.2, 0], [0, 4.5]], "rectangular"),
    ],
)
def test_snapped_lattices(rows, expected):
    lattice, name = plane.snapped(np.array(rows), 2e-8, 1e-8)
    assert name == expected
    a, b = np.linalg.norm(lattice, axis=1)
    cosine = lattice[0] @ lattice[1] / (a * b)
    assert cosine == pytest.approx(0.5 if name == "hexagonal" else 0, abs=1e-15)
    assert a == rows[0][0]
    assert (b == pytest.approx(a, abs=1e-12)) == (name != "rectangular")


def test_strained_lattices_are_not_snapped():
    rows = np.array([[2.46, 0], [1.23, 2.13043]])
    lattice, name = plane.snapped(rows, 2e-8, 1e-8)
    assert lattice is rows
    assert name == "oblique"
