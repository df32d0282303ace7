"""k points from which functions of k follow."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from moireio.spectrum.anchors.nodes import ChebyshevNodes, PlaneNodes

HEXAGON = np.array([[np.cos(t), np.sin(t)] for t in np.arange(6) * np.pi / 3])


@pytest.mark.parametrize(
    ("nodes", "count", "total"),
    [
        (PlaneNodes(HEXAGON, 5), 21, 5),
        (PlaneNodes(HEXAGON[[0, 1, 3]], 1), 3, 1),
        (PlaneNodes(HEXAGON, 0), 1, 0),
        (ChebyshevNodes((4, 6)), 24, None),
        (ChebyshevNodes((7,)), 7, None),
    ],
)
def test_polynomials_are_exact(nodes, count, total):
    """Of the total degree, or of as many powers along each axis as there are nodes."""
    rng = np.random.default_rng(3)
    assert len(nodes.points) == count
    d = nodes.points.shape[1]
    powers = (
        np.argwhere(np.add.outer(np.arange(total + 1), np.arange(total + 1)) <= total)
        if total is not None
        else np.argwhere(np.ones((4, 6) if d == 2 else (7,)))
    )
    for x in [*rng.uniform(-0.5, 0.5, (5, d)), nodes.points[-1]]:
        weights = nodes.weights(x)
        values = np.prod(nodes.points[:, None] ** powers, axis=-1)
        assert weights @ values == pytest.approx(np.prod(x**powers, axis=-1), abs=1e-12)


def test_nodes_of_a_plane_lie_in_its_region_and_serve_all_of_it():
    """The weights of a function's values stay small, to the corners."""
    nodes = PlaneNodes(HEXAGON, 9)
    sides = np.array([[np.cos(t), np.sin(t)] for t in np.arange(6) * np.pi / 3 + np.pi / 6])
    assert (nodes.points @ sides.T).max() < np.sqrt(0.75) + 1e-9
    for x in [*HEXAGON, *(0.9 * HEXAGON), np.zeros(2)]:
        assert np.abs(nodes.weights(x)).sum() < 50


def test_weights_in_several_threads_at_once():
    """SciPy's solutions with LU factors change the pivots while they run."""
    nodes = PlaneNodes(np.array([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]), 10)
    points = np.random.default_rng(0).uniform(-1, 1, (4000, 2))
    expected = [nodes.weights(x) for x in points]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(nodes.weights, points))
    assert np.array_equal(found, expected)
