"""Stacks of layers: symmetry, strain, distances."""

from dataclasses import replace

import numpy as np
import pytest
import spglib
from ase.data import atomic_numbers
from hypothesis import given, settings
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.moire import build, cells, layers, plane, search
from moireio.moire.layers import Layer


def twisted(name, m, n, **options):
    layer = layers.named(name)
    cell = cells.from_index(layer.lattice, layer.lattice, m, n)
    return build.build([layer, layer], cell, stacking=build.Stacking(**options))


def space_group(structure):
    symbol = spglib.get_spacegroup(
        (structure.cell, structure.positions @ np.linalg.inv(structure.cell), structure.numbers),
        symprec=1e-4,
    )
    return int(symbol.split("(")[1].rstrip(")"))


# In-plane twofold axes lie along the moiré vectors without the half turn and between them with
# it, if the layers are D3h; graphene turned about a hexagon has both and a sixfold axis.
@pytest.mark.parametrize(
    ("name", "options", "group"),
    [
        ("graphene", {}, 177),
        ("graphene", {"centre": "atom"}, 150),
        ("graphene", {"centre": "bond"}, 21),
        ("hBN", {}, 150),
        ("hBN", {"turned": (False, True)}, 149),
        ("MoTe2", {}, 150),
        ("MoTe2", {"centre": "atom"}, 150),
        ("MoTe2", {"turned": (False, True)}, 149),
    ],
)
@pytest.mark.parametrize("m", [1, 3])
def test_space_groups(name, options, group, m):
    structure, _ = twisted(name, m + 1, m, **options)
    assert space_group(structure) == group


def test_space_group_of_a_large_cell():
    structure, moire = twisted("graphene", 13, 12)
    assert 1800 < len(structure) <= 2000
    assert space_group(structure) == 177
    assert all(not layer.strain.any() for layer in moire.layers)


def same_up_to_translation(a, b, tolerance):
    """Compare two structures with one cell, whatever their origin and order."""
    assert len(a) == len(b)
    assert np.abs(a.cell - b.cell).max() < tolerance
    inverse = np.linalg.inv(a.cell)
    rare = min(set(a.numbers.tolist()), key=a.numbers.tolist().count)
    start = np.flatnonzero(a.numbers == rare)[0]
    for other in np.flatnonzero(b.numbers == rare):
        moved = b.positions - b.positions[other] + a.positions[start]
        delta = (a.positions[:, None] - moved) @ inverse
        delta = (delta - np.round(delta)) @ a.cell
        gap = np.where(a.numbers[:, None] == b.numbers, np.linalg.norm(delta, axis=2), np.inf)
        if gap.min(axis=1).max() < tolerance and gap.min(axis=0).max() < tolerance:
            return True
    return False


@pytest.mark.parametrize(
    ("case", "name", "indices", "height"),
    [
        ("tbg_2-1", "graphene", (2, 1), 15.0),
        ("tbg_3-2", "graphene", (3, 2), 15.0),
        ("tmt_2-1", "MoTe2", (2, 1), None),
    ],
)
def test_cells_that_openmx_computed(shared, case, name, indices, height):
    from moireio.formats.structures.files import read

    theirs = read(str(shared / "openmx" / case / f"{case}.dat"))
    span = np.ptp(theirs.positions[:, 2])
    vacuum = theirs.cell[2, 2] - span
    ours, _ = twisted(name, *indices, centre="atom", vacuum=vacuum)
    assert same_up_to_translation(ours, theirs, 1e-8)


def random_layer(draw):
    kind = draw(st.sampled_from(["hexagonal", "square", "rectangular", "oblique"]))
    a, ratio = draw(st.floats(2.2, 5.0)), draw(st.floats(1.0, 1.6))
    lattice = {
        "hexagonal": a * np.array([[1, 0], [0.5, np.sqrt(3) / 2]]),
        "square": a * np.eye(2),
        "rectangular": a * np.diag([1, ratio]),
        "oblique": a * np.array([[1, 0], [0.3, ratio]]),
    }[kind]
    sites = [[0.0, 0.0, 0.0], [0.5, 0.45, 1.3]][: draw(st.integers(1, 2))]
    positions = np.array(sites) @ np.block([[lattice, np.zeros((2, 1))], [np.zeros((1, 2)), 1]])
    symbols = ("C", "B")[: len(sites)]
    return Layer("random", lattice, symbols, positions, spacing=9.0)


@st.composite
def stacks(draw):
    one = random_layer(draw)
    two = one if draw(st.booleans()) else random_layer(draw)
    return (
        [one, two],
        draw(st.floats(-40, 40)),
        draw(st.sampled_from(["first", "second", "shared"])),
    )


