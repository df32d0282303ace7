"""Signals: what a command cleans up, and that the handlers of before come back."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moireio.runtime.signals import end_on_signals, tidy_on_signals
from moireio.runtime.workdirs import end_with_this, work_folder

NUMBERS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

TOY = """
import os, re, signal, subprocess, sys, time
from moireio.runtime.signals import end_on_signals, tidy_on_signals
from moireio.runtime.workdirs import end_with_this, work_folder

with globals()[sys.argv[1]]():
    with work_folder("w-", sys.argv[2]):
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        with end_with_this(child):
            print(child.pid, flush=True)
            if len(sys.argv) > 3:
                re.match(r"(a+)+$", "a" * 40 + "b")  # C code that runs for hours
            time.sleep(60)
"""


def _handlers():
    return [signal.getsignal(number) for number in NUMBERS]


def _send(context, number, folder, *more):
    """Send a signal to a process inside a block; return its exit code and its lines."""
    process = subprocess.Popen(
        [sys.executable, "-c", TOY, context, str(folder), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    child = int(process.stdout.readline())
    assert list(folder.iterdir())
    if more:
        time.sleep(0.3)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err.splitlines(), child


def _ends(pid):
    """Wait until a process is gone; False if it stays."""
    for _ in range(500):
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return True
        if stat.rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


@pytest.mark.parametrize("where", [(), ("in C",)])
@pytest.mark.parametrize("number", NUMBERS)
def test_a_command_of_its_own_ends_at_once(tmp_path, number, where):
    begin = time.monotonic()
    code, lines, child = _send("end_on_signals", number, tmp_path, *where)
    assert time.monotonic() - begin < 20  # the start of Python included
    assert code == -number
    assert lines == (["error: interrupted"] if number == signal.SIGINT else [])
    assert not list(tmp_path.iterdir())
    assert _ends(child)


def test_nothing_tidies_after_kill_9(tmp_path):
    """What is left then is named by the next run."""
    code, lines, _ = _send("end_on_signals", signal.SIGKILL, tmp_path)
    assert (code, lines) == (-signal.SIGKILL, [])
    assert list(tmp_path.iterdir())


def test_nohup_stays():
    script = "import signal; from moireio.runtime.signals import end_on_signals as e\n"
    script += "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    script += "with e(): signal.raise_signal(signal.SIGHUP); print('alive')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout == "alive\n"


def test_workers_do_not_speak_for_the_command(tmp_path):
    """A worker that is ended, in C, ends alone; the command goes on with its folder."""
    script = f"""
import os, re, signal, time
from moireio.runtime.signals import end_on_signals
from moireio.runtime.workdirs import work_folder

with end_on_signals(), work_folder("w-", {str(tmp_path)!r}) as folder:
    child = os.fork()
    if child == 0:
        re.match(r"(a+)+$", "a" * 40 + "b")
    time.sleep(0.3)
    os.kill(child, signal.SIGTERM)
    print(os.waitpid(child, 0)[1], os.path.isdir(folder))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == [str(int(signal.SIGTERM)), "True"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_guest_tidies_and_the_process_ends_as_it_would(tmp_path, number):
    code, lines, child = _send("tidy_on_signals", number, tmp_path)
    assert code == -number
    assert lines == []
    assert not list(tmp_path.iterdir())
    assert _ends(child)


@pytest.mark.parametrize("context", [end_on_signals, tidy_on_signals])
def test_handlers_of_before_come_back(context):
    before = _handlers()
    with context():
        assert _handlers() != before
    assert _handlers() == before
    with pytest.raises(KeyError), context():
        raise KeyError
    assert _handlers() == before


def test_handlers_of_the_caller_are_left_to_a_guest():
    calls = []
    before = signal.signal(signal.SIGTERM, lambda *_: calls.append("own"))
    try:
        with tidy_on_signals():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert calls == ["own"]


def test_ctrl_c_in_a_guest_removes_only_its_own(tmp_path):
    with work_folder("before-", str(tmp_path)) as kept:
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        with pytest.raises(KeyboardInterrupt), tidy_on_signals():  # noqa: PT012
            folder = work_folder("new-", str(tmp_path))
            made = folder.__enter__()  # and left to nobody
            tie = end_with_this(child)
            tie.__enter__()
            signal.raise_signal(signal.SIGINT)
        assert os.path.isdir(kept)
        assert not os.path.exists(made)
        assert child.wait(60) == -signal.SIGKILL


def test_another_thread_cannot_set_handlers_and_need_not():
    from threading import Thread

    calls = []

    def work():
        with tidy_on_signals(), end_on_signals():
            calls.append("ran")

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert calls == ["ran"]
