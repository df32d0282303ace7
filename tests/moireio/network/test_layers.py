"""Pieces of the layers."""

import torch

from moireio.network.frames import by_order, edge_frames, into_frames
from moireio.network.irreps import Irreps, Layout
from moireio.network.layers import Edges, GateLists, gather_pair, harmonics_irreps


def test_harmonics_and_their_parities():
    assert str(harmonics_irreps(2)) == "1x0e+1x1o+1x2e"
    assert str(harmonics_irreps(2, even=True)) == "1x0e+1x1e+1x2e"


def test_gates_for_what_can_be_reached():
    """From scalars and harmonics no 1e comes out, and every other l > 0 has a gate."""
    lists = GateLists(
        Irreps.parse("4x0e"), harmonics_irreps(2), Irreps.parse("3x0e+2x1o+5x1e+1x2e")
    )
    assert str(lists.out) == "3x0e+2x1o+1x2e"
    assert str(lists.gates) == "3x0e"
    assert sorted(lists.places) == list(range(lists.product.channels))


def test_features_of_both_atoms():
    """In the frames of the edges, those of i before those of j, degree by degree."""
    layout = Layout(Irreps.parse("2x0e+1x1o"))
    parts = [torch.randn(3, 2 * d + 1, c).double() for d, c in enumerate(layout.per_degree)]
    i, j = torch.tensor([0, 2]), torch.tensor([1, 0])
    frames = edge_frames(torch.randn(2, 3).double(), 1, torch.float64)
    edges = Edges(i, j, torch.zeros(2), torch.ones(2), frames)
    pair = gather_pair(parts, edges)
    one, two = (by_order(into_frames([p[n] for p in parts], frames)) for n in (i, j))
    torch.testing.assert_close(pair[:, :2], one[:, :2])
    torch.testing.assert_close(pair[:, 2:4], two[:, :2])
    assert pair.shape == (2, 2 * layout.dim)
