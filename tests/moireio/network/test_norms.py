"""Norms of features."""

import torch

from moireio.network.frames import (
    by_degree,
    by_order,
    edge_frames,
    frames_by_degree,
    into_frames,
    out_of_frames,
)
from moireio.network.irreps import Irreps, Layout
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


def test_edges_in_their_frames_and_atoms_give_the_same():
    """Features are normalised in the frames of edges as in that of the crystal."""
    irreps = Irreps.parse("4x0e+2x1o+1x1e+3x0o+2x2e")
    counts = Layout(irreps).per_degree
    parts = [torch.randn(7, 2 * d + 1, c).double() for d, c in enumerate(counts)]
    orders = edge_frames(torch.randn(7, 3).double(), 3, torch.float64)
    frames = frames_by_degree(orders)
    for norm in (GraphNorm(irreps).double(), LocalNorm(irreps).double()):
        torch.nn.init.normal_(norm.weight)
        torch.nn.init.normal_(norm.bias)
        sums = norm.sums(parts)
        expected = norm(parts, sums, 7)
        for own, turns in ((frames, orders), (None, None)):
            turned = by_order(into_frames(parts, own))
            found = norm.sums_of_edges(turned, turns)
            for a, b in zip(found, sums, strict=True):
                torch.testing.assert_close(a, b)
            made = norm.of_edges(turned, found, 7, turns, [torch.ones_like(p) for p in turned])
            made = out_of_frames(by_degree([x - 1 for x in made], counts), own)
            for a, b in zip(made, expected, strict=True):
                torch.testing.assert_close(a, b)
