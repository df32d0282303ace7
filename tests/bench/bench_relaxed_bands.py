"""Flat bands of twisted graphene, rigid and relaxed, side by side.

``python tests/bench/bench_relaxed_bands.py WORK --plot FILE.png`` takes the Slater–Koster model
of Moon and Koshino at 1.05°; ``--model network --index 17 16`` the model that comes with moireio
at 2.00°, ``--model network --index 32 31 --corners --precision float32`` the same at 1.05°, at Γ,
M and K only. Every command of

    build-twist graphene --index N M | relax | tb-h (or overlap | predict-h) | band

is a process of its own, with its seconds (of the clock, of the processors) and its peak memory.
What is done stands in WORK; the same call goes on after an interruption. Needs ``moireio[relax]``.

Printed are the width of the four flat bands and the gaps beside them (negative where bands
overlap), meV, and of a network the mean |ΔH| that it expects. At three k points the width is a
lower bound and the gaps are upper bounds.
"""

import argparse
import json
import os
import subprocess
import sys
import time

KINDS = ("rigid", "relaxed")
NETWORK = "network"


class Steps:
    """Commands that are run once, and what they took."""

    def __init__(self, path, threads):
        self._path = path
        self._environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self.done = {}
        if os.path.exists(path):
            with open(path) as stream:
                self.done = json.load(stream)

    def run(self, name, words):
        """Run a command, unless it is done."""
        if name in self.done:
            return
        begin = time.perf_counter()
        command = [sys.executable, "-m", "moireio", *words]
        process = subprocess.Popen(command, env=self._environment)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"failed: {' '.join(words)}")
        self.done[name] = {
            "clock_s": round(time.perf_counter() - begin, 1),
            "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
            "peak_MB": usage.ru_maxrss // 1024,
        }
        with open(self._path, "w") as stream:
            json.dump(self.done, stream, indent=1)


def structures(steps, name, index):
    """Make the rigid and the relaxed cell; return their files."""
    files = {kind: f"{name}.{kind}.h5" for kind in KINDS}
    words = ["build-twist", "graphene", "--index", *index, "-q", "--force"]
    steps.run("build-twist", [*words, "-o", files["rigid"]])
    words = ["relax", files["rigid"], "-o", files["relaxed"], "--force"]
    resumed = ["--resume"] if os.path.exists(files["relaxed"] + ".part.npz") else []
    steps.run("relax", [*words, *resumed])
    return files


def hamiltonian(steps, structure, options):
    """Make S and H of a structure; return the file.

    A network's go to a folder in zarr, to which bands are added without a copy.
    """
    base = structure.removesuffix(".h5")
    jobs = ["--jobs", str(options.threads), "--force"]
    label = os.path.basename(base).split(".")[-1]
    if options.model != NETWORK:
        out = f"{base}.{options.model}.h5"
        words = ["tb-h", structure, "-m", options.model, "-o", out, *jobs]
        steps.run(f"tb-h {options.model} {label}", words)
        return out
    out = f"{base}.{NETWORK}.zarr"
    steps.run(f"overlap {label}", ["overlap", structure, "-o", out, *jobs])
    if options.until == "overlap":
        return out
    precision = ["--precision", options.precision] if options.precision else []
    words = ["predict-h", out, "--in-place", "--no-check-spectrum", *precision, *jobs]
    steps.run(f"predict-h {label}", words)
    return out


def levels(steps, file, options):
    """Find the bands of a file, in the file itself."""
    words = ["band", file, "--in-place", "--resume", "--jobs", str(options.threads), "--force"]
    words += ["--bands", str(options.bands)]
    if options.corners:
        words += ["--path", "GMK", "--points", "3"]
    else:
        words += ["--path", "GMKG", "--points", str(options.points)]
    if options.precision and options.model == NETWORK:
        words += ["--precision", options.precision]
    name = "corners" if options.corners else f"path of {options.points}"
    label = os.path.basename(file).split(".")[-3]
    steps.run(f"band {options.model} {label}, {name}, {options.bands} bands", words)


def read(path):
    """Return the flat bands of a file, and the mean |ΔH| expected of its H (meV) or None."""
    import moireio
    from moireio.bands.flat import flat_bands

    with moireio.open(path) as file:
        expected = file.hamiltonian.expected_error
        return flat_bands(file, None), None if expected is None else float(expected.mean()) * 1e3


