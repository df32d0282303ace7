"""Views: storages, precisions, partners, residuals."""

import numpy as np
import pytest
from helpers import random_operator, random_system
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import DamagedError
from moireio.operators.blocks import residual_of
from moireio.operators.views import ArraySource, CastView, FullView, UpperView, stored_as
from moireio.operators.views import symmetrised as symmetrise

CASES = [("hamiltonian", "spinor"), ("momentum", "none"), ("density", "collinear")]


def operator(seed, name="hamiltonian", spin="none"):
    structure, basis = random_system(seed)
    return random_operator(seed, basis.sizes(structure), name=name, spin=spin)[0]


@given(st.integers(0, 10**6), st.sampled_from(CASES))
def test_storage_is_changed_and_changed_back(seed, case):
    source = operator(seed, *case)
    upper = stored_as(source, "upper")
    assert (upper.meta.storage, len(upper.pairs)) == ("upper", upper.pairs.upper().sum())
    assert stored_as(upper, "upper") is upper
    full = stored_as(upper, "full")
    np.testing.assert_array_equal(full.rows(0, 4), source.rows(0, 4))
    np.testing.assert_array_equal(full.pairs.keys(), source.pairs.keys())


def test_nothing_is_wrapped_that_does_not_change():
    source = operator(2)
    assert stored_as(source) is source
    assert stored_as(source, "full", "float64") is source
    position = operator(2, "position")
    assert stored_as(position, "upper") is position


@pytest.mark.parametrize(("spin", "dtype"), [("none", "float32"), ("spinor", "complex64")])
def test_precision(spin, dtype):
    source = operator(3, spin=spin)
    view = stored_as(source, None, "float32")
    assert view.meta.dtype == str(view.rows(0, 2).dtype) == dtype
    np.testing.assert_array_equal(view.rows(0, 2), source.rows(0, 2).astype(dtype))


def test_views_report_the_residual_of_their_source_as_it_grows():
    source = operator(4)
    source.residual = 0.0
    view = CastView(FullView(UpperView(source)), "float32")
    source.residual = 0.125
    assert residual_of(view) == 0.125


def test_symmetrised_operators_obey_the_rule_and_know_their_deviation():
    source = operator(5)
    rng = np.random.default_rng(0)
    noise = 1e-3 * rng.uniform(-1, 1, source.data.shape)
    noisy = ArraySource(source.meta, source.sizes, source.pairs, source.data + noise)
    clean = symmetrise(noisy, "x")
    upper = UpperView(clean)
    np.testing.assert_array_equal(FullView(upper).rows(0, 4), clean.rows(0, 4))
    assert 1e-3 < clean.meta.residual <= 2e-3
    assert np.abs(clean.data - source.data).max() <= 1e-3
    assert symmetrise(clean, "x").meta.residual == 0


def test_a_pair_without_its_partner_is_refused():
    source = operator(6)
    kept = np.ones(len(source.pairs), dtype=bool)
    kept[np.flatnonzero(source.pairs.partner() != np.arange(len(kept)))[0]] = False
    pairs = source.pairs.select(kept)
    data = np.zeros(int(pairs.block_elements(source.sizes).sum()))
    with pytest.raises(DamagedError, match=r"has no partner \(1 such pairs\)"):
        symmetrise(ArraySource(source.meta, source.sizes, pairs, data), "x")


def test_data_must_fit_the_pairs():
    source = operator(7)
    with pytest.raises(ValueError, match="elements expected"):
        ArraySource(source.meta, source.sizes, source.pairs, source.data[:-1])
