"""A training from calculations to a model file."""

import contextlib

import pytest
import torch
from training_data import HIDDEN, data

from moireio.errors import MoireioError
from moireio.network.modelfile import read
from moireio.network.training.config import (
    Architecture,
    ComputeSettings,
    DataSplit,
    TrainingConfig,
)
from moireio.network.training.run import recalibrate, train


@contextlib.contextmanager
def opened(path):
    yield data(int(path))


def trained(output, epochs=2, notes=None, plan=None, **options):
    return train(
        str(output),
        DataSplit(["0", "1"], ["2"]),
        opened,
        Architecture(HIDDEN, blocks=1, lmax=2),
        TrainingConfig(epochs=epochs, **plan or {}),
        ComputeSettings(threads=1, memory=1e3),
        note=(lambda text: None) if notes is None else notes.append,
        **options,
    )


def test_a_model_and_its_record(tmp_path):
    """The file is the model; torch's random numbers and threads are as before."""
    before, threads, notes = torch.get_rng_state(), torch.get_num_threads(), []
    model = trained(tmp_path / "m.h5", notes=notes)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    again = read(str(tmp_path / "m.h5"))
    assert again.digest() == model.digest()
    assert again.training["structures"]["training"].keys() == {"0", "1"}
    assert again.training["plan"]["rate"] == 2e-3
    assert again.training["epochs"] == 2
    assert "not all structures fit into memory: the others are read in every epoch" in notes
    notes.clear()
    longer = trained(tmp_path / "m.h5", epochs=3, notes=notes)
    assert "going on after epoch 2" in notes
    assert longer.training["epochs"] == 3


def test_best_or_last_weights(tmp_path):
    """The same training gives either; that with a rate that is far too high ends worse."""
    plan, notes = {"learning_rate": 0.3, "ema_decay": 0.5}, []
    best = trained(tmp_path / "m.h5", epochs=4, plan=plan)
    assert best.training["best_epoch"] < 4
    last = trained(tmp_path / "m.h5", epochs=4, plan=plan | {"keep": "last"}, notes=notes)
    assert "going on after epoch 4" in notes
    assert (best.training["plan"]["keep"], last.training["plan"]["keep"]) == ("best", "last")
    state = torch.load(tmp_path / "m.h5.train" / "state.pt", weights_only=True)["tensors"]
    for model, name in ((best, "best"), (last, "ema")):
        for weight, stored in zip(model.network.parameters(), state[name], strict=True):
            assert torch.equal(weight, stored)
    assert best.digest() != last.digest()


def test_a_free_zero_is_recorded(tmp_path):
    """What is later found out about the model's errors is free of a shift too."""
    plan = {"zero": "free", "layer_weight": 0.3}
    model = trained(tmp_path / "m.h5", plan=plan)
    again = read(str(tmp_path / "m.h5"))
    assert again.free_zero
    assert again.training["plan"]["layer_weight"] == 0.3
    split = DataSplit(["0", "1"], ["2"])
    found = recalibrate(str(tmp_path / "n.h5"), split, opened, again, ComputeSettings(threads=1))
    assert found.expected_error.own == pytest.approx(model.expected_error.own, rel=1e-5)
    plain = trained(tmp_path / "p.h5")
    assert not plain.free_zero
    assert plain.expected_error.own > model.expected_error.own


def test_frozen_weights_stay(tmp_path):
    initial = trained(tmp_path / "a.h5", epochs=0)
    embedding = initial.network.embedding.detach().clone()
    final = trained(tmp_path / "b.h5", initial=initial, freeze=["embedding"])
    assert torch.equal(final.network.embedding, embedding)
    assert final.training["init_from"] == "the model"
    with pytest.raises(MoireioError, match="has no weights 'block0'"):
        trained(tmp_path / "c.h5", freeze=["block0"])
