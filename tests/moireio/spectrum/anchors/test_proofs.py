"""Counts that show that no level is missing."""

import numpy as np
import pytest

from moireio.spectrum.anchors.proofs import GHOST, LevelCounts, confirmed, cut, spread_from_counts
from moireio.spectrum.anchors.reduced import RitzLevels

ENERGIES = np.array([-2.0, -1.5, -1.4, -1.0, 0.0, 0.1, 0.2, 0.9, 1.0, 1.1, 1.1005, 3.0])
PART = slice(4, 7)  # 0 to 0.2
FIRST = 100


def levels(residuals=1e-5, energies=ENERGIES):
    count = len(energies)
    residuals = np.broadcast_to(np.asarray(residuals, float), count)
    return RitzLevels(energies, np.eye(count), np.diag(residuals**2).astype(complex))


def below(energy, energies=ENERGIES):
    return FIRST + int((energies < energy).sum())


@pytest.mark.parametrize(
    ("side", "depth", "expected"),
    [
        (0, 0.1, -0.5),  # the nearest gap is farther than that
        (0, 1.1, -1.2),
        (0, 1.43, -1.75),  # not -1.45: the gap is wider
        (0, 9.0, -1.75),  # no level is known farther away
        (1, 0.3, 0.55),
        (1, 0.8, 1.05),  # not 0.95, which is nearer
        (1, 0.89, 1.10025),  # the widest up to half as far again
        (1, 1.6, 2.05025),
    ],
)
def test_cuts_lie_in_gaps(side, depth, expected):
    assert cut(levels(), PART, side, depth, 0.01) == pytest.approx(expected)


def test_cuts_between_uncertain_levels():
    assert cut(levels(2 * GHOST), PART, 0, 0.5, 0.01) is None
    residuals = np.where(ENERGIES < -1.2, 2 * GHOST, 1e-5)
    assert cut(levels(residuals), PART, 0, 9.0, 0.01) == pytest.approx(-0.5)
    assert cut(levels(residuals), PART, 0, 9.0, 0.6) is None  # too near
    assert cut(levels(), slice(0, 3), 0, 0.1, 0.01) is None  # none below
    assert cut(levels(energies=np.zeros(12)), PART, 0, 0.1, 0.0) is None  # no gap


def test_counts_confirm_levels():
    own = levels()
    pairs = [(e, below(e)) for e in (-0.5, -1.2, 0.55)]
    assert confirmed(own, PART, FIRST, pairs) == (-1.2, 0.55)
    assert confirmed(own, PART, FIRST, pairs[:1]) == (-0.5, None)
    assert confirmed(own, PART, FIRST, [(-0.5, below(-0.5) - 1), pairs[2]]) == (None, 0.55)
    assert confirmed(own, PART, FIRST, [(-1.000001, below(-1.000001))]) == (None, None)  # hits it
    assert confirmed(own, PART, FIRST, [(0.15, below(0.15))]) == (None, None)  # inside
    ghost = levels(np.where(ENERGIES == -1.0, 2 * GHOST, 1e-5))
    assert confirmed(ghost, PART, FIRST, pairs) == (-0.5, 0.55)


@pytest.mark.parametrize("missing", [-1.0, -0.7, 0.15])
def test_a_missing_level_is_noticed(missing):
    """A level of which the space knows nothing lies between the cut and those below it."""
    real = np.sort(np.append(ENERGIES, missing))
    counted = []

    def count(point, energy):
        counted.append(energy)
        # bands are numbered by those above, so that the new one comes from below
        return FIRST - 1 + int((real < energy).sum())

    counts = LevelCounts(count)
    assert not counts.add(3, levels(), PART, FIRST, [(0, 1.1, 0.01)])
    assert counted == [pytest.approx(-1.2)]
    assert counts.refuted == {3}


def test_counts_on_both_sides():
    counts = LevelCounts(lambda point, energy: below(energy))
    assert counts.are_possible
    assert counts.add(3, levels(), PART, FIRST, [(0, 1.1, 0.01), (1, 0.3, 0.01)])
    assert [energy for energy, _ in counts.at[3]] == pytest.approx([-1.2, 0.55])
    assert not counts.refuted
    assert not counts.add(4, levels(), PART, FIRST, [])
    assert not LevelCounts().are_possible


def test_counts_on_one_side_need_the_other_one():
    places = np.linspace(0, 1, 5)[:, None] * np.array([1.0, 0, 0])

    def nearest(side, starts):
        found = np.full(5, -np.inf)
        for _, place, energy in starts:
            away = np.linalg.norm(places - place, axis=1)
            found = np.maximum(found, (2 * side - 1) * energy - away)
        return (2 * side - 1) * found

    starts = [(0, places[0], -1.0)], [(0, places[0], 1.0)]
    ends = -0.2, 0.2
    one = [(2, places[2], (-1.0, None), ends)]
    low, high = spread_from_counts(starts, one, nearest)
    assert low == pytest.approx([-1, -0.75, -1, -0.75, -0.5])
    assert high == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    far = [(4, places[4], (-1.0, None), ends)]  # from above levels may have come in there
    low, _ = spread_from_counts(starts, far, nearest)
    assert low == pytest.approx([-1, -0.75, -0.5, -0.25, 0])
    both = [(4, places[4], (-1.0, 1.0), ends)]
    low, high = spread_from_counts(starts, both, nearest)
    assert high == pytest.approx(-low)
    assert low == pytest.approx([-1, -0.75, -0.5, -0.75, -1])
    above = [(2, places[2], (None, 1.0), ends)]
    _, high = spread_from_counts(starts, above, nearest)
    assert high == pytest.approx([1, 0.75, 1, 0.75, 0.5])
