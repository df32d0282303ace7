"""Anchors: what they have of the levels, and which of it is found again."""

import numpy as np
import pytest

from moireio.spectrum.anchors.anchor import Anchor, in_a_gap
from moireio.spectrum.anchors.reduced import RitzLevels

ENERGIES = np.array([-2.0, -1.0, 0.0, 0.0, 1.0, 1.0, 2.0, 3.0])


def anchor(first=10):
    return Anchor(np.zeros(3), ENERGIES, np.zeros((40, len(ENERGIES))), first)


def levels(energies):
    count = len(energies)
    return RitzLevels(np.array(energies), np.eye(count, dtype=complex), np.zeros((count, count)))


def test_what_an_anchor_covers():
    assert anchor().covers((11, 16))
    assert not anchor().covers((10, 16))
    assert anchor().covers((10, 17), 0)
    assert not anchor().covers((11, 18), 0)
    assert anchor(0).covers((0, 3), 3)  # the spectrum ends there
    assert not Anchor(np.zeros(3), ENERGIES, np.zeros((40, 0)), 10).covers((12, 13))


def test_energies_between_which_all_was_found():
    """Bands 12 and 13 are wanted, the pair at 0."""
    wanted, part = (12, 13), slice(2, 4)
    assert anchor().seen(levels(ENERGIES), part, wanted, 40) == (-2, 3)
    assert anchor().seen(levels(ENERGIES), part, wanted, 18) == (-2, np.inf)
    assert anchor(0).seen(levels(ENERGIES), part, (2, 3), 40) == (-np.inf, 3)
    one_of_two = levels(np.delete(ENERGIES, 4))
    assert anchor().seen(one_of_two, part, wanted, 18) == (-2, 1)
    assert anchor().seen(levels(ENERGIES[1:6]), slice(1, 3), wanted, 40) == (-2, 2)
    below = levels(np.delete(ENERGIES, 1))
    assert anchor(0).seen(below, slice(1, 3), (2, 3), 40) == (-1, 3)


def test_the_first_level_is_counted_from_a_gap():
    assert anchor().first_of(levels(ENERGIES), (12, 13)) == 10
    assert anchor().first_of(levels(ENERGIES[1:]), (12, 13)) == 11
    assert anchor().first_of(levels([-1.0, 0, 0, 0.5]), (11, 12)) == 11


@pytest.mark.parametrize(
    ("part", "energy"), [((0, 2), -1.5), ((2, 3), -0.5), ((3, 4), 0.5), ((6, 8), 1.5)]
)
def test_an_energy_in_a_gap(part, energy):
    assert in_a_gap(ENERGIES, *part) == energy
