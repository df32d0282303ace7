"""States that band keeps in the file."""

import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.linalg import eigh

import moireio
from moireio.errors import MoireioError
from moireio.solvers.registry import make_solver


@pytest.mark.parametrize("name", ["gr_ab", "hbn_soc", "o2_col"])
@pytest.mark.parametrize("container", ["h5", "zarr"])
@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_states_solve_the_problem(run, made, tmp_path, name, container, solver):
    """H ψ = E S ψ with the matrices summed directly from the blocks, and ψᴴSψ = 1."""
    out = tmp_path / f"b.{container}"
    words = ["--bands", "6", "--energy", "-4", "-n", "5", "--solver", solver]
    words += ["-p", "GM" if name != "o2_col" else "GX"]
    run("band", made[name], *words, "--states", "-o", out)
    run("h5-validate", out)
    assert "with states" in run("h5-info", out).text
    with moireio.open(str(out)) as file:
        bands = file.bands()
        spin = file.hamiltonian.meta.spin
        s_sum = file.overlap.assembler(spinor=spin == "spinor")
        channels = [0, 1] if spin == "collinear" else [None]
        for number, channel in enumerate(channels):
            h_sum = file.hamiltonian.assembler(component=channel)
            for point, k in enumerate(bands.path.k):
                h, s = h_sum.dense(k), s_sum.dense(k)
                states, energies = file.states(point, number), bands.energies[number, point]
                assert states.shape == (len(h), 6)
                assert np.abs(h @ states - s @ states * energies).max() < 1e-6
                assert np.abs(states.conj().T @ s @ states - np.eye(6)).max() < 1e-10
        with pytest.raises(MoireioError, match="no k point 5"):
            file.states(5)


def test_no_states(run, made, tmp_path):
    out = tmp_path / "b.h5"
    run("band", made["gr_ab"], "--bands", "2", "-n", "3", "-o", out)
    with moireio.open(str(out)) as file, pytest.raises(MoireioError, match="has no states"):
        file.states(0)
    refused = run("band", made["gr_ab"], "--states", check=False)
    assert refused.code == 2
    assert "--states needs -o, --in-place or --reduced" in refused.stderr


def test_killed_and_resumed(made, tmp_path, run):
    """kill -9: energies and states of finished k points are taken from what was kept."""
    out = tmp_path / "b.h5"
    code = (
        "import time\nfrom moireio.solvers.lapack import LapackSolver\n"
        "old = LapackSolver.eigenpairs\n"
        "def slow(*a):\n    time.sleep(0.2)\n    return old(*a)\n"
        "LapackSolver.eigenpairs = slow\n"
        "from moireio.tools.band import main; main()"
    )
    words = [made["gr_ab"], "-p", "GMK", "-n", "30", "-j", "1", "--states", "-o", out]
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)])
    record, kept = tmp_path / "b.h5.part.jsonl", tmp_path / "b.h5.part.states"
    deadline = time.monotonic() + 60
    while not (record.exists() and record.read_text().count("task") >= 3):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert not out.exists()
    assert kept.exists()
    run("band", *words, "--resume")
    assert not record.exists()
    assert not kept.exists()
    with moireio.open(str(out)) as file:
        h, s = file.hamiltonian.assembler(), file.overlap.assembler()
        bands = file.bands()
        for point, k in enumerate(bands.path.k):
            states, energies = file.states(point), bands.energies[0, point]
            assert np.abs(h.dense(k) @ states - s.dense(k) @ states * energies).max() < 1e-9


def test_states_that_are_gone(made, tmp_path):
    """A record whose states were removed is not believed."""
    record = tmp_path / "r.part.jsonl"
    calls = []

    def stop(steps, total):
        calls.append(steps)
        if len(calls) == 3:
            raise KeyboardInterrupt

    with moireio.open(str(made["gr_ab"])) as file:
        path = moireio.make_path(file.structure, "GMK", 6)
        how = {"bands": 4, "energy": -4.0, "jobs": 1, "checkpoint": str(record), "states": True}
        with pytest.raises(KeyboardInterrupt):
            moireio.solve_bands(file, path, progress=stop, **how)
        (tmp_path / "r.part.states").unlink()
        again = moireio.solve_bands(file, path, resume=True, **how)
        whole = moireio.solve_bands(file, path, bands=4, energy=-4.0, jobs=1, states=True)
        assert (again.energies == whole.energies).all()
        assert np.abs(np.abs(again.states) - np.abs(whole.states)).max() < 1e-6


@pytest.mark.parametrize("solver", ["dense", "sparse"])
def test_overlap_cutoff(run, made, tmp_path, solver):
    """A cutoff above some eigenvalues of graphene's S: as the eigenvectors above it give."""
    out, cutoff = tmp_path / "b.h5", 3e-3
    words = ["-p", "GMK", "-n", "5", "--solver", solver, "--overlap-cutoff", cutoff]
    few = ["--bands", "6", "--energy", "-4"] if solver == "sparse" else []
    done = run("band", made["gr_ab"], *words, *few, "--states", "-o", out)
    fewest, most, least = 99, 0, 1.0
    with moireio.open(str(out)) as file:
        bands = file.bands()
        h, s = file.hamiltonian.assembler(), file.overlap.assembler()
        for point, k in enumerate(bands.path.k):
            values, vectors = eigh(s.dense(k))
            kept = values > cutoff
            fewest, most = min(fewest, kept.sum()), max(most, (~kept).sum())
            least = min(least, values[0])
            basis = vectors[:, kept] / np.sqrt(values[kept])
            levels = eigh(basis.conj().T @ h.dense(k) @ basis, eigvals_only=True)
            found = bands.energies[0, point]
            expected = levels[bands.first_band : bands.first_band + len(found)]
            assert np.abs(found - expected).max() < 1e-8
            small = vectors[:, ~kept]
            assert np.abs(small.conj().T @ file.states(point)).max() < 1e-7
    assert most > 0
    assert f"left out up to {most} of 52 combinations of orbitals" in done.stderr
    assert f"smallest eigenvalue of S is {least:.1e}" in done.stderr
    if solver == "dense":
        assert bands.energies.shape[2] == fewest


def test_cutoff_is_not_for_slepc():
    with pytest.raises(MoireioError, match="the slepc solver has no `overlap_cutoff`"):
        make_solver("slepc", {"overlap_cutoff": 1e-6})
