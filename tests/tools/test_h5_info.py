"""``h5-info``: one file, several files, and those that cannot be read."""

import json
import shlex

import pytest

ENERGIES = "Fermi level -3.9464 eV, VBM -6.3"


@pytest.fixture(scope="module")
def solved(made, tmp_path_factory, run):
    """A file with bands, whose command line needs quotes."""
    path = tmp_path_factory.mktemp("info") / "b.h5"
    run("band", made["hbn_soc"], "-p", "0,0,0 K=0.333,0.333,0", "-n", 3, "-o", path)
    return path


def test_the_history_shows_command_lines(invoke, made, solved):
    text = invoke("h5-info", solved).stdout
    words = ["band", str(made["hbn_soc"]), "-p", "0,0,0 K=0.333,0.333,0", "-n", "3", "-o"]
    assert f"             $ {shlex.join([*words, str(solved)])}\n" in text


def test_bands_show_their_edges(invoke, solved):
    (line,) = [n for n in invoke("h5-info", solved).stdout.splitlines() if "VBM" in n]
    assert line.startswith(" " * 13 + "Fermi level -3.9464 eV, VBM ")
    assert line.endswith(" eV on this path")
    bands = json.loads(invoke("h5-info", solved, "--json").stdout)["results"]["bands"]
    assert bands["gap"] == pytest.approx(bands["cbm"] - bands["vbm"])
    assert bands["gap"] > 4
    assert bands["vbm"] < bands["fermi"] < bands["cbm"]


def test_several_files_are_a_list(invoke, made, solved):
    one = json.loads(invoke("h5-info", solved, "--json").stdout)
    assert one["formula"] == "BN"
    done = invoke("h5-info", solved, made["gr_ab"], "--json")
    first, second = json.loads(done.stdout)
    assert first == one
    assert second["formula"] == "C4"
    text = invoke("h5-info", solved, made["gr_ab"]).stdout
    assert text.index("BN, 2 atoms") < text.index("C4, 4 atoms")


def test_one_that_cannot_be_read_does_not_hide_the_others(invoke, data, made, tmp_path):
    (tmp_path / "empty.h5").touch()
    done = invoke("h5-info", tmp_path / "empty.h5", data / "gr_ab.scfout", made["gr_ab"], "--json")
    assert done.exit_code == 1
    assert [entry["formula"] for entry in json.loads(done.stdout)] == ["C4"]
    first, second = done.stderr.splitlines()
    assert first.startswith(f"error: {tmp_path}/empty.h5: is empty")
    assert second.endswith(f"(openmx2h5 {data}/gr_ab.scfout | h5-info)")


def test_nothing_in_a_file_reaches_the_terminal_as_a_control_character(invoke, made, tmp_path):
    import moireio

    with moireio.open(made["gr_ab"]) as file, moireio.create(tmp_path / "x.h5", base=file) as out:
        out.history("band\x1b[2J", ["a\nb"])
    text = invoke("h5-info", tmp_path / "x.h5").stdout
    assert "\x1b" not in text
    assert "band�[2J" in text
    assert text.splitlines()[-1].startswith("             $ ")
