"""Band numbers from one k point to the next."""

import numpy as np
import pytest

from moireio.spectrum.anchors.continuity import Place, follow, shifted
from moireio.spectrum.anchors.reduced import RitzLevels

N = 9  # states


def place(energies, at=0.0, mixed=None):
    """Uncoupled states with these energies; two of them turned by an angle."""
    order = np.argsort(energies)
    order = order[np.isfinite(np.array(energies, dtype=float)[order])]
    vectors = np.eye(N)[:, order].astype(complex)
    if mixed is not None:
        a, b, angle = mixed
        turn = np.eye(N)
        turn[[a, a, b, b], [a, b, a, b]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        vectors = turn @ vectors
    levels = RitzLevels(np.array(energies)[order], vectors, np.zeros((len(order),) * 2))
    return Place.of(np.array([at, 0, 0]), levels, np.eye(N))


HERE = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]


@pytest.mark.parametrize(
    ("changes", "first"),
    [
        ({}, 10),
        ({0: np.nan}, 11),  # one fewer converged far below
        ({8: np.nan}, 10),
        ({6: 2.5}, 10),  # a band comes down from above, across both that are wanted
        ({1: 3.5}, 10),  # one goes up from below, across one of them
        ({1: 6.5}, None),  # across every cut: the step is too long
        ({0: np.nan, 7: 2.5}, 11),
        ({3: 4.5}, 10),  # those that are wanted cross each other
        ({3: 5.5, 5: 2.5}, 10),
    ],
)
def test_numbers_count_the_states_below_a_cut(changes, first):
    """Bands 13 and 14 are wanted; the states that have the numbers may be others."""
    there = [changes.get(n, e) for n, e in enumerate(HERE)]
    assert shifted(place(HERE), place(there), 10, (13, 14)) == first


def test_a_step_that_turns_states_at_every_cut_is_too_long():
    there = place(HERE, 1.0, (2, 5, 0.8))
    assert shifted(place(HERE), there, 10, (13, 14)) is None


def test_a_missing_level_is_no_neighbour():
    there = [e if n != 3 else np.nan for n, e in enumerate(HERE)]
    assert shifted(place(HERE), place(there), 10, (13, 14)) is None


def test_steps_are_halved():
    """Forced halves are asked for; all of them give the same number."""
    asked = []

    def between(k):
        asked.append(k[0])
        return place(HERE, k[0])

    here, there = place(HERE), place(HERE, 1.0)
    assert follow(here, there, 10, (13, 14), between) == 10
    assert not asked
    assert follow(here, there, 10, (13, 14), between, 2, 2) == 10
    assert sorted(asked) == [0.25, 0.5, 0.75]
