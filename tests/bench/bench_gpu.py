"""predict-h, train-h and dense bands on two devices: largest differences, and times.

Rerun by tests/bench/gpu.sh, or: python tests/bench/bench_gpu.py WORK --device cuda

Times are of whole commands, the start of Python and of CUDA included, so that the ratio is what a
user sees. Small sizes show the price of starting, large ones what the device gains.
"""

import argparse
import os
import subprocess
import sys
import time

import numpy as np

ANGLES = ((2, 1), (6, 5), (11, 10))  # 364 to 17,212 orbitals
DENSE = ((2, 1), (6, 5))
STEPS = 20


def command(*words):
    """Run a command of moireio; return its seconds."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "moireio", *map(str, words), "-q"], check=True)
    return time.perf_counter() - begin


def structure(work, index):
    """Make a block file of twisted graphene with its overlap, unless it is there."""
    path = os.path.join(work, f"{index[0]}-{index[1]}.h5")
    if not os.path.exists(path):
        command("build-twist", "graphene", "--index", *index, "-o", f"{path}.a.h5", "--force")
        command("overlap", f"{path}.a.h5", "-o", path)
    return path


def prediction(work, index, device):
    """Return seconds, and the Hamiltonian's elements."""
    import moireio

    out = os.path.join(work, f"{index[0]}-{index[1]}-{device}.h5")
    seconds = command("predict-h", structure(work, index), "--device", device, "-o", out, "--force")
    with moireio.open(out) as file:
        return seconds, file.hamiltonian.rows(0, len(file.structure))


def bands(work, index, device):
    """Return seconds, and all energies at three k points by dense matrices."""
    import moireio

    source = os.path.join(work, f"{index[0]}-{index[1]}-cpu.h5")
    out = os.path.join(work, f"{index[0]}-{index[1]}-bands-{device}.h5")
    words = ["--solver", "dense", "--path", "GMK", "--points", 3, "--device", device]
    seconds = command("band", source, *words, "-o", out, "--force")
    with moireio.open(out) as file:
        return seconds, file.bands().energies


def training(work, device):
    """Return seconds, and the final mean errors (meV) after some steps."""
    data = [os.path.join(work, f"{m}-{n}-cpu.h5") for m, n in ((2, 1), (3, 2))]
    if not os.path.exists(data[1]):
        prediction(work, (3, 2), "cpu")
    out = os.path.join(work, f"model-{device}.h5")
    subprocess.run(["rm", "-rf", out, f"{out}.train"], check=True)
    words = ["--validate", data[1], "--hidden", "8x0e+4x1o+2x2e", "--blocks", 2, "--lmax", 2]
    words += ["--epochs", STEPS, "--precision", "float64", "--device", device, "-o", out]
    seconds = command("train-h", data[0], *words)
    rows = np.genfromtxt(os.path.join(f"{out}.train", "log.csv"), delimiter=",", names=True)
    return seconds, np.atleast_1d(rows["training_loss"])


def main():
    """Compare the CPU with a device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work")
    parser.add_argument("--device", default="cuda")
    given = parser.parse_args()
    import torch

    name = torch.cuda.get_device_name() if given.device == "cuda" else "the CPU"
    lines = [f"torch {torch.__version__}, {name}, {os.cpu_count()} cores", ""]
    lines += ["| what | CPU, s | device, s | ratio | largest difference |", "|---|---|---|---|---|"]
    cases = [(f"predict-h {m} {n}", prediction, (m, n)) for m, n in ANGLES]
    cases += [(f"band --solver dense {m} {n}", bands, (m, n)) for m, n in DENSE]
    cases += [(f"train-h, {STEPS} epochs", training, None)]
    for label, run, index in cases:
        words = (given.work,) if index is None else (given.work, index)
        slow, reference = run(*words, "cpu")
        fast, values = run(*words, given.device)
        gap = np.abs(values - reference).max()
        unit = "eV" if index is not None else "eV² (loss)"
        lines.append(
            f"| {label} | {slow:.1f} | {fast:.1f} | {slow / fast:.1f} | {gap:.1e} {unit} |"
        )
        print(lines[-1], flush=True)
    with open(os.path.join(given.work, "gpu.md"), "w", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
