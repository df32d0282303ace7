"""One worker, and errors of several processes."""

import pytest
import torch
from torch import nn

from moireio.errors import MoireioError
from moireio.network.training.parallel import Workers, workers


def test_shares_cover_everything_once():
    items = list(range(7))
    shares = [Workers(rank, 3).share(items) for rank in range(3)]
    assert sorted(n for share in shares for n in share) == items


def test_one_worker_needs_no_others():
    module = nn.Linear(2, 2)
    with workers() as team:
        assert team.first
        assert team.total([1.5, 2]) == [1.5, 2]
        assert team.gather("a") == ["a"]
        assert team.wrap(module) is module


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu():
    with pytest.raises(MoireioError, match="torch finds no GPU"), workers("cuda"):
        pass
