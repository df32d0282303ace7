"""Damage inputs of every reader, and report what the commands make of them.

    python tests/fuzz/fuzz.py [READER …] [--mutations 200] [--seed 0] [--only SEED] [--verbose]

A damaged file is refused in one line that names it, or does no harm. Anything else is a fault:
a traceback, a catch-all message, a crash, a hang (15 s of CPU time), more than 1 GiB, half a file,
a message without the file's name, or another result than that of the undamaged file in a part that
the format keeps twice. Exit code 1 if there is any.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "support")]


def main():
    """Run the trials and print a table of outcomes."""
    from readers import READERS
    from trials import FAULTS, run

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", help="names; by default all")
    parser.add_argument("--mutations", type=int, default=200, help="for each reader")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--only", type=int, help="this seed only")
    parser.add_argument("--verbose", action="store_true", help="print every trial")
    options = parser.parse_args()
    seeds = range(options.seed, options.seed + options.mutations)
    if options.only is not None:
        seeds = [options.only]
    unknown = set(options.readers) - {r.name for r in READERS}
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(r.name for r in READERS)}")
    n_faults = 0
    for reader in READERS:
        if options.readers and reader.name not in options.readers:
            continue
        with tempfile.TemporaryDirectory() as folder:
            show = print if options.verbose else None
            tally = run(reader, Path(folder), seeds, show)
        for fault in tally.faults:
            print(fault)
        counts = ", ".join(f"{n} {tally.outcomes[n]}" for n in ("refused", "accepted"))
        faults = ", ".join(f"{n} {tally.outcomes[n]}" for n in FAULTS if tally.outcomes[n])
        print(f"{reader.name}: {counts}; faults: {faults or 'none'}", flush=True)
        n_faults += len(tally.faults)
    sys.exit(n_faults > 0)


if __name__ == "__main__":
    main()
