"""predict-h and deeph2h5 as a user runs them."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from deeph_folders import write_folder
from e3_runs import export
from killing import kill_when
from orbitals import write_pao
from systems import small_model

import moireio
from moireio.network.modelfile import write

SHELLS = {"C": "s2p2d1", "N": "s1"}


@pytest.fixture(scope="module")
def cell(tmp_path_factory):
    """Twisted graphene with an overlap from Gaussian orbitals."""
    from click.testing import CliRunner

    from moireio.tools import build_twist, overlap

    folder = tmp_path_factory.mktemp("cell")
    write_pao(folder / "C7.0.pao")
    runner, first, out = CliRunner(), folder / "a.h5", folder / "cell.h5"
    words = ["graphene", "--index", "2", "1", "--basis", "C=C7.0-s2p2d1", "-o", str(first), "-q"]
    assert runner.invoke(build_twist.main, words).exit_code == 0
    words = [str(first), "--pao", str(folder), "-o", str(out), "-q"]
    assert runner.invoke(overlap.main, words).exit_code == 0
    return out


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.h5"
    write(str(path), small_model(local=True, dtype=torch.float32, **SHELLS))
    return path


def test_pipe(run, cell, model, tmp_path):
    done = run("predict-h", "--model", model, stdin=cell.read_bytes())
    assert "28 atoms" in done.stderr
    (tmp_path / "h.h5").write_bytes(done.stdout)
    assert run("h5-validate", tmp_path / "h.h5").code == 0
    with moireio.open(tmp_path / "h.h5") as file, moireio.open(cell) as before:
        H = file.hamiltonian
        assert (H.meta.storage, H.meta.dtype, H.meta.source) == ("upper", "float32", "model")
        assert file.electrons.count == 28 * 4
        assert (file.overlap.crc == before.overlap.crc).all()
        assert file.history[-1].command == "predict-h"
        k = H.at_k([0.1, 0.2, 0], dense=True)
        assert np.abs(k - k.conj().T).max() < 1e-12


def test_storage_precision_and_place(invoke, cell, model, tmp_path):
    from shutil import copy

    full, single, own = (tmp_path / f"{n}.h5" for n in ("full", "single", "own"))
    words = ["--storage", "full", "--precision", "float64", "-o", full]
    assert invoke("predict-h", cell, "-m", model, *words, "-q").exit_code == 0
    assert invoke("predict-h", cell, "-m", model, "-o", single, "-q").exit_code == 0
    copy(cell, own)
    assert invoke("predict-h", own, "-m", model, "--in-place", "-q").exit_code == 0
    with moireio.open(full) as a, moireio.open(single) as b, moireio.open(own) as c:
        assert a.hamiltonian.meta.dtype == "float64"
        assert a.hamiltonian.meta.storage == "full"
        one, two, three = (f.hamiltonian.at_k([0.3, 0.1, 0], dense=True) for f in (a, b, c))
        assert np.abs(one - two).max() < 1e-4 * np.abs(one).max()
        assert (two == three).all()
    assert invoke("h5-validate", full).exit_code == 0


def test_model_as_library_of_orbitals(invoke, cell, model, tmp_path):
    """The model's radial functions serve overlap; a file without them takes them over."""
    structure, out = tmp_path / "b.vasp", tmp_path / "b.h5"
    invoke("build-twist", "graphene", "--index", 2, 1, "-o", structure, "-q")
    done = invoke("overlap", structure, "--pao", model, "-o", out, "-q")
    assert done.exit_code == 0, done.output
    with moireio.open(out) as file:
        assert file.basis["C"].name == "C7.0-s2p2d1"


