"""Time and memory of ``overlap``: ``python tests/bench/bench_overlap.py --pao DIR``.

DIR holds OpenMX's C6.0.pao, Mo7.0.pao and Te7.0.pao. Every line is a process of its own, as a user
starts it, with two workers. Memory is the peak of the process that writes, or of the largest worker
if that is more. The last column is how long the machine needs to write as many bytes and nothing
else.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time

import moireio

MOTE2 = "MoTe2 --basis Mo=Mo7.0-s3p2d2 --basis Te=Te7.0-s3p2d2"
RUNS = {
    "graphene, 21.79°": "graphene --basis C=C6.0-s2p2d1 --index 2 1",
    "graphene, 1.05°": "graphene --basis C=C6.0-s2p2d1 --index 32 31",
    "MoTe2, 7.34°": f"{MOTE2} --index 5 4",
    "MoTe2, 3.89°": f"{MOTE2} --index 9 8",
    "MoTe2, 1.89°": f"{MOTE2} --index 18 17",
    "MoTe2, 1.08°": f"{MOTE2} --index 31 30",
    "MoTe2, 0.88°": f"{MOTE2} --index 38 37",
}
EXTRA = {
    "MoTe2, 1.89°, with positions": (f"{MOTE2} --index 18 17", "--position"),
    "MoTe2, 1.89°, one process": (f"{MOTE2} --index 18 17", "--jobs 1"),
    "MoTe2, 1.89°, single precision": (f"{MOTE2} --index 18 17", "--precision float32"),
    "MoTe2, 1.89°, zarr": (f"{MOTE2} --index 18 17", "--container zarr"),
}


def measure(folder, pao, words, options):
    """Return atoms, pairs, seconds, memory, size of the file, seconds of a plain write."""
    module = [sys.executable, "-m", "moireio"]
    cell, out = os.path.join(folder, "cell.h5"), os.path.join(folder, "out")
    build = [*module, "build-twist", *words.split(), "-o", cell, "--force", "-q"]
    subprocess.run(build, check=True)
    container = [] if "--container" in options else ["--container", "h5"]
    command = [*module, "overlap", cell, "--pao", pao, "-o", out, *container, *options.split()]
    begin = time.perf_counter()
    workers = [] if "jobs" in options else ["--jobs", "2"]
    process = subprocess.Popen([*command, "-q", *workers])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    assert status == 0, words
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    with moireio.open(out) as file:
        atoms, pairs = file.overlap.n_atoms, file.overlap.n_pairs
    files = [os.path.join(base, n) for base, _, names in os.walk(out) for n in names] or [out]
    size = sum(os.path.getsize(name) for name in files)
    begin = time.perf_counter()
    with open(os.path.join(folder, "plain"), "wb") as stream:
        piece, left = bytes(1 << 24), size
        while left > 0:
            left -= stream.write(piece[:left])
    plain = time.perf_counter() - begin
    subprocess.run(["rm", "-rf", out], check=True)
    return atoms, pairs, seconds, memory, size, plain


def main():
    """Print one line of the table for each run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--pao", required=True)
    pao = os.path.abspath(parser.parse_args().pao)
    os.environ["OMP_NUM_THREADS"] = "1"
    print("| cell | atoms | pairs stored | s | µs/atom | MB | file, GB | plain write, s |")
    print("|---|---|---|---|---|---|---|---|")
    runs = {title: (words, "") for title, words in RUNS.items()} | EXTRA
    for title, (words, options) in runs.items():
        with tempfile.TemporaryDirectory() as folder:
            atoms, pairs, seconds, memory, size, plain = measure(folder, pao, words, options)
        print(
            f"| {title} | {atoms} | {pairs} | {seconds:.1f} | {seconds / atoms * 1e6:.0f} "
            f"| {memory / 1e6:.0f} | {size / 1e9:.2f} | {plain:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    main()
