"""train-h as a user runs it."""

import json
import os

import h5py
import numpy as np
import pytest
from killing import kill_when
from test_deephe3 import export, write_dock_folder

import moireio
from moireio.network.modelfile import read

SMALL = ["--hidden", "8x0e+4x1o+4x2e", "--blocks", "2", "--lmax", "2", "--jobs", "1"]


@pytest.fixture(scope="module")
def sets(made, tmp_path_factory):
    """Three calculations of graphene: two layouts of one, and one with another zero of energy."""
    from shutil import copy

    folder = tmp_path_factory.mktemp("sets")
    for name in ("gr_ab", "gr_ab_v38"):
        copy(made[name], folder / f"{name}.h5")
    return folder


def test_train_and_predict(run, sets, tmp_path):
    out = tmp_path / "model.h5"
    done = run("train-h", sets, "-o", out, *SMALL, "--epochs", 12, "--rate", 0.01)
    assert "1 for training, 1 for validation, 0 for test" in done.stderr
    assert "before" in done.stderr
    model = read(str(out))
    record = model.training
    assert record["epochs"] == 12
    after, before = (record[k]["validation"]["C-C"]["mean"] for k in ("after", "before"))
    assert after < before
    assert len(record["structures"]["training"]) == 1
    rows = (tmp_path / "model.h5.train" / "log.csv").read_text().splitlines()
    assert len(rows) == 13
    done = run("predict-h", sets / "gr_ab.h5", "-m", out, "-o", tmp_path / "h.h5")
    assert "surroundings up to 0.0 σ outside the training data" in done.stderr
    with moireio.open(tmp_path / "h.h5") as a, moireio.open(sets / "gr_ab.h5") as b:
        own = a.hamiltonian.full().rows(0, 4)
        level = record["mu"]["gr_ab.h5"]
        shifted = b.hamiltonian.rows(0, 4) - level * b.overlap.rows(0, 4)
        assert np.abs(own - shifted).mean() * 1e3 == pytest.approx(after, rel=0.2)


def test_transfer_and_deeph_e3(run, sets, tmp_path):
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    run("train-h", sets, "-o", first, *SMALL, "--deeph-e3", "--epochs", 2)
    assert read(str(first)).kind == "deeph-e3"
    words = ["--init-from", first, "--epochs", 2, "--jobs", 1]
    run("train-h", sets, "-o", second, *words)
    one, two = read(str(first)), read(str(second))
    assert two.training["init_from"] == "first.h5"
    ends = one.training["after"]["training"]["C-C"]["mean"]
    assert two.training["before"]["training"]["C-C"]["mean"] == pytest.approx(ends, rel=1e-4)
    export(one, tmp_path / "run")
    run("train-h", sets, "-o", tmp_path / "third.h5", "--init-from", tmp_path / "run", *words[2:])


def test_killed_and_continued(run, sets, tmp_path):
    whole, out = tmp_path / "whole.h5", tmp_path / "out.h5"
    words = ["train-h", str(sets), *SMALL, "--epochs", "40", "--rate", "0.01", "-q"]
    run(*words, "-o", whole)
    script = (
        "import moireio.formats.training as t, sys; t.SAVE_SECONDS = 0;"
        "from moireio.tools.main import main; main(sys.argv[1:])"
    )
    log = tmp_path / "out.h5.train" / "log.csv"

    def some_epochs():
        return log.exists() and len(log.read_text().splitlines()) > 8

    kill_when(script, [*words, "-o", out], some_epochs)
    assert not out.exists()
    run(*words, "-o", out)
    assert read(str(out)).digest() == read(str(whole)).digest()


def test_bad_data(run, sets, tmp_path):
    """Damaged, foreign, empty and truncated data are named, and refused or skipped."""
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "a_empty.h5").write_bytes(b"")
    whole = (sets / "gr_ab.h5").read_bytes()
    (bad / "b_short.h5").write_bytes(whole[: len(whole) // 2])
    (bad / "c_foreign.h5").write_bytes(b"not a block file at all")
    write_dock_folder(bad / "d_no_overlap")
    out = ["-o", tmp_path / "m.h5", *SMALL, "--epochs", 1]
    for name in sorted(os.listdir(bad)):
        done = run("train-h", sets, bad / name, *out, check=False)
        done.assert_one_line_error()
        assert name in done.stderr
    names = sorted(bad / n for n in os.listdir(bad))
    done = run("train-h", sets, *names, *out, "--bad-data", "skip")
    assert done.stderr.count("skipped: ") == 4
    done = run("train-h", tmp_path / "absent", *out, "--force", check=False)
    done.assert_one_line_error()


def test_other_basis(run, sets, made, tmp_path):
    """Elements with other shells are refused with the file's name."""
    other = tmp_path / "other"
    write_dock_folder(other)
    info = json.loads((other / "info.json").read_text())
    with h5py.File(other / "hamiltonian.h5") as file:
        arrays = {k: v[()] for k, v in file.items()}
    with h5py.File(other / "overlap.h5", "w") as file:
        for key, value in arrays.items():
            file[key] = value
    assert info["elements_orbital_map"]["C"] == [0, 1]
    done = run("train-h", sets, other, "-o", tmp_path / "m.h5", *SMALL, "-q", check=False)
    done.assert_one_line_error()
    assert "species C has" in done.stderr