def test_raw_keeps_asymmetry(invoke, cell, model, tmp_path):
    done = invoke("predict-h", cell, "-m", model, "--raw", "-o", tmp_path / "raw.h5", "-q")
    assert done.exit_code == 0, done.output
    with moireio.open(tmp_path / "raw.h5") as file:
        assert file.hamiltonian.meta.residual > 1e-3
        block = file.hamiltonian.block(0, 0)
        assert np.abs(block - block.T).max() > 1e-4
    done = invoke("band", tmp_path / "raw.h5", "-q")
    assert done.exit_code == 1
    assert "/hamiltonian is not Hermitian" in done.stderr
    assert "predict-h without raw" in done.stderr


def test_deeph_e3_folder(invoke, tmp_path, cell):
    export(small_model(dtype=torch.float32, **SHELLS), tmp_path / "run")
    out = tmp_path / "h.h5"
    done = invoke("predict-h", cell, "-m", tmp_path / "run", "-o", out, "-q")
    assert done.exit_code == 0, done.output
    words = ["--e3nn", "best", "-o", tmp_path / "again.h5"]
    done = invoke("predict-h", out, "-m", tmp_path / "run", *words)
    assert done.exit_code == 0, done.output
    assert "e3nn 0.5: mean |ΔH| 0.00 meV" in done.output
    with moireio.open(out) as a, moireio.open(tmp_path / "again.h5") as b:
        assert (a.hamiltonian.rows(0, 28) == b.hamiltonian.rows(0, 28)).all()
    words = ["--plot", tmp_path / "map.png", "-o", tmp_path / "drawn.h5"]
    done = invoke("predict-h", cell, "-m", tmp_path / "run", *words)
    assert done.exit_code == 1
    assert "run: has no record of its training" in done.stderr
    assert not {"map.png", "drawn.h5"} & {path.name for path in tmp_path.iterdir()}


def test_only_some_ghosts_are_named(invoke, tmp_path, cell, monkeypatch):
    """A poor model makes dozens."""
    export(small_model(dtype=torch.float32, **SHELLS), tmp_path / "run")
    found = [f"level at -{n}.00 eV" for n in range(5)]
    monkeypatch.setattr("moireio.spectrum.ghosts.find_ghosts", lambda *_: found)
    words = ["-m", tmp_path / "run", "-o", tmp_path / "h.h5"]
    done = invoke("predict-h", cell, *words)
    assert done.exit_code == 0
    lines = [line for line in done.stderr.splitlines() if "ghost" in line]
    assert [line.rpartition("errors of H: ")[2] for line in lines[:3]] == found[:3]
    assert lines[3].endswith("2 more ghosts: the model does not serve for this structure")
    assert len(lines) == 4


def test_versions_that_contradict_the_checkpoint(invoke, tmp_path, cell):
    """Obeyed, with one warning; versions that fit are taken without a word."""
    for generation, words, warned in (
        ("0.3.5", ["--e3nn", "0.4+"], "e3nn 0.3.5, not 0.4+"),
        ("0.5", ["--e3nn", "0.4+"], None),
        ("0.5", ["--e3nn", "0.3.5"], "e3nn 0.5, not 0.3.5"),
    ):
        run = tmp_path / f"{generation}{words[1]}"
        export(small_model(dtype=torch.float32, **SHELLS), run, generation)
        done = invoke("predict-h", cell, "-m", run, *words, "-o", tmp_path / "h.h5", "--force")
        assert done.exit_code == 0, done.output
        warnings = [line for line in done.stderr.splitlines() if "was trained with" in line]
        assert len(warnings) == (warned is not None)
        assert warned is None or warned in warnings[0]


