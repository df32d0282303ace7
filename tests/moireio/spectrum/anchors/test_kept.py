"""Anchors of an interrupted run, and of a file, are used again."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import moireio
from moireio.blockfile.stream import computed_results
from moireio.compare.hamiltonians import compare_bands
from moireio.errors import MoireioError
from moireio.formats.calculations import open_calculation
from moireio.solvers import registry
from moireio.solvers.sparse import SparseSolver
from moireio.spectrum import checkpoint
from moireio.spectrum.anchors import driver, settings
from moireio.spectrum.anchors.kept import read_anchors
from moireio.spectrum.anchors.settings import Anchoring
from moireio.spectrum.choice import SolverChoice

BANDS = 4


class Stopped(Exception):
    """Stands for a kill."""


@pytest.fixture
def solved(monkeypatch):
    """Make a small cell a large one; a list of all k points that are solved."""
    monkeypatch.setattr(registry, "SPARSE_SIZE", 100)
    monkeypatch.setattr(settings, "LEAST_POINTS", 20)
    monkeypatch.setattr(checkpoint, "SHORT", 0.0)
    calls = []

    def counted(solve):
        def count(self, problem, band_range, *more):
            calls.append(problem.k)
            return solve(self, problem, band_range, *more)

        return count

    for name in ("eigenpairs", "eigenvalues"):
        monkeypatch.setattr(SparseSolver, name, counted(getattr(SparseSolver, name)))
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
        path = moireio.make_path(file.structure, "GM", 20)
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
    assert np.abs(again.energies - whole.energies).max() < 1e-7
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
            with pytest.raises(MoireioError, match="belongs to another run"):
                moireio.solve_bands(file, path, solver=choice, resume=True, **how)


def test_counts_are_not_repeated(twisted, tmp_path, solved, monkeypatch):
    """Where levels are counted at every k, an interrupted run does not count them again."""
    record, counts = str(tmp_path / "r.part.jsonl"), []
    count_below = SparseSolver.count_below

    def counted(self, problem, energy):
        counts.append(tuple(problem.k))
        return count_below(self, problem, energy)

    with moireio.open(twisted) as file:
        path = moireio.make_path(file.structure, "GM", 20)
        choice = SolverChoice(jobs=1, options={"verify_count": True})
        how = {"bands": 2, "solver": choice, "checkpoint": record}
        monkeypatch.setattr(SparseSolver, "count_below", counted)
        with pytest.raises(Stopped):
            moireio.solve_bands(file, path, progress=stop_after(15), **how)
        before = set(counts)
        counts.clear()
        bands = moireio.solve_bands(file, path, resume=True, **how)
    assert before
    assert counts
    assert not before & set(counts)
    assert (bands.accuracy.counted == bands.first_band).all()


def test_compare_h_goes_on_in_both_hamiltonians(twisted, tmp_path, solved):
    record = str(tmp_path / "r.part.jsonl")
    with open_calculation(twisted) as a, open_calculation(twisted) as b:
        path = moireio.make_path(b.structure, "GM", 20)
        how = {"solver": SolverChoice(jobs=1), "checkpoint": record}
        stop = stop_after(len(path) + 1)  # A, and the first anchor of B
        with pytest.raises(Stopped):
            compare_bands(a, b, path, 1, progress=stop, **how)
        errors = compare_bands(a, b, path, 1, resume=True, **how)
    assert len(solved) < len(path)
    assert max(Counter(map(tuple, solved)).values()) == 2  # once in A, once in B
    assert max(*errors.below, *errors.above) < 1e-8


def test_a_killed_band_is_resumed(twisted, tmp_path, solved):
    """kill -9 after the first anchor; --resume solves the others only."""
    out = tmp_path / "bands.txt"
    code = (
        "import time\nfrom moireio.solvers import registry\nregistry.SPARSE_SIZE = 100\n"
        "from moireio.spectrum.anchors import settings\nsettings.LEAST_POINTS = 20\n"
        "from moireio.spectrum import checkpoint\ncheckpoint.SHORT = 0.0\n"
        "from moireio.spectrum.anchors.record import AnchorRecord\n"
        "add = AnchorRecord.add\n"
        "def slow(*a):\n    add(*a)\n    print('anchor', *a[2].k, flush=True)\n"
        "    time.sleep(SLEEP)\n"
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
    first = process.stdout.readline()
    assert first.startswith("anchor")
    process.kill()
    process.wait()
    assert time.monotonic() - begin < 60
    assert (tmp_path / "bands.txt.part.anchors").exists()
    assert not out.exists()
    resumed = start(0, "--resume").communicate()[0]
    table = np.loadtxt(out)
    assert os.listdir(tmp_path) == ["bands.txt"]
    with moireio.open(twisted) as file:
        path = moireio.make_path(file.structure, "GM", 20)
        bands = moireio.solve_bands(file, path, bands=2, jobs=1)
    assert bands.accuracy.factorisations == len(solved)
    # from the same start Lanczos may find some more levels or fewer beyond the margin
    assert 0 < resumed.count("anchor") <= len(solved)
    assert first not in resumed
    assert np.abs(table[:, -2:] - bands.energies[0]).max() < 2e-6


@pytest.fixture(scope="module")
def kept(twisted, tmp_path_factory):
    """A file with bands and the anchors that they came from."""
    from moireio.tools import band

    out = tmp_path_factory.mktemp("kept") / "kept.h5"
    words = [str(twisted), "-q", "-p", "GM", "-n", "20", "--bands", "2", "-j", "1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "SPARSE_SIZE", 100)
        patch.setattr(settings, "LEAST_POINTS", 20)
        band.main([*words, "--keep-anchors", "-o", str(out)], standalone_mode=False)
    return out


def with_anchors(path, file):
    return SolverChoice(jobs=1, anchoring=Anchoring(anchors=read_anchors(str(path), file)))


def test_kept_anchors_are_solutions(kept):
    with moireio.open(kept) as file:
        anchors = read_anchors(str(kept), file)[0]
        accuracy = file.bands().accuracy
        assert len(anchors) == accuracy.factorisations == len(accuracy.anchors)
        assert all(anchor.responses is not None for anchor in anchors)
        h = file.hamiltonian.assembler()
        for anchor in anchors:
            levels = np.linalg.eigvalsh(h.dense(anchor.k))
            last = anchor.first + len(anchor.energies)
            assert np.abs(levels[anchor.first : last] - anchor.energies).max() < 1e-9
            residual = h.dense(anchor.k) @ anchor.states - anchor.states * anchor.energies
            assert np.abs(residual).max() < 1e-6
        assert {"anchors", "bands"} <= set(computed_results(file))


@pytest.mark.parametrize(
    ("corners", "points", "bands", "most"), [("GM", 101, 2, 1), ("MG", 33, 4, 1)]
)
def test_more_points_need_no_more_solutions(kept, solved, corners, points, bands, most):
    """Also the other way round, and with other bands: hardly any is solved, all are right."""
    with moireio.open(kept) as file:
        path = moireio.make_path(file.structure, corners, points)
        how = {"bands": bands, "solver": with_anchors(kept, file)}
        found = moireio.solve_bands(file, path, **how)
        assert found.accuracy.factorisations == len(solved) <= most
        assert found.accuracy.max_bound <= 1e-5
        h = file.hamiltonian.assembler()
        for point in (1, points // 2, points - 1):
            levels = np.linalg.eigvalsh(h.dense(path.k[point]))
            exact = levels[found.first_band : found.first_band + bands]
            errors = np.abs(found.energies[0, point] - exact)
            assert (errors <= found.accuracy.bounds[0, point] + 1e-9).all()


def test_a_few_points_and_one_far_away(kept, solved):
    """Two points need no anchors; an equivalent one, a reciprocal vector away, is known."""
    with moireio.open(kept) as file:
        path = moireio.make_path(file.structure, "GM", 3)
        moved = replace(path, k=path.k + np.array([1, -1, 0]))
        found = moireio.solve_bands(file, moved, bands=2, solver=with_anchors(kept, file))
        exact = moireio.solve_bands(file, path, bands=2, solver="dense", jobs=1)
    assert len(solved) <= 1
    assert np.abs(found.energies - exact.energies).max() <= 1e-5


def test_too_few_bands_are_not_used(kept, solved, monkeypatch):
    monkeypatch.setattr(driver, "FEWEST_BEYOND", 40)  # more than were kept
    with moireio.open(kept) as file:
        path, notes = moireio.make_path(file.structure, "GM", 20), []
        how = {"solver": with_anchors(kept, file), "note": notes.append}
        found = moireio.solve_bands(file, path, bands=12, **how)
        assert found.accuracy.factorisations == len(solved) > 0
        assert "known anchors were not used: bands beyond" in notes[0]
        notes.clear()
        moireio.solve_bands(file, path, **how)
        assert "known anchors were not used: levels are found from anchors only" in notes[0]


def test_commands_keep_anchors_and_use_them(kept, solved, invoke, tmp_path):
    out = tmp_path / "finer.h5"
    words = [kept, "-q", "-p", "GM", "-n", "50", "--bands", "2", "-j", "1", "--anchors", kept]
    done = invoke("band", *words, "--keep-anchors", "--name", "finer", "-o", out)
    assert done.exit_code == 0, done.stderr
    assert solved == []
    with moireio.open(out) as file:
        assert {"anchors", "bands", "anchors-finer", "bands-finer"} <= set(file.container.groups())
        assert len(read_anchors(str(out), file)[0]) == 2 * len(read_anchors(str(kept), file)[0])
    shown = invoke("h5-info", out).stdout
    assert "anchors-finer states of bands " in shown
    assert invoke("h5-validate", out).exit_code == 0
    words = ["-q", "-p", "GM", "-n", "30", "--below", "1", "--above", "1", "-j", "1"]
    assert invoke("flat-band", kept, *words, "--anchors", out).exit_code == 0
    assert len(solved) <= 1  # of 30, with two bands more on either side


def test_dos_uses_the_anchors_of_a_path(kept, solved, invoke, tmp_path):
    words = [kept, "-q", "--mesh", 10, 10, "--window", -0.3, 0.3, "--width", 0.1, "-j", 1]
    at_gamma, found, out = [], [], tmp_path / "dos.h5"
    for more in ([], ["--anchors", kept, "-o", out]):
        solved.clear()
        done = invoke("dos", *words, *more, "--solver", "sparse", "--json")
        assert done.exit_code == 0, done.stderr
        at_gamma.append(any(np.abs(k).max() < 1e-9 for k in solved))
        found.append(json.loads(done.stdout)["total"])
    assert at_gamma == [True, False]
    assert np.abs(np.subtract(*found)).max() < 1e-3
    with moireio.open(out) as file:
        assert str(kept) in list(file.history[-1].inputs)
    assert "needs --solver sparse" in invoke("dos", *words, "--anchors", kept).stderr


def test_chern_uses_the_anchors_of_a_path(kept, solved, invoke):
    """Bands that touch others are refused where others are, with fewer solutions."""
    counts, said = [], []
    for more in ([], ["--anchors", kept]):
        solved.clear()
        done = invoke("chern", kept, "-q", "--bands", "v1", "--mesh", 6, 6, "-j", 1, *more)
        assert done.exit_code == 1
        counts.append(len(solved))
        said.append(done.stderr)
    assert counts[1] < counts[0]
    assert said[0] == said[1]


def test_anchors_of_another_hamiltonian_are_refused(kept, twisted, invoke, tmp_path):
    other = tmp_path / "other.h5"
    assert invoke("tb-h", kept, "-q", "-m", "graphene-nn", "-o", other).exit_code == 0
    with moireio.open(other) as file:
        assert "anchors" not in file.container.groups()
    words = ["-q", "-p", "GM", "--bands", "2", "--anchors"]
    done = invoke("band", other, *words, kept)
    assert done.exit_code == 1
    assert "/anchors belongs to another structure, H or S than those of" in done.stderr
    assert "(compute the bands without --anchors, and keep new ones" in done.stderr
    done = invoke("band", other, *words, twisted)
    assert done.exit_code == 1
    assert "has no /anchors (band keeps them with --keep-anchors, of large cells)" in done.stderr


def test_options_that_exclude_anchors(kept, invoke):
    for words, text in (
        (["--anchors", kept, "--solver", "sparse"], "--anchors needs --solver auto"),
        (["--anchors", kept, "--direct"], "--anchors excludes --direct"),
        (["--keep-anchors", "-o", "x.h5", "--drop", "1e-3"], "--keep-anchors excludes --drop"),
        (["--keep-anchors"], "--keep-anchors needs -o or --in-place"),
    ):
        done = invoke("band", kept, "--bands", "2", *words)
        assert done.exit_code == 2
        assert text in done.stderr
    done = invoke("flat-band", kept, kept, "--anchors", kept)
    assert "--anchors is for one file" in done.stderr
