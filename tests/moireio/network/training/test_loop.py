"""Training: steps, schedule, going on."""

import numpy as np
import pytest
import torch
from reference_net import ReferenceTraining
from systems import small_model
from training_data import data, new_small_model, samples

from moireio.errors import MoireioError
from moireio.network.training.calibrate import calibrate
from moireio.network.training.config import TrainingConfig
from moireio.network.training.loop import Training
from moireio.network.training.samples import make_sample
from moireio.runtime import workdirs


def test_ten_steps_are_those_of_e3nn():
    """The same weights, data and order give the same losses as e3nn's modules, in double."""
    torch.set_default_dtype(torch.float64)
    try:
        model = small_model()
        made = samples(model)
        plan = TrainingConfig(learning_rate=3e-3, clip=0.0)
        reference = ReferenceTraining(model, plan.learning_rate)
        training = Training(model, made, made[:1], plan)
        for n in range(10):
            sample = made[n % 3]
            ours, loss = training.step([sample]), reference.step(sample)
            assert abs(ours - loss) < 1e-9 * ours, n
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("spin", [False, True])
def test_losses_fall(spin):
    model = new_small_model(spin, torch.float32)
    made = samples(model, spin=spin)
    calibrate(model, made)
    training = Training(model, made, made[:1], TrainingConfig(learning_rate=5e-3, ema_decay=0.9))
    rows = [training.epoch() for _ in range(15)]
    assert rows[-1]["training_loss"] < 0.5 * rows[0]["training_loss"]
    assert training.state.best_loss <= rows[-1]["validation_loss"]


def test_stopped_and_continued(tmp_path, monkeypatch):
    """Two halves give the weights of one run, to the last digit."""
    monkeypatch.setattr(workdirs, "ENDING", 0.0)

    def start(folder):
        model = new_small_model(dtype=torch.float32)
        made = samples(model)
        calibrate(model, made)
        plan = TrainingConfig(
            learning_rate=5e-3, ema_decay=0.9, patience=2, cooldown=1, revert_patience=2
        )
        return Training(model, made, made[1:2], plan, str(folder), "k")

    whole = start(tmp_path / "a")
    for _ in range(7):
        whole.epoch()
    first = start(tmp_path / "b")
    for _ in range(3):
        first.epoch()
    first.save()
    first.epoch()  # is lost
    with pytest.raises(MoireioError, match="is in use by another run"):
        start(tmp_path / "b")
    first.close()
    second = start(tmp_path / "b")
    assert second.state.epoch == 3
    for _ in range(4):
        second.epoch()
    for a, b in zip(whole.weights, second.weights, strict=True):
        assert torch.equal(a, b)
    assert whole.state.best_loss == second.state.best_loss
    second.save()
    lines = (tmp_path / "b" / "log.csv").read_text().splitlines()
    assert len(lines) == 8
    second.close()
    with pytest.raises(MoireioError, match="belongs to a training with other data"):
        Training(
            new_small_model(dtype=torch.float32),
            [],
            [],
            TrainingConfig(),
            str(tmp_path / "b"),
            "other",
        )


def test_rate_falls_and_weights_go_back():
    model = new_small_model(dtype=torch.float32)
    made = samples(model)
    training = Training(
        model, made, made, TrainingConfig(patience=1, cooldown=1, revert_patience=2)
    )
    training.epoch()
    rate, best = training.learning_rate, [w.clone() for w in training.best]
    for _ in range(4):
        training.update_schedule(training.state.best_loss * 1.5)
    assert training.learning_rate == rate / 2
    with torch.no_grad():
        training.weights[0].add_(1.0)
    for _ in range(2):
        training.update_schedule(training.state.best_loss * 3)
    assert torch.equal(training.weights[0], best[0])
    assert training.learning_rate == pytest.approx(0.8 * rate)


def test_numbers_that_are_not_finite():
    model = new_small_model(dtype=torch.float32)
    made = samples(model)
    made[1].pair_blocks[0, 0][0].blocks[0, 0, 0] = float("nan")
    training = Training(model, made, made[:1], TrainingConfig())
    with pytest.raises(MoireioError, match=r"made 1: the loss is no longer finite"):
        training.epoch()
    broken = data(3)
    broken.hamiltonian.data[5] = np.inf
    with pytest.raises(MoireioError, match="numbers that are not finite"):
        make_sample(broken, model.network, model.targets)
