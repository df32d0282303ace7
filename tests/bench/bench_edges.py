"""Edge states of large ribbons: counts, time and memory of ``edge-project``.

    python tests/bench/bench_edges.py haldane --width 50000
    python tests/bench/bench_edges.py bismuth FILE.scfout --width 120
    python tests/bench/bench_edges.py twisted --width 31 --folder WORK

haldane: two orbitals a cell, C = −1, a window inside the gap. bismuth: a layer with a gap of
20 meV, whose edge states decay over 25 cells, by a ribbon and as half-infinite layers. twisted:
bilayer graphene at 2.00° (3268 orbitals a cell), sublattices ±50 meV apart; the same command goes
on where it was stopped, and draws the figure.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))


def measured(*words):
    """Run a command; return its JSON, and print time and memory."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "moireio", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(done.stderr)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(
        " ".join(map(str, words[:1] + words[2:])),
        f"\n  {time.perf_counter() - begin:.0f} s, {cpu:.0f} s of CPU, "
        f"{after.ru_maxrss / 1e6:.2f} GB, load {os.getloadavg()[0]:.1f}",
    )
    return json.loads(done.stdout) if "--json" in words else None


def show(found):
    """Print the counts and how many states there were."""
    for gap in found["gaps"]:
        for edge in ("low", "high"):
            count = gap[edge]
            k = " ".join(f"{v:.5f}" for v in count["k"])
            print(f"  {gap['energy']} {edge} net {count['net']}, {count['crossings']} at {k}")
        print(f"  C {gap['chern']}, agree {gap['agree']}")
    weights = found["weights"]
    total = [
        a + b + c
        for one in zip(weights["low"], weights["high"], weights["middle"], strict=True)
        for a, b, c in zip(*one, strict=True)
        if a is not None
    ]
    if total:
        print(f"  {len(total)} states, weights add up to 1 within {max(abs(1 - t) for t in total)}")


def haldane(options, folder):
    """Very wide ribbons of Haldane's model."""
    import toymodels

    source = toymodels.haldane(M=0.1).write(folder / "x.h5")
    words = ("--cut", options.width, "--open", 1, "--energy", 0, "--window", -0.3, 0.3)
    show(measured("edge-project", source, *words, "-n", options.points, "--json", "-j", 1))


def bismuth(options, folder):
    """The layer of the shared data, openmx/bi_bilayer_soc."""
    source = folder / "x.h5"
    measured("openmx2h5", options.file, "-o", source)
    words = ("--energy", -3.8804, "-n", options.points, "--json")
    window = ("--window", -3.889, -3.872, "-j", 1)
    for axis in options.open:
        words_of = ("edge-project", source, "--open", axis, *words)
        if not options.only_ribbon:
            show(measured(*words_of, "--semi-infinite"))
        show(measured(*words_of, "--cut", options.width, *window))


def sublattices(pairs, structure):
    """Return +1 and −1 for the two sublattices of every layer of graphene."""
    import numpy as np
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    ends = structure.positions[pairs.j] + pairs.R @ structure.cell
    length = np.linalg.norm(ends - structure.positions[pairs.i], axis=1)
    bonds = (length > 1.0) & (length < 1.7)
    count = len(structure.positions)
    graph = csr_array((np.ones(bonds.sum()), (pairs.i[bonds], pairs.j[bonds])), (count, count))
    sign = np.zeros(count, dtype=int)
    while not sign.all():
        start = int(np.flatnonzero(sign == 0)[0])
        order, before = breadth_first_order(graph, start, directed=False)
        sign[start] = 1
        for atom in order[1:]:
            sign[atom] = -sign[before[atom]]
    assert (sign[pairs.i[bonds]] == -sign[pairs.j[bonds]]).all()
    return sign


def gapped_bilayer(options, folder):
    """Twisted bilayer graphene with sublattices ±50 meV apart; kept in the folder."""
    import moireio
    from moireio.blockfile.stream import write_target
    from moireio.operators.views import ArraySource

    cell, plain, source = (folder / f"{name}.h5" for name in ("cell", "h", "x"))
    if source.exists():
        return source
    measured("build-twist", "graphene", "--index", *options.index, "-o", cell, "--force")
    measured("tb-h", cell, "-m", "moon-koshino", "-o", plain, "--force")
    with moireio.open(plain) as file:
        H = file.hamiltonian.full()
        data = H.rows(0, len(H.sizes)).copy()
        data[H.pairs.onsite()] += 0.05 * sublattices(H.pairs, file.structure)
        made = ArraySource(H.meta.with_(storage="full"), H.sizes, H.pairs, data)
        with write_target(str(source), force=True) as out:
            out.structure(file.structure)
            out.basis(file.basis)
            out.electrons(file.electrons)
            out.operator(made)
    return source


