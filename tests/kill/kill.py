"""Kill commands that write at random moments (kill -9), and see what they leave.

    python tests/kill/kill.py [SCENARIO …] [--moments 200] [--rounds 50] [--seed 0] [--verbose]

After each kill every output is absent, the old one, or whole; then the same command runs again
(with --resume where it has that) and ends with the result of a run that nobody disturbed, and
leaves nothing else in the folder. `--rounds`: as often two commands write into the same file at
once, in each container. Exit code 1 if anything is lost.
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]


def main():
    """Run the trials and print what they show."""
    from scenarios import SCENARIOS, make_inputs
    from trials import Tally, trial, two_writers

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("scenarios", nargs="*", help="names; by default all")
    parser.add_argument("--moments", type=int, default=200, help="kills, of all scenarios together")
    parser.add_argument("--rounds", type=int, default=0, help="of two writers, in each container")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbose", action="store_true", help="print every trial")
    options = parser.parse_args()
    known = {s.name: s for s in SCENARIOS}
    unknown = set(options.scenarios) - set(known)
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(known)}")
    wanted = [known[name] for name in options.scenarios or known]
    tally, begin = Tally(options.verbose), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs"
        make_inputs(inputs, wanted if options.moments else [], options.rounds)
        for number in range(options.moments):
            trial(wanted[number % len(wanted)], inputs, Path(folder), options.seed + number, tally)
        for number in range(options.rounds):
            for name in ("tb.h5", "tb.zarr", "tb.zarr.zip"):
                two_writers(inputs / name, Path(folder), number, tally)
    tally.report()
    print(f"{time.monotonic() - begin:.0f} s")
    sys.exit(bool(tally.faults))


if __name__ == "__main__":
    main()
