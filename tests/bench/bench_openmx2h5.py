"""Time and memory of openmx2h5 on a large .scfout, against plain numpy.

The file is a real one with its cell repeated. The yardstick reads the bytes that the
conversion keeps (H and S), digests them and writes them, in one process with numpy. Ratios
are of times in one run. Rerun: python tests/bench/bench_openmx2h5.py FILE.scfout --repeat 8 8 1
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

os.environ["OMP_NUM_THREADS"] = "1"

BASELINE = """
import hashlib, sys, time
import numpy as np
source, target, *ranges = sys.argv[1:]
begin = time.perf_counter()
state = hashlib.blake2b(digest_size=16)
with open(source, "rb") as read, open(target, "wb") as write:
    for entry in ranges:
        start, length = map(int, entry.split(":"))
        read.seek(start)
        values = np.fromfile(read, "f8", length // 8)
        state.update(values)
        values.tofile(write)
print(time.perf_counter() - begin)
"""


def run(words):
    """Return (seconds, peak MB, standard output) of a process."""
    code = (
        "import resource, subprocess, sys, time\n"
        "begin = time.perf_counter()\n"
        "done = subprocess.run(sys.argv[1:], capture_output=True, text=True)\n"
        "seconds = time.perf_counter() - begin\n"
        "assert done.returncode == 0, done.stderr\n"
        "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024\n"
        "print(seconds, peak, done.stdout)\n"
    )
    out = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    seconds, peak, *rest = out.stdout.split()
    return float(seconds), float(peak), rest


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scfout")
    parser.add_argument("--repeat", nargs=3, type=int, default=[1, 1, 1])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    from moireio.formats.openmx import scfout
    from moireio.formats.openmx.scfout_write import repeat

    with tempfile.TemporaryDirectory() as folder:
        path = options.scfout
        if options.repeat != [1, 1, 1]:
            path = os.path.join(folder, "repeated.scfout")
            repeat(options.scfout, path, options.repeat)
        with scfout.open_scfout(path) as file:
            header = file.header
            kept = [m for n in ("hamiltonian", "overlap") for m in header.matrices_of(n)]
            ranges = [
                f"{header.matrix_start + m * header.matrix_bytes}:{header.matrix_bytes}"
                for m in kept
            ]
            atoms, kept_mb = header.n_atoms, len(kept) * header.matrix_bytes / 1e6
        size = os.path.getsize(path) / 1e9
        print(f"{os.path.basename(options.scfout)} × {options.repeat}: {atoms} atoms, "
              f"{size:.2f} GB, {kept_mb:.0f} MB kept")  # fmt: skip
        target = os.path.join(folder, "out")
        ratios, times, peaks = [], [], []
        for _ in range(options.rounds):
            plain = float(run([sys.executable, "-c", BASELINE, path, target, *ranges])[2][0])
            os.remove(target)  # freeing an old file's pages is not what is timed
            command = [sys.executable, "-m", "moireio", "openmx2h5", path, "-q"]
            seconds, peak, _ = run([*command, "-o", f"{target}.h5"])
            os.remove(f"{target}.h5")
            times.append((seconds, plain))
            ratios.append(seconds / plain)
            peaks.append(peak)
        best = min(t for t, _ in times), min(p for _, p in times)
        print(f"openmx2h5 {best[0]:.2f} s (process and all), numpy {best[1]:.2f} s; "
              f"ratio {min(ratios):.2f} … median {statistics.median(ratios):.2f} … "
              f"{max(ratios):.2f}; peak {max(peaks):.0f} MB")  # fmt: skip


if __name__ == "__main__":
    main()
