"""Samples in memory, or made when needed."""

import torch
from training_data import new_small_model, samples

from moireio.network.training.cache import Samples, tensor_bytes, to_device


def counting(sample, calls):
    def make():
        calls.append(None)
        return sample

    return make


def test_samples_beyond_the_limit_are_made_again():
    made, calls = samples(new_small_model()), []
    limit = tensor_bytes(made[0])
    cached = Samples([counting(s, calls) for s in made], limit)
    for _ in range(2):
        assert [s.label for s in cached.in_order([2, 0, 1])] == ["made 2", "made 0", "made 1"]
    assert cached.overflowed
    assert 3 < len(calls) < 6
    calls.clear()
    everything = Samples([counting(s, calls) for s in made])
    assert [s.label for s in [*everything, *everything]] == ["made 0", "made 1", "made 2"] * 2
    assert len(calls) == 3
    assert not everything.overflowed
    assert list(everything.in_order([])) == []


def test_moving_keeps_what_has_no_tensors():
    sample = samples(new_small_model(), seeds=[0])[0]
    moved = to_device(sample, torch.device("meta"))
    assert moved.graph is sample.graph
    assert all(group.blocks.is_meta for group in moved.all_blocks())
    assert tensor_bytes(moved) == tensor_bytes(sample)
