"""Levels at many k points of a line, from a small space in each part of it."""

from itertools import pairwise

import numpy as np
from anchored_systems import bilayer, line, solve_from_anchors, supercell

from moireio.spectrum.anchors.interpolation import GramSeries, Patch
from moireio.spectrum.anchors.nodes import ChebyshevNodes
from moireio.spectrum.anchors.reduced import Grams
from moireio.spectrum.anchors.regions import Region, Scales

SCALES = Scales((-0.6, 0.6), 0.05)


def hamiltonian(x, size=24):
    """A matrix that varies with one coordinate, some levels of which cross."""
    rng = np.random.default_rng(5)
    slopes, energies = rng.uniform(-1, 1, size), np.linspace(-1, 1, size)
    a = rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size))
    return np.diag(energies + 0.4 * slopes * x) + 0.02 * np.sin(x) * (a + a.conj().T)


def grams_at(k):
    h, one = hamiltonian(k[0]), np.eye(24)
    return Grams(np.stack([h, one, h @ h, h, one]).astype(complex), 0.0)


def region(points):
    k = np.linspace(-1, 1, points)[:, None] * [1.0, 0, 0]
    patch = Patch(np.zeros(3), np.eye(3)[:1], np.arange(points))
    return k, Region.of(GramSeries(patch, ChebyshevNodes((18,)), grams_at), SCALES, 1)


def test_parts_cover_a_line():
    k, whole = region(50)
    parts = whole.parts(k, SCALES, lambda half: 12, 1)
    assert np.concatenate([part.patch.points for part in parts]).tolist() == list(range(50))
    for before, after in pairwise(parts):
        last = k[before.patch.points[-1]]
        assert before.patch.holds(last)
        assert after.patch.holds(last)


def test_few_points_are_not_divided():
    k, whole = region(11)
    assert whole.parts(k, SCALES, lambda half: 12, 1) == [whole]


def test_levels_in_parts_are_those_of_the_matrix():
    """Each residual bounds the distance to a level; in the window there are all of them."""
    k, whole = region(80)
    for part in whole.parts(k, SCALES, lambda half: 12, 1):
        for point in part.patch.points.tolist():
            levels = part.levels(k[point], SCALES)
            exact = np.linalg.eigvalsh(hamiltonian(k[point, 0]))
            inside = exact[(exact > -0.6) & (exact < 0.6)]
            near = np.abs(levels.energies[:, None] - exact).min(axis=1)
            assert (near <= levels.residuals + 1e-9).all()
            assert np.abs(levels.energies[:, None] - inside).min(axis=0).max() < 1e-5


def test_more_points_need_no_more_anchors():
    """Four times as many k points of a folded bilayer: the same anchors, errors below bounds."""
    structure, *operators = bilayer()
    near = supercell(structure, (4, 4, 1), *operators)
    solved = []
    for points in (16, 64):
        k = line([[0, 0, 0], [0.5, 0, 0], [2 / 3, 1 / 3, 0]], [points, points // 2])
        found = solve_from_anchors(*near, k, (30, 33))
        assert found.ratio <= 1
        assert found.bounds.max() <= 1e-5
        assert found.errors.max() < 2e-8
        solved.append(len(found.direct))
    assert solved[1] <= solved[0] + 1
