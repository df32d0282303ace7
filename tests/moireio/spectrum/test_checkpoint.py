"""Interrupted runs continue from what they finished."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import moireio
from moireio.errors import MoireioError
from moireio.solvers.lapack import LapackSolver
from moireio.spectrum import checkpoint
from moireio.spectrum.checkpoint import Checkpoint


@pytest.fixture
def graphene(made):
    with moireio.open(made["gr_ab"]) as file:
        yield file, moireio.make_path(file.structure, "GMKG", 9)


def test_record_goes_on(graphene, tmp_path, monkeypatch):
    """A run that stopped in the middle goes on, with a torn last line, and ends the same."""
    file, path = graphene
    monkeypatch.setattr(checkpoint, "SHORT", 0.0)
    record = tmp_path / "a.part.jsonl"
    ticks = []

    def stop(count, total):
        ticks.append(count)
        if len(ticks) == 4:
            raise KeyboardInterrupt

    def run(**more):
        return moireio.solve_bands(file, path, bands=6, jobs=1, checkpoint=str(record), **more)

    whole = run()
    assert not record.exists()
    with pytest.raises(KeyboardInterrupt):
        run(progress=stop)
    kept = record.read_text().splitlines()
    assert len([line for line in kept if "task" in line]) == 4
    record.write_text("\n".join(kept) + '\n{"task": [0, 8], "ener')
    again = []
    solved = []
    counted = _counting(LapackSolver.eigenvalues, solved)
    monkeypatch.setattr(LapackSolver, "eigenvalues", counted)
    resumed = run(resume=True, progress=lambda count, total: again.append(count))
    assert (resumed.energies == whole.energies).all()
    assert len(solved) == len(path) - 4
    assert sum(again) == len(path)
    assert not record.exists()


def _counting(function, calls):
    def counted(self, *given):
        calls.append(given)
        return function(self, *given)

    return counted


def test_record_of_another_run(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SHORT", 0.0)
    path = str(tmp_path / "r")
    record = Checkpoint(path, {"k": 1}, False)
    record.once("window", lambda: (1, 2))
    record.add((0, 0), np.zeros(2))
    record.close(False)
    with pytest.raises(MoireioError, match="belongs to another run"):
        Checkpoint(path, {"k": 2}, True)
    again = Checkpoint(path, {"k": 1}, True)
    assert again.values == {"window": [1, 2]}
    again.close(False)
    with pytest.warns(UserWarning, match=r"interrupted run is not used \(`resume` goes on from it"):
        anew = Checkpoint(path, {"k": 2}, False)
    assert anew.values == {}
    anew.close(True)
    assert list(tmp_path.iterdir()) == []


def test_one_run_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "SHORT", 0.0)
    monkeypatch.setattr(checkpoint, "ENDING", 0.0)
    path = str(tmp_path / "r")
    late = Checkpoint(path, {"k": 1}, False)
    first = Checkpoint(path, {"k": 1}, False)
    first.add((0, 0), np.ones(2))
    for resume in (False, True):
        with pytest.raises(MoireioError, match="is being written by another run"):
            Checkpoint(path, {"k": 1}, resume)
    with pytest.raises(MoireioError, match="is being written by another run"):
        late.add((0, 0), np.zeros(2))
    late.close(True)
    first.close(False)
    with open(path, encoding="utf-8") as stream:
        assert json.loads(stream.readlines()[1])["energies"] == [1.0, 1.0]


def test_killed_band_is_resumed(made, tmp_path):
    """kill -9 in the middle; --resume does the rest, and says so by its record."""
    out = tmp_path / "bands.txt"
    code = (
        "from moireio.spectrum import checkpoint; checkpoint.SHORT = 0.0\n"
        "import time; from moireio.solvers.lapack import LapackSolver\n"
        "old = LapackSolver.eigenvalues\n"
        "def slow(*a):\n    time.sleep(0.2)\n    return old(*a)\n"
        "LapackSolver.eigenvalues = slow\n"
        "from moireio.tools.band import main; main()"
    )
    words = [made["gr_ab"], "-p", "GMK", "-n", "30", "-j", "1", "--text", str(out)]
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)])
    record = tmp_path / "bands.txt.part.jsonl"
    deadline = time.monotonic() + 60
    while not (record.exists() and record.read_text().count("task") >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    finished = sum("task" in json.loads(line) for line in record.read_text().splitlines())
    assert finished >= 3
    command = [sys.executable, "-m", "moireio", "band", *map(str, words)]
    subprocess.run([*command, "--resume"], check=True)
    assert not record.exists()
    resumed = out.read_text()
    subprocess.run([*command, "--force"], check=True)
    assert out.read_text() == resumed
