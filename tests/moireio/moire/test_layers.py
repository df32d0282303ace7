"""Layers of the table and of structures, and the layers of a stack."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.moire import layers, plane
from moireio.system.structure import Structure


def structure_of(layer, vacuum=20.0):
    """One cell of a layer as a structure."""
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2, 2] = layer.lattice, vacuum
    names = list(dict.fromkeys(layer.symbols))
    species = [names.index(s) for s in layer.symbols]
    from ase.data import atomic_numbers

    numbers = [atomic_numbers[s] for s in layer.symbols]
    return Structure(cell, layer.positions, numbers, species, names, [True, True, False])


def test_names_and_aliases():
    assert "graphene" in layers.table_names()
    assert layers.named("H-bn").name == "hBN"
    assert layers.named("unobtainium") is None


@pytest.mark.parametrize("name", layers.table_names())
def test_layers_of_the_table(name):
    layer = layers.named(name)
    assert layer.source
    assert 1.3 < layer.bond < 3.5
    assert layer.lattice[0, 1] == 0
    assert layer.positions[:, 2].min() == pytest.approx(-layer.positions[:, 2].max())
    assert layer.spacing > layer.thickness
    assert layer.bond == pytest.approx(structure_of(layer).closest_pair(4.0)[0])
    assert layer.area == pytest.approx(np.linalg.det(layer.lattice))


@given(st.sampled_from(layers.table_names()), st.floats(-180, 180), st.floats(-5, 5))
def test_a_rotated_structure_is_the_same_layer(name, angle, height):
    layer = layers.named(name)
    turn = np.eye(3)
    turn[:2, :2] = plane.rotation(angle)
    structure = structure_of(layer)
    moved = replace(
        structure,
        cell=structure.cell @ turn.T,
        positions=(structure.positions + np.array([0, 0, height])) @ turn.T,
    )
    again = layers.from_structure(moved, "again")
    np.testing.assert_allclose(again.lattice, layer.lattice, atol=1e-9)
    np.testing.assert_allclose(again.positions, layer.positions, atol=1e-9)
    assert again.symbols == layer.symbols


def test_a_hexagonal_layer_at_120_degrees():
    a = 2.46
    cell = [[a, 0, 0], [-a / 2, a * np.sqrt(3) / 2, 0], [0, 0, 20]]
    positions = np.array([[0, 0, 0], [1 / 3, 2 / 3, 0]]) @ cell
    structure = Structure(cell, positions, [6, 6], [0, 0], ["C"], [True, True, False])
    layer = layers.from_structure(structure, "graphene")
    assert layer.bravais_class == "hexagonal"
    assert layer.same_lattice(layers.named("graphene"))
    assert layer.bond == pytest.approx(a / np.sqrt(3))


def test_structures_that_are_no_layers():
    graphene = structure_of(layers.named("graphene"))
    tilted = graphene.cell.copy()
    tilted[0, 2] = 0.5
    cases = {
        "holds no atoms": Structure(graphene.cell, np.zeros((0, 3)), [], [], [], graphene.pbc),
        "not periodic": replace(graphene, pbc=np.array([True, False, False])),
        "in the xy plane": replace(graphene, cell=tilted),
    }
    for message, structure in cases.items():
        with pytest.raises(MoireioError, match=message) as error:
            layers.from_structure(structure, "x", path="x.cif")
        assert str(error.value).startswith("x.cif: ")


@pytest.mark.parametrize("order", [[2, 0, 1], [0, 2, 1]])
def test_a_layer_with_its_vacuum_along_another_vector(order):
    graphene = structure_of(layers.named("graphene"))
    other = replace(graphene, cell=graphene.cell[order], pbc=graphene.pbc[order])
    layer = layers.from_structure(other, "x")
    np.testing.assert_allclose(layer.lattice, layers.named("graphene").lattice)
    np.testing.assert_allclose(layer.positions, layers.from_structure(graphene, "x").positions)


def test_centres():
    """Sites of graphene: the hexagon is as far from the three atoms around it as these bond."""
    graphene = layers.named("graphene")
    site = graphene.centre("hexagon")
    steps = np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)]) @ graphene.lattice
    atoms = (graphene.positions[:, None, :2] + steps).reshape(-1, 2)
    distances = np.sort(np.linalg.norm(atoms - site, axis=1))
    np.testing.assert_allclose(distances[:6], graphene.bond)
    assert (graphene.centre("cell") == 0).all()
    assert graphene.centre("atom").tolist() == graphene.positions[0, :2].tolist()
    middle = graphene.centre("bond") - graphene.positions[0, :2]
    assert np.linalg.norm(middle) == pytest.approx(graphene.bond / 2)
    assert graphene.default_centre == "hexagon"
    assert layers.named("phosphorene").default_centre == "cell"
    for wrong in ("hexagon", "corner"):
        with pytest.raises(MoireioError):
            layers.named("phosphorene").centre(wrong)


def test_usual_distances():
    graphene, hbn, mote2 = (layers.named(n) for n in ("graphene", "hBN", "MoTe2"))
    assert layers.usual_distance(graphene, graphene) == pytest.approx(graphene.spacing)
    mean = (graphene.spacing + hbn.spacing) / 2
    assert layers.usual_distance(graphene, hbn) == pytest.approx(mean)
    empty = layers.usual_distance(mote2, graphene) - mote2.thickness / 2
    assert empty > graphene.bond
    assert layers.usual_distance(graphene, mote2) == layers.usual_distance(mote2, graphene)
    unknown = replace(graphene, spacing=None)
    with pytest.raises(MoireioError, match="give `interlayer`"):
        layers.usual_distance(graphene, unknown)
