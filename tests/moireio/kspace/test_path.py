"""Paths between corners, from points and segments, and places on them."""

import numpy as np
import pytest
from crystals import SIXTY, one_atom
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.kspace.corners import special_points
from moireio.kspace.path import (
    make_path,
    parse_path,
    path_of_points,
    path_of_segments,
    place_on_path,
)
from moireio.system.structure import Structure


def test_seekpath_on_a_cell_that_is_not_primitive():
    pytest.importorskip("seekpath")
    cubic = np.eye(3) * 5.43
    positions = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]) * 5.43
    crystal = Structure(cubic, positions, [29] * 4, [0] * 4, ["Cu"], [True] * 3)
    path = make_path(crystal, "GX", 11, convention="seekpath")
    assert path.distance[-1] == pytest.approx(2 * np.pi / 5.43)


def test_points_and_distances():
    structure = one_atom(SIXTY)
    path = make_path(structure, "GMKG", 101)
    assert abs(len(path) - 101) <= 2
    assert path.labels == ("G", "M", "K", "G")
    corners = path.k[path.label_index]
    assert corners[2] == pytest.approx([2 / 3, 1 / 3, 0])
    steps = np.linalg.norm(np.diff(path.k, axis=0) @ structure.reciprocal, axis=1)
    assert np.diff(path.distance) == pytest.approx(steps)
    assert steps.max() < 1.2 * steps.min()


def test_paths_of_no_end():
    with pytest.raises(MoireioError, match="1000000000 `points` on a path are more than 1,000,000"):
        make_path(one_atom(SIXTY), points=10**9)


def test_jumps():
    path = make_path(one_atom(SIXTY), "GM,KG", 40)
    (jump,) = path.breaks
    assert path.distance[jump] == path.distance[jump - 1]
    assert path.k[jump] == pytest.approx([2 / 3, 1 / 3, 0])


def test_explicit_points():
    pieces = parse_path("G=0,0,0 0.5,0,0 | X=0,.5,0 0,0,0", {})
    assert [[label for label, _ in piece] for piece in pieces] == [["G", ""], ["X", ""]]
    assert len(make_path(one_atom(SIXTY), "0,0,0", 10)) == 1


@pytest.mark.parametrize("text", ["GQ", "G M K!", "0,0 1,1,1", "x=1,2,z", "", "|", "g"])
def test_bad_paths(text):
    structure = one_atom(SIXTY)
    with pytest.raises(MoireioError):
        parse_path(text, special_points(structure)[0])


def test_k_points_are_found_wherever_the_path_visits_them():
    structure = one_atom(SIXTY)
    path = make_path(structure, "GMKG", 61)
    k = [[0, 0, 0], [0.25, 0, 0], [1 / 3, 1 / 6, 0], [0.1, 0.2, 0], [0.25, 0, 0.4]]
    distance, index, piece = place_on_path(path, k, structure)
    assert set(piece) == {0}
    assert index.tolist() == [0, 1, 4, 2, 0]  # Γ at both ends, one point off the path left out
    assert distance[0] == 0
    assert distance[-1] == pytest.approx(path.distance[-1])
    assert distance[1] == pytest.approx(path.distance[path.label_index[1]] / 2)


fractions = st.floats(-1, 1).map(lambda v: round(v, 6))
points = st.lists(st.tuples(fractions, fractions, st.just(0.0)), min_size=1, max_size=8)


@given(points)
def test_distances_of_given_points_are_summed(k):
    structure = one_atom(SIXTY)
    path = path_of_points(structure, k, [0], ["A"])
    assert path.k == pytest.approx(np.array(k))
    steps = np.linalg.norm(np.diff(path.k, axis=0) @ structure.reciprocal, axis=1)
    assert path.distance[0] == 0
    assert np.diff(path.distance) == pytest.approx(steps)
    assert (path.label_index.tolist(), path.labels) == ([0], ("A",))


@given(points.filter(lambda k: len(set(k)) > 1), st.integers(2, 60))
def test_every_corner_is_a_point_of_the_path(k, count):
    text = " ".join(f"{a!r},{b!r},{c!r}" for a, b, c in k)
    path = make_path(one_atom(SIXTY), text, count)
    assert path.k[path.label_index] == pytest.approx(np.array(k))
    assert (np.diff(path.distance) >= 0).all()
    assert len(path) <= count + len(k)


def test_segments_keep_their_own_numbers_of_points():
    """As in OpenMX's input: shared ends twice, one label where the segments meet."""
    segments = [
        (5, [0, 0, 0], [0.5, 0, 0], ("G", "M")),
        (3, [0.5, 0, 0], [2 / 3, 1 / 3, 0], ("M", "K")),
        (2, [0, 0, 0], [0, 0.5, 0], ("G", "M")),
    ]
    path = path_of_segments(one_atom(SIXTY), segments)
    assert len(path) == 10
    assert path.labels == ("G", "M", "K", "G", "M")
    assert path.label_index.tolist() == [0, 4, 7, 8, 9]
    assert path.k[4].tolist() == path.k[5].tolist() == [0.5, 0, 0]
    assert path.distance[4] == path.distance[5]
    assert path.breaks.tolist() == [8]


def test_points_beside_the_path_are_nowhere():
    structure = one_atom(SIXTY)
    distance, index, _ = place_on_path(make_path(structure, "GM", 5), [[0.1, 0.2, 0]], structure)
    assert len(distance) == len(index) == 0
