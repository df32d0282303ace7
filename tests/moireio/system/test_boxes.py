"""Cells of molecules, chains and layers."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.system.boxes import VACUUM, complete_cell

ATOMS = np.array([[0.0, 0.0, 0.0], [0.74, 0.5, -3.0]])


def test_molecule():
    cell, pbc = complete_cell(np.zeros((3, 3)), ATOMS)
    assert np.array_equal(cell, np.diag([0.74, 0.5, 3.0]) + VACUUM * np.eye(3))
    assert not pbc.any()


def test_one_atom():
    cell, _ = complete_cell(np.zeros((3, 3)), ATOMS[:1], vacuum=12.0)
    assert np.array_equal(cell, 12.0 * np.eye(3))


@pytest.mark.parametrize("row", [0, 1, 2])
def test_chain(row):
    vectors = np.zeros((3, 3))
    vectors[row] = [1.0, 2.0, 2.0]
    cell, pbc = complete_cell(vectors, ATOMS)
    assert np.array_equal(cell[row], vectors[row])
    assert pbc.tolist() == [n == row for n in range(3)]
    assert np.linalg.det(cell) > 0
    gram = cell @ cell.T
    assert np.abs(gram - np.diag(gram.diagonal())).max() < 1e-9
    for other in {0, 1, 2} - {row}:
        length = np.linalg.norm(cell[other])
        along = ATOMS @ cell[other] / length
        assert length == pytest.approx(VACUUM + np.ptp(along))


def test_layer():
    cell, pbc = complete_cell([[2.46, 0, 0], [-1.23, 2.13, 0], [0, 0, 0]], ATOMS)
    assert np.allclose(cell[2], [0, 0, 23.0], atol=1e-12)
    assert pbc.tolist() == [True, True, False]
    left_handed, _ = complete_cell([[0, 2.46, 0], [2.13, 0, 0], [0, 0, 0]], ATOMS)
    assert np.allclose(left_handed[2], [0, 0, -23.0], atol=1e-12)


def test_complete_cells_stay():
    cell, pbc = complete_cell(-np.diag([3.0, 4, 5]), ATOMS)
    assert np.array_equal(cell, -np.diag([3.0, 4, 5]))
    assert pbc.all()


@pytest.mark.parametrize(
    ("vectors", "positions", "words"),
    [
        ([[1, 0, 0], [2, 0, 0], [0, 0, 0]], ATOMS, "not independent"),
        (np.zeros((3, 3)), np.zeros((0, 3)), "holds no atoms"),
        (np.zeros((3, 3)), [[0, 0, np.inf]], "not a finite number"),
    ],
)
def test_refused(vectors, positions, words):
    with pytest.raises(MoireioError, match=words):
        complete_cell(vectors, positions)
