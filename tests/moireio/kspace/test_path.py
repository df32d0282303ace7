import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.kspace.path import make_path, parse_path, place_on_path, special_points
from moireio.system.structure import Structure


def layer(cell, pbc=(True, True, False)):
    return Structure(cell, np.zeros((1, 3)), [6], [0], ["C"], pbc)


SIXTY = [[2.46, 0, 0], [1.23, 2.13042249, 0], [0, 0, 20]]
HUNDRED_TWENTY = [[2.46, 0, 0], [-1.23, 2.13042249, 0], [0, 0, 20]]


@pytest.mark.parametrize("cell", [SIXTY, HUNDRED_TWENTY])
def test_hexagonal_corners_lie_along_the_first_vector(cell):
    """The same K in both settings: on +a1, at distance 4π/3a; K' opposite; all are corners."""
    structure = layer(cell)
    points, default = special_points(structure)
    assert default == "GMKG"
    k = points["K"] @ structure.reciprocal
    assert k == pytest.approx([4 * np.pi / 3 / 2.46, 0, 0], abs=1e-7)
    assert points["K'"] @ structure.reciprocal == pytest.approx(-k)
    m = points["M"] @ structure.reciprocal
    assert np.linalg.norm(m) == pytest.approx(2 * np.pi / np.sqrt(3) / 2.46)
    # a corner is as far from Γ as from two neighbouring reciprocal lattice points
    grid = np.array([[a, b, 0] for a in (-1, 0, 1) for b in (-1, 0, 1)]) @ structure.reciprocal
    far = np.sort(np.linalg.norm(grid - k, axis=1))
    assert far[2] == pytest.approx(far[0])
    assert far[3] > 1.2 * far[0]


def test_a_plane_in_other_axes():
    cell = np.array(SIXTY)[[2, 0, 1]]
    points, _ = special_points(layer(cell, (False, True, True)))
    assert points["K"].tolist() == [0, 2 / 3, 1 / 3]


def test_other_lattices_come_from_ase():
    square, _ = special_points(layer(np.diag([3.0, 3.0, 20.0])))
    assert square["M"].tolist() == [0.5, 0.5, 0]
    rectangular, _ = special_points(layer(np.diag([3.3, 4.6, 20.0])))
    assert rectangular["S"].tolist() == [0.5, 0.5, 0]
    line, _ = special_points(layer(np.diag([3.0, 20, 20]), (True, False, False)))
    assert line["X"].tolist() == [0.5, 0, 0]
    fcc = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 2.7
    points, path = special_points(layer(fcc, (True, True, True)))
    assert np.linalg.norm(points["X"] @ layer(fcc).reciprocal) == pytest.approx(2 * np.pi / 5.4)
    assert path.startswith("G")


def test_seekpath_on_a_cell_that_is_not_primitive():
    pytest.importorskip("seekpath")
    cubic = np.eye(3) * 5.43
    positions = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) * 5.43
    crystal = Structure(cubic, positions, [29] * 4, [0] * 4, ["Cu"], [True] * 3)
    path = make_path(crystal, "GX", 11, convention="seekpath")
    assert path.distance[-1] == pytest.approx(2 * np.pi / 5.43)


def test_points_and_distances():
    structure = layer(SIXTY)
    path = make_path(structure, "GMKG", 101)
    assert abs(len(path) - 101) <= 2
    assert path.labels == ("G", "M", "K", "G")
    corners = path.k[path.label_index]
    assert corners[2] == pytest.approx([2 / 3, 1 / 3, 0])
    steps = np.linalg.norm(np.diff(path.k, axis=0) @ structure.reciprocal, axis=1)
    assert np.diff(path.distance) == pytest.approx(steps)
    assert steps.max() < 1.2 * steps.min()


def test_jumps():
    path = make_path(layer(SIXTY), "GM,KG", 40)
    (jump,) = path.breaks
    assert path.distance[jump] == path.distance[jump - 1]
    assert path.k[jump] == pytest.approx([2 / 3, 1 / 3, 0])


def test_explicit_points():
    pieces = parse_path("G=0,0,0 0.5,0,0 | X=0,.5,0 0,0,0", {})
    assert [[label for label, _ in piece] for piece in pieces] == [["G", ""], ["X", ""]]
    assert len(make_path(layer(SIXTY), "0,0,0", 10)) == 1


@pytest.mark.parametrize("text", ["GQ", "G M K!", "0,0 1,1,1", "x=1,2,z", "", "|", "g"])
def test_bad_paths(text):
    structure = layer(SIXTY)
    with pytest.raises(MoireioError):
        parse_path(text, special_points(structure)[0])


def test_k_points_are_found_wherever_the_path_visits_them():
    structure = layer(SIXTY)
    path = make_path(structure, "GMKG", 61)
    k = [[0, 0, 0], [0.25, 0, 0], [1 / 3, 1 / 6, 0], [0.1, 0.2, 0], [0.25, 0, 0.4]]
    distance, index = place_on_path(path, k, structure)
    assert index.tolist() == [0, 1, 4, 2, 0]  # Γ at both ends, one point off the path left out
    assert distance[0] == 0
    assert distance[-1] == pytest.approx(path.distance[-1])
    assert distance[1] == pytest.approx(path.distance[path.label_index[1]] / 2)
