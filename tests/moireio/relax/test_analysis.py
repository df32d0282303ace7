"""Distances, local twist, strain and domains against displacement fields that are known."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import jv

from moireio.errors import MoireioError
from moireio.moire import build, cells, layers, search, supercells
from moireio.relax.analysis import WIDTH, analyse

ALL = {"AA": 1, "AB": 1, "BA": 1, "SP": 3}


def bilayer(name="graphene", index=(6, 7), **stacking):
    layer = layers.named(name)
    cell = cells.from_index(layer.lattice, layer.lattice, *index)
    return build.build([layer, layer], cell, stacking=build.Stacking(**stacking))


def star(structure):
    """The six shortest reciprocal vectors of a hexagonal cell, three of them."""
    b = 2 * np.pi * np.linalg.inv(structure.cell[:2, :2]).T
    vectors = np.array([i * b[0] + j * b[1] for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j])
    length = np.linalg.norm(vectors, axis=1)
    shortest = vectors[length < 1.01 * length.min()]
    return np.array([g for g in shortest if (g @ [1.0, 1e-3]) > 0])


def swirled(structure, amplitude, height=0.0):
    """Turn the layers about the corners of the cell: u = ± A Σ (ẑ × G/|G|) sin(G·r)."""
    g = star(structure)
    positions = structure.positions.copy()
    sign = np.where(structure.layer == 1, 1.0, -1.0)[:, None]
    across = np.stack([-g[:, 1], g[:, 0]], -1) / np.linalg.norm(g, axis=1)[:, None]
    phases = positions[:, :2] @ g.T
    positions[:, :2] += sign * amplitude * np.sin(phases) @ across
    positions[:, 2] += sign[:, 0] * height * np.cos(phases).sum(axis=1)
    return replace(structure, positions=positions)


@pytest.mark.parametrize("index", [(6, 7), (7, 6)])
def test_numbers_of_a_known_field(index):
    rigid, moire = bilayer(index=index, interlayer=(3.4,))
    amplitude, height = 0.01, 0.02
    sign = np.sign(moire.layers[1].angle)
    after = swirled(rigid, sign * amplitude, height)
    result = analyse(rigid, after, moire)
    places = {place.name: place for place in result.places}
    assert {name: len(place.points) for name, place in places.items()} == ALL
    g = star(rigid)
    length = np.linalg.norm(g, axis=1)
    damped = np.exp(-(length[0] ** 2) * WIDTH**2 / 4)  # of a wave, by the Gaussian
    radius = np.linalg.norm(rigid.cell[0]) / 4
    # A wave in a disc: the slope fitted to sin(Gx) is G · 8 J₂(GR)/(GR)².
    in_disc = 8 * jv(2, length[0] * radius) / (length[0] * radius) ** 2
    cosines = {"AA": 3.0, "AB": -1.5, "BA": -1.5, "SP": -1.0}
    for name, cosine in cosines.items():
        place = places[name]
        expected = 3.4 + 2 * height * damped * cosine
        assert place.distance == pytest.approx(expected, abs=5e-4)
        assert place.distance_before == pytest.approx(3.4, abs=1e-9)
        # rot u = A |G| Σ cos(G·r); the rotation is half of it, in radians
        turn = np.degrees(amplitude * in_disc * length[0] * cosine / 2)
        assert place.twist == pytest.approx(abs(result.angle) + 2 * turn, abs=0.01)
        assert place.rotations[1] == pytest.approx(sign * turn, rel=0.03)
        assert place.rotations[0] == pytest.approx(-sign * turn, rel=0.03)
    # Stackings lie where the pattern has them: AA on the axis, AB and BA on the long diagonal.
    corner = np.linalg.inv(rigid.cell[:2, :2])
    assert np.abs(places["AA"].points @ corner % 1).max() < 1e-6
    for name in ("AB", "BA"):
        fractional = places[name].points[0] @ corner * 3
        assert np.abs(fractional - np.round(fractional)).max() < 1e-6
    assert np.abs(places["AA"].strains).max() < 1e-4
    shear = np.linalg.norm(places["SP"].strains[1], axis=(1, 2)) / np.sqrt(2)
    np.testing.assert_allclose(shear, amplitude * in_disc * length[0], rtol=0.05)
    moved = np.linalg.norm((after.positions - rigid.positions)[:, :2], axis=1)
    assert max(result.inplane) == pytest.approx(moved.max(), abs=1e-6)
    assert result.mean_distance == pytest.approx(3.4, abs=1e-4)


def test_ab_has_an_atom_of_the_first_sublattice_under_one_of_the_second():
    rigid, moire = bilayer(index=(16, 17))
    place = {p.name: p for p in analyse(rigid, rigid, moire).places}["AB"].points[0]
    # in AB one atom lies on an atom; the other sublattice of each layer faces a hexagon
    below = rigid.positions[rigid.layer == 0, :2]
    above = rigid.positions[rigid.layer == 1, :2]
    near_below = below[np.linalg.norm(below - place, axis=1) < 3.0]
    near_above = above[np.linalg.norm(above - place, axis=1) < 3.0]
    apart = np.linalg.norm(near_below[:, None] - near_above, axis=-1).min(axis=1)
    on_top, hollow = (apart < 0.2).mean(), (apart > 1.2).mean()
    assert on_top == pytest.approx(0.5, abs=0.1)
    assert hollow == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize(
    ("name", "turned", "expected"),
    [
        ("graphene", (False, True), ["AA", "AB", "BA", "SP"]),
        ("hBN", (False, False), ["AA", "AB", "BA", "SP"]),
        ("hBN", (False, True), ["AA'", "BB", "NN", "SP"]),
        ("MoTe2", (False, False), ["MM", "MX", "XM", "SP"]),
        ("MoTe2", (False, True), ["2H", "MM", "XX", "SP"]),
    ],
)
def test_stackings_are_what_lies_above_each_other(name, turned, expected):
    rigid, moire = bilayer(name, (9, 10), turned=turned)
    result = analyse(rigid, rigid, moire)
    assert [place.name for place in result.places] == expected
    assert sum(result.domains.values()) == pytest.approx(1)
    assert all(share == pytest.approx(1 / 3, abs=0.02) for share in result.domains.values())
    letters = {"B": ["B"], "N": ["N"], "M": ["Mo"], "X": ["Te"]}
    for place in result.places:
        if name == "graphene" or place.name in ("SP", "AA", "AB", "BA", "AA'", "2H"):
            continue
        steps = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)])
        images = rigid.positions[:, None, :2] + steps @ rigid.cell[:2, :2]
        symbols = np.array(rigid.element_symbols)
        columns = []
        for number, letter in enumerate(place.name):
            chosen = np.isin(symbols, letters[letter]) & (rigid.layer == number)
            columns.append(images[chosen].reshape(-1, 2))
        near = columns[0][np.linalg.norm(columns[0] - place.points[0], axis=1) < 4.5]
        apart = np.linalg.norm(near[:, None] - columns[1], axis=-1).min(axis=1)
        assert len(near)
        assert apart.max() < 0.8


def test_phosphorene_has_displacements_in_lattice_vectors():
    layer = layers.named("phosphorene")
    limits = search.Limits(angles=(9.0, 12.0), max_atoms=800, max_strain=0.02)
    found = search.best([layer, layer], limits)
    structure, moire = build.build([layer, layer], found.cell)
    result = analyse(structure, structure, moire)
    assert [p.name for p in result.places] == ["AA", "(1/2,0)", "(0,1/2)", "(1/2,1/2)"]
    assert result.mean_distance == pytest.approx(layer.spacing, abs=0.05)


def test_a_cell_that_changed_is_no_displacement_but_a_strain():
    rigid, moire = bilayer()
    whole = np.diag([1.01, 0.99, 1.0])
    after = replace(rigid, cell=rigid.cell @ whole, positions=rigid.positions @ whole)
    result = analyse(rigid, after, moire)
    assert max(result.inplane) < 1e-9
    np.testing.assert_allclose(result.places[0].strains, [[np.diag([0.01, -0.01])]] * 2, atol=1e-9)
    assert result.local_twist["AA"] == pytest.approx(abs(result.angle), abs=1e-6)


def test_atoms_wrapped_into_the_cell_and_a_common_shift_are_no_displacement():
    rigid, moire = bilayer()
    after = rigid.positions + np.array([0.3, 0.1, 0.4])
    fractional = after @ np.linalg.inv(rigid.cell)
    fractional[:, :2] %= 1
    result = analyse(rigid, replace(rigid, positions=fractional @ rigid.cell), moire)
    assert max(result.inplane) < 1e-9
    assert max(result.out_of_plane) < 1e-9


def test_without_a_record_distances_remain():
    rigid, _ = bilayer(interlayer=(3.5,))
    result = analyse(rigid, rigid)
    assert result.places == ()
    assert result.mean_distance == pytest.approx(3.5)


def test_other_atoms_are_refused():
    rigid, moire = bilayer()
    other, _ = bilayer(index=(5, 6))
    with pytest.raises(MoireioError, match="different atoms"):
        analyse(rigid, other, moire)
    with pytest.raises(MoireioError, match="no layers 2 and 3"):
        analyse(rigid, rigid, moire, lower=1)


@pytest.mark.parametrize(
    ("name", "index", "highest", "lowest"),
    [
        ("MoTe2", (3, 4), 7.037, 6.948),  # MM and MX of a relaxed cell
        ("MoTe2", (12, 13), 7.35, 6.75),
        ("graphene", (16, 17), 3.6138, 3.3692),  # AA and AB
    ],
)
def test_corrugation_of_a_relaxed_cell_can_be_built(name, index, highest, lowest):
    """d = d₀ + 2 d₁ Σ cos(G·r) has 3 and −3/2 for the sum at the two stackings."""
    amplitude = (highest - lowest) / 9
    distance = highest - 6 * amplitude
    structure, moire = bilayer(name, index, interlayer=(distance,), corrugation=amplitude)
    places = {place.name: place for place in analyse(structure, structure, moire).places}
    first, second = ("MM", "MX") if name == "MoTe2" else ("AA", "AB")
    small = abs(highest - lowest) * 0.2  # the Gaussian weights smooth the bend of small cells
    assert places[first].distance == pytest.approx(highest, abs=small)
    assert places[second].distance == pytest.approx(lowest, abs=small)
    bond = layers.named(name).bond
    assert bond - 0.03 < structure.closest_pair(1.01 * bond)[0] <= bond


def test_a_ribbon_has_the_stackings_of_its_cells_only():
    structure, moire = bilayer()
    whole = {place.name: len(place.points) for place in analyse(structure, structure, moire).places}
    ribbon, record = supercells.ribbon(structure, moire, 3, 1)
    result = analyse(ribbon, ribbon, record)
    counts = {place.name: len(place.points) for place in result.places}
    assert all(2 * whole[name] <= counts[name] <= 4 * whole[name] for name in whole)
    assert all(place.distance == pytest.approx(3.35) for place in result.places)
    assert sum(result.domains.values()) == pytest.approx(1)
    wide, record = supercells.repeat(structure, moire, (2, 2))
    counts = {p.name: len(p.points) for p in analyse(wide, wide, record).places}
    assert counts == {name: 4 * n for name, n in whole.items()}


def test_distances_of_mx2_are_those_of_the_metals():
    structure, moire = bilayer("MoTe2", (4, 5), interlayer=(7.0,))
    positions = structure.positions.copy()
    positions[(structure.numbers == 52) & (structure.layer == 1), 2] += 0.1
    moved = replace(structure, positions=positions)
    result = analyse(structure, moved, moire)
    assert all(d == pytest.approx(7.0, abs=1e-9) for d in result.distances.values())
    positions[(structure.numbers == 42) & (structure.layer == 1), 2] += 0.2
    lifted = analyse(structure, replace(structure, positions=positions), moire)
    assert all(d == pytest.approx(7.2, abs=1e-9) for d in lifted.distances.values())
