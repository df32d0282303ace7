"""The files of a training's state."""

import pytest
import torch

from moireio.errors import MoireioError
from moireio.network.training.state import TrainingState, read_state, write_state


def test_state_and_back(tmp_path):
    assert read_state(str(tmp_path), "k") is None
    rows = [{"epoch": 1, "rate": 0.1}, {"epoch": 2, "rate": 0.05}]
    state = TrainingState(epoch=2, steps=7, best_loss=0.3, history=rows)
    state.smoothed_loss = 0.5
    write_state(str(tmp_path), "k", state, {"weights": [torch.ones(3)], "best": None})
    again, tensors = read_state(str(tmp_path), "k")
    assert again == state
    assert torch.equal(tensors["weights"][0], torch.ones(3))
    assert (tmp_path / "log.csv").read_text().splitlines() == ["epoch,rate", "1,0.1", "2,0.05"]


def test_other_and_damaged_states(tmp_path):
    write_state(str(tmp_path), "k", TrainingState(), {})
    with pytest.raises(MoireioError, match="belongs to a training with other data"):
        read_state(str(tmp_path), "other")
    (tmp_path / "state.pt").write_bytes(b"nothing")
    with pytest.raises(MoireioError, match=r"state\.pt: is not the state of a training"):
        read_state(str(tmp_path), "k")
