"""train-h as a user runs it."""

import dataclasses
import json
import os
import shutil

import h5py
import numpy as np
import pytest
from deeph_folders import write_dock_folder
from e3_runs import export
from killing import kill_when
from orbitals import write_pao

import moireio
from moireio.network.modelfile import read

SMALL = ["--hidden", "8x0e+4x1o+4x2e", "--blocks", "2", "--lmax", "2", "--jobs", "1"]


@pytest.fixture(scope="module")
def sets(made, tmp_path_factory):
    """Three calculations of graphene: two layouts of one, and one with another zero of energy."""
    folder = tmp_path_factory.mktemp("sets")
    for name in ("gr_ab", "gr_ab_v38"):
        shutil.copy(made[name], folder / f"{name}.h5")
    return folder


def test_train_and_predict(run, sets, tmp_path):
    out = tmp_path / "model.h5"
    done = run("train-h", sets, "-o", out, *SMALL, "--epochs", 12, "--lr", 0.01)
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
    assert "outside the training data" not in done.stderr
    expected = float(done.stderr.partition("expected |ΔH| ")[2].split()[0])
    assert expected == pytest.approx(after, rel=0.2)
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
    words = ["train-h", str(sets), *SMALL, "--epochs", "40", "--lr", "0.01", "-q"]
    run(*words, "-o", whole)
    script = (
        "import moireio.network.training.run as t, sys; t.SAVE_SECONDS = 0;"
        "from moireio.tools.main import main; main(sys.argv[1:])"
    )
    log = tmp_path / "out.h5.train" / "log.csv"

    def some_epochs():
        return log.exists() and len(log.read_text().splitlines()) > 8

    kill_when(script, [*words, "-o", out], some_epochs)
    assert not out.exists()
    run(*words, "-o", out)
    assert read(str(out)).digest() == read(str(whole)).digest()


def with_other_basis(source, target, **changes):
    """Copy a block file with a changed description of carbon's orbitals."""
    from moireio.blockfile.stream import write_target
    from moireio.system.basis import Basis

    with (
        moireio.open(source) as file,
        write_target(str(target), base=file, in_place=False, drop=("basis",)) as writer,
    ):
        writer.basis(Basis({"C": dataclasses.replace(file.basis["C"], **changes)}))


