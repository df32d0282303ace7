"""Levels beyond those that are wanted."""

import numpy as np
import pytest

from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.completeness import FASTER
from moireio.spectrum.anchors.interpolation import Patch
from moireio.spectrum.anchors.margins import (
    FARTHER,
    bands_within,
    movement,
    shared_margins,
    trimmed,
)

RECIPROCAL = np.diag([2.0, 3.0, 1.0])
G, M, X = np.zeros(3), np.array([0.5, 0, 0]), np.array([0, 0.5, 0])
NONE = np.arange(0)


def line(a, b):
    return Patch((a + b) / 2, ((b - a) / 2)[None], NONE)


def anchor(energies, first=10):
    return Anchor(G, np.array(energies, float), np.eye(40)[:, : len(energies)], first)


@pytest.mark.parametrize(
    ("k", "others", "length"),
    [
        (G, [], 1.5),  # the longer of two lines
        (M, [], 1.0),
        (G, [0.2 * X], 1.0),
        (0.25 * M, [], 0.75),
        (0.25 * M, [0.75 * M, M], 0.5),
        (np.array([0.2, 0.2, 0]), [], 0.0),
    ],
)
def test_movement_to_half_way(k, others, length):
    lines = [line(G, M), line(X, G)]
    found = movement(k, lines, others, RECIPROCAL, 4.0)
    assert found == pytest.approx(FARTHER * FASTER * 4.0 * length / 2)


def test_bands_within_an_energy():
    own = anchor([-3, -2, -1, 0, 0.1, 1, 1.5])
    assert bands_within(own, (13, 14), 1.2) == (1, 1)
    assert bands_within(own, (13, 14), 2.5) == (2, pytest.approx(2 * 2.5 / 1.4))  # as dense
    assert bands_within(own, (10, 16), 1.0) == (0, 0)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((5, 5), (12, 12)),
        ((20.2, 23), (21, 23)),
        ((30, 30), (24, 24)),
        ((60, 30), (24, 24)),
        ((45, 0), (44, 4)),  # a gap on one side: more on the other
        ((3, 100), (12, 36)),
        ((30, 14), (30, 14)),
        ((40, 14), (34, 14)),
    ],
)
def test_margins_of_both_sides(counts, expected):
    assert shared_margins(counts, 12) == expected


def test_levels_too_far_away_are_left_out():
    own = anchor(np.arange(-10, 11))
    found = trimmed(own, (19, 21), 3.5, 1)  # -1 to 1
    assert found.energies.tolist() == list(range(-6, 7))  # two more
    assert found.first == 14
    assert np.array_equal(found.states, own.states[:, 4:17])
    assert trimmed(own, (19, 21), 5.5, 8).energies.tolist() == list(range(-9, 10))
    assert trimmed(own, (19, 21), 0.0, 8).energies.tolist() == list(range(-5, 6))  # gaps
    assert trimmed(own, (19, 21), np.inf, 1) is own
    assert trimmed(own, (10, 30), 0.0, 8) is own
    assert trimmed(anchor([-3, -2, -1, 0, 0.1, 5, 6]), (13, 14), 3, 1).energies[-1] == 6
