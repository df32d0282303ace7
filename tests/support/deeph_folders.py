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


def folder_of(source, folder, layout="deeph-dock"):
    """Write H, S and the structure of a block file as a data folder of DeepH; return the folder."""
    import moireio
    from moireio.formats.assembly.orders import OPENMX
    from moireio.operators.views import stored_as

    os.makedirs(folder)
    dock = layout == "deeph-dock"
    with moireio.open(source) as file:
        structure, n = file.structure, len(file.structure)
        shells = {name: list(file.basis[name].l) for name in structure.species_names}
        operators = {
            name: stored_as(file.operator(name), "full")
            for name in ("hamiltonian", "overlap")
            if name in file
        }
        spin = "hamiltonian" in operators and operators["hamiltonian"].meta.spin == "spinor"
        fermi = file.electrons.fermi if "electrons" in file else None
        orders = [np.argsort(OPENMX.to_ours(shells[name])[0]) for name in structure.species_names]
        for name, operator in operators.items():
            pairs, sizes = operator.pairs, operator.sizes
            data, at = operator.rows(0, n), 0
            keys, blocks = [], []
            for i, j, R in zip(pairs.i, pairs.j, pairs.R, strict=True):
                shape = int(sizes[i]), int(sizes[j])
                block = data[at : at + shape[0] * shape[1]].reshape(shape)
                at += block.size
                if not dock:  # OpenMX's order of the orbitals, twice where there are two spins
                    rows, columns = (orders[structure.species[a]] for a in (i, j))
                    if spin and name == "hamiltonian":
                        rows, columns = (np.r_[o, o + len(o)] for o in (rows, columns))
                    block = block[np.ix_(rows, columns)]
                keys.append([*map(int, R), int(i), int(j)])
                blocks.append(block)
            with h5py.File(folder / f"{name}{'' if dock else 's'}.h5", "w") as out:
                if dock:
                    out["atom_pairs"] = np.array(keys)
                    out["chunk_shapes"] = np.array([b.shape for b in blocks])
                    out["chunk_boundaries"] = np.cumsum([0, *(b.size for b in blocks)])
                    out["entries"] = np.concatenate([b.ravel() for b in blocks])
                for key, block in zip(keys, blocks, strict=True) if not dock else ():
                    out[str([*key[:3], key[3] + 1, key[4] + 1])] = block
    info = {"spinful" if dock else "isspinful": spin}
    info["fermi_energy_eV" if dock else "fermi_level"] = fermi
    if dock:
        info["elements_orbital_map"] = shells
        lines = ["x", "1.0", *(" ".join(f"{v:.15f}" for v in row) for row in structure.cell)]
        lines += [" ".join(structure.species_of_atoms), " ".join(["1"] * n), "Cartesian"]
        lines += [" ".join(f"{v:.15f}" for v in row) for row in structure.positions]
        (folder / "POSCAR").write_text("\n".join(lines) + "\n")
    else:
        np.savetxt(folder / "lat.dat", structure.cell.T)
        np.savetxt(folder / "site_positions.dat", structure.positions.T)
        np.savetxt(folder / "element.dat", structure.numbers, fmt="%d")
        lists = [" ".join(map(str, shells[name])) for name in structure.species_of_atoms]
        (folder / "orbital_types.dat").write_text("\n".join(lists) + "\n")
    (folder / "info.json").write_text(json.dumps({k: v for k, v in info.items() if v is not None}))
    return folder