@settings(max_examples=40, deadline=None)
@given(stacks(), st.integers(0, 2), st.integers(-2, 2))
def test_random_stacks(case, seed, step):
    """Counts, distances, periodicity, the stored record, and independence of the cell."""
    stack, angle, place = case
    limits = search.Limits((angle - 1, angle + 1), 150, 0.06, strain_on=place)
    candidates = search.candidates(stack, limits)
    if not candidates:
        return
    cell = candidates[min(seed, len(candidates) - 1)].cell
    structure, moire = build.build(stack, cell, place)
    for layer, record in zip(stack, moire.layers, strict=True):
        assert np.abs(record.cell - structure.cell[:2, :2]).max() < 1e-9
        assert record.multiple * np.linalg.det(record.lattice @ record.gradient.T) == (
            pytest.approx(np.linalg.det(structure.cell[:2, :2]))
        )
        # Every atom sits on a point of its own strained lattice.
        strained = record.lattice @ record.gradient.T
        here = structure.layer == moire.layers.index(record)
        here &= structure.numbers == atomic_numbers[layer.symbols[0]]
        points = structure.positions[here, :2] @ np.linalg.inv(strained)
        points -= points[0]
        assert np.abs(points - np.round(points)).max() < 1e-7
    unstrained = {"first": 1, "second": 0}.get(place)
    if unstrained is not None:
        assert np.abs(moire.layers[unstrained].strain).max() < 1e-12
    assert moire.layers[0].angle == pytest.approx(0, abs=1e-9)
    # The same crystal from another choice of the cell's vectors.
    change = np.array([[1, step], [0, 1]])
    other = cells.match(stack[0].lattice, stack[1].lattice, change @ cell.matrices)
    again, _ = build.build(stack, other, place)
    inverse = np.linalg.inv(structure.cell)
    delta = (structure.positions[:, None] - again.positions) @ inverse
    delta -= np.round(delta)
    gap = np.linalg.norm(delta @ structure.cell, axis=2)
    gap[structure.numbers[:, None] != again.numbers] = np.inf
    assert gap.min(axis=1).max() < 1e-6


def test_strain_is_recovered_from_the_atoms():
    """The tensor in the record equals that of the lattice vectors read off the positions."""
    graphene = layers.named("graphene")
    wanted = plane.uniaxial(0.006, 30.0, 0.16)
    best = search.heterostrained(
        [graphene, graphene], search.Limits((3.58, 3.78)), 1, wanted, 1e-3
    )[0]
    structure, moire = build.build([graphene, graphene], best.cell, best.strain_on)
    for number in (0, 1):
        atoms = structure.positions[structure.layer == number]
        height = atoms[:, 2].mean()
        assert np.abs(atoms[:, 2] - height).max() < 1e-9
        inside = atoms[
            np.argmin(np.linalg.norm(atoms[:, :2] - structure.cell[:2, :2].sum(0) / 2, axis=1))
        ]
        delta = atoms[:, :2] - inside[:2]
        expected = graphene.lattice @ moire.layers[number].gradient.T
        vectors = np.array([delta[np.argmin(np.linalg.norm(delta - e, axis=1))] for e in expected])
        gradient = np.linalg.solve(graphene.lattice, vectors).T
        strain, angle = plane.polar(gradient)
        assert np.abs(strain - moire.layers[number].strain).max() < 1e-10
        assert angle == pytest.approx(moire.layers[number].angle, abs=1e-8)
    assert not moire.layers[0].strain.any()
    assert moire.place == "second"


def test_homostrain_strains_both_layers_alike():
    graphene = layers.named("graphene")
    cell = cells.from_index(graphene.lattice, graphene.lattice, 2, 1)
    wanted = np.array([[0.01, 0.002], [0.002, -0.004]])
    _, moire = build.build([graphene, graphene], cell, homostrain=wanted)
    for record in moire.layers:
        assert np.abs(record.strain - wanted).max() < 1e-12


def test_shift_moves_the_twisted_layer_only():
    plain, _ = twisted("graphene", 2, 1, centre="atom")
    moved, moire = twisted("graphene", 2, 1, centre="atom", shifts={1: (1 / 3, 1 / 3)})
    step = moire.layers[1].gradient @ (np.full(2, 1 / 3) @ moire.layers[1].lattice)
    for number, expected in ((0, np.zeros(2)), (1, step)):
        a, b = (s.positions[s.layer == number] for s in (plain, moved))
        delta = (b[:, None] - a - np.append(expected, 0)) @ np.linalg.inv(plain.cell)
        assert np.linalg.norm((delta - np.round(delta)) @ plain.cell, axis=2).min(1).max() < 1e-9


