"""Seeds of torch hold inside the block only."""

import pytest
import torch

from moireio.runtime.random import torch_seed


def test_the_sequence_is_that_of_the_seed():
    with torch_seed(3):
        first = torch.rand(5)
    with torch_seed(3):
        second = torch.rand(5)
    with torch_seed(4):
        other = torch.rand(5)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_the_state_before_comes_back():
    before = torch.get_rng_state()
    with torch_seed(3):
        torch.rand(5)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(KeyError), torch_seed(3):
        raise KeyError
    assert torch.equal(torch.get_rng_state(), before)
