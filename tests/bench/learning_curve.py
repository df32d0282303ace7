"""Error against the number of structures a network learns from.

``python tests/bench/learning_curve.py POOL --validate DATA --test DATA``, with POOL and DATA as
train-h takes them. Subsets of POOL, each half of the one before and part of it, are trained with
the same number of steps, rate and network; validation and test are the same for all. Prints a
table in meV; --plot draws it. With --folder the models stay there, and a second call goes on from
them. Words after ``--`` go to train-h.
"""

import argparse
import contextlib
import os
import subprocess
import sys
import tempfile


def main():
    """Run the trainings one after another."""
    parser = argparse.ArgumentParser()
    parser.add_argument("pool", nargs="+")
    parser.add_argument("--validate", nargs="+", required=True)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument("--steps", type=int, default=2600)
    parser.add_argument("--sizes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder")
    parser.add_argument("--plot")
    words = sys.argv[1:]
    extra = words[words.index("--") + 1 :] if "--" in words else []
    options = parser.parse_args(words[: len(words) - len(extra) - 1] if extra else words)

    import numpy as np

    from moireio.formats.calculations import find_calculations
    from moireio.network.modelfile import read

    out = set(find_calculations(options.validate)) | set(find_calculations(options.test))
    pool = [p for p in find_calculations(options.pool) if p not in out]
    order = np.random.default_rng(options.seed).permutation(len(pool))
    counts = [max(1, len(pool) >> n) for n in range(options.sizes)][::-1]
    rows = []
    print("| structures | training | validation | test | largest, test |\n|---|---|---|---|---|")
    for count in counts:
        with _folder(options.folder) as folder:
            model = os.path.join(folder, f"model-{count}.h5")
            if not os.path.exists(model):
                given = os.path.join(folder, f"list-{count}")
                with open(given, "w") as stream:
                    stream.writelines(f"{os.path.abspath(pool[n])}\n" for n in order[:count])
                command = [sys.executable, "-m", "moireio", "train-h", f"@{given}"]
                for name in ("validate", "test"):
                    command += [w for value in getattr(options, name) for w in (f"--{name}", value)]
                command += ["--schedule", "cosine", "--epochs", str(max(1, options.steps // count))]
                subprocess.run([*command, *extra, "-o", model, "-q"], check=True)
            after = read(model).training["after"]
        means = [_mean(after[name]) for name in ("training", "validation", "test")]
        rows.append((count, *means))
        largest = max(row["largest"] for row in after["test"].values())
        values = " | ".join(f"{m:.2f}" for m in means)
        print(f"| {count} | {values} | {largest:.0f} |", flush=True)
    if options.plot:
        _draw(rows, options.plot)


def _folder(name):
    """Return a folder that stays, or one that goes."""
    if name is None:
        return tempfile.TemporaryDirectory()
    os.makedirs(name, exist_ok=True)
    return contextlib.nullcontext(name)


def _mean(pairs):
    return sum(row["mean"] for row in pairs.values()) / len(pairs)


def _draw(rows, path):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.4, 3.4), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    counts = [row[0] for row in rows]
    for n, (name, marker) in enumerate((("training", "."), ("validation", "o"), ("test", "s"))):
        axes.loglog(counts, [row[n + 1] for row in rows], marker=marker, label=name)
    axes.set_xticks(counts, [str(c) for c in counts])
    values = [v for row in rows for v in row[1:4]]
    ticks = [
        t for t in (0.2, 0.3, 0.5, 1, 2, 3, 5, 10) if min(values) / 1.3 < t < max(values) * 1.3
    ]
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("structures in training")
    axes.set_ylabel("mean |ΔH| (meV)")
    axes.legend(frameon=False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
