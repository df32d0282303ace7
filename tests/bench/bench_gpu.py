"""predict-h, train-h and dense bands on two devices: largest differences, and times.

Rerun by tests/bench/gpu.sh, or: python tests/bench/bench_gpu.py WORK --data "mote2/m1_*"

With --data, the shipped MoTe2 model's network is also trained on these folders, and the seconds of
an epoch are compared (the fastest one: the first has the start in it).

Times are of whole commands, the start of Python and of CUDA included, so that the ratio is what a
user sees. Small sizes show the price of starting, large ones what the device gains.
"""

import argparse
import glob
import os
import subprocess
import sys
import time

import numpy as np

ANGLES = ((2, 1), (6, 5), (11, 10), (18, 17))  # 364 to 47,788 orbitals
DENSE = ((2, 1), (6, 5))
STEPS = 20
HIDDEN = "64x0e+32x1o+16x2e+8x3o+8x4e"


def command(*words):
    """Run a command of moireio; return its seconds."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-m", "moireio", *map(str, words), "-q", "--debug"], check=True)
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


def log(model):
    """Return the columns of the log that train-h writes beside a model."""
    path = os.path.join(f"{model}.train", "log.csv")
    return np.atleast_1d(np.genfromtxt(path, delimiter=",", names=True))


def training(work, device):
    """Return seconds, and the loss of every epoch."""
    data = [os.path.join(work, f"{m}-{n}-cpu.h5") for m, n in ((2, 1), (3, 2))]
    if not os.path.exists(data[1]):
        prediction(work, (3, 2), "cpu")
    out = os.path.join(work, f"model-{device}.h5")
    subprocess.run(["rm", "-rf", out, f"{out}.train"], check=True)
    words = ["--validate", data[1], "--hidden", "8x0e+4x1o+2x2e", "--blocks", 2, "--lmax", 2]
    words += ["--epochs", STEPS, "--precision", "float64", "--device", device, "-o", out]
    seconds = command("train-h", data[0], *words)
    return seconds, log(out)["training_loss"]


def epoch(work, device, data, epochs):
    """Return seconds of the fastest epoch, and the loss of the first one, in single precision."""
    out = os.path.join(work, f"rate-{device}.h5")
    subprocess.run(["rm", "-rf", out, f"{out}.train"], check=True)
    words = ["--validate", data[0], "--hidden", HIDDEN, "--blocks", 2, "--lr", 0.006]
    words += ["--schedule", "cosine", "--epochs", epochs, "--device", device, "-o", out]
    command("train-h", *data[1:], *words)
    rows = log(out)
    return rows["seconds"].min(), rows["training_loss"][:1]


def main():
    """Compare the CPU with a device."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("work")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--data", nargs="*", help="training data, patterns of folders")
    given = parser.parse_args()
    import torch

    name = torch.cuda.get_device_name() if given.device == "cuda" else "the CPU"
    lines = [f"torch {torch.__version__}, {name}, {os.cpu_count()} cores", ""]
    lines += ["| what | CPU, s | device, s | ratio | largest difference |", "|---|---|---|---|---|"]
    cases = [(f"predict-h {m} {n}", prediction, ((m, n),), "eV") for m, n in ANGLES]
    cases += [(f"band --solver dense {m} {n}", bands, ((m, n),), "eV") for m, n in DENSE]
    cases += [(f"train-h, {STEPS} epochs", training, (), "eV² (loss)")]
    failed = False
    for label, run, words, unit in cases:
        try:
            slow, reference = run(given.work, *words[:1], "cpu")
            fast, values = run(given.work, *words[:1], given.device)
        except subprocess.CalledProcessError as error:
            failed = True
            print(f"{label}: failed ({error.returncode})", flush=True)
            continue
        gap = np.abs(values - reference).max()
        lines.append(
            f"| {label} | {slow:.1f} | {fast:.1f} | {slow / fast:.1f} | {gap:.1e} {unit} |"
        )
        print(lines[-1], flush=True)
    if given.data:
        data = sorted(folder for pattern in given.data for folder in glob.glob(pattern))
        slow, reference = epoch(given.work, "cpu", data, 2)
        fast, values = epoch(given.work, given.device, data, 20)
        gap = np.abs(values / reference - 1).max()
        label = f"train-h, an epoch of {len(data) - 1} structures"
        lines.append(
            f"| {label} | {slow:.2f} | {fast:.2f} | {slow / fast:.1f} | {gap:.1e} (loss) |"
        )
        print(lines[-1], flush=True)
    with open(os.path.join(given.work, "gpu.md"), "w", encoding="utf-8") as stream:
        stream.write("\n".join(lines) + "\n")
    sys.exit(failed)


if __name__ == "__main__":
    main()
