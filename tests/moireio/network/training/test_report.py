"""Errors by pairs of elements, and the summary of a model."""

import pytest
import torch
from training_data import new_small_model, samples

from moireio.network.training.loss import block_errors
from moireio.network.training.parallel import Workers
from moireio.network.training.report import model_summary, model_summary_text, report, table


def test_errors_by_pairs_of_elements():
    model = new_small_model()
    made = samples(model)
    errors = report(model, made, Workers())
    assert list(errors) == ["C-C", "C-N", "N-C", "N-N"]
    with torch.no_grad():
        pairs = [pair for sample in made for pair in block_errors(model, sample)]
    largest = max(float(g.abs().max()) for b, g in pairs if (b.species_i, b.species_j) == (0, 0))
    assert errors["C-C"]["largest"] == pytest.approx(largest * 1e3)
    assert errors["C-N"]["mean"] == pytest.approx(errors["N-C"]["mean"])
    lines = table({"training": errors}, {"training": errors})
    assert len(lines) == 5
    assert f"{errors['N-N']['mean']:.3f}" in lines[-1]


def test_summary():
    model = new_small_model()
    text = model_summary_text(model_summary(model))
    assert "species      C (" in text
    assert "2 blocks of 6x0e+4x1o+3x2e" in text
    assert "training" not in text
