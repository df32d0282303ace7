"""Twisted bilayer graphene with the shipped model, from 21.8° to 2°: times, memory, bands.

``python tests/bench/bench_twisted.py --folder WORK --plot FILE.png``. Every command of

    build-twist graphene --index N M | overlap | predict-h | band --path GMKG --bands B

is a process of its own here, so that its time and its peak memory can be measured. A second
call goes on with the files that are there, and with the k points that are done; --points takes
fewer of them, for times alone.
"""

import argparse
import json
import os
import subprocess
import sys
import time

SERIES = ["2 1", "3 2", "6 5", "10 9", "17 16"]
BANDS = {"2 1": 12, "3 2": 16, "6 5": 24, "10 9": 32, "17 16": 16}
POINTS = {"2 1": 120, "3 2": 120, "6 5": 60, "10 9": 30, "17 16": 9}


def step(words, log, threads):
    """Run a command; remember its seconds and its peak memory."""
    begin = time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    process = subprocess.Popen([sys.executable, "-m", "moireio", *words], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, words
    log[words[0]] = [time.perf_counter() - begin, usage.ru_maxrss * 1024]


def one(index, folder, threads, model, points):
    """Make all files of one angle; return the log."""
    name = os.path.join(folder, index.replace(" ", "-"))
    files = {k: f"{name}.{k}.h5" for k in ("twist", "overlap", "h", "bands")}
    known = f"{name}.json"
    log = {}
    if os.path.exists(known):
        with open(known) as stream:
            log = json.load(stream)
    model = ["-m", model] if model else []
    steps = {
        "build-twist": ["graphene", "--index", *index.split(), "-o", files["twist"]],
        "overlap": [files["twist"], "-o", files["overlap"]],
        "predict-h": [files["overlap"], "-o", files["h"], *model],
        "band": [files["h"], "-p", "GMKG", "--bands", str(BANDS[index]), "-o", files["bands"]],
    }
    if model:
        steps["overlap"] += ["--pao", model[1]]
    steps["band"] += ["-n", str(points or POINTS[index]), "--resume"]
    for command, words in steps.items():
        if command not in log:
            extra = [] if command == "build-twist" else ["--jobs", str(threads)]
            step([command, *words, *extra, "-q", "--force"], log, threads)
            with open(known, "w") as stream:
                json.dump(log, stream)
    return log, files


def main():
    """Print the table and draw the bands."""
    import moireio

    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--plot")
    parser.add_argument("--model")
    parser.add_argument("--points", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--index", nargs="*", default=SERIES)
    options = parser.parse_args()
    os.makedirs(options.folder, exist_ok=True)
    drawn = []
    print("| index | angle | atoms | orbitals | overlap | predict-h | band, per k | peak memory |")
    print("|---|---|---|---|---|---|---|---|")
    for index in options.index:
        log, files = one(index, options.folder, options.threads, options.model, options.points)
        with moireio.open(files["bands"]) as file:
            bands, atoms = file.bands(), len(file.structure)
            layers = file.moire.layers
            angle = abs(layers[0].angle - layers[1].angle)
            size = int(file.basis.sizes(file.structure).sum())
        drawn.append((angle, bands))
        peak = max(log.items(), key=lambda item: item[1][1])
        print(
            f"| {index} | {angle:.2f}° | {atoms} | {size} | {log['overlap'][0]:.1f} s "
            f"| {log['predict-h'][0]:.1f} s | {log['band'][0] / len(bands.path):.1f} s "
            f"| {peak[1][1] / 1e9:.2f} GB ({peak[0]}) |",
            flush=True,
        )
    if options.plot:
        draw(drawn, options.plot)


def draw(drawn, path):
    """Draw the bands side by side, zero at the top of the valence bands."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.3 * len(drawn), 3.4), dpi=160, layout="constrained")
    for axes, (angle, bands) in zip(figure.subplots(1, len(drawn)), drawn, strict=True):
        # where k points are few, show that lines between them are drawn by hand
        few = {"marker": "o", "ms": 2.2} if len(bands.path) < 20 else {}
        levels = bands.energies[0] - bands.vbm()
        axes.plot(bands.path.distance, levels, "C0", lw=0.8, **few)
        places = bands.path.distance[bands.path.label_index]
        axes.set_xticks(places, ["Γ" if n == "G" else n for n in bands.path.labels])
        for x in places[1:-1]:
            axes.axvline(x, color="0.8", lw=0.6, zorder=0)
        axes.set_xlim(places[0], places[-1])
        # as wide as the two layers' cones reach at M, which shrinks with the angle
        axes.set_ylim(-0.11 * angle, 0.11 * angle)
        axes.set_title(f"{angle:.2f}°", fontsize=10)
    figure.axes[0].set_ylabel("energy (eV)")
    figure.savefig(path)


if __name__ == "__main__":
    main()
