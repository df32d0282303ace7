"""Graphs as HamGNN's scripts make them, from calculations, written by torch_geometric's layout."""

import numpy as np

from moireio.formats.hamgnn import write

BOHR = 0.529177249
# Slots of OpenMX's orbitals, by angular momentum: s 0-2, p 3-8, d 9-13, d 14-18, f 19-25
P, D, F = [1, -1, 0], [0, 2, -2, 1, -1], [0, 1, -1, 2, -2, 3, -3]


def openmx_slots(shells):
    """Slot of each of moireio's orbitals among OpenMX's 26."""
    free = {0: [0, 1, 2], 1: [3, 6], 2: [9, 14], 3: [19]}
    order = {0: [0], 1: P, 2: D, 3: F}
    out = []
    for momentum in shells:
        start = free[momentum].pop(0)
        out += [start + order[momentum].index(m) for m in range(-momentum, momentum + 1)]
    return np.array(out)


def naive_graph(calculation, nao, angstrom=False, their_spins=True):
    """The arrays of a graph, one block after another, from HamGNN's description of them."""
    structure, basis = calculation.structure, calculation.basis
    H, S = calculation.hamiltonian, calculation.overlap
    names = structure.species_of_atoms
    slots = [openmx_slots(basis[name].l) for name in names]
    spin = H.meta.spin
    width = 2 * nao if spin == "spinor" else nao
    blocks = {}
    data, overlaps = H.rows(0, len(names)), S.rows(0, len(names))
    at = there = 0
    for i, j, R in zip(H.pairs.i, H.pairs.j, H.pairs.R, strict=True):
        rows, columns = slots[i], slots[j]
        n, m = len(rows), len(columns)
        padded = np.zeros((nao, nao))
        padded[np.ix_(rows, columns)] = overlaps[there : there + n * m].reshape(n, m)
        there += n * m
        if spin == "spinor":
            block = data[at : at + 4 * n * m].reshape(2 * n, 2 * m) / 27.2113845
            at += 4 * n * m
            full = np.zeros((width, width), dtype=complex)
            wide = np.r_[rows, rows + nao], np.r_[columns, columns + nao]
            full[np.ix_(*wide)] = block
            if their_spins:
                full[nao:, :nao] = full[:nao, nao:].conj()
        else:
            channels = np.atleast_2d(data)
            full = np.zeros((len(channels), nao, nao))
            for c, flat in enumerate(channels):
                full[c][np.ix_(rows, columns)] = flat[at : at + n * m].reshape(n, m) / 27.2113845
            at += n * m
        blocks[int(i), int(j), tuple(map(int, R))] = full, padded
    own = [(i, i, (0, 0, 0)) for i in range(len(names))]
    edges = sorted(set(blocks) - set(own), key=lambda key: (key[2], key[1], key[0]))
    number = {key: n for n, key in enumerate(edges)}
    cell = structure.cell / (1.0 if angstrom else BOHR)
    R = np.array([key[2] for key in edges])

    def stacked(keys, which, part=np.real):
        values = np.stack([part(blocks[key][which]) for key in keys])
        if which == 1 or spin != "collinear":
            return values.reshape(len(keys), -1).astype(np.float32)
        return values.reshape(len(keys), 2, -1).astype(np.float32)

    graph = {
        "z": structure.numbers.astype(np.int64),
        "cell": cell[None].astype(np.float32),
        "pos": (structure.positions / (1.0 if angstrom else BOHR)).astype(np.float32),
        "total_energy": -1.5,
        "node_counts": np.array([len(names)]),
        "edge_index": np.array([[k[0] for k in edges], [k[1] for k in edges]]),
        "inv_edge_idx": np.array([number[j, i, tuple(-n for n in r)] for i, j, r in edges]),
        "nbr_shift": (R @ structure.cell / BOHR).astype(np.float32),
        "cell_shift": R.astype(np.int64),
        "Hon": stacked(own, 0),
        "Hoff": stacked(edges, 0),
        "Son": stacked(own, 1),
        "Soff": stacked(edges, 1),
    }
    if spin == "spinor":
        graph |= {"iHon": stacked(own, 0, np.imag), "iHoff": stacked(edges, 0, np.imag)}
    if angstrom:
        graph |= {"spin_length": np.zeros(len(names), dtype=np.float32)}
    return graph


def save(path, *graphs):
    """Write graphs as torch_geometric pickles them, in one file."""
    torch = __import__("torch")
    data = __import__("torch_geometric.data", fromlist=["Data"])
    made = {}
    for number, graph in enumerate(graphs):
        tensors = {
            key: value if isinstance(value, float) else torch.from_numpy(np.array(value))
            for key, value in graph.items()
        }
        made[number] = data.Data(**tensors)
    np.savez(path, graph=made)


def save_plainly(path, *graphs):
    """Write graphs without torch_geometric, by moireio's own pickle."""
    import io
    import zipfile

    stream = io.BytesIO()
    write.write_graphs(stream, graphs)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("graph.npy", stream.getvalue())


def only_s(nao):
    """A dimer along z with s orbitals, in a cell without neighbours."""
    norm = np.zeros((2, nao, nao), dtype=np.float32)
    norm[:, 0, 0] = 1
    off = np.zeros((2, nao, nao), dtype=np.float32)
    off[:, 0, 0] = 0.3
    return {
        "z": np.array([1, 1]),
        "cell": 20 * np.eye(3, dtype=np.float32)[None],
        "pos": np.array([[0, 0, 1], [0, 0, 2.5]], dtype=np.float32),
        "edge_index": np.array([[0, 1], [1, 0]]),
        "nbr_shift": np.zeros((2, 3), dtype=np.float32),
        "cell_shift": np.zeros((2, 3), dtype=np.int64),
        "Hon": -norm.reshape(2, -1),
        "Hoff": -off.reshape(2, -1),
        "Son": norm.reshape(2, -1),
        "Soff": off.reshape(2, -1),
    }


def write_hamgnn(folder):
    """A dimer and its prediction; paths by format."""
    graph = only_s(14)
    save_plainly(folder / "graph_data.npz", graph)
    np.save(
        folder / "prediction_hamiltonian.npy", np.concatenate([graph["Hon"], graph["Hoff"]]) - 1
    )
    return {"hamgnn": "graph_data.npz", "hamgnn-prediction": "prediction_hamiltonian.npy"}
