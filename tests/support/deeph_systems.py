"""Calculations for DeepH's folders, and folders in local frames and in split storage."""

import json
import os

import h5py
import numpy as np
from deeph_folders import write_dock_folder
from helpers import random_operator
from scipy.spatial.transform import Rotation
from systems import rotation_of_orbitals, rotation_of_spin

from moireio.blockfile.calculation import Calculation
from moireio.formats.deeph import dock, dock_write, folder, folder_write
from moireio.operators.views import UpperView
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

LAYOUTS = {
    "dock": (dock_write.write, dock.read),
    "deeph": (folder_write.write, folder.read),
}
SHELLS = {"C": (0, 0, 1, 2), "N": (0, 3)}
MOMENTA = {6: (0, 1, 2), 7: (0, 3)}
# x y z; 3z²−r² x²−y² xy xz yz; as OpenMX's manual lists f
OPENMX = {0: [0], 1: [1, -1, 0], 2: [0, 2, -2, 1, -1], 3: [0, 1, -1, 2, -2, 3, -3]}
SPLIT = {"split_hkb": True}, {"hamiltonian_storage": "spinless_plus_hkb"}


def system(spin="none", storage="full", seed=0, names=("C", "N", "C")):
    """Interleaved elements, some of them outside the cell, a slab; H and S."""
    rng = np.random.default_rng(seed)
    cell = np.array([[3.1, 0.0, 0.0], [-1.5, 2.7, 0.0], [0.1, 0.2, 30.0]])
    positions = rng.uniform(-4, 4, size=(3, 3)) + np.array([0.0, 0.0, 15.0])
    positions[0, 0] = 7 / 3
    from ase import Atoms

    atoms = Atoms(names, positions=positions, cell=cell, pbc=(True, True, False))
    structure = Structure.from_ase(atoms)
    basis = Basis({n: SpeciesBasis(SHELLS[n]) for n in structure.species_names})
    sizes = basis.sizes(structure)
    H, _ = random_operator(seed, sizes, spin=spin)
    S, _ = random_operator(seed + 1, sizes, name="overlap", fill=0.9)
    S.data[:] *= 0.01
    at = 0
    for i, j, R, n in zip(
        S.pairs.i, S.pairs.j, S.pairs.R, S.pairs.block_elements(sizes), strict=True
    ):
        if i == j and not R.any():
            block = S.data[at : at + n].reshape(sizes[i], sizes[i])
            block += np.eye(len(block))
        at += n
    operators = {"hamiltonian": H, "overlap": S}
    if storage == "upper":
        operators = {name: UpperView(source) for name, source in operators.items()}
    return Calculation("made", structure, basis, operators, electrons=Electrons(fermi=-1 / 3))


def openmx_order(shells):
    """Where OpenMX's orbitals stand in moireio's order."""
    out, start = [], 0
    for momentum in shells:
        out += [start + momentum + m for m in OPENMX[momentum]]
        start += 2 * momentum + 1
    return np.array(out)


def local_folder(path, spin, kind="h5", seed=3):
    """Two folders of one Hamiltonian: global blocks in moireio's order, and local ones in files."""
    os.makedirs(path)
    rng = np.random.default_rng(seed)
    atoms = [6, 7, 6]
    np.savetxt(path / "lat.dat", np.diag([4.0, 5.0, 9.0]))
    np.savetxt(path / "site_positions.dat", rng.uniform(0, 3, size=(3, 3)))
    np.savetxt(path / "element.dat", atoms, fmt="%d")
    (path / "orbital_types.dat").write_text("0 1 2\n0 3\n0 1 2\n")
    (path / "info.json").write_text(json.dumps({"isspinful": spin, "fermi_level": -1.0}))
    keys = [(R, 0, 0, i, j) for R in (-1, 0, 1) for i in range(3) for j in range(3)]
    globally, rh, rc = {}, {}, {}
    factor = 2 if spin else 1
    for key in keys:
        partner = (-key[0], 0, 0, key[4], key[3])
        shells = MOMENTA[atoms[key[3]]], MOMENTA[atoms[key[4]]]
        shape = [factor * sum(2 * v + 1 for v in s) for s in shells]
        block = rng.normal(size=shape) + (1j * rng.normal(size=shape) if spin else 0)
        if partner in globally:
            block = globally[partner].conj().T
        elif partner == key:
            block = block + block.conj().T
        globally[key] = block
        turn = Rotation.random(random_state=rng).as_matrix()
        # Local functions are Y(R⁻¹ r) = D(R⁻¹) Y(r).
        left, right = (rotation_of_orbitals(s, turn.T) for s in shells)
        orders = [openmx_order(s) for s in shells]
        if spin:
            U = rotation_of_spin(turn)
            left, right = np.kron(U.conj().T, left), np.kron(U.conj().T, right)
            orders = [np.r_[o, o + len(o)] for o in orders]
        name = str([*key[:3], key[3] + 1, key[4] + 1])
        rh[name] = (left @ block @ right.conj().T)[np.ix_(*orders)]
        rc[name] = turn
    if kind == "npz":
        np.savez(path / "rh.npz", **rh)
        np.savez(path / "rc.npz", **rc)
        return globally
    for stem, blocks in (("rh", rh), ("rc", rc)):
        with h5py.File(path / f"{stem}.h5", "w") as file:
            for name, block in blocks.items():
                file[name] = block
    return globally


def change_info(path, **settings):
    info = json.loads((path / "info.json").read_text()) | settings
    (path / "info.json").write_text(json.dumps(info))


def write_blocks(path, blocks):
    with h5py.File(path, "w") as file:
        file["atom_pairs"] = np.array(list(blocks))
        file["chunk_shapes"] = np.array([b.shape for b in blocks.values()])
        file["chunk_boundaries"] = np.cumsum([0, *(b.size for b in blocks.values())])
        file["entries"] = np.concatenate([b.ravel() for b in blocks.values()])


def halves(block):
    """The mean of the real parts of ↑↑ and ↓↓, and the rest."""
    n, m = block.shape[0] // 2, block.shape[1] // 2
    base = (block[:n, :m] + block[n:, m:]).real / 2
    return base, block - np.kron(np.eye(2), base)


def split_folder(path, settings=SPLIT[0]):
    blocks = write_dock_folder(path, spin=True, noise=0.0)
    parts = {key: halves(block) for key, block in blocks.items()}
    write_blocks(path / "hamiltonian.h5", {key: part[0] for key, part in parts.items()})
    # in another order, and without a pair that spin does not touch
    write_blocks(path / "hkb.h5", {key: parts[key][1] for key in reversed(parts)})
    change_info(path, **settings)
    return blocks
