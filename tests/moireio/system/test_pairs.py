import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.system.pairs import Pairs


def some_pairs(seed, n=5, count=40):
    rng = np.random.default_rng(seed)
    table = {
        (int(i), int(j), *map(int, R))
        for i, j, R in zip(
            rng.integers(0, n, count),
            rng.integers(0, n, count),
            rng.integers(-3, 4, (count, 3)),
            strict=True,
        )
    }
    rows = np.array(list(table))
    return rows[:, 0], rows[:, 1], rows[:, 2:]


@given(st.integers(0, 10**6))
def test_sort_agrees_with_sorting_tuples(seed):
    i, j, R = some_pairs(seed)
    pairs, order = Pairs.sort(5, i, j, R)
    expected = sorted(zip(i.tolist(), j.tolist(), R.tolist(), strict=True))
    assert list(zip(pairs.i.tolist(), pairs.j.tolist(), pairs.R.tolist(), strict=True)) == expected
    assert (i[order] == pairs.i).all()


@given(st.integers(0, 10**6))
def test_partner_and_upper(seed):
    pairs = Pairs.sort(5, *some_pairs(seed))[0].with_partners()
    partner = pairs.partner()
    assert (partner >= 0).all()
    assert (pairs.i[partner] == pairs.j).all()
    assert (pairs.R[partner] == -pairs.R).all()
    upper = pairs.upper()
    # Of two partners exactly one is kept; a pair that is its own partner is.
    own = partner == np.arange(len(pairs))
    assert (upper[own]).all()
    assert (upper[~own] != upper[partner[~own]]).all()


def test_lone_pair_is_found():
    pairs = Pairs.sort(2, [0, 0, 1], [0, 1, 1], [[0, 0, 0], [1, 0, 0], [0, 0, 0]])[0]
    assert (pairs.partner() == [0, -1, 2]).all()
    assert len(pairs.with_partners()) == 4


def test_find_outside_and_inside():
    pairs = Pairs.sort(3, *(a % 3 if a.ndim == 1 else a for a in some_pairs(1, n=3)))[0]
    n = np.arange(len(pairs))
    assert (pairs.find(pairs.i, pairs.j, pairs.R) == n).all()
    assert pairs.find(0, 0, [99, 0, 0])[0] == -1
    assert pairs.find(7, 0, [0, 0, 0])[0] == -1


def test_bad_lists_are_refused():
    with pytest.raises(MoireioError, match="occurs twice"):
        Pairs.sort(2, [0, 0], [1, 1], [[0, 0, 0], [0, 0, 0]])
    with pytest.raises(MoireioError, match="outside"):
        Pairs.sort(2, [0], [2], [[0, 0, 0]])
    with pytest.raises(MoireioError, match="too far"):
        Pairs.sort(2, [0], [1], [[2**30, 0, 0]])
