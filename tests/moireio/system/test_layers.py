"""Layers of a stack."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.system.layers import assign_layers, joined_positions, with_layers
from moireio.system.structure import Structure


@given(st.integers(1, 4), st.floats(-30, 30))
def test_layers_of_a_stack(count, shift):
    """Also where the border of the cell cuts the stack."""
    heights = np.repeat(3.4 * np.arange(count), 2) + np.tile([0, 0.1], count)
    positions = np.column_stack([np.zeros((2 * count, 2)), heights + shift])
    positions[:, 0] = np.tile([0, 1.2], count)
    structure = Structure(
        np.diag([2.5, 2.5, 30.0]),
        positions,
        [6] * 2 * count,
        [0] * 2 * count,
        ["C"],
        [True] * 3,
    )
    wrapped = replace(structure, positions=positions % [2.5, 2.5, 30.0])
    expected = np.repeat(np.arange(count), 2)
    assert (assign_layers(wrapped) == expected).all()
    assert (assign_layers(wrapped, count) == expected).all()
    assert (assign_layers(wrapped, 1) == 0).all()
    joined = joined_positions(wrapped)[:, 2]
    np.testing.assert_allclose(joined - joined.min(), heights, atol=1e-6)
    with pytest.raises(MoireioError, match="do not lie in 9 layers"):
        assign_layers(wrapped, 9)


def bilayer(pbc, layer=None):
    positions = [[0, 0, 5.0], [1.2, 0, 5.1], [0, 0, 8.4]]
    return Structure(
        np.diag([2.5, 2.5, 30.0]), positions, [6] * 3, [0] * 3, ["C"], pbc, layer=layer
    )


def test_slabs_get_layers():
    assert with_layers(bilayer([True, True, False])).layer.tolist() == [0, 0, 1]
    one = with_layers(replace(bilayer([True, True, False]), positions=[[0, 0, 5.0]] * 3))
    assert one.layer.tolist() == [0, 0, 0]


@pytest.mark.parametrize("pbc", [[True] * 3, [False] * 3, [True, False, False]])
def test_crystals_molecules_and_chains_get_none(pbc):
    assert with_layers(bilayer(pbc)).layer is None


@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_layers_count_from_the_lowest_z_whatever_the_cell(order, flip):
    """Vectors in any order and of either handedness, the vacuum along any of them."""
    slab = bilayer([True, True, False])
    cell = slab.cell * [[1], [1], [flip]]
    slab = replace(slab, cell=cell[list(order)], pbc=slab.pbc[list(order)])
    assert with_layers(slab).layer.tolist() == [0, 0, 1]
    upright = replace(slab, cell=slab.cell[:, [2, 0, 1]], positions=slab.positions[:, [2, 0, 1]])
    expected = [0, 0, 1] if flip == 1 else [1, 1, 0]  # along +x if the open vector leads there
    assert with_layers(upright).layer.tolist() == expected


def test_layers_of_the_file_stay():
    structure = bilayer([True, True, False], layer=[2, 1, 0])
    assert with_layers(structure) is structure