def test_killed_and_resumed(run, cell, model, tmp_path):
    """Killed without notice at some moment, the same command goes on from the work files."""
    big, out, whole = (tmp_path / f"{n}.h5" for n in ("big", "out", "whole"))
    words = ["build-twist", "graphene", "--index", 5, 4, "--basis", "C=C7.0-s2p2d1"]
    run(*words, "-o", tmp_path / "a.h5", "-q")
    run("overlap", tmp_path / "a.h5", "--pao", cell, "-o", big, "-q")
    command = ["predict-h", big, "-m", model, "--memory", "1k", "--jobs", 1]
    run(*command, "-o", whole, "-q")
    script = (
        "import sys, moireio.network.inference.passes as p;"
        "p.SAVE_SECONDS = 0; p.EDGES_AT_ONCE = 300;"
        "from moireio.tools.main import main; main(sys.argv[1:])"
    )
    journal = tmp_path / "out.h5.work" / "journal.json"

    def in_pass_two():
        return journal.exists() and '"pass": 2' in journal.read_text(errors="replace")

    kill_when(script, [*command, "-o", out, "-q"], in_pass_two)
    assert not out.exists()
    before = json.loads(journal.read_text())
    assert before["pass"] >= 2
    # going on does not make again what the first pass left
    words = [sys.executable, "-c", script, *map(str, command), "-o", str(out), "-q"]
    nodes = journal.parent / "nodes0.pt"
    stamp = nodes.stat().st_mtime_ns
    again = (
        "import moireio.network.inference.passes as p; p.Predictor.remove_work = lambda self: None;"
    )
    again += script
    subprocess.run([*words[:2], again, *words[3:]], check=True, timeout=300)
    assert nodes.stat().st_mtime_ns == stamp
    with moireio.open(out) as a, moireio.open(whole) as b:
        gap = a.hamiltonian.rows(0, 244) - b.hamiltonian.rows(0, 244)
        assert np.abs(gap).max() < 1e-5


def test_refusals(run, cell, model, tmp_path, made):
    foreign = tmp_path / "foreign.h5"
    shells = {"N": "s2p2d1"}
    write(str(foreign), small_model(local=True, dtype=torch.float32, **shells))
    other = tmp_path / "other.h5"
    write(str(other), small_model(local=True, dtype=torch.float32, C="s1p1", N="s1"))
    bare = tmp_path / "bare.h5"
    run("build-twist", "graphene", "--index", 2, 1, "--basis", "C=C7.0-s2p2d1", "-o", bare)
    short = tmp_path / "short.h5"
    changed = small_model(local=True, dtype=torch.float32, **SHELLS)
    settings = changed.network.settings
    changed.network.settings = settings.with_(reaches=(2.0, 2.0))
    write(str(short), changed)
    cases = {
        "has C, which": [cell, "-m", foreign],
        "was trained with shells": [cell, "-m", other],
        "was trained with C7.0-s2p2d1": [made["gr_ab"], "-m", model],
        "has no /overlap, whose pairs": [bare, "-m", model],
        "no such file or folder": [cell, "-m", tmp_path / "absent"],
        "is a block file; predict-h --model takes model files": [cell, "-m", cell],
        "pairs lie beyond the cutoff": [cell, "-m", short],
        "there is no CUDA device": [cell, "-m", model, "--device", "cuda"],
    }
    if torch.cuda.is_available():
        cases.pop("there is no CUDA device")
    for message, words in cases.items():
        done = run("predict-h", *words, "-o", tmp_path / "x.h5", check=False)
        done.assert_one_line_error()
        assert message in done.stderr
        assert not (tmp_path / "x.h5").exists()


def test_deeph_folder_to_block_file(run, tmp_path):
    for spin in (False, True):
        folder, out = write_folder(tmp_path / f"{spin}", spin), tmp_path / f"{spin}.h5"
        done = run("deeph2h5", folder, "-o", out)
        assert "away from Hermitian" in done.stderr
        assert run("h5-validate", out).code == 0
        with moireio.open(out) as file:
            assert file.hamiltonian.meta.spin == ("spinor" if spin else "none")
            assert file.basis["C"].l == (0, 1)
    done = run("deeph2h5", folder, "--predicted", "-o", tmp_path / "x.h5", check=False)
    done.assert_one_line_error()
    assert "has no predicted Hamiltonian" in done.stderr
