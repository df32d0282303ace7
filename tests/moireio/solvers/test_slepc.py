"""SLEPc under MPI against LAPACK; its processes start, fail and end as they should."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from copies import Copies
from helpers import overlap_like, random_operator, random_system
from scipy.linalg import eigh

import moireio
from moireio.errors import MoireioError
from moireio.operators.bloch import BlochSum
from moireio.runtime.workdirs import _live
from moireio.solvers import search, slepc_link
from moireio.solvers.base import EigenProblem
from moireio.solvers.registry import make_solver
from moireio.spectrum.problems import SolverChoice

ROOT = Path(__file__).parents[3]
WORDS = ["mpirun", "-n", "2"]
if hasattr(os, "geteuid") and os.geteuid() == 0:
    WORDS += ["--allow-run-as-root"]
LAUNCHER = " ".join(
    [*WORDS, "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
)


@pytest.fixture(scope="module")
def launcher():
    why = slepc_link.missing(LAUNCHER)
    if why:
        pytest.skip(f"SLEPc under MPI is absent: {why}")
    return LAUNCHER


@pytest.fixture(scope="module")
def engine(launcher):
    solver = make_solver("slepc", {"launcher": launcher})
    yield solver
    solver.close()


@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_same_levels(engine, spin):
    """Windows anywhere in the spectrum, complex and real k, with and without an overlap."""
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    h, _ = random_operator(1, sizes, spin=spin)
    s, _ = overlap_like(1, sizes)
    hk, sk = BlochSum.from_source(h), BlochSum.from_source(s, spinor=spin == "spinor")
    for k, other in (([0.1, 0.3, 0], sk), ([0.1, 0.3, 0], None), ([0, 0.5, 0], sk)):
        problem = EigenProblem(hk, other, k)
        H = hk.dense(k)
        S = np.eye(len(H)) if other is None else other.dense(k)
        levels = eigh(H, S, eigvals_only=True)
        for window in ((0, 2), (3, 6), (len(H) - 2, len(H) - 1), (0, len(H) - 1)):
            found, vectors = engine.eigenpairs(problem, window)
            assert np.abs(found - levels[window[0] : window[1] + 1]).max() < 1e-11
            assert np.abs(H @ vectors - S @ vectors * found).max() < 1e-9
            gram = vectors.conj().T @ S @ vectors
            assert np.abs(gram - np.eye(len(found))).max() < 1e-12
        for n in (1, 5):
            assert engine.count_below(problem, (levels[n - 1] + levels[n]) / 2) == n


@pytest.mark.parametrize("copies", [2, 10])
@pytest.mark.parametrize("k", [[0.1, 0.2, 0.0], [0.5, 0.0, 0.0]])
def test_degenerate_levels(engine, copies, k):
    """Every copy of a level is found, in any window."""
    structure, basis = random_system(2)
    sizes = basis.sizes(structure)
    hk = BlochSum.from_source(random_operator(2, sizes)[0])
    sk = BlochSum.from_source(overlap_like(2, sizes)[0])
    levels = np.repeat(eigh(hk.dense(k), sk.dense(k), eigvals_only=True), copies)
    problem = EigenProblem(Copies(hk, copies), Copies(sk, copies), k)
    middle = copies * (hk.n_orbitals // 2)
    for window in ((middle - 3, middle + 4), (middle + copies // 2,) * 2, (0, 1)):
        found, vectors = engine.eigenpairs(problem, window)
        assert np.abs(found - levels[window[0] : window[1] + 1]).max() < 1e-11
        gram = vectors.conj().T @ engine._matrices[1] @ vectors
        assert np.abs(gram - np.eye(len(found))).max() < 1e-12


class Dense:
    """A Bloch sum with one large block, the same at every k."""

    def __init__(self, matrix):
        self._matrix, self.n_orbitals = matrix, len(matrix)

    def upper_pattern(self):
        rows, columns = np.triu_indices(self.n_orbitals)
        return np.searchsorted(rows, np.arange(self.n_orbitals + 1)), columns

    def upper_values(self, k):
        return self._matrix[np.triu_indices(self.n_orbitals)]


@pytest.mark.parametrize("dtype", [float, complex])
def test_counts_of_a_large_block(engine, dtype):
    """Every rank's part of the factors is counted."""
    rng = np.random.default_rng(0)
    n = 700 if dtype is complex else 1400
    a = rng.normal(size=(n, n)) + (1j * rng.normal(size=(n, n)) if dtype is complex else 0)
    a = a + a.conj().T
    levels = np.linalg.eigvalsh(a)
    problem = EigenProblem(Dense(a), None, [0.1, 0.2, 0.0])
    for n in (10, len(a) // 2, len(a) - 7):
        assert engine.count_below(problem, levels[n - 1 : n + 1].mean()) == n


def test_a_shift_again(engine):
    """Where nothing is left to be factorised, no rank falls behind the commands."""
    problem = EigenProblem(Dense(np.diag(np.arange(8.0))), None, [0.0, 0.0, 0.0])
    assert {engine.count_below(problem, 2.5) for _ in range(100)} == {3}


@pytest.mark.parametrize("name", ["gr_ab", "hbn_soc", "o2_col"])
def test_real_files(made, name, launcher):
    before = set(_live)
    with moireio.open(made[name]) as file:
        path = moireio.make_path(file.structure, "GMKG" if name != "o2_col" else "GX", 5)
        dense, own = (
            moireio.solve_bands(file, path, bands=8, solver=SolverChoice(s, options=o))
            for s, o in (("dense", {}), ("slepc", {"launcher": launcher}))
        )
        assert own.first_band == dense.first_band
        assert np.abs(own.energies - dense.energies).max() < 1e-9
    assert set(_live) == before


def test_level_on_the_shift(engine):
    """A matrix that is exactly singular, and a shift that nearly hits a level."""
    from moireio.operators.blocks import OperatorMeta
    from moireio.operators.views import ArraySource
    from moireio.system.pairs import Pairs

    n = 51
    i = np.concatenate([np.arange(n - 1), np.arange(1, n)])
    j = np.concatenate([np.arange(1, n), np.arange(n - 1)])
    pairs = Pairs.sort(n, i, j, np.zeros((len(i), 3), dtype=int))[0]
    source = ArraySource(
        OperatorMeta("hamiltonian", "eV"), np.ones(n, dtype=int), pairs, np.ones(len(i))
    )
    problem = EigenProblem(BlochSum.from_source(source), None, [0, 0, 0])
    exact = np.sort(2 * np.cos(np.pi * np.arange(1, n + 1) / (n + 1)))
    for sigma in (0.0, exact[25] + 1e-9, exact[24] - 1e-6):
        engine._sigma = sigma
        assert np.abs(engine.eigenvalues(problem, (23, 28)) - exact[23:29]).max() < 1e-11
    assert engine.count_below(problem, 0.5) == (exact < 0.5).sum()


def test_bad_overlap_and_all_levels(engine, monkeypatch):
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    hk = BlochSum.from_source(random_operator(1, sizes)[0])
    bad, blocks = overlap_like(1, sizes)
    key = (0, 0, (0, 0, 0))
    blocks[key] = blocks[key] - 2 * np.eye(len(blocks[key]))
    bad = BlochSum.from_source(type(bad).from_blocks(bad.meta, sizes, blocks))
    for _ in range(2):
        with pytest.raises(MoireioError, match="not positive definite"):
            engine.eigenvalues(EigenProblem(hk, bad, [0.1, 0.3, 0]), (3, 6))
    monkeypatch.setattr(search, "SLICE", 8)
    levels = engine.eigenvalues(EigenProblem(hk, None, [0.1, 0.3, 0]))
    assert np.abs(levels - np.linalg.eigvalsh(hk.dense([0.1, 0.3, 0]))).max() < 1e-8


def test_what_is_missing(made, invoke, tmp_path):
    """One line that names it, whether or not SLEPc is there."""
    before = set(_live)

    def error(*words):
        done = invoke("band", made["gr_ab"], "-n", "2", "--bands", "2", "--solver", "slepc", *words)
        lines = done.stderr.strip().splitlines()
        assert done.exit_code == 1, done.output
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")
        return lines[0]

    assert "no-such-mpirun cannot be started" in error("--launcher", "no-such-mpirun -n 2")
    assert "No closing quotation" in error("--launcher", "mpirun 'x")
    # a launcher of one process, and a Python without slepc4py
    assert "no slepc4py" in error("--launcher", "env", "--slepc-python", sys.executable)
    assert "exit code 1" in error("--launcher", "false")
    assert "double precision" in error("--precision", "float32")
    done = invoke("band", made["gr_ab"], "--launcher", "mpirun")
    assert done.exit_code == 2
    assert set(_live) == before


def test_memory_that_does_not_suffice(launcher, tmp_path, monkeypatch):
    """What MUMPS says ends in one line; the processes end."""
    solver = make_solver("slepc", {"launcher": launcher})
    structure, basis = random_system(1)
    hk = BlochSum.from_source(random_operator(1, basis.sizes(structure))[0])
    problem = EigenProblem(hk, None, [0.1, 0.3, 0])
    answer = {"error": "MUMPS: not enough memory, INFOG(1) = -13, INFO(2) = 7"}
    solver.count_below(problem, 0.1)
    link = solver._link
    monkeypatch.setattr(link, "_wait", lambda number: answer)
    with pytest.raises(MoireioError, match=r"INFOG\(1\) = -13.*more machines"):
        solver.count_below(problem, 0.2)
    solver.close()
    assert link._process.poll() is not None
    assert not os.path.exists(link.folder)


def test_killed_worker(launcher):
    """A rank that is killed, as when memory is exhausted, is one clear line."""
    solver = make_solver("slepc", {"launcher": launcher})
    structure, basis = random_system(1)
    hk = BlochSum.from_source(random_operator(1, basis.sizes(structure))[0])
    problem = EigenProblem(hk, None, [0.1, 0.3, 0])
    solver.count_below(problem, 0.1)
    folder = solver._link.folder
    ranks = _ranks(folder)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    with pytest.raises(MoireioError, match=r"signal 9.*was memory exhausted") as raised:
        solver.eigenvalues(problem, (3, 6))
    assert "\n" not in str(raised.value)
    _wait_for(lambda: not _ranks(folder))
    assert not os.path.exists(folder)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killing_the_parent(launcher, made, tmp_path, number):
    """The processes end with the command, however it ends, and leave nothing behind."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    words = ["band", str(made["gr_ab"]), "-n", "5000", "--bands", "4", "--solver", "slepc"]
    process = subprocess.Popen(
        [sys.executable, "-m", "moireio", *words, "--launcher", launcher, "--text", "-"],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(lambda: list(temporary.glob("moireio-slepc-*/found.npy")), 120)
    finally:
        process.send_signal(number)
        process.wait()
    _wait_for(lambda: not _ranks(str(temporary)))
    if number != signal.SIGKILL:  # then the folder may stay, if the library was in the middle
        assert not list(temporary.glob("moireio-slepc-*"))


def _ranks(folder):
    """Return the processes of the worker that were given a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "mpirun" not in words[0] and any(w.startswith(folder) for w in words):
            found.append(int(path.parent.name))
    return found


def _wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