def twisted(options, folder):
    """Twisted bilayer graphene with a gap: a file a k point, so that the same command goes on.

    H is real, so that k points from 0 to 1/2 are enough. The states of one k point at a time are
    in memory.
    """
    import numpy as np

    import moireio
    from moireio.plots.bands import save
    from moireio.plots.edges import plot_edges
    from moireio.results.edges import EdgeStates
    from moireio.spectrum.choice import SolverChoice
    from moireio.spectrum.problems import EigenproblemSet
    from moireio.spectrum.selection import counts_at_ends
    from moireio.topology.ribbon import cut_ribbon
    from moireio.topology.states import EdgeRows, weighed

    source = gapped_bilayer(options, folder)
    fractions = np.linspace(0, 0.5, options.points)
    window = options.energy - options.half_window, options.energy + options.half_window
    with moireio.open(source) as file:
        ribbon = cut_ribbon(file, options.width, options.open[0] - 1)
    rows, found = EdgeRows(ribbon), []
    print(f"{ribbon.n_orbitals} orbitals, window {window[0]:.3f} to {window[1]:.3f} eV", flush=True)
    for number, k in enumerate(ribbon.k_points(fractions)):
        kept = folder / f"k-{options.width}-{options.points}-{number}.npz"
        if not kept.exists():
            begin, before = time.perf_counter(), time.process_time()
            choice = SolverChoice("sparse", jobs=1)
            with EigenproblemSet(
                ribbon.sums, ribbon.overlap, k[None], choice, 40, options.energy, states=True
            ) as problems:
                low, high = counts_at_ends(problems, window)[0, 0]
                energies, states = np.zeros(0), np.zeros((ribbon.n_orbitals, 0))
                if high > low:
                    ((_, energies, states),) = problems.levels([(0, 0)], (low, high - 1))
            one = weighed(rows, k, energies, states, low)
            whole = one.layers.sum(axis=0)
            part = folder / f"part-{kept.name}"
            np.savez(part, energies=energies, low=one.low, high=one.high, whole=whole)
            os.replace(part, kept)
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
            print(
                f"k {fractions[number]:.4f}: {len(energies)} states, "
                f"{time.perf_counter() - begin:.0f} s, "
                f"{time.process_time() - before:.0f} s of CPU, "
                f"{memory:.2f} GB so far",
                flush=True,
            )
        with np.load(kept) as data:
            found.append({name: data[name] for name in data.files})
    print("weights add up to 1 within", max(np.abs(1 - f["whole"]).max(initial=0) for f in found))
    most = max(len(f["energies"]) for f in found)
    arrays = [
        np.array([np.pad(f[n], (0, most - len(f[n])), constant_values=np.nan) for f in found])
        for n in ("energies", "low", "high")
    ]
    k = np.concatenate([fractions, 1 - fractions[1:-1][::-1]])
    both = [np.concatenate([a, a[1:-1][::-1]]) for a in arrays]
    edges = EdgeStates(
        k,
        *both,
        (),
        ribbon.periodic,
        ribbon.open,
        options.width,
        first_band=None,
        period=float(np.linalg.norm(ribbon.structure.cell[ribbon.periodic])),
    )
    inside = both[1] + both[2] < 0.6
    print(
        f"{np.sum(inside)} states of the bulk, {np.sum(both[1] > 0.8)} of the low edge, "
        f"{np.sum(both[2] > 0.8)} of the high edge"
    )
    figure = folder / f"ribbon-{options.width}.png"
    save(plot_edges(edges, energy_window=window), str(figure))
    print(figure)


def main():
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", choices=["haldane", "bismuth", "twisted"])
    parser.add_argument("file", nargs="?")
    parser.add_argument("--width", type=int, default=120)
    parser.add_argument("--points", type=int, default=21)
    parser.add_argument("--open", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--energy", type=float, default=0.785)
    parser.add_argument("--half-window", type=float, default=0.06, help="eV, of twisted")
    parser.add_argument("--index", type=int, nargs=2, default=[17, 16])
    parser.add_argument("--folder", type=Path, help="of twisted: where results are kept")
    parser.add_argument("--only-ribbon", action="store_true")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        globals()[options.system](options, options.folder)
        return
    with tempfile.TemporaryDirectory() as folder:
        globals()[options.system](options, Path(folder))


if __name__ == "__main__":
    main()
