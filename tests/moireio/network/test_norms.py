"""Norms of features."""

import torch

from moireio.network.irreps import Irreps
from moireio.network.layers import add
from moireio.network.norms import GraphNorm, LocalNorm

IRREPS = Irreps.parse("4x0e+2x1o+3x0e+1x0o")


def features(n):
    return [torch.randn(n, 1, 8).double(), torch.randn(n, 3, 2).double()]


def test_pieces_of_a_graph_add_up():
    norm, parts = GraphNorm(IRREPS).double(), features(7)
    whole = norm(parts, norm.sums(parts), 7)
    pieces = [[p[:3] for p in parts], [p[3:] for p in parts]]
    sums = add(*(norm.sums(piece) for piece in pieces))
    joined = [torch.cat(p) for p in zip(*(norm(q, sums, 7) for q in pieces), strict=True)]
    for one, two in zip(whole, joined, strict=True):
        torch.testing.assert_close(one, two)
    for entry in whole[0].split([4, 3, 1], dim=2):
        assert abs(float(entry.mean())) < 1e-12
        assert abs(float(entry.square().mean()) - 1) < 1e-3


def test_a_local_norm_sees_one_feature():
    norm, parts = LocalNorm(IRREPS).double(), features(7)
    whole = norm(parts)
    alone = norm([p[2:3] for p in parts])
    for one, two in zip(whole, alone, strict=True):
        torch.testing.assert_close(one[2:3], two)
    assert abs(float(whole[0][0].square().mean()) - 1) < 1e-3
