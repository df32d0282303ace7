"""``dos`` as a user runs it."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

import moireio


def test_table_and_json(made, run):
    words = ("dos", made["gr_ab"], "--mesh", 6, 6, "--project", "shell", "--window", -30, 10)
    done = run(*words)
    assert "Fermi level -3." in done.stderr
    assert "(electrons 16)" in done.stderr
    table = np.loadtxt(done.text.splitlines())
    assert table.shape == (2001, 5)
    assert "# energy  total  s  p  d" in done.text
    step = table[1, 0] - table[0, 0]
    with moireio.open(made["gr_ab"]) as file:
        fermi = file.electrons.fermi
    assert table[table[:, 0] < fermi, 1].sum() * step == pytest.approx(16, abs=0.1)
    assert table[:, 2:].sum(axis=1) == pytest.approx(table[:, 1], abs=1e-5)
    found = json.loads(run(*words, "--json").text)
    assert np.array(found["total"])[0] == pytest.approx(table[:, 1], rel=1e-6, abs=1e-9)
    assert found["labels"] == ["s", "p", "d"]
    assert found["mesh"] == [6, 6, 1]


@pytest.mark.parametrize("options", [(), ("--vertical", "--stacked"), ("--zero", "none")])
def test_plots(tmp_path, made, invoke, options):
    for suffix, head in (("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")):
        path = tmp_path / f"x.{suffix}"
        words = ("--mesh", "2", "2", "2", "--project", "orbital", "--plot", path, *options)
        assert invoke("dos", made["o2_col"], *words).exit_code == 0
        assert path.read_bytes().startswith(head)


def test_kept_in_files(tmp_path, made, run):
    first, second = tmp_path / "a.h5", tmp_path / "b.zarr"
    run("dos", made["hbn_soc"], "--mesh", "4x4", "--project", "element,spin", "-o", first)
    run("dos", first, "--mesh", 3, 3, "--name", "three", "-o", second)
    run("dos", second, "--mesh", 2, 2, "--width", 0.3, "--in-place")
    assert run("h5-validate", second).text.endswith("valid\n")
    with moireio.open(second) as file:
        assert file.dos().mesh == (2, 2, 1)
        assert file.dos().width == 0.3
        assert file.dos("dos-three").mesh == (3, 3, 1)
        assert [e.command for e in file.history] == ["openmx2h5", *3 * ["dos"]]
    text = run("h5-info", second).text
    assert "3 × 3 × 1 k points, tetrahedron" in text
    piped = run("dos", first, "--mesh", 2, 2, "-o", "-")
    assert piped.stdout.startswith(b"\x89HDF")
    assert b"# energy" not in piped.stdout


def test_a_stored_result_is_drawn(tmp_path, made, run):
    """A file without H: its density of states is printed and drawn as it is."""
    from moireio.blockfile.stream import write_target
    from moireio.dos.solve import density_of_states
    from moireio.kspace.mesh import make_mesh

    with moireio.open(made["gr_ab"]) as file:
        dos = density_of_states(file, make_mesh(file.structure, [3, 3]))
        with write_target(str(tmp_path / "x.h5")) as writer:
            writer.structure(file.structure)
            writer.basis(file.basis)
            writer.dos(dos)
            writer.history("test")
    run("dos", tmp_path / "x.h5", "--plot", tmp_path / "x.png")
    table = np.loadtxt(run("dos", tmp_path / "x.h5").text.splitlines())
    assert table[:, 1] == pytest.approx(dos.total[0], rel=1e-6)
    run("dos", tmp_path / "x.h5", "--name", "b", check=False).assert_one_line_error()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--mesh", "4"), "2 axes are periodic"),
        (("--mesh", "4", "4", "2"), "not periodic along c"),
        (("--project", "spin"), "no spin"),
        (("--project", "colour"), "element, atom"),
        (("--mesh", "1", "1", "--method", "tetrahedron"), "--method gaussian"),
        (("--mesh", "2", "2", "--zero", "vbm", "--solver", "kpm", "--width", "1e-7"), "--width"),
        (("--mesh", "2", "2", "--window", "900", "901", "--plot", "{}/x.gif"), "png"),
    ],
)
def test_errors_are_one_line(tmp_path, made, run, words, text):
    words = [w.format(tmp_path) for w in words]
    done = run("dos", made["gr_ab"], *words, "-o", tmp_path / "x.h5", check=False)
    done.assert_one_line_error()
    assert text in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_molecule_has_no_layers(made, run):
    done = run("dos", made["o2_col"], "--project", "layer", check=False)
    done.assert_one_line_error()
    assert "the structure has no layers" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--window", "3", "2"),
        ("--width", "-1"),
        ("--width", "0.1", "--method", "tetrahedron"),
        ("--mesh", "a"),
        ("--stacked",),
        ("--zero", "top"),
    ],
)
def test_wrong_usage(made, words):
    from moireio.tools.dos import main

    result = CliRunner().invoke(main, [str(made["gr_ab"]), *words])
    assert result.exit_code == 2
