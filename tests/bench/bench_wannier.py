"""Reading a large ``_hr.dat``: seconds of CPU and memory, against TBmodels and sisl.

A file of 100 MB with random numbers is written as Wannier90 writes it; each program reads it in a
process of its own, which also imports the program. moireio's reader returns a calculation (sites,
pairs, blocks, Hermitian to the last bit), TBmodels' a model, sisl's a Hamiltonian. Times of
imports are printed apart. Rerun: python tests/bench/bench_wannier.py [--megabytes 100]
"""

import argparse
import importlib.util
import os
import subprocess
import sys
import tempfile

import numpy as np

os.environ["OMP_NUM_THREADS"] = "1"

N = 60  # functions
READERS = {
    "moireio": """
from moireio.formats.wannier90 import files
import moireio.formats.assembly.dense, moireio.formats.assembly.sites
import scipy.spatial, scipy.sparse.csgraph
start()
found = files.read(path)
""",
    "TBmodels": """
import tbmodels
start()
found = tbmodels.Model.from_wannier_files(hr_file=path)
""",
    "sisl": """
import sisl
start()
found = sisl.get_sile(path.replace("_hr.dat", ".win")).read_hamiltonian(dtype=complex)
""",
}
FRAME = """
import sys, time, warnings
warnings.simplefilter("ignore")
path = sys.argv[1]
begun = []
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
def start():
    begun.append((time.process_time(), peak()))
{}
seconds = time.process_time() - begun[0][0]
print(begun[0][0], seconds, peak() / 1024, (peak() - begun[0][1]) / 1024)
"""


def write(folder, megabytes):
    """Write ``x_hr.dat`` and what belongs to it; return its path and size in MB."""
    rng = np.random.default_rng(0)
    reach = 1
    while (2 * reach + 1) ** 2 * 5 * N * N * 50 < megabytes * 1e6:
        reach += 1
    cells = np.array(list(np.ndindex(2 * reach + 1, 2 * reach + 1, 5))) - [reach, reach, 2]
    path = os.path.join(folder, "x_hr.dat")
    matrices = {}
    with open(path, "w") as file:
        file.write(f" written on 1Jan2026 at 00:00:00\n{N:12d}\n{len(cells):12d}\n")
        for begin in range(0, len(cells), 15):
            file.write(f"{1:5d}" * len(cells[begin : begin + 15]) + "\n")
        for cell in map(tuple, cells.tolist()):
            if cell not in matrices:
                matrix = rng.normal(size=(N, N)) + 1j * rng.normal(size=(N, N))
                matrices[cell] = matrix if any(cell) else matrix + matrix.conj().T
                matrices[tuple(-c for c in cell)] = matrices[cell].conj().T
            matrix = matrices.pop(cell)
            matrices.setdefault(cell, matrix)
            start = "".join(f"{c:5d}" for c in cell)
            row = f"{start}%5d%5d%12.6f%12.6f\n" * (N * N)
            names = np.divmod(np.arange(N * N), N)
            flat = matrix.T.ravel()
            table = np.stack([names[1] + 1, names[0] + 1, flat.real, flat.imag], axis=1)
            file.write(row % tuple(table.ravel().tolist()))
    cell = "4 0 0\n0 4 0\n0 0 20"
    with open(os.path.join(folder, "x.win"), "w") as file:
        file.write(f"num_wann = {N}\nbegin unit_cell_cart\n{cell}\nend unit_cell_cart\n")
        atoms = "\n".join(f"C {x:.4f} 0 0" for x in np.arange(N) / N)
        file.write(f"begin atoms_frac\n{atoms}\nend atoms_frac\n")
    centres = "\n".join(f"X {4 * x:.6f} 0 0" for x in np.arange(N) / N)
    with open(os.path.join(folder, "x_centres.xyz"), "w") as file:
        file.write(f"{N}\n centres\n{centres}\n")
    return path, os.path.getsize(path) / 1e6


def main():
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=100)
    settings = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path, size = write(folder, settings.megabytes)
        print(f"{size:.0f} MB, {N} functions; seconds of CPU, peak MB, MB above the imports")
        print(f"{'':10} {'import':>8} {'read':>8} {'peak':>8} {'above':>8} {'ratio':>8}")
        first = None
        for name, code in READERS.items():
            if importlib.util.find_spec(name.lower()) is None:
                print(f"{name:10} is not installed")
                continue
            words = [sys.executable, "-c", FRAME.format(code), path]
            done = subprocess.run(words, capture_output=True, text=True)
            if done.returncode:
                print(f"{name:10} {done.stderr.strip().splitlines()[-1]}")
                continue
            imported, seconds, peak, above = map(float, done.stdout.split()[-4:])
            first = first or seconds
            row = f"{imported:8.2f} {seconds:8.2f} {peak:8.0f} {above:8.0f} {seconds / first:8.1f}"
            print(f"{name:10} {row}")


if __name__ == "__main__":
    main()
