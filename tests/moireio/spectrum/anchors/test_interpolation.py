"""Matrices of a small space between nodes."""

import numpy as np
import pytest

from moireio.spectrum.anchors.interpolation import GramSeries, Patch
from moireio.spectrum.anchors.nodes import ChebyshevNodes
from moireio.spectrum.anchors.reduced import Grams

LINE = Patch(np.array([0.2, 0.1, 0]), np.array([[0.1, 0.05, 0]]), np.arange(3))
PLANE = Patch(np.array([0.2, 0.1, 0]), np.array([[0.1, 0, 0], [0, 0.05, 0]]), np.arange(3))
REACH = np.array([[3.0, 1, 0], [-2, 4, 0]])


def compute(k):
    """Five matrices with the phases e^{2πi k·R}."""
    phases = np.exp(2j * np.pi * (REACH @ k))
    whole = np.array([[1.0, phases[0]], [phases[0].conj(), phases[1].real]])
    return Grams(np.arange(1, 6)[:, None, None] * whole, 0.3)


def test_what_a_patch_holds():
    assert LINE.holds(np.array([0.3, 0.15, 0]))
    assert not LINE.holds(np.array([0.32, 0.16, 0]))
    assert not LINE.holds(np.array([0.3, 0.1, 0]))
    assert PLANE.holds(np.array([0.3, 0.1, 0]))
    assert not PLANE.holds(np.array([0.3, 0.1, 0.1]))
    assert PLANE.coordinates(np.array([0.1, 0.125, 0])) == pytest.approx([-1, 0.5])


@pytest.mark.parametrize("patch", [LINE, PLANE], ids=["line", "plane"])
def test_between_nodes(patch):
    """With nodes enough for phases of 2.2 the matrices are those at the k point."""
    counts = (14,) * len(patch.axes)
    series = GramSeries(patch, ChebyshevNodes(counts), compute)
    assert len(series.k) == len(series.at_nodes) == np.prod(counts)
    rng = np.random.default_rng(1)
    for x in [*rng.uniform(-1, 1, (5, len(counts))), np.ones(len(counts))]:
        k = patch.centre + x @ patch.axes
        assert np.abs(series.at(k).matrices - compute(k).matrices).max() < 1e-9
        assert np.abs(series.overlap(k) - compute(k).matrices[1]).max() < 1e-9
    node = series.k[1]
    assert np.abs(series.at(node).matrices - compute(node).matrices).max() < 1e-13


def test_inside_a_smaller_space():
    vectors = np.array([[0.6], [0.8j]])
    series = GramSeries(LINE, ChebyshevNodes((14,)), compute).inside(vectors)
    k = LINE.centre + 0.3 * LINE.axes[0]
    exact = vectors.conj().T @ compute(k).matrices @ vectors
    assert np.abs(series.at(k).matrices - exact).max() < 1e-9
