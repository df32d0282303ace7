"""Threefold axes of layers, and roots of ±1."""

from dataclasses import replace

import numpy as np
import pytest
from toymodels import honeycomb

from moireio.errors import MoireioError
from moireio.topology.threefold import chern_mod3, nearest_root, threefold_axes


def test_roots():
    assert nearest_root(np.exp(1j * np.pi * np.array([0, 2, -2]) / 3), False).tolist() == [0, 2, -2]
    found = nearest_root(np.exp(1j * (np.pi * np.array([1, -1, 3, -3]) / 3 + 0.2)), True)
    assert found.tolist() == [1, -1, 3, 3]
    assert chern_mod3([[-1], [1], [1]], True) == -1
    assert chern_mod3([[0, 0], [2, 0], [0, 0]], False) == 1


def test_axes_of_both_kinds_of_cells():
    structure = honeycomb(("B", "N"))
    axes = threefold_axes(structure)
    thirds = np.array([[0, 0], structure.positions[0, :2], structure.positions[1, :2]])
    assert np.abs(axes.centres - thirds).max() < 1e-9
    cell = structure.cell.copy()
    cell[1] -= cell[0]  # 120°
    other = threefold_axes(replace(structure, cell=cell))
    assert np.abs(other.centres[1] - cell[:2, :2].T @ [2 / 3, 1 / 3]).max() < 1e-9


def test_cells_whose_vectors_are_not_the_shortest():
    """The three axes are those of the lattice, whatever its vectors."""
    structure = honeycomb(("B", "N"))
    cell = structure.cell.copy()
    cell[:2] = np.array([[5, 2], [2, 1]]) @ cell[:2]
    found = threefold_axes(replace(structure, cell=cell)).centres
    steps = (found[:, None] - threefold_axes(structure).centres) @ np.linalg.inv(
        structure.cell[:2, :2]
    )
    same = np.abs(steps - np.rint(steps)).max(axis=2) < 1e-6
    assert same.sum() == 3
    assert same.any(axis=0).all()


def test_a_layer_that_is_not_in_the_plane_of_x_and_y():
    structure = honeycomb(("B", "N"))
    upright = replace(
        structure,
        cell=structure.cell[:, [0, 2, 1]],
        positions=structure.positions[:, [0, 2, 1]],
    )
    with pytest.raises(MoireioError, match="plane is not the xy plane"):
        threefold_axes(upright)
