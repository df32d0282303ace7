"""Data folders of DeepH: reading against h5py's bare loop and against cp.

Rerun: python tests/bench/bench_deeph.py [MB] [--only dock|older] [--before PYTHON]

A chain of atoms with 26 orbitals is written in both layouts: 20,000 blocks in the older one, MB
(by default 500) in DeepH-dock's. Printed are wall and CPU seconds, the least of three; files are
in the page cache, except where "cold" is said. PYTHON is the interpreter of another installation,
whose convert-h is timed in turn with this one's.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"

import h5py
import numpy as np

SHELLS = (0, 0, 0, 1, 1, 2, 2, 3)
ROUNDS = 3


def chain(n_atoms, reach):
    """A Hermitian H on a chain, every atom with its next `reach` ones on both sides."""
    from ase import Atoms

    from moireio.blockfile.calculation import Calculation
    from moireio.operators.catalogue import operator_type
    from moireio.operators.views import ArraySource, symmetrised
    from moireio.system.basis import Basis, SpeciesBasis
    from moireio.system.pairs import Pairs
    from moireio.system.structure import Structure

    i = np.repeat(np.arange(n_atoms), 2 * reach + 1)
    to = i + np.tile(np.arange(-reach, reach + 1), n_atoms)
    R = np.zeros((len(i), 3), dtype=int)
    R[:, 0] = to // n_atoms
    pairs, _ = Pairs.sort(n_atoms, i, to % n_atoms, R)
    positions = np.zeros((n_atoms, 3))
    positions[:, 0] = 3 * np.arange(n_atoms)
    atoms = Atoms([52] * n_atoms, positions=positions, cell=[3 * n_atoms, 20, 20], pbc=True)
    basis = Basis({"Te": SpeciesBasis(SHELLS)})
    size = basis["Te"].size
    data = np.random.default_rng(0).normal(size=len(pairs) * size**2)
    meta = operator_type("hamiltonian").meta()
    H = symmetrised(ArraySource(meta, [size] * n_atoms, pairs, data), "made")
    return Calculation("made", Structure.from_ase(atoms), basis, {"hamiltonian": H})


def timed(*runs, prepare=lambda: None):
    """Print the least wall and CPU seconds of functions, taken in turn, children included."""
    walls, cpus = np.zeros((2, len(runs), ROUNDS))
    for turn in range(ROUNDS):
        for n, (_, function, *arguments) in enumerate(runs):
            prepare()
            before, start = os.times(), time.perf_counter()
            function(*arguments)
            walls[n, turn] = time.perf_counter() - start
            cpus[n, turn] = sum(os.times()[:4]) - sum(before[:4])
    for (name, *_), wall, cpu in zip(runs, walls, cpus, strict=True):
        print(f"{name:<58} {wall.min():8.2f} {cpu.min():8.2f}", flush=True)


def bare_loop(path):
    """What h5py needs to open and read each dataset."""
    with h5py.File(path) as file:
        return sum(file[name][()].size for name in file)


def read_all(read, folder):
    """All of H, by runs of atoms."""
    with read(folder) as calculation:
        n = len(calculation.structure)
        for begin in range(0, n, 50):
            calculation.operator("hamiltonian").rows(begin, min(begin + 50, n))


def convert(folder, target, python=sys.executable):
    """The command, from its start to its end."""
    words = [python, "-m", "moireio", "convert-h", folder, "-o", target, "-q", "--force"]
    # Installed packages are compiled.
    env = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run(words, check=True, cwd="/", env=env)


def forget(path):
    """Take a file out of the page cache."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def copy_to_disk(source, target):
    """What cp does, until the disk has it."""
    subprocess.run(["cp", source, target], check=True)
    with open(target, "rb") as file:
        os.fsync(file.fileno())


def main():
    from moireio.formats.deeph import dock, dock_write, folder, folder_write

    parser = argparse.ArgumentParser()
    parser.add_argument("megabytes", nargs="?", type=int, default=500)
    parser.add_argument("--only", choices=("dock", "older"))
    parser.add_argument("--before")
    words = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        older, newer = os.path.join(work, "older"), os.path.join(work, "dock")
        target = os.path.join(work, "out.h5")

        def conversions(folder):
            runs = [("the same, convert-h to a block file", convert, folder, target)]
            if words.before:
                runs.append(("  the same, before", convert, folder, target, words.before))
            return runs

        print(f"{'':<58} {'wall, s':>8} {'CPU, s':>8}")
        if words.only != "dock":
            folder_write.write(chain(800, 12), older)
            timed(
                ("h5py opens and reads 20,000 datasets", bare_loop, f"{older}/hamiltonians.h5"),
                ("20,000 blocks of 26 x 26, older layout", read_all, folder.read, older),
                *conversions(older),
            )
        if words.only != "older":
            n_atoms = max(60, words.megabytes * 1_000_000 // (51 * 26**2 * 8))
            dock_write.write(chain(n_atoms, 25), newer)
            file = f"{newer}/hamiltonian.h5"
            size = f"{os.path.getsize(file) / 1e6:.0f} MB"
            timed(
                (f"cp of {size}", subprocess.run, ["cp", file, f"{work}/copy.h5"]),
                ("the same, until the disk has it", copy_to_disk, file, f"{work}/copy.h5"),
                (f"{size} from DeepH-dock's layout", read_all, dock.read, newer),
                *conversions(newer),
            )
            timed(
                (f"cp of {size}, cold", subprocess.run, ["cp", file, f"{work}/copy.h5"]),
                *conversions(newer),
                prepare=lambda: forget(file),
            )


if __name__ == "__main__":
    main()
