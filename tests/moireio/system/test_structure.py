"""Structures: what they refuse, and their way to ASE and back."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.system.structure import Structure

GOOD = {
    "cell": np.diag([4.0, 5.0, 20.0]),
    "positions": [[0, 0, 0], [1.2, 0.3, 0.1], [-2, 7, 30]],
    "numbers": [42, 16, 16],
    "species": [0, 1, 1],
    "species_names": ["Mo", "S"],
    "pbc": [True, True, False],
}


def test_sequences_are_stored_as_arrays():
    structure = Structure(**GOOD, layer=[0, 0, 1])
    assert structure.positions.dtype == np.float64
    assert structure.numbers.dtype == structure.layer.dtype == np.int32
    assert structure.pbc.tolist() == [True, True, False]
    assert structure.species_names == ("Mo", "S")
    assert len(structure) == 3
    assert structure.species_of_atoms == ["Mo", "S", "S"]
    assert structure.element_symbols == ["Mo", "S", "S"]
    assert structure.formula == "MoS2"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cell": np.eye(2)}, "cell has shape"),
        ({"positions": [[0, 0, 0]]}, "positions has shape"),
        ({"species": [0, 1]}, "species has shape"),
        ({"pbc": [True]}, "pbc has shape"),
        ({"layer": [0]}, "layer has shape"),
        ({"magmoms": [[1, 2]]}, "magmoms has shape"),
        ({"cell": np.diag([4.0, np.nan, 20.0])}, "cell contains a number that is not finite"),
        ({"positions": np.full((3, 3), np.inf)}, "positions contains a number that is not finite"),
        ({"cell": [[1, 0, 0], [0, 1, 0], [1, 1, 0]]}, "not independent"),
        ({"species": [0, 1, 2]}, "species index"),
        ({"numbers": [42, 16, 119]}, "outside 0..118"),
    ],
)
def test_wrong_structures_are_refused(change, message):
    with pytest.raises(MoireioError, match=message):
        Structure(**{**GOOD, **change})


def test_an_empty_atom_has_no_element():
    structure = Structure(**{**GOOD, "numbers": [42, 16, 0]})
    assert structure.element_symbols[2] == "X"


@given(st.integers(0, 10**6))
def test_reciprocal_vectors_are_dual(seed):
    cell = np.random.default_rng(seed).normal(size=(3, 3)) + 4 * np.eye(3)
    structure = Structure(**{**GOOD, "cell": cell})
    np.testing.assert_allclose(structure.reciprocal @ cell.T, 2 * np.pi * np.eye(3), atol=1e-9)


def test_closest_pair_across_the_cell_border():
    structure = Structure(
        np.eye(3) * 6, [[0.1, 0, 0], [3, 3, 3], [5.8, 0, 0]], [6] * 3, [0] * 3, ["C"], [True] * 3
    )
    distance, *atoms = structure.closest_pair(1.0)
    assert distance == pytest.approx(0.3)
    assert sorted(atoms) == [0, 2]
    assert structure.closest_pair(0.2) is None
    assert replace(structure, pbc=np.zeros(3, bool)).closest_pair(1.0) is None
    empty = Structure(np.eye(3), np.zeros((0, 3)), [], [], [], [True] * 3)
    assert empty.closest_pair(1.0) is None


def test_to_ase_and_back():
    structure = Structure(**GOOD, magmoms=[1.0, -0.5, 0.0])
    atoms = structure.to_ase()
    assert atoms.get_tags().tolist() == [0, 1, 1]
    again = Structure.from_ase(atoms)
    for name in ("cell", "positions", "numbers", "species", "pbc", "magmoms"):
        np.testing.assert_array_equal(getattr(again, name), getattr(structure, name))
    assert again.species_names == structure.species_names
    assert Structure.from_ase(Structure(**GOOD).to_ase()).magmoms is None
