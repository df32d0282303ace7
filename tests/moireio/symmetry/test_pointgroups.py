"""Point groups: names, character tables, labels, common origins."""

import numpy as np
import pytest
from crystals import graphene

from moireio.symmetry.finder import crystal_operations
from moireio.symmetry.operations import chosen_operations, generated_operations
from moireio.symmetry.pointgroups import PointGroup, common_origin
from moireio.symmetry.rotations import rotated_spin

# Mulliken's symbols of single-valued irreps, and dimensions of the double-valued ones
TABLE = {
    "C3": ("C3 (3)", {"A", "1E", "2E"}, [1, 1, 1]),
    "C6": ("C6 (6)", {"A", "B", "1E1", "2E1", "1E2", "2E2"}, [1] * 6),
    "C3,C2x": ("D3 (32)", {"A1", "A2", "E"}, [1, 1, 2]),
    "C3,Mx": ("C3v (3m)", {"A1", "A2", "E"}, [1, 1, 2]),
    "C6,C2x": ("D6 (622)", {"A1", "A2", "B1", "B2", "E1", "E2"}, [2, 2, 2]),
    "C6,Mx": ("C6v (6mm)", {"A1", "A2", "B1", "B2", "E1", "E2"}, [2, 2, 2]),
    "C3,Mz": ("C3h (-6)", {"A'", "A''", "1E'", "2E'", "1E''", "2E''"}, [1] * 6),
    "C3,Mz,Mx": ("D3h (-6m2)", {"A1'", "A2'", "E'", "A1''", "A2''", "E''"}, [2, 2, 2]),
    "S6,C2x": ("D3d (-3m)", {"A1g", "A2g", "Eg", "A1u", "A2u", "Eu"}, [1, 1, 1, 1, 2, 2]),
    "C2z,Mz": ("C2h (2/m)", {"Ag", "Bg", "Au", "Bu"}, [1, 1, 1, 1]),
    "C2z,C2x": ("D2 (222)", {"A", "B1", "B2", "B3"}, [2]),
    "C2z,C2x,Mz": ("D2h (mmm)", {f"{n}{p}" for n in ("A", "B1", "B2", "B3") for p in "gu"}, [2, 2]),
    "I": ("Ci (-1)", {"Ag", "Au"}, [1, 1]),
    "Mz": ("Cs (m)", {"A'", "A''"}, [1, 1]),
}


@pytest.fixture(scope="module")
def operations():
    return crystal_operations(graphene())


def group_of(operations, names, spinor):
    members = generated_operations(chosen_operations(operations, names.split(",")))
    rotations = np.array([o.rotation for o in members])
    return PointGroup(rotations, np.array([o.lattice for o in members]), spinor)


@pytest.mark.parametrize("names", list(TABLE))
def test_character_tables(operations, names):
    """Rows are orthonormal, squares of dimensions add up to the order of the group."""
    name, labels, double = TABLE[names]
    for spinor in (False, True):
        group = group_of(operations, names, spinor)
        assert group.name == name
        table, found = group.irreps
        order = len(group.rotations)
        assert np.abs(table @ table.conj().T / order - np.eye(len(table))).max() < 1e-9
        assert (table[:, 0].real ** 2).sum() == pytest.approx(order)
        assert len(set(found)) == len(found)
        if spinor:
            assert np.sort(table[:, 0].real) == pytest.approx(double)
        else:
            assert set(found) == labels


@pytest.mark.parametrize("names", list(TABLE))
@pytest.mark.parametrize("spinor", [False, True])
def test_labels_do_not_depend_on_the_order_of_operations(operations, names, spinor):
    group = group_of(operations, names, spinor)
    order = np.concatenate([[0], 1 + np.random.default_rng(3).permutation(len(group.lattice) - 1)])
    other = PointGroup(group.rotations[order], group.lattice[order], spinor)
    table, labels = group.irreps
    again, found = other.irreps
    assert found == labels
    assert np.abs(again - table[:, order]).max() < 1e-9


def test_the_first_of_two_conjugates_has_positive_angular_momentum(operations):
    """A state that turns by e^{-imφ} has m > 0; the spinor ↑ is the first irrep of C3h."""
    for spinor, label, m in ((False, "1E", 1), (False, "2E", -1), (True, "1E1/2", 0.5)):
        group = group_of(operations, "C3", spinor)
        table, labels = group.irreps
        third = [o.name for o in generated_operations(chosen_operations(operations, ["C3"]))]
        character = table[labels.index(label), third.index("C3")]
        assert character == pytest.approx(np.exp(-2j * np.pi * m / 3))
    group = group_of(operations, "C3,Mz", True)
    up = np.array([rotated_spin(g)[0, 0] for g in group.rotations])
    times, deviation = group.decompose(up)
    assert times[group.irreps[1].index("1E1/2")] == pytest.approx(1)
    assert deviation < 1e-9


