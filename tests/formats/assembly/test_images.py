"""Cells for the pairs of a matrix at the Gamma point."""

import numpy as np
from foreign_cells import CELL, Example
from scipy.sparse import coo_array

from moireio.formats.assembly.elements import OrbitalMap
from moireio.formats.assembly.images import at_nearest_images


def cut(pbc=None):
    example = Example()
    orbitals = OrbitalMap.make(example.structure, example.basis)
    total = sum(example.matrices("overlap").values())
    cells, matrices, note = at_nearest_images(
        example.structure, orbitals, {"overlap": [[coo_array(total)]]}, pbc
    )
    return example, total, cells["overlap"], matrices["overlap"][0], note


def test_every_element_is_at_the_nearest_image():
    example, total, cells, matrices, note = cut()
    assert np.abs(sum(m.toarray() for m in matrices) - total).max() == 0
    starts = np.concatenate([[0], np.cumsum(example.sizes)])
    positions = example.structure.positions
    images = np.array(list(np.ndindex(5, 5, 5))) - 2
    for i in range(3):
        for j in range(3):
            vectors = positions[j] - positions[i] + images @ CELL
            nearest = images[np.linalg.norm(vectors, axis=1).argmin()]
            found = [
                R
                for R, m in zip(cells, matrices, strict=True)
                if np.abs(m.toarray()[starts[i] : starts[i + 1], starts[j] : starts[j + 1]]).any()
            ]
            assert np.array_equal(found, [nearest])
    assert "bands are right at Gamma only" in note


def test_skewed_cells():
    """The vectors a, b + 9 a, c - 7 b stand for the same lattice as a, b, c."""
    from dataclasses import replace

    example = Example(shells={"C": (0,), "Mo": (0,), "H": (0,)})
    cell = np.array([[1, 0, 0], [9, 1, 0], [0, -7, 1]]) @ CELL
    structure = replace(example.structure, cell=cell)
    orbitals = OrbitalMap.make(structure, example.basis)
    cells, matrices, _ = at_nearest_images(
        structure, orbitals, {"x": [[coo_array(np.ones((3, 3)))]]}
    )
    images = (np.array(list(np.ndindex(9, 9, 9))) - 4) @ CELL
    for R, m in zip(cells["x"], matrices["x"][0], strict=True):
        for i, j in zip(m.row, m.col, strict=True):
            apart = structure.positions[j] - structure.positions[i]
            shortest = np.linalg.norm(apart + images, axis=1).min()
            assert np.linalg.norm(apart + R @ cell) < shortest + 1e-9


def test_no_images_along_a_vacuum():
    cells = cut((True, False, True))[2]
    assert cells[:, 0].any()
    assert not cells[:, 1].any()


def test_partners_of_equally_near_images():
    """Atoms half a cell apart have two nearest images; (j, i) gets the opposite of (i, j)."""
    example = Example(shells={"C": (0,), "Mo": (0,), "H": (0,)})
    from dataclasses import replace

    positions = np.array([[0.0, 0, 0], [0.5, 0, 0], [0, 0.5, 0.5]]) @ CELL
    structure = replace(example.structure, positions=positions)
    orbitals = OrbitalMap.make(structure, example.basis)
    cells, matrices, _ = at_nearest_images(
        structure, orbitals, {"x": [[coo_array(np.ones((3, 3)))]]}
    )
    places = {}
    for R, m in zip(cells["x"], matrices["x"][0], strict=True):
        for i, j in zip(m.row, m.col, strict=True):
            places[i, j] = R
    for i, j in places:
        assert np.array_equal(places[i, j], -places[j, i])