def test_corrugation_is_that_of_the_reference():
    """d(r) = 3.433 + 2 · 0.0278 Σ cos(G_j · r), half on each layer, in-plane unchanged."""
    flat, _ = twisted("graphene", 6, 5, interlayer=(3.433,))
    bent, _ = twisted("graphene", 6, 5, interlayer=(3.433,), corrugation=0.0278)
    assert np.abs(flat.positions[:, :2] - bent.positions[:, :2]).max() < 1e-12
    g = 2 * np.pi * np.linalg.inv(flat.cell[:2, :2]).T
    star = np.array([g[0], g[1], -g[0] - g[1]])
    profile = 3.433 + 2 * 0.0278 * np.cos(flat.positions[:, :2] @ star.T).sum(axis=1)
    sign = np.where(flat.layer == 1, 0.5, -0.5)
    z = bent.positions[:, 2] - (bent.positions[:, 2].max() + bent.positions[:, 2].min()) / 2
    assert np.abs(z - sign * profile).max() < 1e-9


def test_trilayer_with_a_twisted_middle():
    graphene = layers.named("graphene")
    cell = cells.from_index(graphene.lattice, graphene.lattice, 3, 2)
    structure, moire = build.build([graphene] * 3, cell)
    assert len(structure) == 19 * 2 * 3
    assert [round(r.angle, 3) for r in moire.layers] == [0, -13.174, 0]
    upper = structure.positions[structure.layer == 2, :2]
    lower = structure.positions[structure.layer == 0, :2]
    assert np.allclose(np.sort(upper, axis=0), np.sort(lower, axis=0), atol=1e-9)


def test_layers_that_overlap_are_refused():
    with pytest.raises(MoireioError, match="overlap"):
        twisted("MoTe2", 2, 1, interlayer=(3.0,))
    with pytest.raises(MoireioError, match="closer than the shortest bond"):
        twisted("graphene", 2, 1, interlayer=(1.0,))
    with pytest.raises(MoireioError, match="hexagon"):
        twisted("Bi2Te3", 2, 1, centre="hexagon")


def test_whole_table_can_be_twisted():
    for name in layers.table_names():
        layer = layers.named(name)
        best = search.best([layer, layer], search.Limits((5.0, 9.0), 4000))
        structure, _ = build.build([layer, layer], best.cell)
        assert len(structure) == best.atoms


def test_runs_of_atoms_are_compact():
    structure, _ = twisted("graphene", 16, 15)
    area = np.linalg.det(structure.cell[:2, :2])
    size = 200
    share = np.sqrt(area * size / len(structure))
    for start in range(0, len(structure) - size, size):
        run = structure.positions[start : start + size, :2]
        assert np.ptp(run, axis=0).max() < 4 * share


def test_the_sum_of_both_shares_is_the_mismatch():
    """(1 + ε₂)(1 + ε₁)⁻¹ maps the free lattices onto each other, whichever layer is strained."""
    first, second = (layers.named(n).lattice for n in ("graphene", "hBN"))
    cell = cells.match(first, second, [np.eye(2, dtype=int)] * 2)
    for strain_on in ("first", "second", "shared"):
        F1, F2 = build.deformations(cell, strain_on)
        np.testing.assert_allclose(first @ F1.T, second @ F2.T, atol=1e-12)
        assert np.allclose(F1, np.eye(2)) == (strain_on == "second")
        assert np.allclose(F2, np.eye(2)) == (strain_on == "first")


def test_patterns():
    graphene = [layers.named("graphene")] * 3
    assert build.resolve_pattern(graphene) == ((0, 1, 0), (0, 1))
    assert build.resolve_pattern(graphene, [0, 0, 1]) == ((0, 0, 1), (0, 2))
    for wrong in ([0, 1], [1, 0, 1], [0, 0, 0], [0, 1, 2]):
        with pytest.raises(MoireioError, match="does not fit 3 layers"):
            build.resolve_pattern(graphene, wrong)


def test_atoms_that_are_missing_are_noticed():
    structure, moire = twisted("graphene", 2, 1)
    part = replace(
        structure,
        **{n: getattr(structure, n)[1:] for n in ("positions", "numbers", "species", "layer")},
    )
    with pytest.raises(MoireioError, match="27 atoms instead of 28"):
        build.check(part, [layers.named("graphene")] * 2, moire)


def test_corrugation_may_shorten_bonds_a_little():
    one = layers.named("MoTe2")
    stacking = build.Stacking(corrugation=0.1)
    cell = cells.from_index(one.lattice, one.lattice, 6, 5)
    bent, moire = build.build([one, one], cell, stacking=stacking)
    shortest = bent.closest_pair(3.0)[0]
    assert one.bond - 0.05 < shortest < one.bond - 0.001
    with pytest.raises(MoireioError, match="closer than the shortest bond"):
        build.check(bent, [one, one], moire)
