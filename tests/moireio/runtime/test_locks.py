"""Locks end with their process, and keep others out before."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from moireio.runtime.locks import acquire, locked

HOLD = """
import sys, time
from moireio.runtime.locks import acquire
lock = acquire(sys.argv[1])
print("held", flush=True)
time.sleep(60)
"""


def hold(path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, path], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    return process


def test_a_lock_ends_with_its_process(tmp_path):
    path = str(tmp_path / "lock")
    with hold(path) as process:
        with pytest.raises(BlockingIOError):
            acquire(path)
        process.send_signal(signal.SIGKILL)
    lock = acquire(path, wait=5)
    lock.release()
    assert os.path.exists(path)


def test_a_lock_is_waited_for(tmp_path):
    path = str(tmp_path / "lock")
    first = acquire(path)
    timer = threading.Timer(0.2, first.release, [True])
    begin = time.monotonic()
    timer.start()
    second = acquire(path, wait=30)  # of a new file: the first one was removed
    assert time.monotonic() - begin > 0.15
    with pytest.raises(BlockingIOError):
        acquire(path)
    second.release(remove=True)
    assert not os.path.exists(path)


def test_an_absent_file_is_not_made_unless_asked(tmp_path):
    with pytest.raises(FileNotFoundError):
        acquire(str(tmp_path / "lock"), create=False)
    with pytest.raises(FileNotFoundError):
        acquire(str(tmp_path / "absent" / "lock"))


def test_one_at_a_time(tmp_path):
    target, inside, most = str(tmp_path / "x.h5"), [], []

    def work():
        for _ in range(10):
            with locked(target):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.001)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 40
    assert os.listdir(tmp_path) == []
