"""Operations of crystals: groups, their action on atoms and k points."""

import numpy as np
import pytest
from crystals import GRAPHENE, graphene
from hypothesis import given
from hypothesis import strategies as st

from moireio.symmetry.crystal import (
    generated_group,
    generators,
    identity,
    point_group,
    with_time_reversal,
)
from moireio.system.structure import Structure


def key(operation):
    return operation.rotation.tobytes()


def bulk(name):
    from ase.build import bulk

    return Structure.from_ase(bulk(*name))


def layered(seed):
    """Atoms of two species in a cell of random shape, open along c."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(3, 5, 2)
    cosine = rng.choice([0.0, 0.5, -0.5, 0.3])
    b = a if rng.random() < 0.5 else b
    cell = np.array([[a, 0, 0], [b * cosine, b * np.sqrt(1 - cosine**2), 0], [0, 0, 15]])
    sites = rng.choice([0, 1 / 3, 0.5, 2 / 3], (3, 2))
    sites = np.unique(sites, axis=0)
    positions = np.column_stack([sites, np.zeros(len(sites))]) @ cell
    species = rng.integers(0, 2, len(sites))
    numbers = np.array([6, 7])[species]
    return Structure(cell, positions, numbers, species, ["C", "N"], [True, True, False])


def assert_atoms_are_mapped(structure, operation):
    """Every atom lies on its image after the rotation and one common translation."""
    sign = -1 if operation.time_reversal else 1
    fractional = structure.positions @ np.linalg.inv(structure.cell)
    images = fractional @ np.linalg.inv(sign * operation.rotation)
    shift = (images - fractional[operation.atoms])[:, structure.pbc]
    shift -= shift[0]
    assert np.abs(shift - np.rint(shift)).max() < 1e-2 / 3
    assert (structure.species[operation.atoms] == structure.species).all()


@given(st.integers(0, 10**6))
def test_point_groups_are_groups_that_map_the_atoms(seed):
    structure = layered(seed)
    group = point_group(structure)
    keys = {key(o) for o in group}
    assert len(keys) == len(group)
    assert (group[0].rotation == np.eye(3)).all()
    for one in group:
        assert_atoms_are_mapped(structure, one)
        assert one.spatial == (one is not group[0])
        for other in group:
            assert (one.rotation @ other.rotation).tobytes() in keys
        # lengths of k stay: the rotation is one of the reciprocal lattice
        metric = structure.reciprocal @ structure.reciprocal.T
        assert one.rotation.T @ metric @ one.rotation == pytest.approx(metric, abs=1e-2)


@pytest.mark.parametrize(
    ("name", "order"), [(("Cu", "fcc", 3.6), 48), (("GaAs", "zincblende", 5.6), 24)]
)
def test_point_groups_of_cubic_crystals(name, order):
    assert len(point_group(bulk(name))) == order


def test_generators_make_the_whole_group():
    structure = graphene()
    group = point_group(structure)
    assert len(group) == 12  # of the plane: horizontal mirrors change no k
    chosen = generators(group)
    assert 1 <= len(chosen) <= 3
    again = generated_group(group[0], chosen)
    assert {key(o) for o in again} == {key(o) for o in group}
    for operation in again:
        assert_atoms_are_mapped(structure, operation)
    assert generators(group[:1]) == []


def test_images_along_an_open_axis_make_no_symmetry():
    """Layers half a cell apart: stacked periodically they are one another's translation."""
    for pbc in ((True, True, False), (True, True, True)):
        group = point_group(graphene(2, pbc))
        in_plane = {tuple(o.rotation[:2, :2].ravel()) for o in group}
        assert len(in_plane) == 12
    assert (point_group(graphene(2))[0].atoms == np.arange(4)).all()


def test_time_reversal_turns_k_round():
    group = point_group(graphene())
    whole = with_time_reversal(group)
    assert len(whole) == 2 * len(group)
    for plain, reversed_ in zip(group, whole[len(group) :], strict=True):
        assert (reversed_.rotation == -plain.rotation).all()
        assert (reversed_.atoms == plain.atoms).all()
        assert (reversed_.time_reversal, reversed_.spatial) == (True, plain.spatial)
    assert not any(o.time_reversal for o in whole[: len(group)])


def test_no_atom_no_symmetry():
    empty = Structure(GRAPHENE, np.zeros((0, 3)), [], [], [], [True, True, False])
    assert len(identity(empty).atoms) == 0
    low = Structure(
        [[3, 0.1, 0], [0.7, 4, 0], [0, 0, 9]],
        [[0, 0, 0], [1, 0.3, 0.4], [2, 2, 0.1]],
        [6, 7, 8],
        [0, 1, 2],
        ["C", "N", "O"],
        [True, True, False],
    )
    assert len(point_group(low)) == 1
