"""Residuals by true products against dense matrices."""

import numpy as np
import pytest
from anchored_systems import GMKG, bilayer, solve_from_anchors, supercell
from scipy.linalg import solve

from moireio.spectrum.anchors import method
from moireio.spectrum.anchors.norms import ACCURACY
from moireio.spectrum.anchors.true_residuals import TrueResiduals


@pytest.fixture(scope="module")
def runs():
    """H, S, and the objects of every search with the levels that they were given last."""
    structure, h, s = bilayer()
    structure, h, s = supercell(structure, (4, 4, 1), h, s)
    seen = {}

    class Kept(TrueResiduals):
        def __init__(self, space, k):
            super().__init__(space, k)
            self.space, self.k = space, k

        def begin(self, found, numbers, anchors):
            super().begin(found, numbers, anchors)
            self.found, self.numbers, self.anchors = found, numbers, set(anchors)
            seen[id(self)] = self

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(method, "TrueResiduals", Kept)
        assert solve_from_anchors(structure, h, s, GMKG, (30, 33)).ratio <= 1
    assert seen
    return h, s, list(seen.values())


def residuals_of(h, s, run, point):
    """Residuals of the wanted levels in the phases of H(k), from dense matrices, and S."""
    levels = run.found.at[point].part(run.numbers.part(point))
    inner = run.found.region(point).vectors @ levels.vectors
    k = run.k[point]
    states = run.space.products.phases(k)[:, None] * run.space.vectors(inner)
    overlap = s.dense(k)
    return h.dense(k) @ states - overlap @ states * levels.energies, overlap, levels.residuals


def worst_points(h, s, seen):
    """Searches, the k points of each region that are no anchors, and that with the worst level."""
    for run in seen:
        for region in run.found.regions:
            points = [p for p in region.patch.points.tolist() if p not in run.anchors]
            yield run, points, max(points, key=lambda p: residuals_of(h, s, run, p)[2].max())


def test_norms_in_the_inverse_of_s_where_residuals_are_largest(runs):
    h, s, seen = runs
    for run, points, worst in worst_points(h, s, seen):
        run.measure(points)
        assert not run.measure(points), "measured once"
        r, overlap, _ = residuals_of(h, s, run, worst)
        inverse = np.einsum("ij,ij->j", r.conj(), solve(overlap, r)).real
        exact = np.sqrt(inverse / np.einsum("ij,ij->j", r.conj(), r).real).max()
        assert np.allclose(run.ratios[points], exact, rtol=2 * ACCURACY)
        assert run.ratio >= run.ratios[points].max()


def test_the_check_is_the_largest_difference(runs):
    h, s, seen = runs
    for run, _, worst in worst_points(h, s, seen):
        r, _, interpolated = residuals_of(h, s, run, worst)
        assert np.abs(np.linalg.norm(r, axis=0) - interpolated).max() < run.check + 1e-9
