"""Lines and planes of k points, and the matrices between the nodes there."""

import numpy as np
import pytest
from anchored_systems import GMKG, bilayer, line, supercell

from moireio.kspace.mesh import make_mesh
from moireio.spectrum.anchors.interpolation import GramSeries
from moireio.spectrum.anchors.patches import chosen_patches, plane
from moireio.spectrum.anchors.products import BlochProducts
from moireio.spectrum.anchors.reduced import Grams


@pytest.fixture(scope="module")
def folded():
    structure, *operators = bilayer()
    structure, h, s = supercell(structure, (4, 4, 1), *operators)
    return structure, BlochProducts(h, s, structure)


def patches(folded, k):
    structure, products = folded
    return chosen_patches(k, structure.reciprocal, structure.pbc, products.turns)


def test_a_path_is_lines_and_a_mesh_a_plane(folded):
    structure, _ = folded
    path = line([[0, 0, 0], [0.5, 0, 0], [2 / 3, 1 / 3, 0], [0, 0, 0], [0.3, 0.1, 0]], [9] * 4)
    for lines, count in ((GMKG, 3), (path, 4), (make_mesh(structure, [3, 12]).k, 3)):
        k, found = patches(folded, lines)
        assert np.array_equal(k, lines)
        assert [len(patch.axes) for patch, _ in found] == [1] * count
    for shape in ([12, 12], [24, 24]):
        k, found = patches(folded, make_mesh(structure, shape).k)
        ((patch, nodes),) = found
        assert len(patch.axes) == 2
        assert all(patch.holds(point) for point in k)
        assert len(nodes.points) < 200
        assert not patch.holds(np.array([0.7, 0.7, 0]))
        assert not patch.holds(k[3] + [0, 0, 0.1])


def test_no_plane_holds_points_on_a_line_or_in_a_solid():
    reciprocal = np.diag([1.0, 2, 3])
    assert plane(line([[0, 0, 0], [0.5, 0.2, 0]], [5]), reciprocal) is None
    assert plane(np.random.default_rng(1).random((9, 3)), reciprocal) is None


@pytest.mark.parametrize("shape", [[9, 9], [2, 9]])
def test_products_between_nodes(folded, shape):
    """Those of H V with itself are right to 1e-9 eV², with as few nodes."""
    structure, products = folded
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.normal(size=(64, 5)) + 1j * rng.normal(size=(64, 5)))[0]
    k, found = patches(folded, make_mesh(structure, shape, shift=[0.1, 0.2]).k)

    def true(k):
        return Grams.of(basis, *products(k, basis, 0.3), 0.3)

    for patch, nodes in found:
        series = GramSeries(patch, nodes, true)
        for point in patch.points[:: max(1, len(patch.points) // 6)]:
            error = series.at(k[point]).matrices - true(k[point]).matrices
            assert np.abs(error).max() < 1e-9