def main():
    """Make everything that is not there, print the table, draw the figure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--model", default="moon-koshino", help="of tb-h, or network")
    parser.add_argument("--index", nargs=2, default=["32", "31"])
    parser.add_argument("--bands", type=int, default=12)
    parser.add_argument("--points", type=int, default=73)
    parser.add_argument("--corners", action="store_true", help="Γ, M and K only")
    parser.add_argument("--precision", choices=("float32", "float64"))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--until", choices=("structure", "overlap", "hamiltonian"))
    parser.add_argument("--window", type=float, default=70.0, help="meV on either side")
    parser.add_argument("--plot")
    parser.add_argument("--stored", help="draw the bands that a file has, and nothing else")
    options = parser.parse_args()
    if options.stored:
        draw({"relaxed": read(options.stored)}, options.window, options.plot)
        return
    os.makedirs(options.folder, exist_ok=True)
    name = os.path.join(options.folder, "-".join(options.index))
    steps = Steps(f"{name}.json", options.threads)
    files = structures(steps, name, options.index)
    if options.until == "structure":
        return
    files = {kind: hamiltonian(steps, file, options) for kind, file in files.items()}
    if options.until:
        return
    found = {}
    print("| | width | gap below | gap above | expected |ΔH| |\n|---|---|---|---|---|")
    for kind, file in files.items():
        levels(steps, file, options)
        flat, expected = found[kind] = read(file)
        numbers = (flat.width, flat.gap_below, flat.gap_above)
        row = " | ".join(f"{1e3 * value:.2f}" for value in numbers)
        print(f"| {kind} | {row} | {'' if expected is None else f'{expected:.2f}'} |", flush=True)
    print()
    for step, took in steps.done.items():
        print(f"{step}: {took['clock_s']} s, {took['cpu_s']} s of CPU, {took['peak_MB']} MB")
    if options.plot:
        draw(found, options.window, options.plot)


def draw(found, window, path):
    """Draw the bands of both, zero at the mean of the flat bands at K."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.0 + 2.1 * len(found), 3.7), dpi=200, layout="constrained")
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (kind, (flat, expected)) in zip(panels, found.items(), strict=True):
        k_path = flat.bands.path
        corner = k_path.label_index[list(k_path.labels).index("K")]
        zero = flat.energies[corner].mean()
        energies = 1e3 * (flat.bands.energies[0] - zero)
        first = flat.first - flat.bands.first_band
        few = {"lw": 0.9}
        if len(k_path) < 10:
            few = {"marker": "_", "ms": 14, "mew": 1.0, "ls": "none"}
        for index in range(energies.shape[1]):
            inside = first <= index < first + flat.count
            axes.plot(
                k_path.distance,
                energies[:, index],
                color="#c0392b" if inside else "0.45",
                zorder=3 if inside else 2,
                **few,
            )
        low, high = (1e3 * (e - zero) for e in (flat.energies.min(), flat.energies.max()))
        for gap, edge, sign in ((flat.gap_below, low, -1), (flat.gap_above, high, 1)):
            if gap is not None and gap > 0:
                ends = sorted((edge, edge + sign * 1e3 * gap))
                axes.axhspan(*ends, color="#d6e6f2", lw=0, zorder=0)
                place = (0.5 * (k_path.distance[0] + k_path.distance[-1]), sum(ends) / 2)
                axes.text(*place, f"{1e3 * gap:.1f} meV", ha="center", va="center", fontsize=8)
        places = k_path.distance[k_path.label_index]
        axes.set_xticks(places, ["Γ" if label == "G" else label for label in k_path.labels])
        for x in places[1:-1]:
            axes.axvline(x, color="0.8", lw=0.6, zorder=1)
        margin = 0.0 if "lw" in few else 0.08 * places[-1]
        axes.set_xlim(places[0] - margin, places[-1] + margin)
        axes.set_ylim(-window, window)
        title = f"{kind}: width {1e3 * flat.width:.1f} meV"
        if expected is not None:
            title += f"\nexpected |ΔH| {expected:.2f} meV"
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=9)
    panels[0].set_ylabel("energy (meV)")
    figure.savefig(path)


if __name__ == "__main__":
    main()
