"""Training samples."""

import pytest
from training_data import data, new_small_model

from moireio.errors import MoireioError
from moireio.network.training.samples import make_sample, mean_level


def test_the_zero_of_energy_does_not_matter():
    """H and H + μS give the same sample, and μ is found."""
    model = new_small_model()
    one, two = data(0), data(0, mu=1.7)
    a, b = mean_level(one), mean_level(two)
    assert b - a == pytest.approx(1.7)
    first = make_sample(one, model.network, model.targets, mu=a)
    second = make_sample(two, model.network, model.targets, mu=b)
    for pair, kinds in first.pair_blocks.items():
        for x, y in zip(kinds, second.pair_blocks[pair], strict=True):
            assert (x.blocks - y.blocks).abs().max() < 1e-10


def test_a_free_zero_needs_the_overlap():
    model, made = new_small_model(), data(0)
    made.overlap = None
    with pytest.raises(MoireioError, match=r"made 0.*has no overlap, which a free zero"):
        make_sample(made, model.network, model.targets, free_zero=True)
