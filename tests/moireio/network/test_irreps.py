"""Lists of representations."""

import numpy as np
import pytest
import torch
from e3nn import o3
from hypothesis import given, settings
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.network.irreps import Irrep, Irreps, Layout, e3nn_places

lists = st.lists(
    st.builds(Irrep, st.integers(1, 4), st.integers(0, 3), st.sampled_from([1, -1])),
    min_size=1,
    max_size=5,
).map(Irreps)


@given(lists)
def test_texts_and_back(irreps):
    assert Irreps.parse(str(irreps)) == irreps
    assert o3.Irreps(str(irreps)).dim == irreps.dim
    ordered, order = irreps.sort()
    assert [irreps[n] for n in order] == list(ordered)
    assert ordered.simplify().dim == irreps.dim


@given(lists, st.integers(0, 1000))
@settings(max_examples=15)
def test_places_of_e3nns_components(irreps, seed):
    """Channels of each degree, component by component, are those of e3nn's layout."""
    features = np.random.default_rng(seed).normal(size=(2, irreps.dim))
    ours = np.empty_like(features)
    ours[:, e3nn_places(irreps)] = features
    parts = Layout(irreps).split(torch.tensor(ours))
    at, seen = 0, [0] * len(parts)
    for entry in irreps:
        size = entry.mul * (2 * entry.l + 1)
        block = features[:, at : at + size].reshape(2, entry.mul, -1).swapaxes(1, 2)
        part = parts[entry.l][:, :, seen[entry.l] : seen[entry.l] + entry.mul]
        assert (part.numpy() == block).all()
        at, seen[entry.l] = at + size, seen[entry.l] + entry.mul


@pytest.mark.parametrize("text", ["", "64x0z", "2x1", "x0e", "3x0e++1x1o"])
def test_lists_that_are_none(text):
    with pytest.raises(MoireioError, match="is not a representation"):
        Irreps.parse(text)
