"""Band numbers at all k points, and where levels may be missing."""

from types import SimpleNamespace

import numpy as np
import pytest

from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.continuity import Place
from moireio.spectrum.anchors.numbering import BandNumbers
from moireio.spectrum.anchors.reduced import RitzLevels

STATES = 6
ENERGIES = np.array([-1.0, 0.0, 0.0, 0.0, 1.0, 2.0])
ANCHOR = Anchor(np.zeros(3), ENERGIES, np.zeros((40, STATES)), 10)


def levels(*missing):
    """All levels but some."""
    kept = [n for n in range(STATES) if n not in missing]
    vectors = np.eye(STATES, dtype=complex)[:, kept]
    return RitzLevels(ENERGIES[kept], vectors, np.zeros((len(kept),) * 2))


def numbers(missing, wanted):
    """Band numbers at five k points, at some of which a state is not found; and the levels."""
    points = np.arange(5)
    k = points[:, None] * [0.1, 0, 0]
    at = {point: levels(*missing.get(point, ())) for point in points.tolist()}
    patch = SimpleNamespace(points=points, axes=np.eye(3)[:1], holds=lambda k: True)
    region = SimpleNamespace(
        patch=patch,
        series=None,
        place=lambda k, found: Place.of(k, found, np.eye(STATES)),
        levels=lambda k, scales, refined: at[int(np.rint(k[0] / 0.1))],
    )
    found = SimpleNamespace(
        k=k,
        at=at,
        regions=[region],
        region_of=dict.fromkeys(at, 0),
        region=lambda point: region,
        refine=lambda point: False,
        scales=None,
    )
    made = BandNumbers(found, np.eye(3), wanted)
    made.spread({0: ANCHOR}, [])
    return made, at


def unseen(missing, wanted=(14, 14), speed=1.0):
    return numbers(missing, wanted)[0].unseen({0: ANCHOR}, [], speed, 40)


def test_numbers_go_on_with_levels_missing_above():
    made, _ = numbers({2: [5], 3: [5]}, (14, 14))
    assert [made.part(point) for point in range(5)] == [slice(4, 5)] * 5
    assert made.torn == []


def test_what_is_beyond_the_anchor_comes_nearer():
    low, high = unseen({})
    assert low == pytest.approx([-1, -0.9, -0.8, -0.7, -0.6])
    assert high == pytest.approx([2, 1.9, 1.8, 1.7, 1.6])


def test_a_lost_level_may_come_back():
    """The first level below those that are wanted is not found from the third k point on."""
    low, high = unseen({2: [3], 3: [3], 4: [3]})
    assert high == pytest.approx([2, 1.9, 1.8, 1.7, 1.6])
    assert low == pytest.approx([-1, -0.9, 0.1, 0.2, 0.3])


def test_one_of_a_group_that_is_missing_makes_its_number_unsure():
    """Three states at 0: one is not found, whose number another takes."""
    made, at = numbers({}, (11, 11))
    at[2] = levels(1)
    _, high = made.unseen({0: ANCHOR}, [], 1.0, 40)
    assert high[:2] == pytest.approx([2, 1.9])
    assert high[2] == pytest.approx(-0.1)
