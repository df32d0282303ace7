"""Operations of crystals in space, found from the positions of atoms."""

import numpy as np
import pytest
from crystals import assert_moves_atoms, graphene

from moireio.symmetry.finder import crystal_operations, operations_of_rotation, threefold_lattice
from moireio.system.structure import Structure


def moved(structure, positions):
    return Structure(
        structure.cell,
        positions,
        structure.numbers,
        structure.species,
        structure.species_names,
        structure.pbc,
    )


def names(operations):
    return sorted(o.name for o in operations)


def test_graphene_has_the_group_d6h():
    structure = graphene()
    found = crystal_operations(structure)
    assert len(found) == 24
    assert {"E", "C6", "C3", "C3^-1", "C2z", "I", "Mz", "S6", "S3", "C2x", "C2y"} <= set(
        names(found)
    )
    for operation in found:
        assert_moves_atoms(structure, operation)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("hbn_soc", ["C2(150°)", "C2(30°)", "C2y", "C3", "C3^-1", "E", "M(120°)", "M(60°)", "Mx"]),
        ("gr_ab", ["C2(120°)", "C2(60°)", "C2x", "C3", "C3^-1", "E", "I", "M(120°)", "M(60°)"]),
    ],
)
def test_real_files(made, case, expected):
    import moireio

    with moireio.open(made[case]) as file:
        found = crystal_operations(file.structure)
        assert len(found) == 12
        assert set(expected) <= set(names(found))
        for operation in found:
            assert_moves_atoms(file.structure, operation, 1e-3)


def test_displaced_atoms_within_the_tolerance():
    structure = graphene(2)
    rng = np.random.default_rng(0)
    shift = rng.normal(size=(4, 3))
    near = moved(structure, structure.positions + 3e-3 * shift / np.abs(shift).max())
    assert len(crystal_operations(near)) == 24
    far = moved(structure, structure.positions + 0.1 * shift)
    assert names(crystal_operations(far)) == ["E"]


def test_supercells_have_translations():
    structure = graphene()
    twice = Structure(
        structure.cell * np.array([[2], [1], [1]]),
        np.concatenate([structure.positions, structure.positions + structure.cell[0]]),
        [6] * 4,
        [0] * 4,
        ["C"],
        structure.pbc,
    )
    found = crystal_operations(twice)
    moves = [o for o in found if o.name == "E"]
    assert len(moves) == 2
    assert len(found) == 2 * len({o.lattice.tobytes() for o in found})


def test_the_threefold_axis():
    structure = graphene()
    lattice = threefold_lattice(structure)
    (turn,) = operations_of_rotation(structure, lattice)
    assert turn.name == "C3"
    for handed in ([1, 0, 2], [0, 1, 2]):
        other = Structure(
            structure.cell[handed],
            structure.positions,
            [6] * 2,
            [0] * 2,
            ["C"],
            structure.pbc,
        )
        (turn,) = operations_of_rotation(other, threefold_lattice(other))
        assert turn.name == "C3"
    strained = Structure(
        structure.cell * np.array([1.002, 1, 1]),
        structure.positions * np.array([1.002, 1, 1]),
        [6] * 2,
        [0] * 2,
        ["C"],
        structure.pbc,
    )
    assert threefold_lattice(strained) is None


@pytest.mark.parametrize("change", [[[1, 1], [1, 2]], [[2, 1], [-1, -1]], [[5, 2], [2, 1]]])
def test_cells_whose_vectors_are_not_the_shortest(change):
    """The group of a lattice does not depend on the vectors that describe it."""
    structure = graphene()
    cell = structure.cell.copy()
    cell[:2] = np.array(change) @ cell[:2]
    other = Structure(cell, structure.positions, [6] * 2, [0] * 2, ["C"], structure.pbc)
    found = crystal_operations(other)
    assert names(found) == names(crystal_operations(structure))
    for operation in found:
        assert_moves_atoms(other, operation)
    assert threefold_lattice(other) is not None


def test_a_vector_that_leads_out_of_the_plane_at_a_slant():
    structure = graphene()
    cell = structure.cell.copy()
    cell[2] += [3.1, -1.7, 0]
    other = Structure(cell, structure.positions, [6] * 2, [0] * 2, ["C"], structure.pbc)
    (turn,) = operations_of_rotation(other, threefold_lattice(other))
    assert turn.name == "C3"
    assert len(crystal_operations(other)) == 24
