"""Counts at k points whose levels follow from anchors."""

import numpy as np
import pytest

from moireio.spectrum.anchors.counting import GAP, complete, cuts

TRUE = np.array([-1.0, -0.5, -0.5, -0.1, 0.0, 0.2, 0.6, 0.6 + 1e-7, 1.0, 1.4])


def counted(energies=TRUE, first=20, wanted=(23, 25), errors=1e-6):
    """Whether counts confirm levels; the first of the true ones has number 20."""
    energies = np.asarray(energies)
    levels = first, energies, np.full(len(energies), errors)
    return complete(levels, wanted, lambda energy: 20 + int((energy > TRUE).sum()))


def test_cuts_lie_in_gaps():
    """The next gap on each side, past groups of levels that no count could divide."""
    errors = np.full(len(TRUE), 1e-6)
    for wanted, places in {
        (23, 25): (3, 6),
        (22, 25): (1, 6),
        (23, 26): (3, 8),
        (21, 27): (1, 8),
    }.items():
        (low, below), (high, above) = cuts(TRUE, errors, 20, wanted)
        assert (below - 20, above - 20) == places
        assert TRUE[places[0] - 1] < low < TRUE[places[0]]
        assert TRUE[places[1] - 1] < high < TRUE[places[1]]


def test_without_levels_outside_cuts_are_at_the_ends():
    (low, below), (high, above) = cuts(TRUE[3:6], np.zeros(3), 23, (23, 25))
    assert (low, below) == (pytest.approx(-0.1 - GAP), 23)
    assert (high, above) == (pytest.approx(0.2 + GAP), 26)


def test_a_level_of_unknown_error_is_no_end_of_a_gap():
    errors = np.where(np.arange(len(TRUE)) % 6 < 3, np.inf, 1e-6)
    (low, below), (high, above) = cuts(TRUE, errors, 20, (23, 25))
    assert (low, below) == (pytest.approx(-0.1 - GAP, abs=1e-5), 23)
    assert (high, above) == (pytest.approx(0.2 + GAP, abs=1e-5), 26)


def test_complete_levels_are_confirmed():
    assert counted()
    assert counted(wanted=(22, 26))
    assert counted(TRUE[3:6], 23)


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        (lambda e: np.delete(e, 4), 20),  # one is missing among them
        (lambda e: np.insert(e, 5, 0.1), 20),  # a ghost
        (lambda e: e, 21),  # numbers are one off
        (lambda e: e, 19),
        (lambda e: np.delete(e, 1), 20),  # below: which makes the numbers wrong
    ],
)
def test_others_are_not(changes, first):
    assert not counted(changes(TRUE), first)
