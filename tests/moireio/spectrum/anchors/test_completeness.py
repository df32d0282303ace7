"""Levels of which the anchors know nothing: bands of a supercell that do not couple."""

import numpy as np
import pytest
from anchored_systems import GMKG, Exact, bilayer, line, solve_from_anchors, sum_of, supercell
from toymodels import kane_mele

from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.completeness import (
    FASTER,
    directions,
    known_ranges,
    nearest_unseen,
    velocity,
    widest_known,
)
from moireio.spectrum.anchors.products import BlochProducts


@pytest.fixture(scope="module")
def folded():
    """AB bilayer graphene, its bands folded 64 times."""
    structure, *operators = bilayer()
    structure, h, s = supercell(structure, (8, 8, 1), *operators)
    return structure, h, s, Exact(h, s)


@pytest.mark.parametrize(
    "bands", [(124, 131), (127, 128), (0, 7), (255, 255)], ids=lambda b: f"{b[0]}-{b[1]}"
)
def test_folded_bands(folded, bands):
    """At neutrality, two of a group, and at both ends of the spectrum."""
    structure, h, s, exact = folded
    found = solve_from_anchors(structure, h, s, GMKG[::2], bands, exact=exact)
    assert found.ratio <= 1
    assert found.bounds.max() <= 1e-5


def test_velocity_is_that_of_the_bands():
    """Two bands touch, so that they turn round: the largest slope is that a little away."""
    structure, h, s = bilayer()
    k = np.array([2 / 3, 1 / 3, 0])
    products = BlochProducts(h, s, structure)
    exact = Exact(h, s)
    energies, states = exact.pairs(k)
    axes = directions(GMKG @ structure.reciprocal)
    assert np.allclose(abs(np.cross(*axes)), [0, 0, 1])
    speed = velocity(products, Anchor(k, energies, states, 0), axes, structure.reciprocal)
    slopes = []
    for angle in np.pi * np.arange(6) / 3:
        way = np.array([np.cos(angle), np.sin(angle), 0]) @ np.linalg.inv(structure.reciprocal)
        levels = np.array([exact.pairs(k + t * way)[0] for t in np.linspace(0, 0.15, 16)])
        slopes.append(np.abs(np.diff(levels, axis=0)).max() / 0.01)
    assert 0.6 * speed < max(slopes) < FASTER * speed


def test_ranges_shrink_with_the_distance():
    anchors = [
        Anchor(np.zeros(3), np.array([-1.0, 0.0, 2.0]), np.zeros((9, 3)), 3),
        Anchor(np.zeros(3), np.array([-1.0, 0.0, 2.0]), np.zeros((9, 3)), 6),
    ]
    ranges = known_ranges(anchors, np.array([0.1, 0.2]), 5.0 / FASTER, 9)
    assert np.allclose(ranges, [[-0.5, 1.5], [0.0, np.inf]])
    assert widest_known(ranges[:1], 0.2, 0.4) == (-0.5, 1.5)
    assert widest_known(ranges[1:], 1.0, 2.0) == (0.0, np.inf)
    assert widest_known(ranges[:1], -0.2, 1.8) is None


def test_a_missing_level_is_outside_of_all_ranges():
    overlapping = np.array([[0.0, 2.0], [-0.5, 0.5], [1.5, 4.0], [7.0, 9.0]])
    assert widest_known(overlapping, -0.2, 3.0) == (-0.5, 4.0)
    assert widest_known(overlapping, 7.5, 8.0) == (7.0, 9.0)
    assert widest_known(overlapping, 3.0, 8.0) is None  # a level may hide between two ranges
    empty = np.array([[2.0, 1.0], [0.0, 0.0]])  # of anchors too far away
    assert widest_known(empty, 1.2, 1.4) is None


def test_directions_of_a_line_and_of_one_point():
    along = directions(line([[0, 0, 0], [1, 2, 2]], [5]))
    assert np.allclose(np.abs(along), np.array([[1, 2, 2]]) / 3)
    assert len(directions(np.zeros((4, 3)))) == 0


def test_a_lost_level_comes_nearer_from_where_it_was_lost():
    """Five places in a row: nothing is lost but a level at 0.5, from the second to the third."""
    places = np.arange(5.0)[:, None] * [1.0, 0, 0]
    edges = {p: [(1.0, q) for q in (p - 1, p + 1) if 0 <= q < 5] for p in range(5)}

    def found(lost, starts):
        return nearest_unseen(starts, places, edges, lost, 0.25).tolist()

    def lost(here, there):
        return 0.5 if (here, there) == (1, 2) else np.inf

    start, end = (0, places[0], 1.0), (4, places[4], 1.0)
    assert found(lambda a, b: np.inf, [start]) == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert found(lost, [start]) == [1.0, 0.75, 0.25, 0.0, -0.25]
    assert found(lost, [start, end]) == [1.0, 0.75, 0.5, 0.75, 1.0]
    assert found(lost, [(0, places[0], np.inf)]) == [np.inf, np.inf, 0.25, 0.0, -0.25]
    assert found(lost, []) == [-np.inf] * 5


def test_flat_bands_across_a_level_that_the_basis_lacks():
    """Spinors of a mass: a pair that comes down across flat pairs, its states far from anchors'."""
    model = kane_mele(M=2.3, so=0.001, rashba=0.0, t1=-2.7)
    whole = sum_of(model.dims, model.hamiltonian)
    structure, h = supercell(model.structure, (6, 3, 1), whole)
    k = line([[0, 0, 0], [0.5, 0, 0]], [20])
    found = solve_from_anchors(structure, h, None, k, (3, 9))
    assert found.ratio <= 1
    assert len(found.direct) < 10