def test_b3_of_d2_is_even_about_x(operations):
    members = generated_operations(chosen_operations(operations, ["C2z", "C2x"]))
    table, labels = group_of(operations, "C2z,C2x", False).irreps
    names = [o.name for o in members]
    for label, axis in (("B1", "C2z"), ("B2", "C2y"), ("B3", "C2x")):
        assert table[labels.index(label), names.index(axis)].real == pytest.approx(1)


def test_s4_and_d2d():
    """B is odd about S4; the vectors x, y are E of D2d, 1E and 2E of S4."""
    quarter = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, -1]])
    half = np.diag([1.0, -1, -1])
    turns = [np.linalg.matrix_power(quarter, n) for n in range(4)]
    for rotations, expected in (
        (turns, {"A", "B", "1E", "2E"}),
        (turns + [g @ half for g in turns], {"A1", "A2", "B1", "B2", "E"}),
    ):
        group = PointGroup(np.array(rotations), np.rint(rotations).astype(int), False)
        table, labels = group.irreps
        assert set(labels) == expected
        assert table[labels.index("B" if "B" in expected else "B1"), 1].real == pytest.approx(-1)
        plane = [g[0, 0] + g[1, 1] for g in rotations]
        times, _ = group.decompose(plane)
        held = {name for name, n in zip(labels, times, strict=True) if n > 0.5}
        assert held == {name for name in expected if "E" in name}


@pytest.mark.parametrize(
    ("names", "label", "operation"),
    [
        ("C3,Mz,Mx", "A1''", "C2"),
        ("S6,C2x", "A1u", "C2x"),
        ("C6,C2x", "B1", "C2x"),
        ("C6,Mx", "B1", "My"),
        ("C2z,Mx", "B1", "My"),
    ],
)
def test_irreps_with_index_1_are_even(operations, names, label, operation):
    """About C2' or in σv, as in textbooks' tables; C2x and the plane xz come first."""
    members = generated_operations(chosen_operations(operations, names.split(",")))
    group = group_of(operations, names, False)
    table, labels = group.irreps
    at = [n for n, o in enumerate(members) if o.name.startswith(operation) and o.name != "C2z"]
    assert table[labels.index(label), at].real == pytest.approx(1)


def test_a_mirror_alone_has_primes_whatever_its_normal(operations):
    assert set(group_of(operations, "Mx", False).irreps[1]) == {"A'", "A''"}


def test_characters_of_d3(operations):
    """E of D3 has −1 under C3 and 0 under C2 (any textbook); E1/2 has 2 cos 60°."""
    for spinor, label, value in ((False, "E", -1), (True, "E1/2", 1)):
        group = group_of(operations, "C3,C2x", spinor)
        table, labels = group.irreps
        row = table[labels.index(label)]
        thirds = np.isclose(np.trace(group.rotations, axis1=1, axis2=2), 0)
        assert row[thirds] == pytest.approx([value] * 2)
        assert np.abs(row[1:][~thirds[1:]]).max() < 1e-9
        times, deviation = group.decompose(2 * row)
        assert times[labels.index(label)] == pytest.approx(2)
        assert deviation < 1e-9
        assert group.decompose(row + 0.1)[1] == pytest.approx(0.1, abs=1e-6)


def test_common_origins():
    """The centre of a hexagon for D6h, wherever the origin is; none for a glide."""
    from dataclasses import replace

    structure = graphene()
    shift = np.array([0.4, -0.3, 1.1])
    moved = replace(structure, positions=structure.positions + shift)
    found = crystal_operations(moved)
    cell, pbc = moved.cell, moved.pbc
    origin, cells = common_origin(
        [o.rotation for o in found], [o.translation for o in found], cell, pbc
    )
    inside = (origin - shift) @ np.linalg.inv(cell)
    assert np.abs(inside[:2] - np.rint(inside[:2])).max() < 1e-9
    assert origin[2] == pytest.approx(1.1)
    for operation, step in zip(found, cells, strict=True):
        t = operation.translation + step @ cell
        assert np.abs(operation.rotation @ origin + t - origin).max() < 1e-9
    mirror = np.diag([1.0, -1, 1])
    glide = [np.eye(3), mirror], [np.zeros(3), np.array([1.0, 0, 0])]
    assert common_origin(*glide, np.diag([2.0, 3, 9]), np.array([True, True, False])) is None
