"""Frames of edges."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import rotation_of_orbitals

from moireio.network.frames import by_degree, by_order, edge_frames, frames_by_degree
from moireio.network.irreps import Irreps, Layout


@given(st.integers(0, 10_000))
@settings(max_examples=15)
def test_frames_turn_vectors_to_z(seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(4, 3))
    vectors[0] = [0, 0, rng.normal()]  # along the axis, where the azimuth means nothing
    frames = frames_by_degree(edge_frames(torch.tensor(vectors), 4, torch.float64))
    p = [2, 0, 1]  # y, z, x to x, y, z
    for n, v in enumerate(vectors):
        turn = frames[1][n].numpy()[np.ix_(p, p)]
        np.testing.assert_allclose(turn @ v, [0, 0, np.linalg.norm(v)], atol=1e-12)
        assert abs(np.linalg.det(turn) - 1) < 1e-12
        for degree in range(5):
            D = rotation_of_orbitals([degree], turn)
            np.testing.assert_allclose(frames[degree][n].numpy(), D, atol=1e-11)


def test_orders_and_back():
    layout = Layout(Irreps.parse("3x0e+2x1o+1x0o+2x2e+1x1e"))
    parts = [torch.randn(5, 2 * d + 1, c) for d, c in enumerate(layout.per_degree)]
    orders = by_order(parts)
    assert [tuple(x.shape[1:]) for x in orders] == layout.order_shapes
    assert (orders[2][:, 1, 3:] == parts[2][:, 3]).all()  # m = 1 of l = 2, after l = 1
    for a, b in zip(by_degree(orders, layout.per_degree), parts, strict=True):
        assert (a == b).all()
