"""Some levels of large sparse H and S: moireio, scipy's eigsh, and DeepH-E3's recipe.

``python tests/bench/bench_sparse.py compare FILE.h5 … --near E`` runs, for every file and one after
another in processes of their own, 40 levels next to E at two k points by

- ``moireio``: `SparseSolver`, pattern and ordering kept from one k to the next, levels counted;
- ``eigsh``: `scipy.sparse.linalg.eigsh` with shift and its own SuperLU;
- ``deeph``: what DeepH-E3's script does: Pardiso (Hermitian, ordered anew at every k) in a plain
  Arnoldi iteration (here ARPACK's, one vector at a time, tolerance 0).

Assembly of H(k) and S(k) is in all times; reading the file is not. ``grow FILE.h5 …`` factorises
once per file, prints memory and time of the factors, and fits powers of the size.
``exact FILE.h5 …`` compares 40 levels with LAPACK's (``--all``: all of them, found in slices) at a
complex k (``--gamma``: at Γ, in real arithmetic).
``steps FILE.h5 …`` finds 40 levels at one complex k as `band` does, and prints where the time went
and the peak memory of the process. ``ways FILE.h5 …`` prints the seconds of CPU that a first and a
second k take: levels next to a known energy, levels without one, states, and states that are to be
right to 1e-6 eV only, each in a process of its own, three times in turn (the least counts).
"""

import argparse
import os
import resource
import subprocess
import sys
import time

BANDS = 40
MEMORY = 0.85  # of the machine's
POINTS = ([0.11, 0.23, 0.0], [0.31, -0.07, 0.0])


def load(path):
    """Return H and S as Bloch sums, and the number of filled bands."""
    import moireio
    from moireio.spectrum.selection import occupied_bands
    from moireio.spectrum.sums import bloch_sums

    with moireio.open(path) as file:
        (h,), s, _ = bloch_sums(file)
        return h, s, round(occupied_bands(file))


def moireio_levels(h, s, filled, near, threads):
    """Return levels at both k by moireio."""
    from moireio.solvers.base import EigenProblem
    from moireio.solvers.registry import make_solver

    engine = make_solver("sparse", sigma=near)
    engine.use_threads(threads)
    window = filled - BANDS // 2, filled + BANDS // 2 - 1
    return [engine.eigenvalues(EigenProblem(h, s, k), window) for k in POINTS]


def eigsh_levels(h, s, filled, near, threads):
    """Return levels at both k by SciPy."""
    import numpy as np
    from scipy.sparse.linalg import eigsh

    out = []
    for k in POINTS:
        found = eigsh(
            h.csr(k).tocsc(), BANDS, s.csr(k).tocsc(), sigma=near, return_eigenvectors=False
        )
        out.append(np.sort(found.real))
    return out


def deeph_levels(h, s, filled, near, threads):
    """Return levels at both k by Pardiso inside ARPACK."""
    import numpy as np
    from scipy.sparse import triu
    from scipy.sparse.linalg import LinearOperator, eigs

    from moireio.solvers.pardiso import PardisoFactor

    out = []
    for k in POINTS:
        hk, sk = h.csr(k), s.csr(k)
        upper = triu(hk - near * sk).tocsr()
        upper.sort_indices()
        factor = PardisoFactor(upper.indptr, upper.indices, False, threads)
        factor.factorise(upper.data)

        def apply(x, factor=factor, sk=sk):
            return factor.solve((sk @ x).reshape(-1, 1))[:, 0]

        operator = LinearOperator(hk.shape, matvec=apply, dtype=complex)
        found = eigs(operator, BANDS, which="LM", return_eigenvectors=False)
        out.append(np.sort(near + 1 / found.real))
    return out


METHODS = {"moireio": moireio_levels, "eigsh": eigsh_levels, "deeph": deeph_levels}


