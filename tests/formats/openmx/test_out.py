"""How a calculation of OpenMX ended, from the files that it left."""

import os
import shutil
import time

import pytest

from moireio.formats.openmx import out


@pytest.fixture
def folder(tmp_path, data):
    for suffix in ("dat", "out", "scfout"):
        shutil.copy(data / f"gr_ab.{suffix}", tmp_path)
    return tmp_path


def test_the_history_of_a_real_run(data):
    history = out.convergence(str(data / "gr_ab.out"))
    assert history.steps > 5
    assert history.change < 1e-6
    assert history.complete


def test_a_whole_and_converged_run_is_done(folder):
    assert out.outcome(str(folder), "gr_ab").state == "done"


def test_a_run_that_used_all_steps_has_failed(folder):
    path = folder / "gr_ab.dat"
    steps = out.convergence(str(folder / "gr_ab.out")).steps
    lines = [n for n in path.read_text().splitlines() if "scf.maxIter" not in n]
    lines = [n for n in lines if "scf.criterion" not in n]
    path.write_text("\n".join([*lines, f"scf.maxIter {steps}", "scf.criterion 1e-30", ""]))
    result = out.outcome(str(folder), "gr_ab")
    assert result.state == "failed"
    assert f"not converged after {steps} steps" in result.reason


def test_what_is_missing_or_cut_short(folder):
    with open(folder / "gr_ab.scfout", "r+b") as stream:
        stream.truncate(10_000)
    assert "cut short" in out.outcome(str(folder), "gr_ab").reason
    out.remove_results(str(folder), "gr_ab")
    assert out.outcome(str(folder), "gr_ab").state == "missing"
    (folder / "gr_ab.dat").unlink()
    assert out.outcome(str(folder), "gr_ab").reason.startswith("gr_ab.dat is gone")


def test_no_history_is_no_convergence(tmp_path):
    (tmp_path / "x.out").write_text("nothing of the kind\n")
    assert out.convergence(str(tmp_path / "x.out")) == out.History(0, float("inf"), False)


STEPS = "".join(f"   SCF=  {n}  NormRD=  1.0  Uele=  -0.{n}\n" for n in range(1, 5))


@pytest.mark.parametrize(
    ("text", "state", "reason"),
    [
        (STEPS, "running", ""),
        (STEPS + "   SCF=  5  NormRD=  1.0  Uele=  -", "running", ""),
        (STEPS + "   SCF=  5  Norm", "running", ""),
        ("", "running", ""),
        (
            "SCF= 2  NormRD= 1.0  Uele= -0.5\n",
            "failed",
            "gr_ab.out: its history begins with step 2",
        ),
        (STEPS.replace("-0.2", "-0.x"), "failed", "gr_ab.out: line 2 is no step of a self-cons"),
        (STEPS.replace("=  3", "=  7"), "failed", "gr_ab.out: step 2 is followed by step 7"),
        (STEPS.replace("SCF=  3", "SCF=  " + "3" * 5000), "failed", "gr_ab.out: line 3 is no step"),
        (STEPS + "\0" * 40, "failed", "gr_ab.out: is no text: byte "),
    ],
)
def test_outputs_that_are_cut_short_or_damaged(folder, text, state, reason):
    """Of a run that no lock shows: the file still grows, or names what is wrong with it."""
    (folder / "gr_ab.out").write_text(text)
    result = out.outcome(str(folder), "gr_ab")
    assert result.state == state
    assert result.reason.startswith(reason)


def test_an_output_that_ended_long_ago(folder):
    """It does not grow any more: interrupted, unless it had converged."""
    old = time.time() - 2 * out.RECENT
    for text, state in ((STEPS, "interrupted"), (STEPS + STEPS.replace("-0.4", "-0.3"), "done")):
        (folder / "gr_ab.out").write_text(text)
        for suffix in ("out", "scfout"):
            os.utime(folder / f"gr_ab.{suffix}", (old, old))
        result = out.outcome(str(folder), "gr_ab")
        assert result.state == state
    assert result.reason == ""


def test_energies_that_are_not_finite(folder):
    (folder / "gr_ab.out").write_text(STEPS.replace("-0.4", "nan") + "Total Computational Time\n")
    path = folder / "gr_ab.dat"
    path.write_text("scf.maxIter 4\n" + path.read_text())
    assert "not converged after 4 steps" in out.outcome(str(folder), "gr_ab").reason


@pytest.mark.parametrize("suffix", ["out", "scfout", "dat"])
def test_a_folder_where_a_file_belongs(folder, suffix):
    path = folder / f"gr_ab.{suffix}"
    path.unlink()
    path.mkdir()
    result = out.outcome(str(folder), "gr_ab")
    assert (result.state, "Is a directory" in result.reason) == ("failed", True)


def test_an_input_that_is_damaged(folder):
    path = folder / "gr_ab.dat"
    path.write_text("scf.maxIter many\n" + path.read_text())
    result = out.outcome(str(folder), "gr_ab")
    assert (
        result.reason == "gr_ab.dat: line 1: scf.maxIter: 'many' stands where a number is expected"
    )
