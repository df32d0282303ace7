"""Time of ``--help`` of every command: least and median of ten processes.

Rerun: python tests/bench/bench_help.py
"""

import statistics
import subprocess
import sys
import time


def main():
    from moireio.tools.main import COMMANDS

    for name in COMMANDS:
        times = []
        for _ in range(10):
            begin = time.perf_counter()
            words = [sys.executable, "-m", "moireio", name, "--help"]
            subprocess.run(words, check=True, capture_output=True)
            times.append(time.perf_counter() - begin)
        print(f"{name:<12} {min(times):.2f} s, median {statistics.median(times):.2f} s")


if __name__ == "__main__":
    main()
