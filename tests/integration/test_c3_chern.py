"""c3-chern as a user runs it."""

import json

import numpy as np
import pytest
from toymodels import haldane, kane_mele

import moireio


def test_table_json_and_the_file(invoke, tmp_path):
    path = haldane(M=0.3).write(tmp_path / "x.h5")
    done = invoke("c3-chern", path, "--bands", "v1")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert "counter-clockwise" in lines[0]
    assert sum(line == "# C = -1 mod 3 of all" for line in lines) == 3
    found = json.loads(invoke("c3-chern", path, "--bands", "v1", "--json").stdout)
    assert [c["chern_mod3"] for c in found["centres"]] == [-1] * 3
    assert found["centres"][0]["bands"][0]["n"].keys() == {"G", "K", "K'"}
    several = json.loads(
        invoke("c3-chern", path, "--bands", "1:1", "--bands", "c1", "--json").stdout
    )
    assert [entry["bands"] for entry in several] == [[1, 1], [2, 2]]
    out = tmp_path / "out.h5"
    assert invoke("c3-chern", path, "--bands", "1:1", "--bands", "2:2", "-o", out).exit_code == 0
    with moireio.open(out) as file:
        kept = file.result("symmetry")
        assert kept.first_band == 1
        assert file.result("symmetry-bands-2-2").first_band == 2
        assert np.abs(kept.deviation).max() < 1e-12
        assert [e.command for e in file.history][-1] == "c3-chern"
    assert "C3 at Γ, K and K', bands 1 to 1" in invoke("h5-info", out).stdout
    assert invoke("h5-validate", out).exit_code == 0


def test_in_a_pipe(run, invoke, tmp_path):
    path = kane_mele(rashba=0).write(tmp_path / "x.h5")
    piped = run("c3-chern", path, "--bands", "1:2", "-o", "-", "--json")
    assert json.loads(piped.stderr)["centres"][0]["chern_mod3_up"] == -1
    (tmp_path / "y.h5").write_bytes(piped.stdout)
    again = invoke("c3-chern", tmp_path / "y.h5", "--bands", "1:2")
    assert "# C = 0 mod 3 of all, -1 of ↑, 1 of ↓" in again.stdout


def test_a_series(invoke, tmp_path):
    names = []
    for M in (0.3, 0.4, 0.7):
        names.append(haldane(M=M).write(tmp_path / f"m{M}.h5"))
    words = ["--bands", "v1", "--find-transition"]
    done = invoke("c3-chern", *names, *words)
    assert done.exit_code == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert [row.split()[1] for row in rows] == ["-1", "-1", "0"]
    changes = [line for line in done.stdout.splitlines() if line.startswith("# between")]
    assert len(changes) == 1
    assert changes[0].startswith("# between m0.4.h5 and m0.7.h5: n at K")
    found = json.loads(invoke("c3-chern", *names, *words, "--json").stdout)
    assert [len(entry.get("transitions", [])) for entry in found] == [0, 0, 1]
    picture = tmp_path / "c.png"
    assert invoke("c3-chern", *names, "--bands", "v1", "--plot", picture).exit_code == 0
    assert picture.stat().st_size > 2000


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--bands", "3:4"], "there are 2 bands"),
        (["--resume"], "nothing is kept"),
        (["--find-transition"], "needs several files"),
    ],
)
def test_refusals(invoke, tmp_path, words, text):
    path = haldane().write(tmp_path / "x.h5")
    done = invoke("c3-chern", path, *words)
    assert done.exit_code in (1, 2)
    assert text in done.stderr


def test_a_strained_cell_is_refused_in_one_line(invoke, tmp_path):
    path = haldane(strain=0.01).write(tmp_path / "x.h5")
    done = invoke("c3-chern", path, "--bands", "v1")
    assert done.exit_code == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith("error: ")
    assert "no threefold axis" in line
