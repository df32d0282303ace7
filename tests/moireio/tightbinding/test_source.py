"""Operators of a tight-binding model, by runs of atoms."""

from dataclasses import replace

import numpy as np
import pytest
from crystals import graphene
from hypothesis import given
from hypothesis import strategies as st
from slater_koster import integrals, like, spd_model
from systems import random_structure

from moireio.operators.views import FullView, UpperView
from moireio.system.structure import Structure
from moireio.tightbinding.modelfile import read_model
from moireio.tightbinding.source import TightBindingSource, bonded_pairs, fallen_orbitals


def model_of_all(seed):
    """Return a model that bonds C and N atoms with every integral."""
    values = integrals(seed, decay=True)
    return spd_model({("C", "C"): like(values), ("N", "C"): values, ("N", "N"): like(values)})


@given(st.integers(0, 2**32 - 1))
def test_partners_are_exact(seed):
    """H_ij(R) = H_ji(−R)ᵀ to the last digit; upper and full storage agree."""
    model = model_of_all(seed % 5)
    atoms = random_structure(seed % 1000)
    pairs = bonded_pairs(atoms, model)
    full = TightBindingSource(atoms, model, pairs)
    upper = TightBindingSource(atoms, model, pairs, storage="upper")
    n = len(atoms)
    data = full.rows(0, n)
    assert (UpperView(full).rows(0, n) == upper.rows(0, n)).all()
    assert (FullView(upper).rows(0, n) == data).all()
    assert (np.concatenate([full.rows(i, i + 1) for i in range(n)]) == data).all()


@pytest.mark.parametrize("name", ["hamiltonian", "overlap"])
def test_blocks_are_those_of_the_model(name):
    atoms, model = random_structure(4), model_of_all(1)
    pairs = bonded_pairs(atoms, model)
    source = TightBindingSource(atoms, model, pairs, name)
    assert (source.meta.unit, source.meta.source) == (
        {"hamiltonian": "eV", "overlap": "1"}[name],
        "tight-binding",
    )
    integrals = {"hamiltonian": "hopping", "overlap": "overlap"}[name]
    data, begin = source.rows(0, len(atoms)), 0
    names = model.names_for(atoms)
    for i, j, R in zip(pairs.i, pairs.j, pairs.R, strict=True):
        d = (atoms.positions[j] + R @ atoms.cell - atoms.positions[i])[:, None]
        a, b = names[atoms.species[i]], names[atoms.species[j]]
        block = model.blocks(integrals, a, b, d)[:, :, 0]
        np.testing.assert_allclose(data[begin : begin + block.size], block.ravel(), atol=1e-12)
        begin += block.size
    assert begin == len(data)


def test_pairs_are_those_within_the_longest_bonds():
    atoms, model = random_structure(2), model_of_all(0)
    pairs = bonded_pairs(atoms, model)
    d = atoms.positions[pairs.j] + pairs.R @ atoms.cell - atoms.positions[pairs.i]
    assert np.linalg.norm(d, axis=1).max() <= 4.0
    assert (pairs.onsite() >= 0).all()
    assert (pairs.partner() >= 0).all()


def repeated(structure, pbc):
    """Return 2 × 2 cells with another periodicity."""
    steps = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) @ structure.cell[:2]
    positions = (structure.positions[:, None] + steps).reshape(-1, 3)
    return Structure(
        structure.cell * [[2], [2], [1]], positions, [6] * len(positions), [0] * len(positions),
        ["C"], pbc,
    )  # fmt: skip


def test_layers_that_do_not_lie_flat_are_named_where_the_model_has_p_z_alone():
    flat, model = graphene(), read_model("moon-koshino")
    turned = replace(flat, cell=flat.cell[:, [2, 0, 1]], positions=flat.positions[:, [2, 0, 1]])
    vectors = replace(flat, cell=flat.cell[[2, 0, 1]], pbc=flat.pbc[[2, 0, 1]])
    for pbc in ([True, True, False], [True, False, False], [False] * 3):  # layer, ribbon, flake
        lying, upright = (repeated(s, pbc) for s in (flat, turned))
        assert "inclined to xy by 90 degrees" in fallen_orbitals(upright, model)
        assert fallen_orbitals(lying, model) is None
    assert fallen_orbitals(vectors, model) is None  # the vacuum along a, but still along z
    assert fallen_orbitals(turned, model_of_all(0)) is None  # whole shells
