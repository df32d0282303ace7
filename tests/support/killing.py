"""Processes that are killed without notice at some moment."""

import os
import signal
import subprocess
import sys
import time


def kill_when(script, words, ready):
    """Run Python code with arguments; kill it once `ready()` is true; it must not have ended."""
    process = subprocess.Popen([sys.executable, "-c", script, *map(str, words)])
    begin = time.monotonic()
    while time.monotonic() - begin < 120 and process.poll() is None and not ready():
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
