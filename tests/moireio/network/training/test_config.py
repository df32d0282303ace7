"""Settings of a training."""

import pytest

from moireio.errors import MoireioError
from moireio.network.training.config import DataSplit, TrainingConfig


def test_cosine_falls_to_the_lowest_rate():
    config = TrainingConfig(epochs=11, learning_rate=1e-2, min_learning_rate=1e-4)
    rates = [config.cosine(n) for n in range(11)]
    assert rates[0] == 1e-2
    assert rates[-1] == pytest.approx(1e-4)
    assert rates[5] == pytest.approx((1e-2 + 1e-4) / 2)
    assert rates == sorted(rates, reverse=True)


def test_names_in_model_files():
    """Models that exist store these."""
    plain = TrainingConfig(ema_decay=0.99).to_plain()
    assert (plain["rate"], plain["least_rate"], plain["average"]) == (2e-3, 3e-5, 0.99)
    assert len(plain) == 17


def test_settings_that_contradict():
    with pytest.raises(MoireioError, match=r"`min_learning_rate` .* is above"):
        TrainingConfig(learning_rate=1e-5, min_learning_rate=1e-3)
    for plan in ({}, {"zero": "free", "loss": "mae"}):
        with pytest.raises(MoireioError, match="`layer_weight` needs a free zero"):
            TrainingConfig(layer_weight=0.3, **plan)
    with pytest.raises(MoireioError, match="add up to more than 1"):
        DataSplit(["a"], fractions=(0.9, 0.9, 0.1))
