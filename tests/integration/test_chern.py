"""The command chern, as a user runs it."""

import json

import numpy as np
import pytest
from toymodels import gaussians, haldane, haldane_boundary, kane_mele, of_both_spins

import moireio

KEYS = {"bands", "chern", "z2", "spin_chern", "winding", "c3_mod3", "mesh", "refined_mesh"}
KEYS |= {"solves", "min_link", "max_flux", "direct_gap", "direct_gap_k", "link", "strain"}


def test_one_object_with_all_keys(invoke, tmp_path):
    path = kane_mele().write(tmp_path / "x.h5")
    result = invoke("chern", path, "--json", "--mesh", "4", "4")
    one = json.loads(result.stdout)
    assert set(one) >= KEYS
    assert (one["bands"], one["chern"], one["z2"], one["spin_chern"]) == ([1, 2], 0, 1, -1)
    assert one["link"] == "midpoint"
    assert one["refined_mesh"] == [6, 6]


def test_several_groups_in_a_file_and_through_a_pipe(run, tmp_path):
    path, out = haldane(M=0.2).write(tmp_path / "x.h5"), tmp_path / "y.h5"
    words = ["--bands", "v1", "--bands", "c1", "--mesh", "4", "4", "--json", "-o", "-"]
    done = run("chern", path, *words)
    assert [one["chern"] for one in json.loads(done.stderr)] == [-1, 1]
    out.write_bytes(done.stdout)
    with moireio.open(out) as file:
        numbers = file.result("chern")
    assert numbers.of((1, 1)).chern == numbers.of((1, 1)).winding == -1
    assert numbers.of((2, 2)).chern == 1


def test_a_magnet_has_other_filled_bands_in_either_spin(invoke, tmp_path):
    layer, turned = haldane(M=0.2), haldane(M=0.2, phi=-np.pi / 2)
    path = of_both_spins(layer, turned, 7.0, 3).write(tmp_path / "x.h5")
    words = ["--mesh", "4", "4", "--json"]
    found = json.loads(invoke("chern", path, *words).stdout)
    assert [(one["spin"], one["bands"], one["chern"]) for one in found] == [
        ("up", [1, 2], 0),
        ("down", [1, 1], 1),
    ]
    found = json.loads(invoke("chern", path, "--bands", "v1", *words).stdout)
    assert [(one["spin"], one["bands"], one["chern"]) for one in found] == [
        ("up", [2, 2], 1),
        ("down", [1, 1], 1),
    ]
    done = invoke("c3-chern", path)
    assert "spin up has 2 filled bands, spin down 1" in done.stderr


def test_a_series_over_strain_with_its_transition(invoke, tmp_path):
    strains = [0.0, 0.003, 0.006]
    files = [
        haldane(M=0.45, slope=20.0, strain=s).write(tmp_path / f"{n}.h5")
        for n, s in enumerate(strains)
    ]
    words = ["--mesh", "4", "4", "--plot", tmp_path / "c.png", "--text", tmp_path / "c.txt"]
    assert invoke("chern", *files, *words, "-q").exit_code == 0
    lines = (tmp_path / "c.txt").read_text("utf-8").splitlines()
    assert [line.split()[2] for line in lines[3:6]] == ["-1", "-1", "0"]
    assert [float(line.split()[0]) for line in lines[3:6]] == pytest.approx([0, 0.3, 0.6])
    found = float(lines[-1].split()[-2]) / 100
    assert abs(0.45 + 20 * found - haldane_boundary(found)) < 0.005
    assert (tmp_path / "c.png").stat().st_size > 10_000


def test_a_map_of_the_curvature(invoke, tmp_path):
    path = gaussians().write(tmp_path / "x.h5")
    words = ["--mesh", "4", "4", "--curvature", tmp_path / "map.npz", "--plot", tmp_path / "c.png"]
    result = invoke("chern", path, *words)
    assert result.exit_code == 0
    assert "note: bands 1:1: trace condition: ∫tr g/2π = " in result.stderr
    with np.load(tmp_path / "map.npz") as found:
        assert found["k"].shape == (4, 4, 3)
        assert np.allclose(found["k"][0, 0], [0.125, 0.125, 0])
        zone = (2 * np.pi) ** 2 / (2.46**2 * np.sqrt(0.75))
        assert np.isclose(found["curvature"].mean() * zone, -2 * np.pi)
        assert (np.linalg.eigvalsh(found["metric"]) > 0).all()


def test_a_closed_gap_is_one_line_with_its_k(run, tmp_path):
    path = haldane(M=3**1.5 * 0.1).write(tmp_path / "x.h5")
    done = run("chern", path, "--mesh", "6", "6", "-o", tmp_path / "y.h5", check=False)
    done.assert_one_line_error()
    assert "closes at k = (0.33333, 0.66667, 0.00000)" in done.stderr
    assert not (tmp_path / "y.h5").exists()


def test_wrong_usage(invoke, tmp_path):
    path = haldane().write(tmp_path / "x.h5")
    assert invoke("chern", path, path, "-o", tmp_path / "y.h5").exit_code == 2
    assert invoke("chern", path, "--bands", "0:3").exit_code == 2