def child(method, path, near, threads):
    """Run one method; print seconds, peak memory in bytes and the levels."""
    from threadpoolctl import threadpool_limits

    from moireio.runtime.threads import blas_beside_mkl

    # a method that outgrows the machine fails, instead of whatever else runs there
    most = int(MEMORY * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    h, s, filled = load(path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    begin = time.perf_counter()
    with threadpool_limits(threads) if method == "eigsh" else blas_beside_mkl():
        levels = METHODS[method](h, s, filled, near, threads)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(h.n_orbitals, seconds, peak, before)
    for row in levels:
        print(*(repr(float(e)) for e in row))


def compare(paths, near, threads, limit, methods):
    """Print the table."""
    import numpy as np

    print("| orbitals | method | s | ratio | peak memory, GB | ratio | largest difference, eV |")
    print("|---|---|---|---|---|---|---|")
    for path in paths:
        own = None
        for method in methods:
            words = [sys.executable, __file__, "child", method, path, str(near), str(threads)]
            try:
                done = subprocess.run(
                    words, capture_output=True, text=True, timeout=limit, check=True
                )
            except subprocess.TimeoutExpired:
                print(f"| | {method} | more than {limit:.0f} | | | | |", flush=True)
                continue
            except subprocess.CalledProcessError as error:
                last = (error.stderr.strip().splitlines() or ["killed"])[-1]
                print(f"| | {method} | failed: {last} | | | | |", flush=True)
                continue
            head, *rows = done.stdout.splitlines()
            n, seconds, peak, _ = (float(w) for w in head.split())
            levels = [np.array([float(w) for w in row.split()]) for row in rows]
            if own is None:
                own = seconds, peak, levels
            # moireio takes as many above the gap as below, the others the nearest to E
            gaps = [
                min(np.abs(e - own_row).min() for own_row in own[2][i : i + 1])
                for i, row in enumerate(levels)
                for e in row
                if own[2][i][0] <= e <= own[2][i][-1]
            ]
            print(
                f"| {n:.0f} | {method} | {seconds:.1f} | {seconds / own[0]:.1f} | {peak / 1e9:.2f} "
                f"| {peak / own[1]:.1f} | {max(gaps):.0e} |",
                flush=True,
            )


def grow(paths, near, threads, single):
    """Print memory and time of factors, and their growth."""
    import numpy as np

    from moireio.solvers.base import EigenProblem
    from moireio.solvers.pardiso import PardisoFactor
    from moireio.solvers.pencil import Pencil

    sizes, memories, times = [], [], []
    print("| orbitals | elements of the upper triangle | ordering, s | factors, s | GB |")
    print("|---|---|---|---|---|")
    for path in paths:
        h, s, _ = load(path)
        problem = EigenProblem(h, s, POINTS[0])
        pencil = Pencil(problem)
        values = pencil.shifted(problem, near)
        begin = time.perf_counter()
        factor = PardisoFactor(pencil.indptr, pencil.indices, False, threads, single)
        ordered = time.perf_counter()
        factor.factorise(values)
        ended = time.perf_counter()
        sizes.append(h.n_orbitals)
        memories.append(factor.memory)
        times.append(ended - ordered)
        print(
            f"| {h.n_orbitals} | {len(pencil.indices)} | {ordered - begin:.1f} | {times[-1]:.1f} "
            f"| {memories[-1] / 1e9:.2f} |",
            flush=True,
        )
        factor.close()
        del h, s, problem, pencil, values, factor
    if len(sizes) > 2:
        for name, values in (("memory", memories), ("time", times)):
            power, scale = np.polyfit(np.log(sizes[1:]), np.log(values[1:]), 1)
            guesses = {n: np.exp(scale) * n**power for n in (82576, 169936)}
            print(f"{name}: ~ n^{power:.2f};", {n: float(f"{g:.3g}") for n, g in guesses.items()})


def exact(paths, near, threads, gamma, every):
    """Print the largest deviation from LAPACK's levels, and whether one is missing."""
    import numpy as np
    from threadpoolctl import threadpool_limits

    from moireio.runtime.threads import blas_beside_mkl
    from moireio.solvers.base import EigenProblem
    from moireio.solvers.registry import make_solver

    k = np.zeros(3) if gamma else np.array(POINTS[0])
    print(
        "| orbitals | k | sparse, s | LAPACK, s | levels | largest difference, eV | residual, eV |"
    )
    print("|---|---|---|---|---|---|---|")
    for path in paths:
        h, s, filled = load(path)
        problem = EigenProblem(h, s, k)
        window = (0, h.n_orbitals - 1) if every else (filled - BANDS // 2, filled + BANDS // 2 - 1)
        begin = time.perf_counter()
        with blas_beside_mkl():
            engine = make_solver("sparse", sigma=near)
            engine.use_threads(threads)
            found, states = engine.eigenpairs(problem, window)
        middle = time.perf_counter()
        rest = h.csr(k) @ states - (s.csr(k) @ states) * found
        residual = np.linalg.norm(rest, axis=0).max()
        engine.close()
        del states, rest
        begin_dense = time.perf_counter()
        with threadpool_limits(threads):
            levels = make_solver("dense").eigenvalues(problem)
        end = time.perf_counter()
        wrong = np.abs(found - levels[window[0] : window[1] + 1]).max()
        print(
            f"| {h.n_orbitals} | {'Γ' if gamma else 'complex'} | {middle - begin:.1f} | "
            f"{end - begin_dense:.0f} | {window[0]} to {window[1]} | {wrong:.0e} | "
            f"{residual:.0e} |",
            flush=True,
        )


def steps(paths, near, threads, precision, memory):
    """Print what the parts of one k point take; each file in a process of its own."""
    for path in paths:
        words = [sys.executable, __file__, "child-steps", path, str(near), str(threads), precision]
        subprocess.run([*words, str(memory)], check=True)


def child_steps(path, near, threads, precision, memory):
    """Print what the parts of one k point take."""
    from moireio.solvers import mkl, pardiso
    from moireio.solvers.base import EigenProblem
    from moireio.solvers.pencil import Pencil
    from moireio.spectrum.choice import SolverChoice
    from moireio.spectrum.problems import EigenproblemSet

    spent, calls = {}, {}

    def timed(owner, name, label):
        inner = getattr(owner, name)

        def outer(*words, **named):
            begin = time.perf_counter()
            try:
                return inner(*words, **named)
            finally:
                key = label(*words) if callable(label) else label
                spent[key] = spent.get(key, 0.0) + time.perf_counter() - begin
                calls[key] = calls.get(key, 0) + 1
                if key == "factors":
                    print(f"  factors after {time.perf_counter() - start:.0f} s", flush=True)

        setattr(owner, name, outer)

    phases = {
        pardiso.ANALYSE: "ordering",
        pardiso.FACTORISE: "factors",
        pardiso.SOLVE: "solutions",
        pardiso.SOLVE_D: "counts",
    }
    start = time.perf_counter()
    timed(Pencil, "__init__", "pattern")
    timed(mkl.Product, "__call__", "products")
    timed(pardiso.PardisoFactor, "_call", lambda _, phase, *rest: phases.get(phase, "release"))
    h, s, filled = load(path)
    print(
        f"{path}: {h.n_orbitals} orbitals, read in {time.perf_counter() - start:.0f} s", flush=True
    )
    choice = SolverChoice("sparse", threads, memory * 1e9 or None, options={"precision": precision})
    problems = EigenproblemSet([h], s, POINTS[:1], choice, BANDS, near)
    window = filled - BANDS // 2, filled + BANDS // 2 - 1
    begin = time.perf_counter()
    ((_, levels, _),) = problems.levels([(0, 0)], window)
    engine = problems.solver
    need = engine.memory(EigenProblem(h, s, POINTS[0]), BANDS, False)
    print(f"  estimate {need / 1e9:.1f} GB", flush=True)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    for key, value in spent.items():
        print(f"  {key}: {value:.1f} s, {calls[key]} calls")
    print(f"  all: {seconds:.1f} s, {engine.mode}; whole process at most {peak / 1e9:.2f} GB")
    print(f"  levels {levels[0]:.6f} to {levels[-1]:.6f} eV", flush=True)


WAYS = {
    "levels near an energy": (False, True, {}),
    "levels": (False, False, {}),
    "states near an energy": (True, True, {}),
    "states near an energy to 1e-6 eV": (True, True, {"accuracy": 1e-6}),
}


def ways(paths, near, threads, rounds=3):
    """Print what a first and a second k take."""
    print("| orbitals | what | first k, s of CPU | second k, s of CPU |")
    print("|---|---|---|---|")
    for path in paths:
        found = {way: [] for way in WAYS}
        for _ in range(rounds):
            for way in WAYS:
                words = [sys.executable, __file__, "child-ways", path, str(near), str(threads), way]
                done = subprocess.run(words, capture_output=True, text=True)
                if done.returncode == 0:  # earlier versions have no `accuracy`
                    found[way].append([float(w) for w in done.stdout.split()])
        for way, rows in found.items():
            if rows:
                n, first, second = (min(column) for column in zip(*rows, strict=True))
                print(f"| {n:.0f} | {way} | {first:.1f} | {second:.1f} |", flush=True)


def child_ways(path, near, threads, way):
    """Print the number of orbitals, and seconds of CPU for two k."""
    from moireio.runtime.threads import blas_beside_mkl
    from moireio.solvers.base import EigenProblem
    from moireio.solvers.registry import make_solver

    states, known, options = WAYS[way]
    h, s, filled = load(path)
    engine = make_solver("sparse", options, sigma=near if known else None)
    engine.use_threads(threads)
    window = filled - BANDS // 2, filled + BANDS // 2 - 1
    print(h.n_orbitals)
    with blas_beside_mkl():
        for k in POINTS:
            begin = time.process_time()
            (engine.eigenpairs if states else engine.eigenvalues)(EigenProblem(h, s, k), window)
            print(time.process_time() - begin)


def main():
    """Read the command line."""
    if sys.argv[1] == "child-ways":
        path, near, threads, way = sys.argv[2:]
        child_ways(path, float(near), int(threads), way)
        return
    if sys.argv[1] == "child-steps":
        path, near, threads, precision, memory = sys.argv[2:]
        child_steps(path, float(near), int(threads), precision, float(memory))
        return
    if sys.argv[1] == "child":
        method, path, near, threads = sys.argv[2:]
        child(method, path, float(near), int(threads))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["compare", "grow", "exact", "steps", "ways"])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--near", type=float, required=True, help="eV")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--limit", type=float, default=900.0, help="s for one method and file")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--single", action="store_true")
    parser.add_argument(
        "--precision", choices=["auto", "float32", "float64"], default="auto", help="of steps"
    )
    parser.add_argument("--memory", type=float, default=0, help="of steps, GB; by default all")
    parser.add_argument("--gamma", action="store_true")
    parser.add_argument("--all", action="store_true")
    options = parser.parse_args()
    if options.what == "compare":
        compare(options.files, options.near, options.threads, options.limit, options.methods)
    elif options.what == "ways":
        ways(options.files, options.near, options.threads)
    elif options.what == "exact":
        exact(options.files, options.near, options.threads, options.gamma, options.all)
    elif options.what == "steps":
        steps(options.files, options.near, options.threads, options.precision, options.memory)
    else:
        grow(options.files, options.near, options.threads, options.single)


if __name__ == "__main__":
    main()
