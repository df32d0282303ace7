"""Bands from anchors against the same bands solved at every k point.

``python tests/bench/bench_anchors.py path FILE.h5 … [--bands 24] [--points 100] [--checks 10]``
finds bands next to neutrality on Γ–M–K–Γ as `band` does by default, then at some random k points of
the path directly, and prints for each file: anchors, factorisations, the largest bound, the largest
difference to the direct levels, seconds of both ways (the direct one extrapolated from the k points
that were checked; of the clock, and of the processors where other work shares them), and where the
time went. ``--recipe`` adds DeepH-E3's recipe (see
bench_sparse.py) at one k. ``--states`` finds the states too. ``--points 100 1000 --checks 0``
compares paths of fewer and of more k points, without direct solutions (``--jobs 1``: one thread).

``stored FILE.zarr …`` takes the bands, bounds and k points that `band` left in the file, and only
solves some of them directly: for cells whose bands take half an hour.

``--counts 20`` counts the levels below the first and above the last band at as many random k
points, by the inertia of H − σS, without looking for levels.

``mesh FILE.h5 … [--mesh 24]`` does the same on a mesh reduced by time reversal and the crystal's
symmetry, with states.
"""

import argparse
import os
import resource
import time

import numpy as np

BESIDE = 1e-4  # eV from the first and the last band, where levels are counted
STEPS = {
    "eigenpairs_and_more": "anchors",
    "responses": "changes of states",
    "correct": "corrections",
    "project": "projections",
    "take": "basis",
    "interpolate": "interpolation, with projections",
    "verify": "check",
    "improve": "residuals",
}


def problem(path, shift, bands):
    """Return what both ways need of a file."""
    import moireio
    from moireio.spectrum.selection import occupied_bands
    from moireio.spectrum.sums import bloch_sums

    with moireio.open(path) as file:
        sums, overlap, _ = bloch_sums(file)
        filled = round(occupied_bands(file)) + shift
        first = filled - bands // 2
        return file.structure, sums, overlap, (first, first + bands - 1), file.electrons.fermi


def clocked(seconds):
    """Add the time of the method's steps to a dictionary."""
    from moireio.solvers.sparse import SparseSolver
    from moireio.spectrum.anchors.method import AnchoredLevels
    from moireio.spectrum.anchors.space import AnchorSpace

    for name in STEPS:
        owners = SparseSolver, AnchorSpace, AnchoredLevels
        owner = next(owner for owner in owners if hasattr(owner, name))
        step = getattr(owner, name)

        def timed(*args, step=step, name=name, **options):
            begin = time.perf_counter()
            try:
                return step(*args, **options)
            finally:
                seconds[name] = seconds.get(name, 0) + time.perf_counter() - begin

        setattr(owner, name, timed)


def k_points(kind, structure, options, points):
    """Return the k points of a path or of a mesh, at most one of k and −k."""
    from moireio.kspace.mesh import make_mesh
    from moireio.kspace.path import make_path

    if kind == "path":
        return make_path(structure, options.path, points).k
    mesh = make_mesh(structure, (options.mesh, options.mesh), None)
    k = mesh.k
    half = [n for n, one in enumerate(k) if tuple(np.round(one, 9)) <= tuple(np.round(-one % 1, 9))]
    return k[half]


