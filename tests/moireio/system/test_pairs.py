"""Pairs of atoms in block-CSR order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.system.pairs import Pairs, pair_name


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
    alone = partner == np.arange(len(pairs))
    assert upper[alone].all()
    assert (upper[~alone] != upper[partner[~alone]]).all()


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


@given(st.integers(0, 10**6))
def test_upper_and_its_partners_are_inverse(seed):
    pairs = Pairs.sort(5, *some_pairs(seed))[0].with_partners()
    again = pairs.select(pairs.upper()).with_partners()
    for name in ("indptr", "j", "R"):
        np.testing.assert_array_equal(getattr(again, name), getattr(pairs, name))
    once = again.with_partners()
    np.testing.assert_array_equal(once.j, again.j)


@given(st.integers(0, 10**6))
def test_sorting_what_is_sorted_changes_nothing(seed):
    pairs = Pairs.sort(5, *some_pairs(seed))[0]
    again, order = Pairs.sort(5, pairs.i, pairs.j, pairs.R)
    assert (order == np.arange(len(pairs))).all()
    assert (np.diff(pairs.keys()) > 0).all()
    np.testing.assert_array_equal(again.indptr, pairs.indptr)


@given(st.integers(0, 10**6))
def test_rows_are_runs_of_atoms(seed):
    pairs = Pairs.sort(5, *some_pairs(seed))[0]
    for i0, i1 in ((0, 5), (1, 3), (2, 2)):
        span = pairs.rows(i0, i1)
        assert (pairs.i[span] >= i0).all()
        assert (pairs.i[span] < i1).all()
        assert span.stop - span.start == ((pairs.i >= i0) & (pairs.i < i1)).sum()


def test_onsite_and_block_elements():
    pairs = Pairs.sort(2, [0, 0, 1], [0, 1, 1], [[0, 0, 0], [1, 0, 0], [0, 1, 0]])[0]
    assert pairs.onsite().tolist() == [0, -1]
    assert pairs.block_elements(np.array([4, 9])).tolist() == [16, 36, 81]
    assert pair_name(3, 5, [0, -1, 0]) == "pair (3, 5, R = 0 -1 0)"


def test_no_pairs():
    empty = Pairs.sort(3, [], [], np.zeros((0, 3)))[0]
    assert len(empty) == len(empty.with_partners()) == 0
    assert empty.find(0, 0, [0, 0, 0]).tolist() == [-1]
    assert empty.n_atoms == 3
