"""Strain of cells, and of layers against each other."""

from dataclasses import replace

import numpy as np
from result_examples import example_moire
from toymodels import honeycomb

from moireio.topology.strain import cell_strain, heterostrain, series_strain

DEFORMATION = np.array([[1.004, 0.002, 0], [0.002, 0.999, 0], [0, 0, 1]])


def turned(angle):
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def test_strain_of_a_cell_without_its_rotation():
    rest = honeycomb(("C", "C"))
    strained = honeycomb(("C", "C"), deformation=turned(0.3) @ DEFORMATION)
    values = np.linalg.eigvalsh(DEFORMATION[:2, :2]) - 1
    assert np.isclose(cell_strain(strained, rest), values[np.argmax(np.abs(values))])
    assert abs(cell_strain(rest, rest)) < 1e-12


def test_strain_of_layers_against_each_other():
    moire = example_moire()
    tensor = np.array([[0.002, 0], [0, -0.005]])
    upper = replace(moire.layers[1], strain=moire.layers[0].strain + tensor)
    assert np.isclose(heterostrain(replace(moire, layers=(moire.layers[0], upper))), -0.005)
    assert heterostrain(None) is None


def test_a_series_goes_by_its_records_where_they_differ():
    rest = honeycomb(("C", "C"))
    strained = honeycomb(("C", "C"), deformation=np.diag([1.01, 1, 1]))
    assert series_strain([rest, strained], [0.0, 0.003]) == [0.0, 0.003]
    assert np.allclose(series_strain([rest, strained], [0.0, 0.0]), [0, 0.01])
    assert np.allclose(series_strain([rest, strained], [None, 0.003]), [0, 0.01])
