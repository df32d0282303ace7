"""Expected and true errors of a model, structure by structure.

``python tests/bench/bench_expected_error.py DATA ... [--model MODEL] [--plot FILE]``, with DATA as
train-h takes them: block files or folders with H and S. Prints for each the mean |ΔH| as
compare-h defines it, what the model expects, and their ratio, in meV; then Spearman's rank
correlation over all that the model was not trained on.
"""

import argparse
import os
from types import SimpleNamespace

import numpy as np

from moireio.compare.hamiltonians import compare
from moireio.formats.calculations import find_calculations, open_calculation
from moireio.formats.models import load_model
from moireio.models.shipped import model_with
from moireio.network.graph import Graph
from moireio.network.inference.hamiltonian import HamiltonianSource
from moireio.network.inference.passes import Predictor
from moireio.operators.views import FullView


def main():
    """Print a line for every structure."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="+")
    parser.add_argument("--model", default=model_with(["C"]))
    parser.add_argument("--plot")
    options = parser.parse_args()
    model = load_model(options.model)
    sets = model.training.get("structures", {})
    known = {d for name in ("training", "validation") for d in sets.get(name, ())}
    rows = []
    print("| structure | atoms | true | expected | ratio |\n|---|---|---|---|---|")
    for path in find_calculations(options.data):
        name = os.path.basename(os.path.normpath(path))
        with open_calculation(path) as calculation:
            true, expected = errors(model, calculation)
        rows.append((name in known, true, expected))
        mark = " (trained on)" if name in known else ""
        print(
            f"| {name}{mark} | {len(calculation.structure)} | {true:.2f} | {expected:.2f} "
            f"| {expected / true:.2f} |",
            flush=True,
        )
    from scipy.stats import spearmanr

    foreign = np.array([row[1:] for row in rows if not row[0]])
    ratio = foreign[:, 1] / foreign[:, 0]
    rank = spearmanr(*foreign.T).statistic
    print(f"\n{len(foreign)} not trained on: Spearman's rank correlation {rank:.3f}")
    print(f"expected/true {ratio.min():.2f} to {ratio.max():.2f}, median {np.median(ratio):.2f}")
    if options.plot:
        draw(rows, options.plot)


def errors(model, calculation):
    """Return the true and the expected mean |ΔH| of a calculation, meV."""
    structure = calculation.structure
    place = {z: n for n, z in enumerate(model.targets.numbers)}
    species = np.array([place[int(z)] for z in structure.numbers], dtype=np.int64)
    pairs = calculation.hamiltonian.pairs
    if calculation.hamiltonian.meta.storage == "upper":
        pairs = pairs.with_partners()
    predictor = Predictor(model, Graph(structure, pairs, species))
    predictor.run()
    predicted = SimpleNamespace(
        structure=structure,
        hamiltonian=FullView(HamiltonianSource(predictor)),
        overlap=None,
        label="prediction",
    )
    true = compare(predicted, calculation).mean
    return true * 1e3, predictor.expected_error().mean() * 1e3


def draw(rows, path):
    """Draw expected against true errors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6, 3.4), dpi=200, layout="constrained")
    axes = figure.add_subplot()
    for trained, style, label in ((True, ".", "trained on"), (False, "o", "not trained on")):
        points = np.array([row[1:] for row in rows if row[0] == trained])
        if len(points):
            axes.loglog(*points.T, style, ms=4, label=label)
    ends = np.array([0.2, 10])
    for factor, style in ((1, "-"), (3, ":"), (1 / 3, ":")):
        axes.loglog(ends, factor * ends, style, color="0.6", lw=0.8)
    ticks = [0.2, 0.5, 1, 2, 5, 10]
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
    axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes.minorticks_off()
    axes.set(xlim=ends, ylim=ends, xlabel="true |ΔH| (meV)", ylabel="expected |ΔH| (meV)")
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path)


if __name__ == "__main__":
    main()
