"""What a model learns about its errors from its training data."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from systems import graph_of, structure
from training_data import data, new_small_model, samples

from moireio.network.inference.passes import Predictor
from moireio.network.modelfile import read, write
from moireio.network.training.expected_error import fit_expected_error
from moireio.network.training.loss import block_errors


@pytest.fixture(scope="module")
def model():
    made = new_small_model()
    made.expected_error = fit_expected_error(made, {"training": samples(made, range(4))})
    return made


def expected(model, atoms):
    predictor = Predictor(model, graph_of(atoms, model.basis))
    predictor.run()
    return predictor.squared_distance.numpy(), predictor.expected_error()


def test_the_training_data_lie_at_a_distance_of_one(model):
    found = [expected(model, data(seed).structure) for seed in range(4)]
    species = np.concatenate([data(seed).structure.species for seed in range(4)])
    squared, errors = (np.concatenate(column) for column in zip(*found, strict=True))
    for kind in (0, 1):
        assert squared[species == kind].mean() == pytest.approx(1, rel=0.05)
    true = []
    with torch.no_grad():
        for sample in samples(model, range(4)):
            parts = [d.abs().flatten() for _, d in block_errors(model, sample)]
            true.append(float(torch.cat(parts).mean()))
    assert errors.mean() == pytest.approx(np.mean(true), rel=0.3)
    assert model.expected_error.own_set == "training"


def test_turned_and_compressed(model):
    """A turn changes nothing; other distances than those of the data do."""
    atoms = data(0).structure
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    turned = structure(atoms.positions @ turn.T, atoms.cell @ turn.T, atoms.species.tolist())
    dense = structure(atoms.positions * 0.75, atoms.cell * 0.75, atoms.species.tolist())
    assert expected(model, turned)[1] == pytest.approx(expected(model, atoms)[1], rel=1e-4)
    assert expected(model, dense)[1].mean() > 2 * expected(model, atoms)[1].mean()


def test_validation_scales_and_the_test_set_is_the_models_own(model):
    training, others = samples(model, range(4)), samples(model, (7, 8))
    wrong = [
        replace(
            sample,
            pair_blocks={
                pair: [replace(g, blocks=g.blocks + 50.0) for g in groups]
                for pair, groups in sample.pair_blocks.items()
            },
        )
        for sample in others
    ]
    sets = {"training": training, "validation": wrong, "test": others}
    found = fit_expected_error(model, sets)
    assert (found.level > 2 * model.expected_error.level).all()
    assert found.own_set == "test"
    sets = {"training": training, "validation": training[:2]}
    assert fit_expected_error(model, sets).level == pytest.approx(model.expected_error.level)


def test_in_the_model_file(model, tmp_path):
    write(str(tmp_path / "m.h5"), model)
    again = read(str(tmp_path / "m.h5"))
    atoms = data(9).structure
    assert expected(again, atoms)[1] == pytest.approx(expected(model, atoms)[1], rel=1e-5)
    bare = replace(model, expected_error=None)
    write(str(tmp_path / "bare.h5"), bare)
    assert read(str(tmp_path / "bare.h5")).expected_error is None
