"""Bloch sums: dense, sparse and triangular forms of one matrix."""

import numpy as np
import pytest
from helpers import naive_at_k, random_operator, random_system
from hypothesis import given, settings
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.operators.bloch import BlochSum
from moireio.operators.views import UpperView

SPINS = st.sampled_from(["none", "spinor"])
KPOINTS = st.tuples(*3 * [st.floats(-1, 1)])


def system(seed, spin="none"):
    structure, basis = random_system(seed)
    return random_operator(seed, basis.sizes(structure), spin=spin)


@settings(max_examples=25)
@given(st.integers(0, 10**6), SPINS, KPOINTS)
def test_all_forms_are_one_matrix(seed, spin, k):
    source, blocks = system(seed, spin)
    expected = naive_at_k(blocks, source.sizes, k)
    for operator in (source, UpperView(source)):
        total = BlochSum.from_source(operator)
        dense = total.dense(k)
        assert np.abs(dense - expected).max() < 1e-12
        np.testing.assert_array_equal(total.csr(k).toarray(), dense)
        np.testing.assert_array_equal(dense, dense.conj().T)
        indptr, columns = total.upper_pattern()
        rows = np.repeat(np.arange(len(dense)), np.diff(indptr))
        assert (rows <= columns).all()
        np.testing.assert_array_equal(total.upper_values(k), dense[rows, columns])
        upper = np.triu(total.dense(k, upper=True))
        np.testing.assert_array_equal(upper, np.triu(dense))


@given(st.integers(0, 10**6), st.tuples(*3 * [st.integers(-2, 2)]))
def test_sums_are_real_where_twice_k_is_a_reciprocal_vector(seed, twice):
    source, _ = system(seed)
    total = BlochSum.from_source(source)
    k = np.array(twice) / 2
    off = k + np.array([0.1, 0, 0])
    assert total.is_real(k)
    assert total.dense(k).dtype == np.float64
    assert not total.is_real(off)
    assert not BlochSum.from_source(system(seed, "spinor")[0]).is_real(k)


def test_no_element_exceeds_its_magnitude():
    """The magnitudes bound every block, and a sum over one cell alone reaches them."""
    structure, basis = random_system(5)
    source, blocks = random_operator(5, basis.sizes(structure))
    total = BlochSum.from_source(source)
    indptr, columns = total.upper_pattern()
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    cells = {R for *_, R in blocks}
    largest = np.zeros((len(indptr) - 1,) * 2)
    for cell in cells:
        only = {key: block for key, block in blocks.items() if key[2] == cell}
        part = np.abs(naive_at_k(only, source.sizes, np.zeros(3)))
        largest = np.maximum(largest, np.maximum(part, part.T))
    np.testing.assert_allclose(total.upper_magnitudes(), largest[rows, columns], rtol=1e-14)


def test_one_spin_of_a_spinless_operator_in_a_spinor_basis():
    source, _ = system(6)
    both = BlochSum.from_source(source, spinor=True)
    single, rows = both.one_spin()
    k = np.array([0.2, -0.3, 0.1])
    np.testing.assert_array_equal(single.dense(k), BlochSum.from_source(source).dense(k))
    whole = both.dense(k)
    for own in (0, 1):
        np.testing.assert_array_equal(whole[np.ix_(rows[own], rows[own])], single.dense(k))
    assert np.abs(whole[np.ix_(rows[0], rows[1])]).max() == 0
    assert sorted(rows.ravel()) == list(range(len(whole)))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({}, "blocks with i > j are given"),
        ({"half_diagonal": True}, "blocks with i > j are given"),
        ({"half_diagonal": True, "parity": 0}, "with parity 0 all blocks are needed"),
    ],
)
def test_blocks_that_would_be_counted_twice_are_refused(options, match):
    i, j, cells = np.array([0, 0, 1]), np.array([0, 1, 0]), np.zeros((3, 3), dtype=int)
    with pytest.raises(MoireioError, match=match):
        BlochSum([1, 1], i, j, cells, np.ones(3), **options)
    assert (BlochSum([1, 1], i, j, cells, np.ones(3), parity=0).dense([0, 0, 0])[0] == 1).all()
