"""Edges beside the layer: its gaps, Chern numbers of all bands below each, four ways that agree."""

from dataclasses import replace

import numpy as np
import pytest
import toymodels

import moireio
from moireio.errors import MoireioError
from moireio.results.edges import EdgeCount, EdgeGap
from moireio.system.basis import Basis
from moireio.system.structure import Structure
from moireio.topology.correspondence import (
    Agreement,
    bands_below,
    beside_chern,
    chern_of_edges,
    cherns_below,
    edges_overlap,
    middle_of_gap,
    narrowest,
)
from moireio.topology.edges import follow_edges
from moireio.topology.ribbon import cut_ribbon

ENERGIES = [-4.0, 0.0, 4.0]  # in the three gaps of `stack`


def stack(lower, upper):
    """Two Haldane models, 8 eV and 5 Å apart."""
    below, above = lower.structure, upper.structure
    structure = Structure(
        below.cell,
        np.concatenate([below.positions, above.positions + np.array([0, 0, 5])]),
        np.tile(below.numbers, 2),
        np.tile(below.species, 2),
        below.species_names,
        below.pbc,
    )
    H = {}
    for first, model, shift in ((0, lower, -4), (2, upper, 4)):
        for (i, j, R), block in model.hamiltonian.items():
            onsite = shift * np.eye(1) if i == j and not any(R) else 0
            H[i + first, j + first, R] = block + onsite
    basis = Basis(lower.basis.species, orthogonal=True)
    return replace(lower, structure=structure, hamiltonian=H, basis=basis, filled=3)


@pytest.fixture(scope="module")
def three_gaps(tmp_path_factory):
    model = stack(toymodels.haldane(phi=-np.pi / 2), toymodels.haldane())  # C = 1, −1 | −1, 1
    return model.write(tmp_path_factory.mktemp("stack") / "x.h5")


def test_gaps_of_the_layer(three_gaps):
    with moireio.open(three_gaps) as file:
        assert bands_below(file, ENERGIES) == [(1,), (2,), (3,)]
        assert middle_of_gap(file) == pytest.approx(4.0)
        with pytest.raises(MoireioError, match=r"3 eV is in no gap of the layer: band 3 passes it"):
            bands_below(file, [3.0])
        distance, k = narrowest(file, 4.0)
    assert distance == pytest.approx(3 * np.sqrt(3) * 0.1)  # at K and K′
    assert np.allclose(np.sort(k[:, 0]), [1 / 3, 2 / 3])


@pytest.mark.parametrize("main", [None, -1])
def test_chern_numbers_of_lower_gaps_are_those_of_the_main_gap_without_the_bands_between(
    three_gaps, main
):
    with moireio.open(three_gaps) as file:
        assert cherns_below(file, [(1,), (2,), (3,)], main) == [(1,), (0,), (-1,)]
        assert cherns_below(file, [(2,)], 7) == [(7,)]  # as it is given


def test_time_reversal_needs_no_counting(tmp_path):
    with moireio.open(toymodels.kane_mele().write(tmp_path / "x.h5")) as file:
        assert cherns_below(file, [(2,), (1,)]) == [(0,), (0,)]


def test_chern_numbers_of_either_spin(tmp_path):
    # C = −1, 1 of the bands of spin up; 1, −1 of those of spin down, all of them higher
    layers = toymodels.haldane(M=0.2), toymodels.haldane(M=0.2, phi=-np.pi / 2)
    model = toymodels.of_both_spins(*layers, 7.0, 3)
    with moireio.open(model.write(tmp_path / "x.h5")) as file:
        counts = bands_below(file, [0.0, 3.5, 7.0])
        assert counts == [(1, 0), (2, 0), (2, 1)]
        assert cherns_below(file, counts) == [(-1, 0), (0, 0), (0, 1)]
        assert cherns_below(file, counts, 1) == [(-1,), (0,), (1,)]


def test_counts_beside_chern_numbers():
    gap = EdgeGap(0.0, EdgeCount(2), EdgeCount(-2))
    assert [chern_of_edges(gap, sign) for sign in (1, -1)] == [-2, 2]
    assert [beside_chern(gap, -2, sign).agree for sign in (1, -1)] == [True, False]
    assert beside_chern(gap, None, 1).agree is None
    gap = EdgeGap(0.0, EdgeCount(0, 1, -1), EdgeCount(0, -1, 1))
    assert [beside_chern(gap, 0, 1, c).agree for c in ((), (-1, 1), (1, -1))] == [True, True, False]
    assert chern_of_edges(EdgeGap(0.0, EdgeCount(2), EdgeCount(-1)), 1) is None
    assert chern_of_edges(EdgeGap(0.0, EdgeCount(None), EdgeCount(None)), 1) is None


@pytest.mark.parametrize(
    ("model", "width", "overlap"),
    [("t3", 1, True), ("t3", 3, True), ("t3", 6, True), ("t3", 12, False), ("haldane", 5, False)],
)
def test_edges_that_repel_each_others_states(tmp_path, model, width, overlap):
    models = {"t3": toymodels.haldane(t3=-0.5), "haldane": toymodels.haldane(M=0.1)}
    with moireio.open(models[model].write(tmp_path / "x.h5")) as file:
        edges = follow_edges(cut_ribbon(file, width, 0), [0.0], points=41)
        assert edges_overlap(file, edges, 0.0) is overlap
        # C = 2 of t3 has two states at either edge where these are far apart, −1 of the other one
        assert (abs(edges.gaps[0].low.net) != (2 if model == "t3" else 1)) is overlap


@pytest.mark.parametrize(
    ("numbers", "holds"),
    [
        ((-1, 2, 2, 2), True),
        ((-1, 2, None, 2), True),
        ((1, 2, 2, 2), False),
        ((-1, 2, 2, -1), False),
        ((0, 0, 0, None), False),
        ((None, None, None, 1), True),
        ((0, 0, 0, 0, 1, 1), True),
        ((0, 0, 0, 0, 1, 0), False),
        ((0, 0, 0, None, 1, None, -0.5), None),
        ((1, 2, 2, None, None, None, -0.5), False),
    ],
)
def test_agreement(numbers, holds):
    assert Agreement(*numbers).holds is holds
