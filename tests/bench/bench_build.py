"""Time and memory of the moiré builder: ``python tests/bench/bench_build.py``.

Every line is a process of its own, as a user starts it. Memory is the peak of the process.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time

RUNS = {
    "10 cells wide ribbon of 0.88° MoTe2 (253,140 atoms), HDF5": (
        "MoTe2 --index 38 37 --ribbon 10 -o ribbon.h5"
    ),
    "the same, extended xyz by ASE": "MoTe2 --index 38 37 --ribbon 10 -o ribbon.xyz",
    "graphene/hBN, 0 to 30°, to 2000 atoms, the best 20": (
        "graphene hBN --angle 0:30 --max-atoms 2000 --list"
    ),
    "the same, every cell": ("graphene hBN --angle 0:30 --max-atoms 2000 --list --limit 1000000"),
    "MoTe2/WSe2, 0 to 30°, to 2000 atoms, the best 20": (
        "MoTe2 WSe2 --angle 0:30 --max-atoms 2000 --list"
    ),
    "the same, every cell, strain to 1 %": (
        "MoTe2 WSe2 --angle 0:30 --max-atoms 2000 --max-strain 0.01 --list --limit 1000000"
    ),
    "graphene at 1.05°": "graphene --angle 1.05 -o tbg.h5",
    "graphene at 3.68°, 0.6 % on the upper layer": (
        "graphene --angle 3.68 --strain 2 0.006 -o hetero.h5"
    ),
    "phosphorene at 1.59°": "phosphorene --angle 1.59 -o black.h5",
    "graphene at 1.05°, picture": "graphene --angle 1.05 --plot tbg.png",
}


def main():
    """Print one line of the table for each run."""
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| run | s | MB |\n|---|---|---|")
    for title, words in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-m", "moireio", "build-twist", *words.split(), "-q"]
            begin = time.perf_counter()
            process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE)
            lines = process.stdout.read().count(b"\n")
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - begin
            assert status == 0, title
            unit = 1 if sys.platform == "darwin" else 1024
            found = f" ({lines - 1} cells)" if "--list" in words else ""
            print(f"| {title}{found} | {seconds:.1f} | {usage.ru_maxrss * unit / 1e6:.0f} |")


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
