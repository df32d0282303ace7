"""Cells against formulas and brute force that share no code with the search."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.moire import cells, layers, plane

HEX = np.array([[1, 0], [0.5, np.sqrt(3) / 2]])


@pytest.mark.parametrize("m", range(1, 38))
def test_papers_series_of_cells(m):
    """cos θ = (3m² + 3m + 1/2) / (3m² + 3m + 1); 3m² + 3m + 1 cells per layer."""
    lattice = 3.52 * HEX
    cell = cells.from_index(lattice, lattice, m + 1, m)
    n = 3 * m * m + 3 * m + 1
    assert cell.multiples == (n, n)
    assert cell.angle == pytest.approx(-np.degrees(np.arccos((n - 0.5) / n)), abs=1e-9)
    assert not cell.mismatch.any()
    rows = cell.matrices[0] @ lattice
    length = 3.52 / (2 * np.sin(np.radians(-cell.angle) / 2))
    assert np.linalg.norm(rows, axis=1) == pytest.approx([length] * 2, abs=1e-9)
    # The moiré lattice is that of the beats of the two reciprocal lattices.
    b = 2 * np.pi * np.linalg.inv(lattice).T
    beats = b @ plane.rotation(cell.angle).T - b
    moire = 2 * np.pi * np.linalg.inv(beats).T
    change = moire @ np.linalg.inv(rows)
    assert np.abs(change - np.round(change)).max() < 1e-8
    assert abs(round(np.linalg.det(change))) == 1


def test_papers_angles_and_atoms():
    papers = {1: (21.79, 42), 2: (13.17, 114), 3: (9.43, 222), 5: (6.01, 546), 8: (3.89, 1302)}
    papers |= {17: (1.89, 5514), 37: (0.88, 25314)}
    for m, (angle, atoms) in papers.items():
        cell = cells.from_index(HEX, HEX, m + 1, m)
        assert round(-cell.angle, 2) == angle
        assert 3 * sum(cell.multiples) == atoms
    assert 2 * sum(cells.from_index(HEX, HEX, 2, 1).multiples) == 28


def test_square_family():
    lattice = 3.9 * np.eye(2)
    cell = cells.from_index(lattice, lattice, 2, 1)
    assert cell.angle == pytest.approx(-np.degrees(np.arctan2(3, 4)))
    assert cell.multiples == (5, 5)
    assert not cell.mismatch.any()


@pytest.mark.parametrize("indices", [(1, 1), (4, 2), (-1, 2), (0, 0)])
def test_indices_without_a_twist_are_refused(indices):
    with pytest.raises(MoireioError):
        cells.from_index(HEX, HEX, *indices)


def test_indices_of_rectangular_lattices_are_refused():
    with pytest.raises(MoireioError, match="`angle`"):
        cells.from_index(np.diag([1, 1.3]), np.diag([1, 1.3]), 2, 1)


def test_search_finds_every_exact_hexagonal_angle():
    """All coprime (m, r): cos θ = (3m² + 3mr + r²/2) / (3m² + 3mr + r²) below 30 degrees."""
    largest = 130
    expected = {}
    for m in range(1, 200):
        for r in range(1, 200):
            if np.gcd(m, r) != 1:
                continue
            n = 3 * m * m + 3 * m * r + r * r
            angle = np.degrees(np.arccos((n - r * r / 2) / n))
            n //= 3 if r % 3 == 0 else 1
            if n <= largest and angle <= 30:
                expected[round(angle, 6)] = n
    area = largest * np.linalg.det(HEX)
    found = cells.find_exact(HEX, HEX, (0.5, 30.0), area)
    assert {round(c.angle, 6): c.multiples[0] for c in found} == expected


def _brute(first, second, angle, max_area, max_strain):
    """All strained cells near one angle by trying all integer matrices of small vectors."""
    reach = np.sqrt(max_area * 2 / np.sqrt(3)) * 4
    points = np.stack(np.meshgrid(*[np.arange(-6, 7)] * 2, indexing="ij"), -1).reshape(-1, 2)
    points = points[np.linalg.norm(points @ first, axis=1) < reach]
    out = set()
    for p in points:
        for q in points:
            cell = np.array([p, q]) @ first
            det = np.linalg.det(cell)
            if not 1e-6 < det <= max_area or np.abs(plane.reduce(cell)[1] - np.eye(2)).max() > 0:
                continue
            turned = second @ plane.rotation(angle).T
            near = np.round(cell @ np.linalg.inv(turned)).astype(int)
            if np.linalg.det(near) < 0.5:
                continue
            common = cells.match(first, second, [np.array([p, q]), near])
            small = np.abs(plane.principal(common.mismatch)).max() <= max_strain
            if small and abs(common.angle - angle) < 1.5:
                out.add((round(common.angle, 5), *np.round(plane.principal(common.mismatch), 6)))
    return out


@pytest.mark.parametrize("pair", [("graphene", "hBN"), ("phosphorene", "graphene"), "oblique"])
def test_search_misses_nothing_that_brute_force_finds(pair):
    if pair == "oblique":
        first = np.array([[2.0, 0.0], [0.6, 2.9]])
        second = np.array([[2.2, 0.0], [-0.3, 2.5]])
    else:
        first, second = (layers.named(n).lattice for n in pair)
    compared = 0
    for angle in np.arange(2.0, 60.0, 3.0):
        brute = _brute(first, second, angle, 100.0, 0.05)
        angles = (angle - 1.5, angle + 1.5)
        common = cells.find(first, second, angles, 100.0, 0.05, max_aspect=6)
        mine = [(round(c.angle, 5), *np.round(plane.principal(c.mismatch), 6)) for c in common]
        for expected in brute:
            assert min(np.abs(np.subtract(expected, m)).max() for m in mine) < 3e-5
        compared += len(brute)
    assert compared > 5


def test_every_found_cell_fits_both_lattices():
    a, b = (layers.named(n).lattice for n in ("MoTe2", "WSe2"))
    found = cells.find(a, b, (10, 14), 800.0, 0.02)
    assert len(found) > 10
    for cell in found:
        gradient = (np.eye(2) + cell.mismatch) @ plane.rotation(cell.angle)
        gap = cell.matrices[0] @ a - cell.matrices[1] @ b @ gradient.T
        assert np.abs(gap).max() < 1e-9
        assert np.abs(plane.principal(cell.mismatch)).max() <= 0.02 + 1e-9
        assert 10 <= cell.angle <= 14


@pytest.mark.parametrize(
    ("lattice", "indices"), [(HEX, (5, 2)), (HEX, (4, 1)), (np.eye(2), (3, 1)), (np.eye(2), (2, 1))]
)
def test_cells_that_are_not_the_smallest(lattice, indices):
    """The area per coincidence cell is that of the smallest cell with the same twist."""
    m, n = indices
    cell = cells.from_index(lattice, lattice, m, n)
    count = cells.coincidence_cells(plane.bravais_class(lattice), m, n)
    area = np.linalg.det(lattice) * cell.multiples[0]
    angles = (cell.angle - 1e-6, cell.angle + 1e-6)
    (smallest,) = cells.find_exact(lattice, lattice, angles, area * 1.01)
    assert cell.multiples[0] == count * smallest.multiples[0]


def test_untwisted_cells():
    rows = layers.named("phosphorene").lattice
    assert [c.angle for c in cells.find_untwisted(rows, rows, (-0.1, 180))] == [0, 180]
    half_turn = cells.find_untwisted(rows, rows, (179, 181))[0]
    assert abs(cells.match(rows, rows, half_turn.matrices).angle) == pytest.approx(180)
    assert cells.find_untwisted(rows, rows * 1.01, (-0.1, 0.1)) == []
    assert cells.find_untwisted(rows, rows, (1, 2)) == []


def test_no_exact_cells_of_unlike_lattices():
    for first, second in ((HEX, 1.1 * HEX), (HEX, np.eye(2)), (np.diag([1, 1.3]),) * 2):
        assert cells.find_exact(first, second, (1.0, 30.0), 100.0) == []


@given(st.integers(-3, 3), st.integers(-3, 3))
def test_the_standard_form_does_not_depend_on_the_vectors(a, b):
    cell = cells.from_index(HEX, HEX, 3, 1)
    change = np.array([[1, a], [0, 1]]) @ np.array([[1, 0], [b, 1]])
    other = cells.match(HEX, HEX, change @ cell.matrices)
    rows = [cells.standard(HEX, c).matrices[0] @ HEX for c in (cell, other)]
    for first, second in rows:
        assert first @ second == pytest.approx(np.linalg.norm(first) ** 2 / 2)
        assert np.linalg.norm(second) == pytest.approx(np.linalg.norm(first))
    assert cells.match(HEX, HEX, cells.standard(HEX, other).matrices).angle == (
        pytest.approx(cell.angle)
    )


@pytest.mark.parametrize("lattice", [layers.named("graphene").lattice, 3 * np.eye(2)])
@pytest.mark.parametrize("angles", [(0, 60), (-0.1, 0.1), (-35, -20), (100, 200)])
def test_the_list_of_exact_cells_is_what_a_search_finds(lattice, angles):
    area = 30 * np.linalg.det(lattice)
    searched = cells.find(lattice, lattice, angles, area, 0.0)
    listed = cells.find_exact(lattice, lattice, angles, area)
    assert [c.multiples for c in listed] == [c.multiples for c in searched]
    np.testing.assert_allclose([c.angle for c in listed], [c.angle for c in searched], atol=1e-9)
    for one, other in zip(listed, searched, strict=True):
        pair = [cells.standard(lattice, c).matrices for c in (one, other)]
        assert np.array_equal(*pair)
        assert not one.mismatch.any()


@pytest.mark.parametrize(("max_strain", "max_aspect"), [(0.005, 1e6), (0.2, 4.0)])
def test_searches_of_no_end_are_refused(max_strain, max_aspect):
    lattice = layers.named("graphene").lattice
    with pytest.raises(MoireioError, match="too many cells are within the limits"):
        cells.find(lattice, lattice * 1.2, (0, 30), 25_000, max_strain, max_aspect=max_aspect)


def test_indices_of_no_sense():
    lattice = layers.named("graphene").lattice
    with pytest.raises(MoireioError, match="the largest is 10000"):
        cells.from_index(lattice, lattice, 10**20, 1)
