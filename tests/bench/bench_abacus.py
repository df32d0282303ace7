"""Time and memory of reading ABACUS's H(R) as text.

The file is made up: every R has the same full matrix, as dense as files of small cells are. Rerun:
python tests/bench/bench_abacus.py --atoms 80
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

READ = """
import resource, sys, time
from moireio.formats.abacus.files import read
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
import h5py, scipy.sparse, ase, moireio.formats.structures.text
before, begin = peak(), time.process_time()
calculation = read(sys.argv[1])
rows = calculation.hamiltonian.data.nbytes / 2**20
print(time.process_time() - begin, peak() - before - rows, rows)
"""
BASELINE = """
import sys, time
import numpy as np
begin = time.process_time()
with open(sys.argv[1], "rb") as stream:
    for line in stream:
        np.fromstring(line, sep=" ") if line[:1] == b" " else line
print(time.process_time() - begin)
"""


def make(folder, atoms):
    """Write H and STRU of some silicon atoms with 13 orbitals and nine R."""
    import numpy as np

    rng = np.random.default_rng(0)
    n = 13 * atoms
    matrix = rng.normal(size=(n, n))
    matrix += matrix.T
    lines = [
        " ".join(f"{v:.8e}" for v in matrix.ravel()),
        " ".join(map(str, np.tile(np.arange(n), n))),
        " ".join(map(str, n * np.arange(n + 1))),
    ]
    cells = [(a, b, 0) for a in (-1, 0, 1) for b in (-1, 0, 1)]
    with open(folder / "data-HR-sparse_SPIN0.csr", "w") as out:
        out.write(f"Matrix Dimension of H(R): {n}\nMatrix number of H(R): {len(cells)}\n")
        for a, b, c in cells:
            out.write(f"{a} {b} {c} {n * n}\n" + "".join(f" {line}\n" for line in lines))
    places = "".join(" ".join(f"{v:.6f}" for v in rng.random(3)) + "\n" for _ in range(atoms))
    (folder / "STRU").write_text(
        "ATOMIC_SPECIES\nSi 28 Si.upf\nNUMERICAL_ORBITAL\nSi_2s2p1d.orb\nLATTICE_CONSTANT\n1.89\n"
        "LATTICE_VECTORS\n20 0 0\n0 20 0\n0 0 30\nATOMIC_POSITIONS\nDirect\n"
        f"Si\n0\n{atoms}\n{places}"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", type=int, default=80)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.atoms)
        file = folder / "data-HR-sparse_SPIN0.csr"

        def run(code):
            words = [sys.executable, "-W", "ignore", "-c", code, str(file)]
            out = subprocess.run(words, capture_output=True, text=True, check=True)
            return [float(word) for word in out.stdout.split()]

        (plain,) = run(BASELINE)
        seconds, memory, rows = run(READ)
        print(f"{file.stat().st_size / 1e6:.0f} MB: {seconds:.1f} s of CPU", end="")
        print(f" (np.fromstring of all lines: {plain:.1f} s), {memory:.0f} MB above {rows:.0f} MB")


if __name__ == "__main__":
    main()
