"""Small inputs: seconds of CPU that whole commands of two versions take, in turn.

``python tests/bench/bench_starts.py OLD NEW WORK [--rounds N] [--only WORDS]``: OLD and NEW are
folders with the commands (``.venv/bin``), WORK is a new folder, in which the inputs are made with
NEW. The least of all rounds counts; bytecode is cached by a first run of each command.
"""

import argparse
import os
import resource
import subprocess
import time
from pathlib import Path

SCFOUT = Path(__file__).parent.parent / "data" / "gr_ab.scfout"
INPUTS = [
    ["build-twist", "graphene", "--index", "2", "1", "-o", "s2.h5"],
    ["build-twist", "graphene", "--index", "10", "9", "-o", "s10.h5"],
    ["overlap", "s2.h5", "-o", "o2.h5"],
    ["overlap", "s10.h5", "-o", "o10.h5"],
    ["predict-h", "o2.h5", "-o", "h2.h5"],
]
BAND = "band h2.h5 -p GMKG -n 2 --bands 4 --solver dense --text t.txt --force -q -j 1"
COMMANDS = {
    "band --help": ["band", "--help"],
    "openmx2h5, 8 atoms": ["openmx2h5", str(SCFOUT), "-o", "x.h5", "--force", "-q"],
    "h5-info, 28 atoms": ["h5-info", "o2.h5"],
    "band, dense, 4 k, 28 atoms": BAND.split(),
    "overlap, 28 atoms": ["overlap", "s2.h5", "-o", "x.h5", "--force", "-q"],
    "predict-h, 28 atoms": ["predict-h", "o2.h5", "-o", "x.h5", "--force", "-q"],
    "predict-h, 1084 atoms": ["predict-h", "o10.h5", "-o", "x.h5", "--force", "-q"],
}


def run(folder, words, work, environment):
    """Run a command; return its seconds of CPU, and those on the clock."""
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    whole = [str(Path(folder).resolve() / words[0]), *words[1:]]
    subprocess.run(whole, cwd=work, env=environment, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used, time.perf_counter() - begin


def main():
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("old")
    parser.add_argument("new")
    parser.add_argument("work")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--only", default="", help="commands with this in their names")
    given = parser.parse_args()
    os.mkdir(given.work)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    for words in INPUTS:
        run(given.new, words, given.work, environment)
    print("| command | before, s of CPU | now | ratio | before, s on the clock | now |")
    print("|---|---|---|---|---|---|")
    for name, words in COMMANDS.items():
        if given.only not in name:
            continue
        best = {}
        for _ in range(given.rounds + 1):
            for version in (given.old, given.new):
                best.setdefault(version, []).append(run(version, words, given.work, environment))
        old, new = (
            [min(c) for c in zip(*best[v][1:], strict=True)] for v in (given.old, given.new)
        )
        print(
            f"| {name} | {old[0]:.2f} | {new[0]:.2f} | {new[0] / old[0]:.2f} | {old[1]:.2f} "
            f"| {new[1]:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
