"""Time of ``--help`` of moireio and of every command: least and median of five processes.

Rerun: python tests/bench/bench_help.py
"""

import statistics
import subprocess
import sys
import time


def main():
    from moireio.tools.main import COMMANDS

    print("the interpreter alone:", seconds("-c", "pass"))
    for name in ((), *((name,) for name in COMMANDS)):
        print(f"{' '.join(name) or 'moireio':<14}", seconds("-m", "moireio", *name, "--help"))


def seconds(*words):
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return f"{min(times):.3f} s, median {statistics.median(times):.3f} s"


if __name__ == "__main__":
    main()