def test_bad_data(run, sets, made, tmp_path):
    """Damaged, foreign, empty and truncated data are named, and refused or skipped."""
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "a_empty.h5").write_bytes(b"")
    whole = (sets / "gr_ab.h5").read_bytes()
    (bad / "b_short.h5").write_bytes(whole[: len(whole) // 2])
    (bad / "c_foreign.h5").write_bytes(b"not a block file at all")
    write_dock_folder(bad / "d_no_overlap")
    shutil.copy(made["o2_col"], bad / "e_collinear.h5")
    with_other_basis(sets / "gr_ab.h5", bad / "f_basis.h5", name="C7.0-s2p2d1")
    with_other_basis(sets / "gr_ab.h5", bad / "g_cutoff.h5", cutoff=3.7)
    out = ["-o", tmp_path / "m.h5", *SMALL, "--epochs", 1]
    for name in sorted(os.listdir(bad)):
        done = run("train-h", sets, bad / name, *out, check=False)
        done.assert_one_line_error()
        assert name in done.stderr
    names = sorted(bad / n for n in os.listdir(bad))
    done = run("train-h", sets, *names, *out, "--bad-data", "skip")
    assert done.stderr.count("skipped: ") == 7
    done = run("train-h", tmp_path / "absent", *out, "--force", check=False)
    done.assert_one_line_error()


def test_other_basis(run, sets, made, tmp_path):
    """Elements with other shells are refused with the file's name."""
    other = tmp_path / "other"
    write_dock_folder(other)
    info = json.loads((other / "info.json").read_text())
    with h5py.File(other / "hamiltonian.h5") as file:
        arrays = {k: v[()] for k, v in file.items()}
    n = len(arrays["entries"])
    i, j = arrays["atom_pairs"][:, 3:].T
    starts = arrays["chunk_boundaries"]
    arrays["entries"] = np.zeros(n)
    for place in np.flatnonzero(i == j):
        size = int(arrays["chunk_shapes"][place, 0])
        arrays["entries"][starts[place] : starts[place + 1]] = np.eye(size).ravel()
    with h5py.File(other / "overlap.h5", "w") as file:
        for key, value in arrays.items():
            file[key] = value
    assert info["elements_orbital_map"]["C"] == [0, 1]
    done = run("train-h", sets, other, "-o", tmp_path / "m.h5", *SMALL, "-q", check=False)
    done.assert_one_line_error()
    assert "species C has" in done.stderr


def copies(sets, folder, names):
    folder.mkdir()
    for name, count in names.items():
        for n in range(count):
            shutil.copy(sets / f"{name}.h5", folder / f"{name}_{n}.h5")
    return folder


def test_processes_share_batches(run, sets, tmp_path):
    """Two processes give the weights of one, to rounding; three structures do not divide by two."""
    train = copies(sets, tmp_path / "train", {"gr_ab": 2, "gr_ab_v38": 1})
    words = ["train-h", train, "--validate", sets / "gr_ab.h5", *SMALL, "--epochs", 3]
    words += ["--batch", 2, "--precision", "float64", "--lr", 0.01]
    run(*words, "-o", tmp_path / "one.h5")
    done = run(*words, "-o", tmp_path / "two.h5", "--processes", 2)
    assert done.stderr.count("3 for training") == 1
    one, two = (read(str(tmp_path / f"{n}.h5")) for n in ("one", "two"))
    for name, value in one.network.state_dict().items():
        other = two.network.state_dict()[name]
        assert np.allclose(value, other, rtol=0, atol=1e-9), name
    ends = [m.training["after"]["training"]["C-C"]["mean"] for m in (one, two)]
    assert ends[0] == pytest.approx(ends[1])
    words = [*words, "--processes", 2, "-o", tmp_path / "bad.h5", "--epochs", 50]
    done = run(*words, "--lr", 1e9, "--clip", 0, "--precision", "float32", "-q", check=False)
    assert done.code == 1
    assert done.stderr.count("error: ") == 1
    assert "the loss is no longer finite" in done.stderr
    done = run(*words, "--batch", 1, check=False)
    done.assert_one_line_error()


def test_data_that_do_not_fit(run, sets, tmp_path):
    """Structures that are read again in every epoch give the same weights."""
    train = copies(sets, tmp_path / "train", {"gr_ab": 1, "gr_ab_v38": 1})
    words = ["train-h", train, "--validate", sets / "gr_ab.h5", *SMALL, "--epochs", 2]
    run(*words, "-o", tmp_path / "a.h5")
    done = run(*words, "-o", tmp_path / "b.h5", "--memory", "1k")
    assert "not all structures fit into memory" in done.stderr
    assert read(str(tmp_path / "a.h5")).digest() == read(str(tmp_path / "b.h5")).digest()


def test_another_division_is_another_run(run, sets, tmp_path):
    words = ["train-h", sets, "-o", tmp_path / "m.h5", *SMALL, "--deeph-e3", "-q", "--epochs"]
    run(*words, 1, "--validate", sets / "gr_ab.h5")
    run(*words, 2, "--validate", sets / "gr_ab.h5")
    done = run(*words, 3, "--validate", sets / "gr_ab_v38.h5", check=False)
    done.assert_one_line_error()
    assert "belongs to a training with other data" in done.stderr


def test_options_that_are_zero_or_too_small(run, sets, tmp_path):
    words = ["train-h", sets, "-o", tmp_path / "m.h5", *SMALL, "--epochs", 2, "-q"]
    run(*words, "--cooldown", 0, "--lr", 1e-5)
    record = read(str(tmp_path / "m.h5")).training
    assert record["plan"]["cooldown"] == 0
    assert record["epochs"] == 2
    for extra in (["--lr", 1e-5, "--min-lr", 1e-4], ["--split", 0.9, 0.9, 0.1]):
        out = ["-o", tmp_path / "n.h5"]
        run(*words, *out, *extra, check=False).assert_one_line_error()
    run(*words, "-o", tmp_path / "o.h5", "--hidden", "4x1o", check=False).assert_one_line_error()
    done = run(*words, "-o", tmp_path / "o.h5", "--hidden", "foo", check=False)
    assert done.code == 2
    assert "--hidden: 'foo' is not a representation" in done.stderr


def test_frozen_parts(run, sets, tmp_path):
    first, second = tmp_path / "first.h5", tmp_path / "second.h5"
    run("train-h", sets, "-o", first, *SMALL, "--epochs", 1)
    words = ["train-h", sets, "--init-from", first, "--epochs", 2, "--jobs", 1]
    run(*words, "-o", second, "--freeze", "blocks.0", "--freeze", "embedding")
    one, two = (read(str(p)).network.state_dict() for p in (first, second))
    moved = {name for name in one if not np.array_equal(one[name], two[name])}
    assert not any(name.startswith(("blocks.0.", "embedding")) for name in moved)
    assert any(name.startswith("blocks.1.") for name in moved)
    done = run(*words, "-o", tmp_path / "x.h5", "--freeze", "block0", "-q", check=False)
    done.assert_one_line_error()
    assert "takes blocks.0, blocks.1" in done.stderr


def test_new_elements(run, sets, shared, tmp_path):
    """A model of carbon learns of boron and nitrogen, and predicts the same for carbon."""
    first, second, bn = (tmp_path / f"{n}.h5" for n in ("first", "second", "bn"))
    run("train-h", sets, "-o", first, *SMALL, "--epochs", 1)
    run("openmx2h5", shared / "openmx/hbn_aap/hbn_aap.scfout", "-o", bn)
    run("convert-h", bn, "-o", tmp_path / "bn2.h5")
    words = [
        "train-h",
        tmp_path / "bn2.h5",
        bn,
        sets,
        "--init-from",
        first,
        "--jobs",
        1,
        "--force",
        "-o",
        second,
    ]
    run(*words, "--epochs", 0)
    assert read(str(second)).names == ("C", "B", "N")
    for name in ("first", "second"):
        run(
            "predict-h",
            sets / "gr_ab.h5",
            "-m",
            tmp_path / f"{name}.h5",
            "-o",
            tmp_path / f"h{name}.h5",
        )
    with moireio.open(tmp_path / "hfirst.h5") as a, moireio.open(tmp_path / "hsecond.h5") as b:
        gap = a.hamiltonian.full().rows(0, 4) - b.hamiltonian.full().rows(0, 4)
        assert np.abs(gap).max() < 1e-4
    run(*words[:-1], tmp_path / "third.h5", "--validate", bn, "--epochs", 12, "--lr", 0.005)
    record = read(str(tmp_path / "third.h5")).training
    for pair in ("B-B", "B-N", "N-B", "N-N"):
        before, after = (record[k]["validation"][pair]["mean"] for k in ("before", "after"))
        assert after < before


def test_tensorboard(run, sets, tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    words = ["train-h", sets, "-o", tmp_path / "m.h5", *SMALL, "--tensorboard"]
    run(*words, "--epochs", 2)
    run(*words, "--epochs", 3)
    found = events.EventAccumulator(str(tmp_path / "m.h5.train" / "tensorboard")).Reload()
    assert [e.step for e in found.Scalars("validation_loss")] == [1, 2, 3]


def test_radial_functions(run, sets, tmp_path):
    """With --pao the model brings its orbitals along, and then serves as --pao itself."""
    write_pao(tmp_path / "C6.0.pao")
    model, twisted = tmp_path / "m.h5", tmp_path / "t.h5"
    run("train-h", sets, "-o", model, *SMALL, "--epochs", 0, "--pao", tmp_path)
    run("build-twist", "graphene", "--index", 2, 1, "-o", twisted)
    run("overlap", twisted, "--pao", model, "-o", tmp_path / "s.h5")
    run("overlap", twisted, "--pao", tmp_path, "--basis", "C=C6.0-s2p2d1", "-o", tmp_path / "s2.h5")
    with moireio.open(tmp_path / "s.h5") as a, moireio.open(tmp_path / "s2.h5") as b:
        assert (a.overlap.crc == b.overlap.crc).all()
