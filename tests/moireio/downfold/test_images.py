"""Images nearest to each other, in skewed cells and of atoms far outside the cell."""

from itertools import product

import numpy as np
import pytest

from moireio.downfold.images import nearest_images
from moireio.system.structure import Structure

CELL = np.array([[3.0, 0, 0], [-1.2, 2.8, 0], [0.2, 0.1, 9.0]])


def by_hand(structure, shape, box, far=30):
    """{R: matrix}: every element at the nearest of very many images, in equal parts."""
    found = {}
    reach = [range(-far, far + 1) if periodic else [0] for periodic in structure.pbc]
    images = np.array(list(product(*reach))) * shape
    n = len(structure)
    for place, step in enumerate(product(*map(range, shape))):
        for i, j in product(range(n), repeat=2):
            apart = structure.positions[j] - structure.positions[i]
            length = np.linalg.norm(apart + (images + step) @ structure.cell, axis=1)
            near = np.flatnonzero(length < length.min() + 1e-4)
            for image in images[near] + step:
                matrix = found.setdefault(tuple(image.tolist()), np.zeros((n, n)))
                matrix[i, j] += box[place, i, j] / len(near)
    return found


@pytest.mark.parametrize(
    ("change", "pbc", "shape", "moves"),
    [
        (np.eye(3), (1, 1, 0), (3, 2, 1), 0),
        ([[1, 0, 0], [11, 1, 0], [0, 0, 1]], (1, 1, 0), (3, 2, 1), 0),
        ([[1, 0, 0], [-6, 1, 0], [0, 0, 1]], (1, 1, 0), (2, 2, 1), 5),
        ([[1, 0, 0], [4, 1, 0], [3, -2, 1]], (1, 1, 1), (2, 2, 2), 0),
        (np.eye(3), (1, 0, 0), (4, 1, 1), 7),
        (np.eye(3), (0, 0, 0), (1, 1, 1), 0),
    ],
)
def test_elements_are_at_their_nearest_images(change, pbc, shape, moves):
    rng = np.random.default_rng(4)
    cell = np.asarray(change) @ CELL
    positions = rng.random((3, 3)) @ CELL
    positions[2] += moves * cell[0]
    structure = Structure(cell, positions, [6, 6, 6], [0, 0, 0], ["C"], np.array(pbc, dtype=bool))
    box = rng.normal(size=(int(np.prod(shape)), 3, 3))
    atoms = np.arange(3)
    cells, (matrices,) = nearest_images(structure, shape, box[None], atoms, atoms)
    expected = by_hand(structure, shape, box, far=14 if sum(pbc) == 3 else 30)
    assert sorted(map(tuple, cells.tolist())) == sorted(expected)
    for R, matrix in zip(cells.tolist(), matrices, strict=True):
        np.testing.assert_allclose(matrix, expected[tuple(R)], rtol=0, atol=1e-15)
