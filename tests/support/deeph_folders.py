"""DeepH's data folders of two atoms, in both layouts."""

import json
import os

import h5py
import numpy as np

NOISE = 1e-4  # eV: blocks differ so far from their partners' adjoints


def hermitian_blocks(keys, spin, rng, noise=NOISE):
    """Random blocks of two atoms with 4 and 2 orbitals, nearly Hermitian."""
    sizes = [8, 4] if spin else [4, 2]
    blocks = {}
    for key in keys:
        R, (i, j) = key[:3], key[3:]
        shape = sizes[i], sizes[j]
        block = rng.normal(size=shape) + (1j * rng.normal(size=shape) if spin else 0)
        partner = (*(-n for n in R), j, i)
        if partner in blocks:
            block = noise * block + blocks[partner].conj().T
        elif partner == key:
            block = noise * block + (block + block.conj().T) / 2
        blocks[key] = block
    return blocks


def write_folder(folder, spin=False, noise=NOISE):
    """A data folder of two atoms."""
    os.makedirs(folder)
    np.savetxt(folder / "lat.dat", np.diag([4.0, 4.0, 9.0]))
    np.savetxt(folder / "site_positions.dat", np.array([[0.0, 0, 0], [1.4, 0, 0]]).T)
    np.savetxt(folder / "element.dat", [6, 7], fmt="%d")
    (folder / "orbital_types.dat").write_text("0 1\n0 0\n")
    (folder / "info.json").write_text(json.dumps({"isspinful": spin, "fermi_level": -1.0}))
    keys = [(0, 0, 0, i, j) for i in range(2) for j in range(2)]
    blocks = hermitian_blocks(keys, spin, np.random.default_rng(0), noise)
    with h5py.File(folder / "hamiltonians.h5", "w") as file:
        for (*R, i, j), block in blocks.items():
            file[str([*R, i + 1, j + 1])] = block
    return folder


def write_dock_folder(folder, spin=False, basis=True, noise=NOISE):
    """A DeepH-dock folder of two atoms; return its blocks."""
    os.makedirs(folder)
    (folder / "POSCAR").write_text(
        "x\n1.0\n4 0 0\n0 4 0\n0 0 9\nC N\n1 1\nCartesian\n0 0 0\n1.4 0 0\n"
    )
    info = {
        "spinful": spin,
        "fermi_energy_eV": -1.0,
        "elements_orbital_map": {"C": [0, 1], "N": [0, 0]},
    }
    if basis:
        info["basis"] = {"C": "C6.0-s1p1", "N": "N6.0-s2"}
    (folder / "info.json").write_text(json.dumps(info))
    keys = [(0, 0, 0, 1, 0), (0, 0, 0, 0, 0), (0, 0, 0, 0, 1), (0, 0, 0, 1, 1)]
    blocks = list(hermitian_blocks(keys, spin, np.random.default_rng(0), noise).values())
    with h5py.File(folder / "hamiltonian.h5", "w") as file:
        file["atom_pairs"] = np.array(keys)
        file["chunk_shapes"] = np.array([b.shape for b in blocks])
        file["chunk_boundaries"] = np.cumsum([0, *(b.size for b in blocks)])
        file["entries"] = np.concatenate([b.ravel() for b in blocks])
    return dict(zip(keys, blocks, strict=True))
