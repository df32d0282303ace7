"""Programs in folders: claimed, recorded, stopped."""

import os
import sys
import time
from pathlib import Path

import pytest

from moireio.errors import MissingFileError, MoireioError
from moireio.runtime.jobs import Run, is_claimed, read_record, run_all


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path)


def _python(code):
    return [sys.executable, "-c", code]


def _wait(run):
    while not run.poll():
        time.sleep(0.01)


def test_a_run_is_claimed_and_recorded(folder):
    assert read_record(folder) == {}
    run = Run(folder, _python("import os; print(os.getcwd()); input()"))
    assert read_record(folder)["state"] == "running"
    assert is_claimed(folder)
    with pytest.raises(BlockingIOError):
        Run(folder, _python("pass"))
    _wait(run)
    assert not is_claimed(folder)
    record = read_record(folder)
    assert record["state"] == "ended"
    assert record["code"] == 1  # nothing to read from standard input
    log = Path(folder, "run.log").read_text()
    assert log.startswith(os.path.realpath(folder))


def test_a_run_that_takes_too_long_is_stopped(folder):
    run = Run(folder, _python("import time; time.sleep(60)"), timeout=0.1)
    begin = time.monotonic()
    _wait(run)
    assert time.monotonic() - begin < 30
    assert read_record(folder)["state"] == "timeout"


def test_a_program_that_is_not_there(folder):
    with pytest.raises(MoireioError, match=r"^no-such-program: cannot be started.*`command`"):
        Run(folder, ["no-such-program"])
    assert read_record(folder) == {}
    assert not is_claimed(folder)


def test_errors_of_the_preparation_are_raised_as_they_are(folder):
    def prepare():
        raise MissingFileError(path="a.dat")

    with pytest.raises(MissingFileError, match=r"^a\.dat: no such file$"):
        Run(folder, _python("pass"), prepare=prepare)


def test_many_folders(tmp_path):
    tasks = []
    for n in range(4):
        path = tmp_path / str(n)
        path.mkdir()
        tasks.append((str(path), f"in{n}.dat", n))
    busy = Run(tasks[2][0], _python("import time; time.sleep(60)"))
    prepared = []
    command = f"{sys.executable} -c 'import sys; print(sys.argv[1:])' -a"
    try:
        ended = dict(run_all(tasks, command, jobs=2, prepare=prepared.append))
    finally:
        busy.stop()
    assert ended == {path: n != 2 for path, _, n in tasks}
    assert sorted(prepared) == [0, 1, 3]
    assert (tmp_path / "1" / "run.log").read_text() == "['-a', 'in1.dat']\n"
    assert read_record(tasks[0][0])["code"] == 0


@pytest.mark.parametrize(("command", "what"), [("", "is empty"), ("a 'b", "No closing quotation")])
def test_commands_that_cannot_be_split(folder, command, what):
    with pytest.raises(MoireioError, match=f"`command`.*{what}"):
        list(run_all([(folder, "x", None)], command))
