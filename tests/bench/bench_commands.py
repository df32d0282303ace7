"""Times of whole commands beside those of another version of moireio, alternating in one run.

Rerun: python tests/bench/bench_commands.py OTHER WORK --scfout FILE.scfout [--rounds 5]

OTHER is the Python of an environment in which the other version is installed, WORK a folder for
files. The commands: openmx2h5 of FILE, predict-h of twisted graphene at 6.0° (4732 orbitals) by the
shipped model, 12 of its bands at two k points by the sparse solver, dos on a mesh, and --help.
Every command is run once by either version before it is timed. Set OMP_NUM_THREADS.
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import time


def seconds(python, words):
    """Run a command of one version; return its seconds."""
    begin = time.perf_counter()
    command = [python, "-P", "-m", "moireio", *map(str, words)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("other")
    parser.add_argument("work")
    parser.add_argument("--scfout", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    os.makedirs(given.work, exist_ok=True)
    bare, cell, h, small, out = (
        os.path.join(given.work, f"{name}.h5") for name in ("bare", "cell", "h", "small", "out")
    )
    if not os.path.exists(h):
        seconds(given.other, ["build-twist", "graphene", "--index", 6, 5, "-o", bare, "--force"])
        seconds(given.other, ["overlap", bare, "-o", cell, "--force"])
        seconds(given.other, ["predict-h", cell, "-o", h])
        seconds(given.other, ["openmx2h5", given.scfout, "-o", small, "--force"])
    put = ["-o", out, "--force", "-q"]
    band = ["--solver", "sparse", "--bands", 12, "--path", "0.11,0.23,0 0.31,-0.07,0"]
    cases = {
        "help": ["band", "--help"],
        "openmx2h5": ["openmx2h5", given.scfout, *put],
        "predict-h, 4732 orbitals": ["predict-h", cell, *put],
        "band, sparse, 4732 orbitals": ["band", h, *band, "--points", 2, *put],
        "dos, 12 × 12": ["dos", small, "--mesh", "12x12", *put],
    }
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, ", end="")
    print(f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'not set')}, Python", end=" ")
    print(f"{platform.python_version()}, {given.rounds} rounds\n")
    print("| command | other, s (least, median) | this, s | ratio of least | ratio of medians |")
    print("|---|---|---|---|---|")
    for name, words in cases.items():
        if given.only and not any(name.startswith(start) for start in given.only):
            continue
        times = {given.other: [], sys.executable: []}
        for number in range(given.rounds + 1):
            # either goes first every other time
            for python in sorted(times, reverse=bool(number % 2)):
                spent = seconds(python, words)
                if number:
                    times[python].append(spent)
        old, new = times[given.other], times[sys.executable]
        middle = statistics.median(new) / statistics.median(old)
        print(
            f"| {name} | {min(old):.2f}, {statistics.median(old):.2f} | {min(new):.2f}, "
            f"{statistics.median(new):.2f} | {min(new) / min(old):.2f} | {middle:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
