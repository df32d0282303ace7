"""Processes under MPI start, answer, fail and end as they should."""

import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from mpi import slepc_launcher

from moireio.errors import MoireioError
from moireio.solvers import slepc_link
from moireio.solvers.slepc_link import Link

ROOT = Path(__file__).parents[3]
WORKER = """#!{python}
# answers as the worker does: one command by its own words, then one that fails
import json, os, sys, time
folder = sys.argv[2]
def reply(number, content):
    path = os.path.join(folder, f"reply-{{number}}.json")
    with open(path + ".new", "w") as f:
        json.dump(content, f)
    os.replace(path + ".new", path)
reply("ready", {{"processes": 1, "index": 8}})
number = 0
while True:
    try:
        with open(os.path.join(folder, f"command-{{number}}.json")) as f:
            command = json.load(f)
    except FileNotFoundError:
        time.sleep(0.01)
        continue
    if command["do"] == "end":
        break
    if command["do"] == "die":
        print("some noise")
        print("moireio-worker: {last_words}")
        sys.exit(3)
    fails = {{"error": "MUMPS: not enough memory, INFOG(1) = -13, INFO(2) = 7"}}
    reply(number, fails if command["do"] == "fail" else command)
    number += 1
"""


@pytest.fixture
def worker(tmp_path):
    """A program in the place of Python, which answers without MPI."""

    def write(last_words="failed: levels: something"):
        path = tmp_path / "worker"
        path.write_text(WORKER.format(python=sys.executable, last_words=last_words))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


@pytest.fixture(scope="module")
def launcher():
    return slepc_launcher()


def test_commands_and_answers(worker):
    """In turn; an answer that is an error is one line, and the link lives on until it is closed."""
    link = Link("env", worker())
    assert link.index == 8
    for sigma in (0.25, -1.0):
        assert link.ask("factorise", sigma=sigma) == {"do": "factorise", "sigma": sigma}
    with pytest.raises(MoireioError, match=r"INFOG\(1\) = -13.*more machines"):
        link.ask("fail")
    assert link.ask("overlap") == {"do": "overlap"}
    assert link.alive
    assert link.path("h.bin").startswith(link.folder)
    link.close()
    assert not link.alive
    assert not os.path.exists(link.folder)
    _wait_for(lambda: not _processes(link.folder))


@pytest.mark.parametrize(
    ("last_words", "remedy"),
    [
        ("no slepc4py: absent", "let `python` be one that has it"),
        ("complex: slepc4py is built for complex numbers", "PETSC_DIR of the real one"),
        ("no folder: vm does not see /tmp/x", "let TMPDIR be a folder that all machines share"),
        ("killed on signal 9 (Killed).", "was memory exhausted"),
    ],
)
def test_processes_that_end(worker, last_words, remedy):
    """Their own words in one line, with what helps; their folder goes."""
    link = Link("env", worker(last_words))
    with pytest.raises(MoireioError) as raised:
        link.ask("die")
    assert f"env: slepc's processes ended: {last_words} (" in str(raised.value)
    assert remedy in str(raised.value)
    assert not link.alive
    assert not os.path.exists(link.folder)


def test_defaults():
    assert slepc_link.default_launcher() == f"mpirun -n {len(os.sched_getaffinity(0))}"
    assert os.path.exists(slepc_link.default_python())
    assert slepc_link.split("srun -n 4 'a b'") == ["srun", "-n", "4", "a b"]
    with pytest.raises(MoireioError, match="`launcher` is empty"):
        slepc_link.split(" ")
    assert slepc_link.missing("no-such-launcher") == "there is no no-such-launcher"


def test_what_is_missing(made, invoke, tmp_path, monkeypatch):
    """One line that names it, whether or not SLEPc is there."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

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
    assert not list(tmp_path.iterdir())


def test_killed_worker(launcher):
    """A rank that is killed, as when memory is exhausted, is one clear line."""
    link = Link(launcher)
    ranks = _processes(link.folder)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    with pytest.raises(MoireioError, match=r"signal 9.*was memory exhausted") as raised:
        link.ask("overlap")
    assert "\n" not in str(raised.value)
    _wait_for(lambda: not _processes(link.folder))
    assert not os.path.exists(link.folder)


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
    _wait_for(lambda: not _processes(str(temporary)))
    if number != signal.SIGKILL:  # then the folder may stay, if the library was in the middle
        assert not list(temporary.glob("moireio-slepc-*"))


def _processes(folder):
    """Return the numbers of the processes that were given a folder."""
    numbers = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if "mpirun" not in words[0] and any(w.startswith(folder) for w in words):
            numbers.append(int(path.parent.name))
    return numbers


def _wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
