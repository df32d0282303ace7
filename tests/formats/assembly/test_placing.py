"""Positions and cells of pairs, checked on an overlap that decays with the distance."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from foreign_cells import CELL, Example

from moireio.errors import MoireioError
from moireio.formats.assembly.elements import OrbitalMap, source_from_matrices
from moireio.formats.assembly.placing import on_faces, settled_by_overlap, wrapped
from moireio.formats.assembly.shells import structure_and_basis


@pytest.fixture(scope="module")
def example():
    return Example()


def overlap(example, reverse=False):
    """S, or S with what belongs to R at −R: there the partners' transposed are."""
    matrices = example.matrices("overlap")
    orbitals = OrbitalMap.make(example.structure, example.basis)
    listed = [matrix.T if reverse else matrix for matrix in matrices.values()]
    return source_from_matrices("overlap", list(matrices), listed, orbitals, label="x")


def moved(structure, moves):
    return replace(structure, positions=structure.positions + np.array(moves) @ CELL)


@pytest.mark.parametrize(
    ("low", "included", "expected"),
    [
        (-0.5, True, [-0.5, -0.5, 0.25]),
        (-0.5, False, [0.5, 0.5, 0.25]),
        (0.0, True, [0.5, 0.5, 0.25]),
    ],
)
def test_atoms_on_faces(example, low, included, expected):
    fractions = np.array([[0.5, 1.5, -0.75], [-0.5, -1.5, 2.25], [0.5 - 1e-9, -0.5 + 1e-9, 0.25]])
    structure = replace(example.structure, positions=fractions @ CELL)
    found, moves = wrapped(structure, low, low_included=included)
    inside = found.positions @ np.linalg.inv(CELL)
    assert np.abs(inside - expected).max() < 1e-8
    assert np.array_equal(np.round(inside - fractions).astype(int), moves)
    kept, moves = wrapped(structure, low, low_included=included, along=(True, False, True))
    assert not moves[:, 1].any()
    assert np.abs((kept.positions @ np.linalg.inv(CELL))[:, 1] - fractions[:, 1]).max() < 1e-8


def test_right_positions_stay(example):
    found, note = settled_by_overlap(example.structure, overlap(example), "x")
    assert found is example.structure
    assert note is None


def test_an_atom_on_a_face_goes_where_the_overlap_is(example):
    """Only coordinates that the rule leaves open are changed; others are reported."""
    wrong = moved(example.structure, [[0, 0, 0], [1, 0, 0], [0, 0, 0]])
    uncertain = np.zeros((3, 3), dtype=bool)
    same, note = settled_by_overlap(wrong, overlap(example), "x", uncertain)
    assert same is wrong
    assert "1 of 3 atoms seem to belong in other cells" in note
    uncertain[1, 0] = True
    found, note = settled_by_overlap(wrong, overlap(example), "x", uncertain)
    assert np.abs(found.positions - example.structure.positions).max() < 1e-12
    assert note is None


def near_overlap(cell, fractions):
    """Atoms with one s orbital each, and S = e^{−distance}."""
    count = len(fractions)
    structure, basis = structure_and_basis(
        cell, fractions @ cell, [1] * count, ["H"] * count, [(0,)] * count
    )
    cells = np.array(list(product(range(-3, 4), repeat=3)))
    between = structure.positions[None, :] - structure.positions[:, None]
    lengths = np.linalg.norm(between + (cells @ cell)[:, None, None], axis=-1)
    matrices = np.where(lengths < 4.0, np.exp(-lengths), 0.0)
    orbitals = OrbitalMap.make(structure, basis)
    return structure, source_from_matrices("overlap", cells, matrices, orbitals, label="x")


@pytest.mark.parametrize("atom", [0, 1])
@pytest.mark.parametrize("step", [1, -1])
def test_of_two_atoms_the_one_on_a_face_is_moved(atom, step):
    """S alone does not show which; half a cell apart, R even seems to be reversed."""
    cell = np.diag([3.0, 3.2, 3.4])
    structure, source = near_overlap(cell, np.array([[0.1, 0.1, 0.1], [0.57, 0.6, 0.6]]))
    moves = np.zeros((2, 3))
    moves[atom, 0] = step
    wrong = replace(structure, positions=structure.positions + moves @ cell)
    uncertain = moves != 0
    found, note = settled_by_overlap(wrong, source, "x", uncertain)
    assert np.abs(found.positions - structure.positions).max() < 1e-12
    assert note is None


@pytest.mark.parametrize("seed", range(20))
def test_atoms_on_any_faces_go_where_the_overlap_is(seed):
    """Each coordinate on a face may have been rounded to either side."""
    cell = np.array([[3.0, 0.1, 0], [1.4, 2.9, 0], [0.3, 0.2, 3.4]])
    fractions = np.array([[0, 0.5, 0.5], [0.5, 0, 0.25], [0, 0.5, 0.1], [0.2, 0.3, -0.4]])
    structure, source = near_overlap(cell, fractions)
    faces = on_faces(structure, -0.5)
    assert faces.sum() == 4
    moves = np.random.default_rng(seed).integers(-1, 1, faces.shape) * faces
    wrong = replace(structure, positions=structure.positions + moves @ cell)
    found, note = settled_by_overlap(wrong, source, "x", faces)
    assert np.abs(found.positions - structure.positions).max() < 1e-12
    assert note is None


def test_reversed_cells_are_refused(example):
    with pytest.raises(MoireioError, match="x: its blocks at R belong to -R"):
        settled_by_overlap(example.structure, overlap(example, reverse=True), "x")


def test_coordinates_on_faces(example):
    positions = np.array([[0.5 + 1e-7, 0.2, -0.5], [0.1, 0.49, 1.5], [0.0, 0.0, 0.0]]) @ CELL
    found = on_faces(replace(example.structure, positions=positions), -0.5)
    assert found.tolist() == [[True, False, True], [False, False, True], [False] * 3]
