"""A calculator in another environment against the same one in a process of its own, bit for bit.

``python tests/bench/bench_worker.py NAME ENV/bin/python``, with NAME as `relax --calculator` takes
it (``sevenn:7net-0``, ``nequip:FILE``, …): energies, forces and stress of three bilayers of
graphene, one of them strained, by `moireio.relax.worker` and by a script that the other Python
runs. Versions, elements and numbers are printed; where they differ, the exit code is 1.
"""

import subprocess
import sys

import numpy as np

SCRIPT = """
import sys
import numpy as np
import serve
from ase import Atoms
cells = dict(np.load(sys.argv[2]))
calculator, version = serve.make_calculator(sys.argv[1])
found = {"version": version, "elements": serve.known_elements(calculator) or []}
for n in range(3):
    atoms = Atoms(cells["numbers"], cells[f"x{n}"], cell=cells[f"cell{n}"], pbc=cells["pbc"])
    found |= {f"{k}{n}": v for k, v in serve.evaluate(calculator, atoms, True).items()}
np.savez(sys.argv[3], **found)
"""


def bilayers():
    """Return three bilayers of graphene."""
    from ase.build import graphene

    lower = graphene(size=(2, 2, 1), vacuum=8)
    lower.pbc = (True, True, False)
    upper = lower.copy()
    upper.positions[:, 2] += 3.4
    found = []
    for seed in range(3):
        atoms = lower + upper
        atoms.rattle(0.02, seed=seed)
        atoms.set_cell(atoms.cell * [1 + 0.01 * (seed == 2), 1, 1], scale_atoms=True)
        found.append(atoms)
    return found


def main(name, python):
    """Compare, and print what was found."""
    import os
    import tempfile

    from moireio.relax import serve
    from moireio.relax.worker import Worker

    cells = bilayers()
    with Worker(python, name) as worker:
        answers = [worker.evaluate(atoms, True) for atoms in cells]
        version, elements = worker.version, worker.elements
    with tempfile.TemporaryDirectory() as folder:
        given, taken = os.path.join(folder, "given.npz"), os.path.join(folder, "taken.npz")
        values = {"numbers": cells[0].numbers, "pbc": cells[0].pbc}
        for n, atoms in enumerate(cells):
            values |= {f"x{n}": atoms.positions, f"cell{n}": atoms.cell.array}
        np.savez(given, **values)
        environment = os.environ | {"PYTHONPATH": os.path.dirname(serve.__file__)}
        subprocess.run([python, "-c", SCRIPT, name, given, taken], env=environment, check=True)
        own = dict(np.load(taken))
    same = all(
        np.array_equal(answer[key], own[f"{key}{n}"])
        for n, answer in enumerate(answers)
        for key in ("energy", "forces", "stress")
    )
    print(f"{version}; {len(elements or [])} elements: {', '.join((elements or [])[:6])} …")
    for answer in answers:
        largest = np.abs(answer["forces"]).max()
        print(f"{float(answer['energy']):.9f} eV, largest force {largest:.6f} eV/Å")
    print("the same bits" if same else "DIFFERENT")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
