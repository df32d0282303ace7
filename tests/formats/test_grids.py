"""Numbers on a grid, read back by ASE."""

import numpy as np
import pytest
from ase.io.cube import read_cube
from ase.io.xsf import read_xsf
from crystals import graphene

from moireio.errors import MoireioError
from moireio.formats import grids

VALUES = np.random.default_rng(0).random((3, 4, 5))


def assert_same_structure(atoms, structure):
    assert atoms.numbers.tolist() == list(structure.numbers)
    assert np.abs(atoms.cell - structure.cell).max() < 1e-5
    assert np.abs(atoms.positions - structure.positions).max() < 1e-5


def test_cube(tmp_path):
    structure = graphene(2)
    path = tmp_path / "a.CUBE"
    grids.write(str(path), structure, VALUES, comment="density of band 3")
    with open(path) as stream:
        content = read_cube(stream)
    assert np.abs(content["data"] - VALUES).max() < 1e-5
    assert_same_structure(content["atoms"], structure)
    np.testing.assert_allclose(content["origin"], 0, atol=1e-12)
    assert path.read_text().splitlines()[0] == "density of band 3"


@pytest.mark.parametrize("scale", [1.0, 1e-9])
def test_xsf(tmp_path, scale):
    """The grid spans the cell, and ends with the first plane once more along every axis."""
    structure = graphene(2)
    grids.write(str(tmp_path / "a.xsf"), structure, scale * VALUES)
    with open(tmp_path / "a.xsf") as stream:
        values, origin, spans, atoms = read_xsf(stream, read_data=True)
    assert values.shape == (4, 5, 6)
    np.testing.assert_allclose(values[:3, :4, :5], scale * VALUES, rtol=1e-8)
    for axis in range(3):
        np.testing.assert_array_equal(values.take(0, axis), values.take(-1, axis))
    np.testing.assert_array_equal(origin, 0)
    np.testing.assert_allclose(spans, structure.cell, atol=1e-12)
    assert_same_structure(atoms, structure)


@pytest.mark.parametrize("name", ["a.vtk", "cube", "a.xsf.gz"])
def test_other_suffixes_are_refused(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(MoireioError, match=r"is neither \.cube nor \.xsf") as raised:
        grids.write(str(path), graphene(), VALUES)
    assert str(path) in str(raised.value)
    assert not path.exists()
