"""Features of atoms at the ends of their edges."""

import pytest
import torch

from moireio.network.ends import collect, sorted_ends, spread
from moireio.network.frames import edge_frames, frames_by_degree

LMAX = 2


def edges(counts, seed=0):
    """Return atoms i (sorted) and j of edges, their frames, and these sorted by both ends."""
    torch.manual_seed(seed)
    i = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    j = torch.randint(0, len(counts), (len(i),))
    frames = edge_frames(torch.randn(len(i), 3).double(), LMAX, torch.float64)
    return i, j, frames, (sorted_ends(i, frames), sorted_ends(j, frames))


# few edges, padded; many of equal number, in runs without padding; an atom without edges
@pytest.mark.parametrize("counts", [[3, 1, 4, 0, 2], [600, 600, 520], [1]])
def test_edges_take_what_their_frames_say(counts):
    """For every order, rows −m and m of D times the components of the atoms, one by one."""
    i, j, frames, ends = edges(counts)
    parts = [torch.randn(len(counts), 2 * d + 1, 2).double() for d in range(LMAX + 1)]
    given = [[torch.cat([p[e.atoms] for p in parts[m:]], 1) for m in range(LMAX + 1)] for e in ends]
    matrices = frames_by_degree(frames)
    turned = [D @ (p[i] + p[j]) for D, p in zip(matrices, parts, strict=True)]
    for m, found in enumerate(spread(*given, ends)):
        rows = [sum(turned[d][:, d + s] for d in range(m, LMAX + 1)) for s in (-m, m)][not m :]
        torch.testing.assert_close(found, torch.stack(rows, 1).flatten(0, 1))


def test_turned_orders():
    """The second half of the components goes with the opposite sign of m."""
    _, _, _, ends = edges([3, 1, 4, 0, 2], seed=3)
    given = [
        [torch.randn(len(e.atoms), (9 - m * m) * (2 if m else 1), 2).double() for m in range(3)]
        for e in ends
    ]
    halves = [
        [[y.chunk(2, 1)[h] if m else y for m, y in enumerate(own)] for own in given] for h in (0, 1)
    ]
    keep, turn = (spread(*half, ends) for half in halves)
    for m, found in enumerate(spread(*given, ends, frozenset({1, 2}))):
        a, b = (x.view(-1, 2 if m else 1, 2) for x in (keep[m], turn[m]))
        expected = torch.stack([a[:, 0] - b[:, 1], a[:, 1] + b[:, 0]], 1) if m else a
        torch.testing.assert_close(found, expected.flatten(0, 1))


def test_sums_over_edges_are_the_transpose():
    i, _, frames, (first, _) = edges([3, 1, 4, 0, 2], seed=1)
    messages = [torch.randn(len(i), 2 if m else 1, 3).double() for m in range(LMAX + 1)]
    columns = [(0, 9), (1, 8), (0, 5)]
    found = collect(messages, first, columns)
    for m, (own, (one, two)) in enumerate(zip(found, columns, strict=True)):
        each = frames[m][:, :, one:two].transpose(1, 2) @ messages[m]
        expected = torch.zeros(5, two - one, 3).double().index_add(0, i, each)
        torch.testing.assert_close(own, expected[first.atoms])


def test_gradients():
    i, _, _, ends = edges([2, 1, 3], seed=2)
    given = [
        torch.randn(len(e.atoms), (9 - m * m) * (2 if m == 1 else 1), 2).double().requires_grad_()
        for e in ends
        for m in range(LMAX + 1)
    ]
    function = lambda *y: tuple(spread(y[:3], y[3:], ends, frozenset({1})))  # noqa: E731
    assert torch.autograd.gradcheck(function, tuple(given))
    messages = [torch.randn(len(i), 1 + bool(m), 2).double().requires_grad_() for m in range(3)]
    columns = [(1, 9), (0, 8), (0, 5)]
    function = lambda *x: tuple(collect(list(x), ends[1], columns))  # noqa: E731
    assert torch.autograd.gradcheck(function, tuple(messages))
