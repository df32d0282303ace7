"""Moon–Koshino twisted bilayer graphene: levels near 0.79 eV against independent ones, and times.

``python tests/bench/bench_tb.py --folder WORK [--case "1.050 rigid"]``. Without --case all three:
2.005° (3268 atoms), 1.050° (11,908 atoms) rigid and corrugated. Prints the largest deviation.
"""

import argparse
import os
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "support"))

from graphene_levels import CASES, POINTS, expected, found


def command(*words):
    """Run a command; return its seconds and its peak memory in MB."""
    begin = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "moireio", *words])
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, words
    return time.perf_counter() - begin, usage.ru_maxrss / 1024


def main():
    """Print a line for every case and k."""
    import moireio

    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--case", choices=list(CASES), action="append")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    for case in options.case or CASES:
        name = os.path.join(options.folder, case.replace(" ", "-"))
        twist, made = f"{name}.h5", f"{name}-h.h5"
        command("build-twist", "graphene", *CASES[case]["build"], "-o", twist, "-q", "--force")
        words = ["-m", "moon-koshino", "--storage", "full", "-o", made, "-q", "--force"]
        seconds, memory = command("tb-h", twist, *words)
        with moireio.open(made) as file:
            hoppings = len(file.hamiltonian.pairs) - len(file.structure)
            assert (len(file.structure), hoppings) == (
                CASES[case]["atoms"],
                CASES[case]["hoppings"],
            )
            print(f"{case}: {hoppings} hoppings, tb-h {seconds:.1f} s, {memory:.0f} MB", flush=True)
            worst = 0.0
            for point in POINTS:
                begin = time.perf_counter()
                gap = np.abs(found(file, point, options.threads) - expected(case, point)).max()
                worst = max(worst, gap)
                seconds = time.perf_counter() - begin
                print(f"  {point}: largest deviation {gap:.1e} eV, {seconds:.0f} s", flush=True)
        print(f"{case}: largest deviation {worst:.1e} eV", flush=True)


if __name__ == "__main__":
    main()
