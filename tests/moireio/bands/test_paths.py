"""The k points that are asked for, in all ways to give them."""

import numpy as np
import pytest

import moireio
from moireio.bands.paths import choose_path, read_kpoints
from moireio.errors import MoireioError


def test_ways_to_give_a_path(made):
    with moireio.open(made["gr_ab"]) as file:
        corners = choose_path(file, "GMKG", 9)
        assert len(corners) == 9
        points = choose_path(file, kpoints=corners.k)
        assert points.k == pytest.approx(corners.k)
        assert points.distance == pytest.approx(corners.distance)
        again = choose_path(file, corners)
        assert again.labels == corners.labels
        stored = choose_path(file, "input")
        assert (stored.k[0] == file.kpath.points[0, 0]).all()
        segments = [(3, np.zeros(3), np.array([0.5, 0, 0]), ("G", "M"))]
        assert choose_path(file, segments).labels == ("G", "M")
        for wrong, text in (([], "has no segments"), ("Q", "gr_ab")):
            with pytest.raises(MoireioError, match=text):
                choose_path(file, wrong)


def test_a_file_without_a_path(made, tmp_path):
    from helpers import random_operator, random_system, write_file

    structure, basis = random_system(0)
    H, _ = random_operator(0, basis.sizes(structure))
    with (
        moireio.open(write_file(tmp_path / "x.h5", structure, basis, H)) as file,
        pytest.raises(MoireioError, match="`path`, as GMKG"),
    ):
        choose_path(file, "input")


def test_lists_of_k_points(tmp_path):
    path = tmp_path / "k.txt"
    path.write_text("# comment\n0 0 0\n\n0.5 0.25 0 further columns # G\n")
    assert read_kpoints(str(path)).tolist() == [[0, 0, 0], [0.5, 0.25, 0]]
    for text, message in (("0 0\n", "line 1"), ("0 0 x\n", "line 1"), ("# none\n", "no k points")):
        path.write_text(text)
        with pytest.raises(MoireioError, match=message):
            read_kpoints(str(path))
    with pytest.raises(FileNotFoundError):
        read_kpoints(str(tmp_path / "absent.txt"))
    with pytest.raises(MoireioError, match="line 1 has no three coordinates"):
        read_kpoints("/dev/zero")
