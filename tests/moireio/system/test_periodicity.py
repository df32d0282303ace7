"""Along which vectors a structure is periodic: vacuum, pairs, layers on both sides of a border."""

import numpy as np
import pytest
from crystals import GRAPHENE, SIXTY

from moireio.errors import MoireioError
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.pairs import Pairs
from moireio.system.periodicity import (
    moved_cells,
    reach_of,
    settle_blocks,
    settle_structure,
    vacuum,
)
from moireio.system.structure import Structure


def carbon(cell, fractional, pbc=(True, True, True)):
    fractional = np.atleast_2d(np.asarray(fractional, dtype=float))
    count = len(fractional)
    cell = np.asarray(cell, dtype=float)
    return Structure(cell, fractional @ cell, [6] * count, [0] * count, ["C"], pbc)


def cell_of_height(height, cell=SIXTY):
    cell = np.array(cell, dtype=float)
    cell[2] = [0, 0, height]
    return cell


PLANE = [[1 / 3, 1 / 3, 0.5], [2 / 3, 2 / 3, 0.5]]


@pytest.mark.parametrize(
    ("structure", "pbc"),
    [
        (carbon(cell_of_height(20), PLANE), "TTF"),
        (carbon(cell_of_height(8.01), PLANE), "TTF"),
        (carbon(cell_of_height(7.99), PLANE), "TTT"),
        (carbon(GRAPHENE, [*PLANE, [0, 0, 0], [1 / 3, 1 / 3, 0]]), "TTT"),  # graphite
        (carbon(2.7155 * (1 - np.eye(3)), [[0, 0, 0], [0.25, 0.25, 0.25]]), "TTT"),  # silicon's
        (carbon(np.diag([2.46, 30, 20]), [[0, 0.5, 0.5], [0.5, 0.45, 0.5]]), "TFF"),  # a ribbon
        (carbon(np.diag([12, 12, 12]), [[0.45, 0.5, 0.5], [0.55, 0.5, 0.5]]), "FFF"),  # a molecule
        (carbon(np.array(SIXTY)[[2, 0, 1]], np.array(PLANE)[:, [2, 0, 1]]), "FTT"),
        (carbon(np.array(SIXTY)[[1, 2, 0]], np.array(PLANE)[:, [1, 2, 0]]), "TFT"),
        (carbon(-np.array(SIXTY), PLANE), "TTF"),  # left-handed
        (carbon([*SIXTY[:2], [40, 9, 20]], PLANE), "TTF"),  # tilted: 20 Å between the planes
        (carbon([*SIXTY[:2], [40, 9, 7]], PLANE), "TTT"),  # long, but 7 Å between the planes
        (carbon(cell_of_height(20), np.zeros((0, 3))), "TTT"),
    ],
)
def test_the_vacuum_decides(structure, pbc):
    settled, note = settle_structure(structure)
    assert "".join("FT"[int(p)] for p in settled.pbc) == pbc
    assert (note is None) == (pbc == "TTT")
    assert (settled.positions == structure.positions).all()


def test_the_reach_of_the_orbitals_counts_where_it_is_known():
    layer = carbon(cell_of_height(9.0), PLANE)
    assert not settle_structure(layer)[0].pbc[2]
    assert settle_structure(layer, reach=9.5)[0].pbc.all()
    close = carbon(cell_of_height(7.0), PLANE)
    settled, note = settle_structure(close, reach=6.5)
    assert settled.pbc.tolist() == [True, True, False]
    assert note == (
        "not periodic along c: a vacuum of 7.0 Å, above 6.5 Å, the reach of the orbitals"
    )
    assert "8.0 Å, the limit without a basis" in settle_structure(layer)[1]
    known = Basis({"C": SpeciesBasis([0], cutoff=3.0), "N": SpeciesBasis([0], cutoff=4.0)})
    assert reach_of(known, layer) == 6.0  # there is no N
    assert reach_of(Basis({"C": SpeciesBasis([0])}), layer) is None
    assert reach_of(None, layer) is None


