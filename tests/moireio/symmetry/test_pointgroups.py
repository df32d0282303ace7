"""Point groups: names, character tables, labels, common origins."""

import numpy as np
import pytest
from crystals import graphene

from moireio.symmetry.finder import crystal_operations
from moireio.symmetry.operations import chosen_operations, generated_operations
from moireio.symmetry.pointgroups import PointGroup, common_origin

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
