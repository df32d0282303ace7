"""What other programs make of files that moireio wrote: levels at five random k.

Rerun: python tests/bench/readers_by_hand.py --dock PYTHON3.12 --tbmodels PYTHON --wannierberri
PYTHON FILE …

For readers that cannot stand in the tests' environment: deepx-dock (Python 3.12), TBmodels
(NumPy 1), WannierBerri (GPL). Each FILE is what convert-h reads. Printed is the largest
difference of levels from moireio's own.
"""

import argparse
import subprocess
import sys
import tempfile

import numpy as np
from scipy.linalg import eigh

DOCK = """
import sys, numpy as np
from pathlib import Path
from deepx_dock.compute.eigen.hamiltonian import HamiltonianObj
from deepx_dock.convert.deeph.translate_old_dataset_to_new import NewDatasetTranslator
kind, folder, k, out = sys.argv[1:]
if kind == "older":
    new = folder + "-new"
    NewDatasetTranslator(folder, new).transfer_one_old_to_new(".", Path(folder), Path(new))
    folder = new
np.save(out, HamiltonianObj(folder).diag(np.load(k)).T)
"""
TBMODELS = """
import sys, numpy as np, tbmodels
kind, seed, k, out = sys.argv[1:]
model = tbmodels.Model.from_wannier_files(hr_file=seed + "_hr.dat", win_file=seed + ".win")
np.save(out, np.array(model.eigenval(np.load(k))))
"""
BERRI = """
import sys, numpy as np
from wannierberri.system import System_tb
kind, seed, k, out = sys.argv[1:]
system = System_tb(seed + "_tb.dat", berry=False)
R, H = np.array(system.rvec.iRvec), system.get_R_mat("Ham")
phases = np.exp(2j * np.pi * np.load(k) @ R.T)
np.save(out, np.linalg.eigvalsh(np.einsum("kr,rij->kij", phases, H)))
"""


def own_levels(path, k):
    """Levels of a block file, (nk, n)."""
    import moireio

    with moireio.open(path) as file:
        H, S = file.hamiltonian, None if file.basis.orthogonal else file.overlap
        spinor = H.meta.spin == "spinor"
        rows = []
        for point in k:
            s = None if S is None else S.at_k(point, dense=True, spinor=spinor)
            rows.append(eigh(H.at_k(point, dense=True), s, eigvals_only=True))
    return np.array(rows)


def convert(source, target, *words):
    """Run convert-h."""
    command = [sys.executable, "-m", "moireio", "convert-h", source, "-o", target, "-q", "--force"]
    subprocess.run([*command, *words], check=True)


def by_program(python, code, kind, path, k, work):
    """Levels by another program, (nk, n)."""
    np.save(f"{work}/k.npy", k)
    command = [python, "-c", code, kind, path, f"{work}/k.npy", f"{work}/e.npy"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-500:], done.stderr[-1500:])
        return np.full((1, 1), np.nan)
    return np.load(f"{work}/e.npy")


def main():
    import moireio

    parser = argparse.ArgumentParser()
    parser.add_argument("--dock")
    parser.add_argument("--tbmodels")
    parser.add_argument("--wannierberri")
    parser.add_argument("files", nargs="+")
    words = parser.parse_args()
    for source in words.files:
        with tempfile.TemporaryDirectory() as work:
            block = f"{work}/x.h5"
            convert(source, block)
            with moireio.open(block) as file:
                k = np.random.default_rng(0).uniform(-0.5, 0.5, (5, 3)) * file.structure.pbc
                orthogonal = file.basis.orthogonal
            own = own_levels(block, k)
            found = {}
            if words.dock and not orthogonal:
                for kind, name in (("dock", "deeph-dock"), ("older", "deeph")):
                    convert(block, f"{work}/{kind}", "--to", name)
                    levels = by_program(words.dock, DOCK, kind, f"{work}/{kind}", k, work)
                    found[f"deepx-dock, {name}"] = levels
            if orthogonal:
                convert(block, f"{work}/w_hr.dat")
                convert(block, f"{work}/w_tb.dat")
                seed = f"{work}/w"
                for python, code, name in (
                    (words.tbmodels, TBMODELS, "TBmodels, hr and win"),
                    (words.wannierberri, BERRI, "WannierBerri, tb"),
                ):
                    if python:
                        found[name] = by_program(python, code, "hr", seed, k, work)
        for name, levels in found.items():
            gap = np.abs(levels - own).max() if levels.shape == own.shape else np.nan
            print(f"{source:<60} {name:<24} {own.shape[1]:4} {gap:.1e} eV", flush=True)


if __name__ == "__main__":
    main()