def test_what_the_file_determines_and_the_user():
    layer = carbon(cell_of_height(20), PLANE)
    assert settle_structure(layer, pbc=(True, True, True)) == (layer, None)
    bulk = carbon(GRAPHENE, [*PLANE, [0, 0, 0], [1 / 3, 1 / 3, 0]])
    assert settle_structure(bulk, pbc=(True, True, False))[0].pbc.tolist() == [True, True, False]
    thin = carbon(cell_of_height(5), PLANE, (True, True, False))
    settled, note = settle_structure(thin)  # as its file has it
    assert (settled.pbc.tolist(), settled.layer.tolist(), note) == (
        [True, True, False],
        [0, 0],
        None,
    )
    assert settle_structure(settled) == (settled, None)
    assert settle_structure(thin, pbc=(True, True, True))[0].pbc.all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_layers_on_both_sides_of_the_border(axis):
    """Atoms at 0.98 and 0.02 of the height are one layer of 0.8 Å: the fewer atoms are moved."""
    order = np.roll(np.arange(3), axis + 1)  # the third vector becomes number `axis`
    fractional = np.array([[0, 0, 0.02], [0.5, 0, 0.98], [0, 0.5, 1.98], [0.5, 0.5, 0.01]])
    cell = np.array(SIXTY)
    place = np.argsort(order)
    structure = carbon(cell[place], fractional[:, place])
    gap, moves = vacuum(structure, int(np.flatnonzero(place == 2)[0]))
    assert gap == pytest.approx(0.96 * 20)
    assert moves.tolist() == [0, -1, -2, 0]
    settled, note = settle_structure(structure)
    assert settled.pbc.sum() == 2
    assert np.ptp(settled.positions @ [0, 0, 1]) == pytest.approx(0.8)
    assert "2 of 4 atoms moved by lattice vectors" in note
    in_plane = settled.positions - structure.positions
    np.testing.assert_allclose(in_plane[:, :2], 0, atol=1e-12)


def test_layers_outside_the_cell_stay_where_they_are():
    for shift in (-3.0, -0.02, 0.7, 12.0):
        structure = carbon(cell_of_height(20), np.add(PLANE, [0, 0, shift]))
        assert not settle_structure(structure)[0].pbc[2]
        assert (settle_structure(structure)[0].positions == structure.positions).all()


def bloch(pairs, blocks, k):
    """H(k) of one orbital per atom, element by element."""
    n = pairs.n_atoms
    H = np.zeros((n, n), dtype=complex)
    np.add.at(H, (pairs.i, pairs.j), blocks * np.exp(2j * np.pi * (pairs.R @ np.asarray(k))))
    return H


def cut_layer():
    """A layer on both sides of the border along c, with the pairs closer than 3 Å."""
    from moireio.system.neighbours import close_pairs

    fractional = [[0, 0, 0.97], [1 / 3, 1 / 3, 0.03], [2 / 3, 2 / 3, 0.99]]
    structure = carbon(cell_of_height(20), fractional)
    pairs = close_pairs(structure, np.array([[3.0]]))
    ends = structure.positions[pairs.j] + pairs.R @ structure.cell
    distances = np.linalg.norm(ends - structure.positions[pairs.i], axis=1)
    return structure, pairs, np.exp(-distances)


def test_pairs_of_a_cut_layer_follow_their_atoms():
    """R = 0 along c for every pair, still sorted; the same distances; the same spectra."""
    structure, pairs, blocks = cut_layer()
    assert pairs.R[:, 2].any()
    settled, moves, note = settle_blocks(structure, [(pairs.i, pairs.j, pairs.R)])
    assert settled.pbc.tolist() == [True, True, False]
    assert moves.tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 0]]
    assert "1 of 3 atoms moved" in note
    cells = moved_cells(pairs.i, pairs.j, pairs.R, moves)
    assert not cells[:, 2].any()
    moved, order = Pairs.sort(3, pairs.i, pairs.j, cells)
    assert (order == np.arange(len(pairs))).all()
    ends = settled.positions[moved.j] + moved.R @ settled.cell
    distances = np.linalg.norm(ends - settled.positions[moved.i], axis=1)
    np.testing.assert_allclose(np.exp(-distances), blocks, atol=1e-12)
    for k in ([0, 0, 0], [0.2, 0.3, 0], [0.2, 0.3, 0.4]):
        before = np.linalg.eigvalsh(bloch(pairs, blocks, k))
        after = np.linalg.eigvalsh(bloch(moved, blocks, k))
        np.testing.assert_allclose(after, before, atol=1e-12)


def test_pairs_decide_against_any_vacuum():
    """A pair across 12 Å makes the layer periodic; without one a bulk cell is not."""
    structure = carbon(cell_of_height(12), PLANE)
    far = np.array([[0, 0, 0], [0, 0, 0], [0, 0, 1], [0, 0, -1], [1, 1, 0], [-1, -1, 0]])
    i, j = np.array([0, 1, 0, 1, 0, 1]), np.array([0, 1, 1, 0, 1, 0])
    settled, moves, note = settle_blocks(structure, [(i, j, far)])
    assert settled.pbc.tolist() == [True, True, True]
    assert (moves.any(), note) == (False, None)
    flat = far * [1, 1, 0]
    assert settle_blocks(structure, [(i, j, flat), (i, j, far)])[0].pbc[2]  # any operator
    settled, _, note = settle_blocks(structure, [(i, j, flat)])
    assert settled.pbc.tolist() == [True, True, False]
    assert note == "not periodic along c, where no pair of atoms has a cell R other than 0"
    assert settle_blocks(structure, [(i, j, flat)], (True, True, True))[0].pbc.all()
    message = r"periodic along c: pair \(0, 1, R = 0 0 1\) crosses"
    with pytest.raises(MoireioError, match=message):
        settle_blocks(structure, [(i, j, far)], (True, True, False))
