"""How a calculation of OpenMX ended, from the files that it left."""

import shutil

import pytest

from moireio.formats.openmx import out


@pytest.fixture
def folder(tmp_path, data):
    for suffix in ("dat", "out", "scfout"):
        shutil.copy(data / f"gr_ab.{suffix}", tmp_path)
    return tmp_path


def test_the_history_of_a_real_run(data):
    steps, change = out.convergence(str(data / "gr_ab.out"))
    assert steps > 5
    assert change < 1e-6


def test_a_whole_and_converged_run_is_done(folder):
    assert out.outcome(str(folder), "gr_ab").state == "done"


def test_a_run_that_used_all_steps_has_failed(folder):
    path = folder / "gr_ab.dat"
    steps, _ = out.convergence(str(folder / "gr_ab.out"))
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
    assert out.convergence(str(tmp_path / "x.out")) == (0, float("inf"))
