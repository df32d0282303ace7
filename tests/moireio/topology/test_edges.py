"""Edge states follow the Chern number of the bands below, in sign and number."""

from dataclasses import replace

import numpy as np
import pytest
import toymodels

import moireio
from moireio.errors import MoireioError
from moireio.topology.edges import follow_edges
from moireio.topology.ribbon import cut_ribbon

BOUNDARY = 3 * np.sqrt(3) * 0.1  # |M| at which Haldane's gap closes for t2 = 0.1, φ = π/2


def followed(model, tmp_path, energy, axis=0, width=12, points=15, **options):
    with moireio.open(model.write(tmp_path / "x.h5")) as file:
        ribbon = cut_ribbon(file, width, axis)
    return ribbon, follow_edges(ribbon, [energy], points=points, **options)


def upright(model, sign):
    """A model of s orbitals whose normal is turned from +z to ±y; C is seen from +y."""
    turn = np.array([[1, 0, 0], [0, 0, -sign], [0, sign, 0]])  # of rows
    structure = replace(
        model.structure,
        cell=model.structure.cell @ turn,
        positions=model.structure.positions @ turn,
    )
    assert np.linalg.det(turn) > 0
    assert (np.array([0, 0, 1]) @ turn).tolist() == [0, sign, 0]
    return replace(model, structure=structure)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(
    ("model", "chern", "width"),
    [
        (toymodels.haldane(M=0.1), -1, 12),
        (toymodels.haldane(M=0.1, phi=-np.pi / 2), 1, 12),
        (toymodels.haldane(M=1.5 * BOUNDARY), 0, 12),
        (toymodels.haldane(t3=-0.5), 2, 16),
        (toymodels.haldane(M=0.1).left_handed(), -1, 12),
        (upright(toymodels.haldane(M=0.1), 1), -1, 12),
        (upright(toymodels.haldane(M=0.1), -1), 1, 12),
    ],
    ids=["-1", "1", "0", "2", "left-handed", "normal +y", "normal -y"],
)
def test_net_numbers_are_those_of_the_chern_number(model, chern, width, axis, tmp_path):
    ribbon, edges = followed(model, tmp_path, 0.0, axis, width)
    (gap,) = edges.gaps
    expected = -chern * ribbon.handedness
    assert (gap.low.net, gap.high.net) == (expected, -expected)
    assert gap.low.crossings == gap.high.crossings == abs(chern)
    assert gap.low.up is None


@pytest.mark.parametrize("sign", [1, -1])
def test_of_a_random_model_that_is_not_orthogonal(sign, tmp_path):
    """C = −3, and 3 of the conjugate."""
    model = toymodels.random_c3(119, filled=1)
    model = model if sign == 1 else model.conjugated()
    _, edges = followed(model, tmp_path, -3.706, axis=1, points=21, width=9, bands=40)
    (gap,) = edges.gaps
    assert toymodels.GAPPED[119, False, 1] == -3
    assert (gap.low.net, gap.high.net) == (3 * sign, -3 * sign)
    assert np.all(edges.low > -0.01)
    assert np.all(edges.low + edges.high < 1.01)


@pytest.mark.parametrize(("cells", "pairs"), [([0, 0, 0], 1), ([1, 0, 0], 3)])
def test_kramers_pairs_are_odd_in_number(cells, pairs, tmp_path):
    model = toymodels.kane_mele().other_images([[0, 0, 0], cells])
    _, edges = followed(model, tmp_path, -0.04, points=21, width=16)
    (gap,) = edges.gaps
    assert (gap.low.net, gap.low.up, gap.low.down, gap.low.crossings) == (0, -1, 1, 2)
    assert (gap.high.net, gap.high.up, gap.high.down) == (0, 1, -1)
    assert gap.high.crossings == 2 * pairs
    assert np.allclose(np.array(gap.high.k) + gap.high.k[::-1], 1, atol=1e-2)  # time reversal


def test_the_spectrum_of_a_wide_ribbon_by_the_sparse_solver(tmp_path):
    ribbon, dense = followed(
        toymodels.haldane(M=0.1), tmp_path, 0.1, width=40, points=9, solver="dense"
    )
    sparse = follow_edges(ribbon, [0.1], points=9, bands=8, solver="sparse")
    assert sparse.gaps[0].low.k == pytest.approx(dense.gaps[0].low.k, abs=1e-6)
    assert [(g.low.net, g.high.net) for g in (*sparse.gaps, *dense.gaps)] == [(-1, 1)] * 2
    assert sparse.energies.shape == (9, 8)
    first = sparse.first_band
    assert np.abs(sparse.energies - dense.energies[:, first : first + 8]).max() < 1e-8
    assert np.abs(sparse.low - dense.low[:, first : first + 8]).max() < 1e-4


def test_states_in_a_window_inside_the_gap(tmp_path):
    model = toymodels.haldane(M=0.1)
    with moireio.open(model.write(tmp_path / "x.h5")) as file:
        ribbon = cut_ribbon(file, 60, 0)
    options = {"points": 9, "energy_window": (-0.3, 0.3)}
    edges = follow_edges(ribbon, [0.1], solver="sparse", **options)
    whole = follow_edges(ribbon, [0.1], points=9)
    assert edges.first_band is None
    (gap,), (expected,) = edges.gaps, whole.gaps
    assert (gap.low.net, gap.high.net) == (expected.low.net, expected.high.net) == (-1, 1)
    assert gap.low.k == pytest.approx(expected.low.k, abs=1e-3)
    inside = np.abs(whole.energies) < 0.3
    there = np.isfinite(edges.energies)
    assert np.array_equal(there.sum(axis=1), inside.sum(axis=1))
    assert np.allclose(edges.energies[there], whole.energies[inside], atol=1e-8)
    assert np.allclose(edges.low[there], whole.low[inside], atol=1e-6)
    with pytest.raises(MoireioError, match="`energy_window` has all energies inside it"):
        follow_edges(ribbon, [0.5], **options)


def test_several_energies_and_edges_of_both_kinds(tmp_path):
    _, edges = followed(toymodels.haldane(M=0.1), tmp_path, -0.2)
    below = edges.gaps[0]
    _, edges = followed(toymodels.haldane(M=0.1), tmp_path, 0.2)
    # the low edge ends in atoms with the energy +M: its state lies higher
    assert below.low.k[0] > edges.gaps[0].low.k[0]
    assert below.high.k[0] < edges.gaps[0].high.k[0]


def test_an_energy_in_the_bands_is_refused(tmp_path):
    with pytest.raises(MoireioError, match=r"cannot be followed .*in a gap of the layer"):
        followed(toymodels.haldane(), tmp_path, 1.5)
