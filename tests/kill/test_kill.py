"""A few of the trials of ``kill.py``; the long run is by hand."""

import subprocess
import sys
from pathlib import Path

KILL = Path(__file__).with_name("kill.py")


def test_killed_at_random_moments_and_two_writers():
    scenarios = ["build-twist zip", "overlap zarr", "band in place", "band --resume"]
    words = [sys.executable, KILL, *scenarios, "--moments", "4", "--rounds", "1", "--seed", "7"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()]
    counts = {name: int(count) for count, name in lines if count.isdigit()}
    assert counts["faults"] == 0
    for container in ("h5", "zarr", "zarr.zip"):
        assert counts[f"two writers, tb.{container}: both results"] == 1
    assert counts.get("killed", 0) + counts.get("ended before the kill", 0) == 4
