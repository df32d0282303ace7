"""Anchors of an interrupted run, and of a file, are used again."""

import os
import subprocess
import sys
import time
from collections import Counter

import numpy as np
import pytest

import moireio
from moireio.compare.hamiltonians import compare_bands
from moireio.formats.calculations import open_calculation
from moireio.solvers import registry
from moireio.solvers.sparse import SparseSolver
from moireio.spectrum import checkpoint
from moireio.spectrum.anchors import driver
from moireio.spectrum.anchors.settings import Anchoring
from moireio.spectrum.problems import SolverChoice

BANDS = 4


class Stopped(Exception):
    """Stands for a kill."""


@pytest.fixture
def solved(monkeypatch):
    """Make a small cell a large one; a list of all k points that are solved."""
    monkeypatch.setattr(registry, "SPARSE_SIZE", 100)
    monkeypatch.setattr(checkpoint, "SHORT", 0.0)
    calls, eigenpairs = [], SparseSolver.eigenpairs

    def counted(self, problem, band_range, *more):
        calls.append(problem.k)
        return eigenpairs(self, problem, band_range, *more)

    monkeypatch.setattr(SparseSolver, "eigenpairs", counted)
    return calls


def stop_after(count):
    """Return a progress that ends a run in the middle."""
    seen = []

    def progress(steps, total):
        seen.append(steps)
        if len(seen) == count:
            raise Stopped

    return progress


def test_a_run_goes_on_from_its_anchors(twisted, tmp_path, solved):
    record = str(tmp_path / "r.part.jsonl")
    with moireio.open(twisted) as file:
        path = moireio.make_path(file.structure, "GMK", 20)
        how = {"bands": BANDS, "jobs": 1, "states": True}
        whole = moireio.solve_bands(file, path, **how)
        count = len(solved)
        assert whole.accuracy.method == "anchored"
        assert count == whole.accuracy.factorisations < len(path) / 3
        solved.clear()
        with pytest.raises(Stopped):
            moireio.solve_bands(file, path, checkpoint=record, progress=stop_after(2), **how)
        assert sorted(os.listdir(tmp_path)) == [
            f"r.part.{n}" for n in ("anchors", "jsonl", "states")
        ]
        assert len(solved) == 2
        again = moireio.solve_bands(file, path, checkpoint=record, resume=True, **how)
    assert len(solved) == count
    assert os.listdir(tmp_path) == []
    assert np.abs(again.energies - whole.energies).max() < 1e-9
    assert again.accuracy.factorisations == count
    assert np.array_equal(again.accuracy.anchors, whole.accuracy.anchors)
    assert np.array_equal(again.accuracy.counted, whole.accuracy.counted)
    overlaps = np.abs(np.einsum("skbn,skcn->skbc", again.states.conj(), whole.states))
    assert np.abs((overlaps**2).sum(axis=3) - 1).max() < 1e-6


def test_points_solved_by_themselves_are_kept_too(twisted, tmp_path, solved, monkeypatch):
    """Where memory does not suffice for anchors, finished k points are not solved again."""
    monkeypatch.setattr(driver, "EXPECTED", 1e12)
    record = str(tmp_path / "r.part.jsonl")
    with moireio.open(twisted) as file:
        path = moireio.make_path(file.structure, "GM", 20)
        how = {"bands": 2, "jobs": 1, "checkpoint": record}
        with pytest.raises(Stopped):
            moireio.solve_bands(file, path, progress=stop_after(15), **how)
        bands = moireio.solve_bands(file, path, resume=True, **how)
    assert len(solved) == len(path)
    assert set(Counter(map(tuple, solved)).values()) == {1}
    assert bands.accuracy.factorisations == len(path)
    assert bands.accuracy.max_bound == 0


def test_the_tolerance_belongs_to_the_run(twisted, tmp_path, solved):
    record = str(tmp_path / "r.part.jsonl")
    with moireio.open(twisted) as file:
        path = moireio.make_path(file.structure, "GMKG", 24)
        how = {"bands": BANDS, "checkpoint": record}
        with pytest.raises(Stopped):
            moireio.solve_bands(file, path, progress=stop_after(1), jobs=1, **how)
        for anchoring in (Anchoring(tolerance=1e-6), Anchoring(direct=True)):
            choice = SolverChoice(jobs=1, anchoring=anchoring)
            with pytest.raises(moireio.MoireioError, match="belongs to another run"):
                moireio.solve_bands(file, path, solver=choice, resume=True, **how)


def test_compare_h_goes_on_in_both_hamiltonians(twisted, tmp_path, solved):
    record = str(tmp_path / "r.part.jsonl")
    with open_calculation(twisted) as a, open_calculation(twisted) as b:
        path = moireio.make_path(b.structure, "GM", 20)
        how = {"solver": SolverChoice(jobs=1), "checkpoint": record}
        stop = stop_after(len(path) + 1)  # A, and the first anchor of B
        with pytest.raises(Stopped):
            compare_bands(a, b, path, 1, progress=stop, **how)
        count = len(solved) - 1
        errors = compare_bands(a, b, path, 1, resume=True, **how)
    assert len(solved) == 2 * count < len(path)
    assert max(*errors.below, *errors.above) < 1e-8


def test_a_killed_band_is_resumed(twisted, tmp_path, solved):
    """kill -9 after the first anchor; --resume solves the others only."""
    out = tmp_path / "bands.txt"
    code = (
        "import time\nfrom moireio.solvers import registry\nregistry.SPARSE_SIZE = 100\n"
        "from moireio.spectrum import checkpoint\ncheckpoint.SHORT = 0.0\n"
        "from moireio.spectrum.anchors.record import AnchorRecord\n"
        "add = AnchorRecord.add\n"
        "def slow(*a):\n    add(*a)\n    print('anchor', flush=True)\n    time.sleep(SLEEP)\n"
        "AnchorRecord.add = slow\n"
        "from moireio.tools.band import main; main()"
    )
    words = [str(twisted), "-p", "GM", "-n", "20", "-j", "1", "--bands", "2"]
    words += ["--text", str(out)]

    def start(sleep, *more):
        script = code.replace("SLEEP", str(sleep))
        command = [sys.executable, "-c", script, *words, *more]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    process = start(60)
    begin = time.monotonic()
    assert process.stdout.readline() == "anchor\n"
    process.kill()
    process.wait()
    assert time.monotonic() - begin < 60
    assert (tmp_path / "bands.txt.part.anchors").exists()
    assert not out.exists()
    resumed = start(0, "--resume").communicate()[0].count("anchor")
    table = np.loadtxt(out)
    assert os.listdir(tmp_path) == ["bands.txt"]
    with moireio.open(twisted) as file:
        path = moireio.make_path(file.structure, "GM", 20)
        bands = moireio.solve_bands(file, path, bands=2, jobs=1)
    assert resumed == bands.accuracy.factorisations - 1 == len(solved) - 1
    assert np.abs(table[:, -2:] - bands.energies[0]).max() < 2e-6
