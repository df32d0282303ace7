"""Overlaps of neighbouring states against Gaussians with exact integrals."""

from dataclasses import replace

import numpy as np
import pytest
from helpers import write_file
from topology_runs import RandomPhases, bands_of
from toymodels import gaussians, haldane
from wannier_files import at_k, random_model

import moireio
from moireio.errors import MoireioError
from moireio.formats.assembly.dense import source_from_dense
from moireio.formats.assembly.sites import sites
from moireio.system.structure import Structure
from moireio.topology.curvature import curvature_at
from moireio.topology.links import Links, plane_of

K = np.array([[0.6, 0.3, 0], [0.1, 0.2, 0], [0.45, 0.05, 0]])


@pytest.fixture(scope="module")
def model():
    return gaussians()


def exact_curvature(model, space, plane, k, step):
    signs = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (0.5 * step)
    corners = k + plane.k(*signs.T)
    space.prepare(corners)
    total = 0.0
    for n in range(4):
        one, two = corners[n], corners[(n + 1) % 4]
        matrix = space.at(one).conj().T @ model.link(one, two) @ space.at(two)
        total += np.angle(np.linalg.det(matrix))
    return -total / (plane.area * step**2)


def test_curvature_with_positions_is_that_of_exact_integrals(model, tmp_path):
    errors = []
    with bands_of(model, tmp_path / "x.h5") as (space, links):
        assert links.kind == "position"
        for step in (0.0025, 0.01, 0.04):
            exact = [exact_curvature(model, space, links.plane, k, step) for k in K]
            errors.append(np.abs(curvature_at(space, links, K, step) - exact).max())
    assert errors[0] < 1e-4
    assert 8 < errors[1] / errors[0] < 32
    assert 8 < errors[2] / errors[1] < 32


def test_curvature_without_positions_is_another(model, tmp_path):
    with bands_of(model, tmp_path / "x.h5", position=False) as (space, links):
        assert links.kind == "midpoint"
        bare = curvature_at(space, links, K)
        exact = [exact_curvature(model, space, links.plane, k, 0.0025) for k in K]
    assert np.abs(bare - exact).max() > 0.05


@pytest.mark.parametrize("change", ["phases", "left-handed", "images", "origin", "order"])
def test_curvature_does_not_depend_on_choices(model, change, tmp_path):
    with bands_of(model, tmp_path / "x.h5") as (space, links):
        expected = curvature_at(space, links, K, 0.02)
        if change == "phases":
            turned = curvature_at(RandomPhases(space), links, K, 0.02)
    k = K
    if change == "left-handed":
        other, k = model.left_handed(), K[:, [1, 0, 2]]
    elif change == "images":
        other = model.other_images([[1, -2, 0], [0, 3, 0]])
    elif change == "origin":
        other = model.other_origin([0.3, -0.7, 1.1])
    elif change == "order":
        other = model.other_order([1, 0])
    if change != "phases":
        with bands_of(other, tmp_path / "y.h5") as (space, links):
            turned = curvature_at(space, links, k, 0.02)
    assert np.abs(turned - expected).max() < 1e-10


def test_the_curvature_of_haldanes_model_at_its_corner(tmp_path):
    """A massive Dirac point: Ω = ±v²/2m² of the lower band, v² = 3a²t²/4 in eV² Å²."""
    mass = 0.4 - 3**1.5 * 0.1
    with bands_of(haldane(M=0.4), tmp_path / "x.h5") as (space, links):
        found = curvature_at(space, links, [[1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0]], 1e-4)
    speed = 0.75 * 2.46**2
    expected = [speed / (2 * m**2) for m in (mass, 0.4 + 3**1.5 * 0.1)]
    assert np.allclose(np.sort(np.abs(found)), np.sort(expected), rtol=1e-4)


def test_only_layers_have_a_plane_of_k():
    bulk = Structure(np.eye(3), [[0, 0, 0]], [6], [0], ["C"], [True] * 3)
    with pytest.raises(MoireioError, match="along 3 lattice vectors, expected are two"):
        plane_of(bulk)


def test_the_plane_has_the_right_handed_orientation():
    cell = np.diag([2.0, 3.0, 4.0])
    for rows, sign in (([0, 1, 2], 1), ([1, 0, 2], -1)):
        layer = Structure(cell[rows], [[0, 0, 0]], [6], [0], ["C"], [True, True, False])
        plane = plane_of(layer)
        assert plane.orientation == sign
        assert np.isclose(plane.area, 4 * np.pi**2 / 6)
        assert np.allclose(plane.in_plane([[1, 2, 5]]), [[1, 2]])


def test_complex_position_matrices(tmp_path):
    """Those of Wannier functions keep their imaginary parts."""
    structure, basis, orbitals = sites(np.diag([3.0, 4, 20]), [[0, 0, 0], [1, 1, 0]], 2)
    cells, h = random_model(1, 2)
    flat = cells[:, 2] == 0
    along = [random_model(seed, 2)[1][flat] for seed in (2, 3, 4)]
    operators = [
        source_from_dense("hamiltonian", cells[flat], [h[flat]], orbitals),
        source_from_dense("position", cells[flat], along, orbitals),
    ]
    structure = replace(structure, pbc=[True, True, False])
    write_file(tmp_path / "x.h5", structure, basis, *operators)
    states = np.array([[1.0, 2.0], [0.5j, 1.0]])
    k = np.array([0.13, 0.29, 0.0])
    with moireio.open(str(tmp_path / "x.h5")) as file:
        found = Links.from_file(file).dipoles_times(k, states)
    expected = [at_k(cells[flat], matrices, k) @ states for matrices in along[:2]]
    np.testing.assert_allclose(found, expected, atol=1e-12)
