"""Errors of models on the cells of their cards."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from training_data import data, new_small_model

from moireio.network.cellerrors import cell_errors, reference_cell
from moireio.network.training.loss import block_errors
from moireio.network.training.samples import make_sample, mean_level


@pytest.mark.parametrize("zero", ["mean", "free"])
def test_the_zero_of_a_cell_is_that_of_the_training(zero):
    """Cells of a card have the errors that the training has for them, whatever H's own zero is."""
    model, level = new_small_model(), 0.4
    plan = {} if zero == "mean" else {"zero": zero}
    model = replace(model, training={"level": level, "plan": plan})
    assert model.free_zero is (zero == "free")
    for mu in (0.0, 1.7):
        made = data(0, mu=mu)
        cell = reference_cell(made, "made", "digest", model)
        shift = mean_level(made) - level
        sample = make_sample(made, model.network, model.targets, shift, free_zero=model.free_zero)
        with torch.no_grad():
            parts = [d.abs().numpy().ravel() for _, d in block_errors(model, sample)]
        expected = np.concatenate(parts).mean() * 1e3
        assert cell_errors(model, cell, stored=True).mean == pytest.approx(expected, rel=1e-5)
