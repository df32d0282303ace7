"""Training steps per second against DeepH-E3's formulation.

``python tests/bench/bench_training.py DATA …``: block files or data folders of DeepH. For each, one
process makes steps of moireio's training with DeepH-E3's network, another one those of the same
network written with e3nn's modules (tests/support/reference_net.py): same weights, structure, loss
and optimiser, in single precision. Lists as in DeepH-E3 (64x0e+32x1o+16x2e+8x3o+8x4e, 3 blocks).
"""

import argparse
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "support")]
HIDDEN = "64x0e+32x1o+16x2e+8x3o+8x4e"


def child(which, path, threads):
    """Print the median seconds of a step, the number of edges, and the first losses."""
    import numpy as np
    import torch
    from reference_net import ReferenceTraining

    from moireio.formats.calculations import open_calculation
    from moireio.network.create import new_model
    from moireio.network.irreps import Irreps
    from moireio.network.training.config import TrainingConfig
    from moireio.network.training.loop import Training
    from moireio.network.training.samples import make_sample
    from moireio.network.training.sets import summarise

    torch.set_num_threads(threads)
    summary = summarise(path, open_calculation)
    basis, elements = summary.basis, summary.elements
    with open_calculation(path) as c:
        order = sorted(basis, key=elements.get)
        whole = type(c.basis)({n: basis[n] for n in order})
        numbers = [elements[n] for n in order]
        model = new_model(whole, numbers, summary.spinful, Irreps.parse(HIDDEN), local=False)
        sample = make_sample(c, model.network, model.targets)
    config = TrainingConfig(learning_rate=1e-4, clip=0.0)
    if which == "moireio":
        training = Training(model, [sample], [sample], config)
        step, count = lambda: training.step([sample]), 8
    else:
        training = ReferenceTraining(model, config.learning_rate)
        step, count = lambda: training.step(sample), 4
    losses, seconds = [], []
    for _ in range(count):
        begin = time.perf_counter()
        losses.append(step())
        seconds.append(time.perf_counter() - begin)
    edges = len(sample.graph) + len(sample.species)
    print(float(np.median(seconds[1:])), edges, len(sample.species), *losses[:3])


def main():
    """Print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", nargs="+")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child")
    options = parser.parse_args()
    if options.child:
        child(options.child, options.data[0], options.threads[0])
        return
    print("| structure | atoms | edges | threads | moireio, steps/s | e3nn, steps/s | ratios |")
    print("|---|---|---|---|---|---|---|")
    for path in options.data:
        for threads in options.threads:
            rounds = []
            for _ in range(options.rounds):
                found = [run(which, path, threads) for which in ("moireio", "e3nn")]
                for a, b in zip(*(f[3:] for f in found), strict=True):
                    assert abs(a - b) < 1e-3 * b, "the losses differ"
                rounds.append([found[1][0] / found[0][0], found[0][0], found[1][0]])
            rounds.sort()
            middle = rounds[len(rounds) // 2]
            ratios = ", ".join(f"{r[0]:.1f}" for r in rounds)
            name = os.path.basename(path.rstrip("/"))
            print(
                f"| {name} | {found[0][2]:.0f} | {found[0][1]:.0f} | {threads} "
                f"| {1 / middle[1]:.2f} | {1 / middle[2]:.2f} | {ratios} |",
                flush=True,
            )


def run(which, path, threads):
    """Return what a child process printed."""
    words = [sys.executable, __file__, path, "--child", which, "--threads", str(threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return [float(v) for v in done.stdout.split()]


if __name__ == "__main__":
    main()