def measure(kind, path, options, seconds, points):
    """Print one row of the table; return seconds of CPU that the levels from anchors took."""
    from moireio.spectrum.anchors.settings import Anchoring
    from moireio.spectrum.choice import SolverChoice
    from moireio.spectrum.problems import EigenproblemSet

    structure, sums, overlap, band_range, fermi = problem(path, options.shift, options.bands)
    k = k_points(kind, structure, options, points)
    states = options.states or kind == "mesh"
    choice = SolverChoice(
        "auto", jobs=options.jobs, anchoring=Anchoring(tolerance=options.tolerance)
    )
    energies = np.zeros((len(k), options.bands))
    seconds.clear()
    begin, begin_cpu = time.perf_counter(), time.process_time()
    with EigenproblemSet(
        sums, overlap, k, choice, options.bands, fermi, states, structure
    ) as problems:
        for (_, point), levels, _ in problems.levels([(0, n) for n in range(len(k))], band_range):
            energies[point] = levels
        found = problems.accuracy[0]
    anchored, anchored_cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"  anchored: {anchored:.0f} s, {anchored_cpu:.0f} s of CPU", flush=True)
    if options.counts:
        counted(sums, overlap, k, energies, band_range, options)
    chosen = np.random.default_rng(options.seed).choice(len(k), options.checks, replace=False)
    times, cpu_times, differences, above = [], [], [0.0], 0
    choice = SolverChoice("sparse", jobs=options.jobs)
    with EigenproblemSet(sums, overlap, k, choice, options.bands, fermi, states) as problems:
        for point in chosen.tolist():
            begin, begin_cpu = time.perf_counter(), time.process_time()
            ((_, levels, _),) = problems.levels([(0, point)], band_range)
            times.append(time.perf_counter() - begin)
            cpu_times.append(time.process_time() - begin_cpu)
            print(f"  k {point}: {times[-1]:.1f} s, {cpu_times[-1]:.1f} s of CPU", flush=True)
            difference = np.abs(levels - energies[point])
            differences.append(float(difference.max()))
            above += int((difference > found.bounds[point] + 2e-9).sum())
    direct, direct_cpu = (
        float(np.median(each)) * len(k) if each else np.nan for each in (times, cpu_times)
    )
    parts = ", ".join(f"{what} {seconds.get(name, 0):.0f}" for name, what in STEPS.items())
    print(
        f"| {os.path.basename(path)} | {sums[0].n_orbitals} | {len(k)} | {len(found.anchors)} | "
        f"{found.factorisations} | {found.bounds.max():.1e} | {max(differences):.1e} | {above} | "
        f"{anchored:.0f} | {direct:.0f} | {direct / anchored:.1f} | {anchored_cpu:.0f} | "
        f"{direct_cpu:.0f} | {direct_cpu / anchored_cpu:.1f} | {memory:.1f} | {parts} |",
        flush=True,
    )
    if options.recipe:
        from bench_sparse import deeph_levels

        begin = time.perf_counter()
        deeph_levels(sums[0], overlap, band_range[0] + options.bands // 2, fermi, options.jobs)
        each = (time.perf_counter() - begin) / 2
        print(f"recipe: {each:.1f} s a k, {each * len(k) / anchored:.1f} times anchored")
    return anchored_cpu


def counted(sums, overlap, k, energies, band_range, options):
    """Count levels below and above the bands at some k points by factors alone; print how often."""
    from moireio.spectrum.choice import SolverChoice
    from moireio.spectrum.problems import EigenproblemSet

    chosen = np.random.default_rng(options.seed + 1).choice(len(k), options.counts, replace=False)
    choice, right, close, wrong = SolverChoice("sparse", jobs=options.jobs), 0, 0, []
    with EigenproblemSet(sums, overlap, k, choice, options.bands, None, False) as problems:
        for point in chosen.tolist():
            ends = energies[point, 0], energies[point, -1]
            below = problems.count_below(0, point, ends[0] - BESIDE)
            above = problems.count_below(0, point, ends[1] + BESIDE)
            if (below, above) == (band_range[0], band_range[1] + 1):
                right += 1
                continue
            # another level within BESIDE of the first or the last: is theirs among these?
            inside = problems.count_below(0, point, ends[0] + BESIDE) > band_range[0] >= below
            inside &= problems.count_below(0, point, ends[1] - BESIDE) <= band_range[1] < above
            close += inside
            if not inside:
                wrong.append((k[point].tolist(), below - band_range[0], above - band_range[1] - 1))
    print(
        f"  counted at {len(chosen)} k: {right} right, {close} with others beside, wrong: {wrong}"
    )


def check_stored(path, options):
    """Compare the bands of a file with direct solutions at some of their k points."""
    import moireio
    from moireio.spectrum.choice import SolverChoice
    from moireio.spectrum.problems import EigenproblemSet

    with moireio.open(path) as file:
        bands = file.bands()
    count, k = bands.energies.shape[2], bands.path.k
    _, sums, overlap, _, fermi = problem(path, 0, count)
    band_range = bands.first_band, bands.first_band + count - 1
    chosen = np.random.default_rng(options.seed).choice(len(k), options.checks, replace=False)
    choice = SolverChoice("sparse", jobs=options.jobs)
    with EigenproblemSet(sums, overlap, k, choice, count, fermi, False) as problems:
        for point in chosen.tolist():
            begin, begin_cpu = time.perf_counter(), time.process_time()
            ((_, levels, _),) = problems.levels([(0, point)], band_range)
            difference = np.abs(levels - bands.energies[0, point])
            above = int((difference > bands.accuracy.bounds[0, point] + 2e-9).sum())
            print(
                f"k {point}: {time.perf_counter() - begin:.1f} s, "
                f"{time.process_time() - begin_cpu:.1f} s of CPU, largest difference "
                f"{difference.max():.1e} eV, {above} above their bounds",
                flush=True,
            )


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["path", "mesh", "stored"])
    parser.add_argument("files", nargs="+")
    parser.add_argument("--bands", type=int, default=24)
    parser.add_argument("--points", type=int, nargs="+", default=[100], help="one path each")
    parser.add_argument("--path", default="GMKG")
    parser.add_argument("--mesh", type=int, default=24)
    parser.add_argument("--shift", type=int, default=0, help="bands above neutrality")
    parser.add_argument("--checks", type=int, default=10)
    parser.add_argument("--counts", type=int, default=0, help="k where levels are counted")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--states", action="store_true")
    parser.add_argument("--recipe", action="store_true")
    options = parser.parse_args()
    if options.kind == "stored":
        for path in options.files:
            check_stored(path, options)
        return
    seconds = {}
    clocked(seconds)
    print(
        "| file | orbitals | k | anchors | solved | largest bound, eV | largest difference, eV | "
        "above bound | anchored, s | direct, s | ratio | anchored, CPU s | direct, CPU s | ratio | "
        "GB | seconds |"
    )
    print("|" + "---|" * 16)
    for path in options.files:
        spent = [measure(options.kind, path, options, seconds, n) for n in options.points]
        if len(spent) > 1:
            ratios = ", ".join(
                f"{n} points {cpu / spent[0]:.2f}"
                for n, cpu in zip(options.points, spent, strict=True)
            )
            print(f"CPU of {path}, in that of the first path: {ratios}", flush=True)


if __name__ == "__main__":
    main()
