"""symmetrise-h as a user runs it."""

import json

import numpy as np
from toymodels import haldane

import moireio


def test_report_and_file(invoke, made, tmp_path):
    out, report = tmp_path / "out.h5", tmp_path / "r.json"
    done = invoke("symmetrise-h", made["hbn_soc"], "--group", "C3,T", "-o", out, "--report", report)
    assert done.exit_code == 0, done.stderr
    found = json.loads(report.read_text())
    assert [entry["name"] for entry in found["operations"]] == ["C3", "T"]
    assert {"G", "K", "K'"} <= set(found["band_shift_eV"])
    assert "C3: removed 2.95 meV at most, 0.054 meV rms" in done.stderr
    assert "note: left out, of the former H: /density" in done.stderr
    assert invoke("h5-validate", out).exit_code == 0
    chern = json.loads(invoke("c3-chern", out, "--bands", "5:12", "--json", "-q").stdout)
    worst = max(max(b["deviation"].values()) for b in chern["centres"][0]["bands"])
    assert worst < 1e-12
    with moireio.open(out) as file:
        assert file.history[-1].command == "symmetrise-h"


def test_without_the_shift_of_bands_it_streams_the_same(invoke, made, tmp_path):
    for name, words in (("a", ()), ("b", ("--bands", 0, "--memory", "1M"))):
        words = ("--group", "C3,Mz", "-o", tmp_path / f"{name}.zarr", *words)
        assert invoke("symmetrise-h", made["hbn_soc"], *words).exit_code == 0
    with moireio.open(tmp_path / "a.zarr") as a, moireio.open(tmp_path / "b.zarr") as b:
        for name in ("hamiltonian", "overlap", "position"):
            n = len(a.structure)
            one, two = a.operator(name).rows(0, n), b.operator(name).rows(0, n)
            assert np.abs(one - two).max() < 1e-13


def test_to_standard_output_and_in_place(run, invoke, tmp_path):
    path = haldane().write(tmp_path / "x.h5")
    (tmp_path / "y.h5").write_bytes(run("symmetrise-h", path, "--group", "C3").stdout)
    found = invoke("c3-chern", tmp_path / "y.h5", "--bands", "1:1", "--json")
    assert json.loads(found.stdout)["centres"][0]["chern_mod3"] == -1
    assert invoke("symmetrise-h", path, "--group", "C3", "--in-place", "-q").exit_code == 0
    with moireio.open(path) as file:
        assert file.history[-1].command == "symmetrise-h"


def test_nothing_is_written_where_h_would_change_too_much(invoke, tmp_path):
    path = haldane(t2=0.1).write(tmp_path / "x.h5")
    for words in ((), ("--bands", 0)):
        done = invoke("symmetrise-h", path, "-o", tmp_path / "y.h5", *words)
        assert done.exit_code == 1
        (line,) = done.stderr.strip().splitlines()
        assert "averaging would change H by 0.1 eV, which breaks" in line
        assert "--max-change" in line
        assert not (tmp_path / "y.h5").exists()
