"""Calibration from data."""

import numpy as np
import pytest
import torch
from training_data import new_small_model, samples

from moireio.network.training.calibrate import calibrate
from moireio.network.training.loss import block_errors, mean_loss


@pytest.mark.parametrize("spin", [False, True])
def test_calibration_finds_two_centres(spin):
    """An H of two centres only is found by the calibration, up to what Gaussians resolve."""
    model = new_small_model(spin)
    made = samples(model, seeds=range(6), spin=spin, two_centre=True)
    mean = float(
        np.mean([abs(k.blocks).mean() for s in made for v in s.pair_blocks.values() for k in v])
    )
    calibrate(model, made)
    with torch.no_grad():
        model.network.lin_edge.weight.zero_()
        model.network.lin_edge.bias.zero_()
        error = np.mean([float(mean_loss(block_errors(model, s), "mae")) for s in made])
    assert error < 0.12 * mean
