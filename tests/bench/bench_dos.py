"""Densities of states by kernel polynomials: `dos` against kwant, and its Fermi level.

``python tests/bench/bench_dos.py speed --folder WORK [--kwant PYTHON]`` makes twisted graphene of
49,924 Slater-Koster orbitals (``--index``, ``--model``) and runs, one after the other and
``--repeat`` times, whole processes:

- ``dos``: the command, with ``-j`` 1 and 2;
- ``kwant``: its import, H(Γ) from a file of SciPy's, and `kwant.kpm.SpectralDensity` with as many
  moments and vectors, evaluated at its own energies. H is given as complex numbers, which suits
  kwant best: with real ones SciPy converts H in each product (``--real``).

kwant 1.5 needs numpy < 2, so that it lives in an environment of its own: ``--kwant`` is the Python
of that. Without it a stand-in takes its place, which does the same work in the same way (a SciPy
product for each vector and each pair of moments) without kwant's overhead.

``python tests/bench/bench_dos.py fermi FILE.h5 …`` compares Fermi levels from moments and from
counts, of several seeds, with that from levels.
"""

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time

KWANT = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy, scipy.sparse
matrix = scipy.sparse.load_npz(sys.argv[1])
moments, vectors = int(sys.argv[2]), int(sys.argv[3])
matrix = matrix if sys.argv[4] == "real" else matrix.astype(complex)
"""
ITS_CALL = """
import kwant.kpm
density = kwant.kpm.SpectralDensity(matrix, num_moments=moments, num_vectors=vectors, rng=0)
energies, densities = density()
print(kwant.__version__, float(density.integrate()))
"""
STAND_IN = """
from scipy.sparse.linalg import eigsh
rng = numpy.random.default_rng(0)
n = matrix.shape[0]
ends = [eigsh(matrix, 1, which=w, tol=0.025, return_eigenvectors=False)[0] for w in ("SA", "LA")]
half, centre = (ends[1] - ends[0]) / 1.95, sum(ends) / 2
values = numpy.zeros((vectors, moments))
def image(v):
    return (matrix @ v - centre * v) / half
for row in values:
    before = numpy.exp(2j * numpy.pi * rng.random(n))
    here = image(before)
    row[:2] = n, numpy.vdot(before, here).real
    for m in range(1, moments // 2):
        before, here = here, 2 * image(here) - before
        row[2 * m] = 2 * numpy.vdot(before, before).real - row[0]
        row[2 * m + 1] = 2 * numpy.vdot(here, before).real - row[1]
print("stand-in", values[:, 0].mean())
"""


def command(*words, **environment):
    """Run a process; return its seconds, seconds of CPU, and peak memory in MB."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            words, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
        )
        _, status, usage = os.wait4(process.pid, 0)
        log.seek(0)
        text = log.read()
    assert status == 0, text
    seconds = time.perf_counter() - begin
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text.strip()


def moireio(*words):
    """Return the words of a command."""
    return sys.executable, "-m", "moireio", *map(str, words)


def make(folder, model, index):
    """Return the block file, and the file with its H(Γ)."""
    import scipy.sparse

    import moireio as library
    from moireio.spectrum.sums import bloch_sums

    twist, path = (os.path.join(folder, f"{model}-{index[0]}{end}.h5") for end in ("", "-h"))
    matrix = path.replace("-h.h5", ".npz")
    if not os.path.exists(matrix):
        command(*moireio("build-twist", "graphene", "--index", *index, "-o", twist, "--force"))
        command(*moireio("tb-h", twist, "-m", model, "-o", path, "--force"))
        with library.open(path) as file:
            (h,), _, _ = bloch_sums(file)
            scipy.sparse.save_npz(
                matrix, scipy.sparse.csr_matrix(h.csr([0, 0, 0])), compressed=False
            )
    return path, matrix


