"""Many k points: processes, memory, records of interrupted runs."""

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
from moireio.solvers import mkl
from moireio.spectrum import checkpoint as records
from moireio.spectrum import problems as kpoints
from moireio.spectrum.checkpoint import Record
from moireio.spectrum.problems import SolverChoice

needs_mkl = pytest.mark.skipif(mkl.library() is None, reason="MKL is not installed")


@pytest.fixture
def graphene(made):
    with moireio.open(made["gr_ab"]) as file:
        yield file, moireio.make_path(file.structure, "GMKG", 9)


@pytest.mark.parametrize("jobs", [1, 2])
def test_sparse_in_processes(graphene, jobs):
    file, path = graphene
    exact = moireio.solve_bands(file, path, bands=6, solver="dense")
    found = moireio.solve_bands(file, path, bands=6, solver=SolverChoice("sparse", jobs=jobs))
    assert np.abs(found.energies - exact.energies).max() < 1e-8


@needs_mkl
@pytest.mark.parametrize("how", [{"single": True}, {"prove": True}])
def test_single_precision_and_proof(graphene, how):
    file, path = graphene
    exact = moireio.solve_bands(file, path, bands=6, solver="dense")
    found = moireio.solve_bands(file, path, bands=6, solver=SolverChoice("sparse", **how))
    assert np.abs(found.energies - exact.energies).max() < 1e-8


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_window_of_energies(graphene, solver):
    """Every band that enters the window anywhere is kept, and no other."""
    file, path = graphene
    all_bands = moireio.solve_bands(file, path).energies[0]
    low, high = file.electrons.fermi - 3.0, file.electrons.fermi + 2.0
    enters = ((all_bands > low) & (all_bands < high)).any(axis=0)
    found = moireio.solve_bands(file, path, between=(low, high), solver=solver)
    first, last = np.flatnonzero(enters)[[0, -1]]
    assert found.first_band == first
    assert np.abs(found.energies[0] - all_bands[:, first : last + 1]).max() < 1e-8
    with pytest.raises(MoireioError, match="no band has energies"):
        moireio.solve_bands(file, path, between=(-1e3, -9e2), solver=solver)


@pytest.mark.parametrize("jobs", [1, 2])
def test_small_elements_left_out(graphene, jobs):
    """The correction brings energies back to within its square, and it is told."""
    file, path = graphene
    exact = moireio.solve_bands(file, path, bands=6, solver="dense").energies
    said = []
    choice = SolverChoice("sparse", jobs=jobs, drop=3e-3)
    found = moireio.solve_bands(file, path, bands=6, solver=choice, say=said.append)
    assert 1e-7 < np.abs(found.energies - exact).max() < 2e-5
    share, shift = said[0].split("left out ")[1].split(" %")[0], said[0].split()[-4]
    assert 5 < float(share) < 60
    assert np.abs(found.energies - exact).max() < 0.2 * float(shift) < 1e-3
    with pytest.raises(MoireioError, match=r"positive definite.*smaller --drop"):
        moireio.solve_bands(file, path, bands=6, solver=SolverChoice("sparse", drop=0.1))
    with pytest.raises(MoireioError, match="no --drop"):
        moireio.solve_bands(file, path, bands=6, solver=SolverChoice("dense", drop=0.3))


@needs_mkl
def test_memory_is_refused_before_anything_is_factorised(graphene, monkeypatch):
    from moireio.solvers.pardiso import PardisoFactor

    file, path = graphene
    monkeypatch.setattr(PardisoFactor, "factorise", lambda *_: pytest.fail("factorised"))
    choice = SolverChoice("sparse", memory=1e4)
    with pytest.raises(MoireioError, match=r"need about .* GB.*--precision float32"):
        moireio.solve_bands(file, path, bands=2, solver=choice, around=None)


def test_record_goes_on(graphene, tmp_path, monkeypatch):
    """A run that stopped in the middle goes on, with a torn last line, and ends the same."""
    file, path = graphene
    monkeypatch.setattr(records, "SHORT", 0.0)
    record = tmp_path / "a.part.jsonl"
    ticks = []

    def stop(count):
        ticks.append(count)
        if len(ticks) == 4:
            raise KeyboardInterrupt

    def run(**more):
        return moireio.solve_bands(file, path, bands=6, jobs=1, record=str(record), **more)

    whole = run()
    assert not record.exists()
    with pytest.raises(KeyboardInterrupt):
        run(progress=stop)
    kept = record.read_text().splitlines()
    assert len([line for line in kept if "task" in line]) == 4
    record.write_text("\n".join(kept) + '\n{"task": [0, 8], "ener')
    again = []
    solved = []
    monkeypatch.setattr(
        kpoints.EigenproblemSet,
        "_solve",
        _counting(kpoints.EigenproblemSet._solve, solved),
        raising=True,
    )
    assert (run(resume=True, progress=again.append).energies == whole.energies).all()
    assert len(solved) == len(path) - 4
    assert sum(again) == len(path)
    assert not record.exists()


def _counting(function, calls):
    def counted(self, *given):
        calls.append(given)
        return function(self, *given)

    return counted


def test_record_of_another_run(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "SHORT", 0.0)
    path = str(tmp_path / "r")
    record = Record(path, {"k": 1}, False)
    record.fact("window", lambda: (1, 2))
    record.add((0, 0), np.zeros(2))
    record.close(False)
    with pytest.raises(MoireioError, match="belongs to another run"):
        Record(path, {"k": 2}, True)
    assert Record(path, {"k": 1}, True).facts == {"window": [1, 2]}
    assert Record(path, {"k": 2}, False).facts == {}


def test_killed_band_is_resumed(made, tmp_path):
    """kill -9 in the middle; --resume does the rest, and says so by its record."""
    out = tmp_path / "bands.txt"
    code = (
        "from moireio.spectrum import checkpoint, problems; checkpoint.SHORT = 0.0\n"
        "import time; old = problems.EigenproblemSet._solve\n"
        "def slow(*a):\n    time.sleep(0.2)\n    return old(*a)\n"
        "problems.EigenproblemSet._solve = slow\n"
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
