"""Structures that a network should learn next."""

import numpy as np
import pytest
from ase.build import graphene

from moireio.errors import MoireioError
from moireio.models.shipped import model_with
from moireio.network.modelfile import read
from moireio.network.training.suggest import invariants, suggest
from moireio.system.structure import Structure


def layer(a, turn=0.0):
    atoms = graphene(a=a, vacuum=10)
    atoms.pbc = (True, True, False)
    atoms.rotate(turn, "z", rotate_cell=True)
    return Structure.from_ase(atoms)


def test_the_farthest_come_first():
    model = read(model_with(["C"]))
    shapes = [layer(2.46), layer(2.46, 17.0), layer(2.6), layer(2.5)]
    one, two = (invariants(model, shape)[0] for shape in shapes[:2])
    assert np.abs(one - two).max() < 1e-3 * np.abs(one).max()
    chosen = suggest(model, shapes[1:], shapes[:1], 3)
    assert chosen[0][0] == 1  # the most strained
    assert chosen[-1][0] == 0  # known, but for its direction
    distances = [d for _, d in chosen]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.01 * distances[0]
    model.expected_error = None
    with pytest.raises(MoireioError, match="no record of its training"):
        invariants(model, shapes[0])
