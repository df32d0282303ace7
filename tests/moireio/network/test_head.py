"""Blocks from the output, and back."""

import pytest
import torch

from moireio.network.head import Head, all_targets


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize("merge", [False, True])
def test_head_and_its_inverse(spin, merge):
    targets = all_targets([6, 7], [(0, 1, 2), (0, 0, 1)], spin, merge=merge)
    for one in range(2):
        for two in range(2):
            head = Head(targets, one, two)
            rows = [sum(2 * n + 1 for n in targets.shells[k]) * (1 + spin) for k in (one, two)]
            blocks = torch.randn(4, *rows, dtype=torch.complex128 if spin else torch.float64)
            assert (head(head.inverse(blocks)) - blocks).abs().max() < 1e-12