def speed(options):
    """Print the times of every way, and their ratios."""
    os.makedirs(options.folder, exist_ok=True)
    path, matrix = make(options.folder, options.model, options.index)
    size = [str(v) for v in (options.moments, options.vectors)]
    kinds = ["complex", "real"] if options.real else ["complex"]
    code = KWANT + (ITS_CALL if options.kwant else STAND_IN)
    runs = {
        f"kwant, {kind} H": (options.kwant or sys.executable, "-c", code, matrix, *size, kind)
        for kind in kinds
    }
    out = os.path.join(options.folder, "dos.txt")
    for threads in (1, 2):
        words = ("dos", path, "--moments", size[0], "--vectors", size[1], "-j", threads)
        runs[f"dos -j {threads}"] = moireio(*words, "--text", out, "--force")
    found = {name: [] for name in runs}
    for _ in range(options.repeat):
        for name, words in runs.items():
            threads = "2" if name == "dos -j 2" else "1"
            result = command(*words, OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)
            found[name].append(result)
            load = os.getloadavg()[0]
            print(f"  {name}: {result[0]:.1f} s, load {load:.1f}; {result[3]}", flush=True)
    first = [min(v[i] for v in found["kwant, complex H"]) for i in (0, 1)]
    print("| | s: least, median | CPU s: least | MB | kwant / it: s, CPU |\n|---|---|---|---|---|")
    for name, results in found.items():
        walls, cpu = sorted(r[0] for r in results), min(r[1] for r in results)
        ratios = f"{first[0] / walls[0]:.1f}, {first[1] / cpu:.1f}"
        median = walls[len(walls) // 2]
        memory = max(r[2] for r in results)
        print(f"| {name} | {walls[0]:.1f}, {median:.1f} | {cpu:.1f} | {memory:.0f} | {ratios} |")


def fermi(options):
    """Print Fermi levels from moments beside the one from levels."""
    import numpy as np

    import moireio as library
    from moireio.dos.solve import Chebyshev, EnergyGrid, density_of_states
    from moireio.kspace.mesh import make_mesh

    grid = EnergyGrid((-1, 1), 21, "none")
    for path in options.files:
        with library.open(path) as file:
            mesh = make_mesh(file.structure, options.mesh)

            def found(seed, how, file=file, mesh=mesh):
                chebyshev = Chebyshev(options.moments, options.vectors, seed)
                begin = time.process_time()
                dos = density_of_states(
                    file, mesh, solver="kpm", chebyshev=chebyshev, grid=grid, fermi=how
                )
                return dos, time.process_time() - begin

            nothing = found(0, "none")[1]
            exact, seconds = found(0, "levels")
            print(
                f"{os.path.basename(path)}: {len(mesh)} k, from levels {exact.fermi:.4f} eV, "
                f"gap {exact.gap}, {seconds - nothing:.1f} s of CPU besides {nothing:.1f} s without"
            )
            for seed, how in itertools.product(range(options.repeat), ("moments", "counts")):
                dos, seconds = found(seed, how)
                error = np.hypot(dos.fermi_error or 0.0, dos.fermi_resolution or 1e-6)
                text = "in a gap" if dos.fermi_error is None else f"± {dos.fermi_error:.4f}"
                print(
                    f"  {how}, seed {seed}: {dos.fermi:.4f} eV {text}, resolved to "
                    f"{dos.fermi_resolution}, from {dos.fermi_from}, gap {dos.gap}; off "
                    f"{(dos.fermi - exact.fermi) / error:+.2f} of its errors; "
                    f"{seconds - nothing:+.1f} s",
                    flush=True,
                )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:.0f} MB")


def main():
    """Run one of both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["speed", "fermi"])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--folder", default="bench-dos")
    parser.add_argument("--index", nargs=2, default=["65", "64"])
    parser.add_argument("--model", default="moon-koshino")
    parser.add_argument("--mesh", nargs="+", type=int, default=[1, 1])
    parser.add_argument("--moments", type=int, default=512)
    parser.add_argument("--vectors", type=int, default=8)
    parser.add_argument("--kwant", metavar="PYTHON")
    parser.add_argument("--real", action="store_true")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    {"speed": speed, "fermi": fermi}[options.what](options)


if __name__ == "__main__":
    main()
