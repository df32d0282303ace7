"""Operators that decay with the distance, and naive writers of other programs' files of them."""

import io
import tarfile

import numpy as np

from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

CELL = np.array([[6.0, 0.2, 0.0], [-2.5, 5.5, 0.3], [0.1, 0.4, 7.0]])
FRACTIONS = np.array([[0.10, -0.20, 0.05], [0.45, 0.10, -0.12], [-0.31, 0.40, 0.30]])
SHELLS = {"C": (0, 1), "Mo": (0, 1, 2), "H": (0,)}
NUMBERS = {"C": 6, "Mo": 42, "H": 1}


class Example:
    """Three atoms with different shells.

    H and S are dicts of (i, j, R) to blocks, H with a leading axis of spins; R is between atoms of
    [−½, ½).
    """

    def __init__(self, seed=1, spins=1, shells=None, reach=7.5):
        rng = np.random.default_rng(seed)
        self.shells = shells or SHELLS
        self.structure = Structure(
            CELL, FRACTIONS @ CELL, list(NUMBERS.values()), [0, 1, 2], list(NUMBERS), [True] * 3
        )
        self.basis = Basis({name: SpeciesBasis(momenta) for name, momenta in self.shells.items()})
        self.sizes = self.basis.sizes(self.structure)
        self.H, self.S = {}, {}
        for i in range(3):
            for j in range(3):
                for R in np.ndindex(5, 5, 5):
                    R = tuple(int(n) - 2 for n in R)
                    vector = self.structure.positions[j] + R @ CELL - self.structure.positions[i]
                    distance = np.linalg.norm(vector)
                    if distance > reach or (i, j, R) in self.S:
                        continue
                    back = j, i, tuple(-n for n in R)
                    for blocks, count, scale in ((self.S, 1, 0.05), (self.H, spins, 3.0)):
                        shape = (count, self.sizes[i], self.sizes[j])
                        block = scale * np.exp(-(distance**2) / 6) * rng.uniform(0.5, 1, shape)
                        if back == (i, j, R):
                            block = (block + block.transpose(0, 2, 1)) / 2
                        if blocks is self.S:
                            block = block[0] + (np.eye(self.sizes[i]) if distance == 0 else 0)
                        blocks[i, j, R] = block
                        blocks[back] = np.swapaxes(block, -1, -2)
        self.spins = spins

    def matrices(self, name, spin=0):
        """Return {R: dense matrix of the cell}."""
        starts = np.concatenate([[0], np.cumsum(self.sizes)])
        out = {}
        for (i, j, R), block in (self.H if name == "hamiltonian" else self.S).items():
            block = block[spin] if name == "hamiltonian" else block
            matrix = out.setdefault(R, np.zeros((starts[-1], starts[-1])))
            matrix[starts[i] : starts[i + 1], starts[j] : starts[j + 1]] = block
        return dict(sorted(out.items()))

    def assert_equal(self, calculation, digits=1e-12, scale=1.0, names=("hamiltonian", "overlap")):
        """Every block of a calculation is that of the example; R is between the same positions."""
        from foreign_levels import blocks_of

        moves = (calculation.structure.positions - self.structure.positions) @ np.linalg.inv(CELL)
        assert np.abs(moves - np.round(moves)).max() < 1e-5
        moves = np.round(moves).astype(int)
        for name in names:
            expected = self.H if name == "hamiltonian" else self.S
            found = {}
            for i, j, R, block in blocks_of(calculation.operators[name]):
                found[int(i), int(j), tuple((R - moves[i] + moves[j]).tolist())] = block
            assert found.keys() >= expected.keys()
            for key, block in found.items():
                wanted = expected.get(key, np.zeros(1))
                factor = scale if name == "hamiltonian" else 1.0
                assert np.abs(block - factor * wanted).max() < digits, (name, key)


def cp2k_text(example, project="x", shifts=((0, 0, 0),) * 3, cells=None, basis=True):
    """CP2K's output of a calculation, with atoms shifted by lattice vectors."""
    cell = CELL
    lengths = np.linalg.norm(cell, axis=1)
    a, b, c = cell
    angles = {
        "(b,c), alpha": (b, c), "(a,c), beta ": (a, c), "(a,b), gamma": (a, b),
    }  # fmt: skip
    rows = [" CP2K| version string:                                       CP2K version 2023.1"]
    rows += [f" GLOBAL| Project name {project:>58}", f" CP2K| Input file name {'x.inp':>57}"]
    for name, vector, length in zip("abc", cell, lengths, strict=True):
        numbers = "".join(f"{x:10.3f}" for x in vector)
        rows.append(f" CELL| Vector {name} [angstrom]: {numbers}   |{name}| = {length:12.6f}")
    for name, (u, v) in angles.items():
        angle = np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))
        rows.append(f" CELL| Angle {name} [degree]: {angle:45.6f}")
    rows += [f" DFT| Number of spin states {example.spins:53d}", "", " ATOMIC KIND INFORMATION", ""]
    for number, (kind, shells) in enumerate(example.shells.items(), 1):
        rows.append(f"  {number}. Atomic kind: {kind}                  Number of atoms:       1")
        if not basis:
            continue
        rows += ["", "     Orbital Basis Set                              SOME", ""]
        size = sum(2 * l + 1 for l in shells)  # noqa: E741
        rows.append(f"       Number of spherical basis functions: {size:35d}")
        labels = {0: ["s"], 1: ["px", "py", "pz"], 2: ["dx2", "dxy", "dxz", "dy2", "dyz", "dz2"]}
        for shell, l in enumerate(shells, 1):  # noqa: E741
            for label in labels[l]:
                rows.append(f"                          1       {shell}    3{label:<5}  1.0  0.5")
                rows.append("                                               0.3  0.1")
    positions = (FRACTIONS + shifts) @ CELL
    rows += [" MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM", ""]
    rows += ["   Atom Kind Element         X             Y             Z       Z(eff)     Mass"]
    for n, (kind, p) in enumerate(zip(example.shells, positions, strict=True), 1):
        numbers = "".join(f"{x:14.6f}" for x in p)
        rows.append(f"{n:7d}{n:5d} {kind:<2}{NUMBERS[kind]:6d}{numbers}   4.0000  12.0107")
    rows += ["", "", " Number of electrons:                              7"] * example.spins
    rows += ["  Fermi energy:                                      -0.10000000000000", ""]
    for matrix in ("KS", " S") if cells is not None else ():
        rows.append(f" {matrix} CSR write|{len(cells):4d} periodic images")
        rows.append("      Number    X      Y      Z")
        rows += [f"       {n:3d}{x:7d}{y:7d}{z:7d}" for n, (x, y, z) in enumerate(cells, 1)]
        rows.append("")
    return "\n".join(rows) + "\n"


def cp2k_matrix(matrix, upper=False, binary=False, threshold=1e-14):
    """Bytes of one CSR file."""
    out = io.BytesIO()
    for i, j in np.argwhere(np.abs(matrix) > threshold):
        if upper and i > j:
            continue
        if binary:
            record = np.array([(16, i + 1, j + 1, matrix[i, j], 16)], dtype="<i4,<i4,<i4,<f8,<i4")
            out.write(record.tobytes())
        else:
            digits, power = f"{matrix[i, j]:.14E}".split("E")
            out.write(f"{i + 1:8d}{j + 1:8d} {digits}E{int(power):+04d}\n".encode())
    return out.getvalue()


def write_cp2k(folder, example, *, upper=False, binary=False, archive=False, **text):
    """A folder of CP2K: output and CSR files, or an archive of these."""
    files = {}
    cells = list(example.matrices("overlap"))
    for matrix, name, spins in (("KS", "hamiltonian", example.spins), ("S", "overlap", 1)):
        for spin in range(spins):
            for n, found in enumerate(example.matrices(name, spin).values(), 1):
                label = f"x-{matrix}_SPIN_{spin + 1}_R_{n}-1_0.csr"
                files[label] = cp2k_matrix(found, upper, binary)
    if archive:
        with tarfile.open(folder / "csr.tar.gz", "w:gz") as file:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    else:
        for name, data in files.items():
            (folder / name).write_bytes(data)
    (folder / "x.out").write_text(cp2k_text(example, cells=cells, **text))
    return folder / "x.out"


def write_aims(folder, example, *, shifts=((0, 0, 0),) * 3, hdf5=False):
    """A folder of FHI-aims; its harmonics with odd m > 0 are negative."""
    rows = [f"lattice_vector {x!r} {y!r} {z!r}" for x, y, z in CELL.tolist()]
    for p, name in zip(((FRACTIONS + shifts) @ CELL).tolist(), example.shells, strict=True):
        rows.append(f"atom {p[0]!r} {p[1]!r} {p[2]!r} {name}")
    (folder / "geometry.in").write_text("\n".join(rows) + "\n")
    rows, signs = ["", "  fn.   type   at.   n   l   m"], []
    for atom, shells in enumerate(example.shells.values(), 1):
        for l in shells:  # noqa: E741
            for m in range(-l, l + 1):
                signs.append(-1.0 if m > 0 and m % 2 else 1.0)
                rows.append(f"{len(signs):5d} atomic   {atom:3d} {l + 1:3d} {l:3d} {m:3d}")
    (folder / "basis-indices.out").write_text("\n".join(rows) + "\n")
    signs = np.outer(signs, signs)
    cells = sorted(example.matrices("overlap"), key=lambda R: (R != (0, 0, 0), R))
    first, last, columns, places = [], [], [], []
    for R in cells:
        matrix = example.matrices("overlap")[R]
        begin, end = [], []
        for b in range(len(matrix)):
            found = [c for c in range(b + 1) if matrix[c, b] != 0]  # <c,0|S|b,R>
            begin.append(len(columns) + 1 if found else 0)
            columns += [c + 1 for c in found]
            end.append(len(columns) if found else -1)
            places += [(R, c, b) for c in found]
        first.append(begin)
        last.append(end)
    n_basis = len(signs)
    text = [f"n_hamiltonian_matrix_size: {len(columns) + 1:12d}"]
    text += [f"n_cells_in_hamiltonian: {len(cells) + 1:12d}", f"n_basis: {n_basis:12d}"]
    text.append("cell_index")
    text += [f"{x:10d} {y:10d} {z:10d}" for x, y, z in [*cells, (999999999,) * 3]]
    for which, table in (("1", first), ("2", last)):
        text.append(f"index_hamiltonian({which},:,:)")
        text += [" ".join(f"{n:10d}" for n in row) for row in table]
        text.append(" ".join(["**********"] * n_basis))
    text += ["column_index_hamiltonian", *(f"{n:10d}" for n in [*columns, 0])]
    (folder / "rs_indices.out").write_text("\n".join(text) + "\n")

    def write(name, matrices):
        values = [(signs * matrices[R])[c, b] for R, c, b in places] + [0.0]
        if hdf5:
            import h5py

            with h5py.File(folder / f"{name}.h5", "w") as file:
                file["sparse_matrix"] = np.array(values)
        else:
            lines = [f"{value:24.16E}" for value in values]
            (folder / f"{name}.out").write_text("\n".join(lines) + "\n")

    write("rs_overlap", example.matrices("overlap"))
    names = ["rs_hamiltonian"]
    if example.spins == 2:
        names = ["rs_hamiltonian_up", "rs_hamiltonian_down" if hdf5 else "rs_hamiltonian_dn"]
    for spin, name in enumerate(names):
        write(name, example.matrices("hamiltonian", spin))
    return folder


def write_dftbplus(folder, example, *, shifts=((0, 0, 0),) * 3):
    """A folder of DFTB+: R is between atoms of [0, 1)."""
    moves = -np.floor(FRACTIONS).astype(int)
    listed = {}
    for i, j, R in example.S:
        cell = tuple((R + moves[i] - moves[j]).tolist())
        if i <= j:
            listed[i, j, cell] = R
    lines = ["#     NATOM", "          3", "#     IATOM    NNEIGH      NORB"]
    for i, size in enumerate(example.sizes):
        lines.append(f"{i + 1:11d}{sum(k[0] == i for k in listed):11d}{size:11d}")
    order = sorted(listed, key=lambda key: (key[0], key[0] != key[1] or any(key[2]), key))
    for name, spin in (("overreal", None), ("hamreal1", 0), ("hamreal2", 1))[
        : 2 + example.spins - 1
    ]:
        text = list(lines)
        for n, (i, j, cell) in enumerate(order):
            text += ["#    IATOM1    INEIGH   IATOM2F  ICELL(1)  ICELL(2)  ICELL(3)"]
            text += ["".join(f"{x:11d}" for x in (i + 1, n, j + 1, *cell)), "# MATRIX"]
            key = i, j, listed[i, j, cell]
            block = example.S[key] if spin is None else example.H[key][spin]
            text += ["".join(f"{x:24.15E}" for x in row) for row in block]
        (folder / f"{name}.dat").write_text("\n".join(text) + "\n")
    gen = ["3 S", "  " + " ".join(example.shells), ""]
    for n, p in enumerate(((FRACTIONS + shifts) @ CELL).tolist(), 1):
        gen.append(f"{n} {n} " + " ".join(f"{x!r}" for x in p))
    gen += ["0 0 0", *(" ".join(f"{x!r}" for x in row) for row in CELL.tolist())]
    (folder / "geo.gen").write_text("\n".join(gen) + "\n")
    letters = {name: "spdf"[max(shells)] for name, shells in example.shells.items()}
    momenta = "\n".join(f'    {name} = "{letter}"' for name, letter in letters.items())
    spin = "  SpinPolarisation = Colinear {}\n" if example.spins == 2 else ""
    (folder / "dftb_in.hsd").write_text(
        'Geometry = GenFormat {\n  <<< "geo.gen"  # the atoms\n}\nHamiltonian = DFTB {\n'
        f"  Scc = Yes\n{spin}  ReadInitialCharges = Yes\n"
        f"  MaxAngularMomentum {{\n{momenta}\n  }}\n}}\n"
    )
    (folder / "detailed.out").write_text("Fermi level:    -0.1000000000 H   -2.7211 eV\n")
    return folder


def write_rescu(folder, example):
    """NAME.h5 and NAME.mat of RESCU."""
    import h5py

    bohr = 0.52917721067
    with h5py.File(folder / "x.h5", "w") as file:
        cells = list(example.matrices("overlap"))
        file["LCAO/Rvec"] = np.array(cells, dtype=float).T
        for stem in ("overlap", "hamiltonian"):
            for n, matrix in enumerate(example.matrices(stem).values(), 1):
                file[f"LCAO/{stem}{n}"] = matrix.T
    with h5py.File(folder / "x.mat", "w") as file:
        file["domain/latvec"] = CELL.T / bohr
        file["domain/boundary"] = np.ones((3, 1))
        file["atom/xyz"] = example.structure.positions.T / bohr
        file["atom/element"] = np.array([[1.0, 2.0, 3.0]])
        file["atom/nvalence"] = np.array([[4.0, 14.0, 1.0]])
        file["energy/EFermi"] = np.array([[-0.1]])
        kind = h5py.special_dtype(ref=h5py.Reference)
        species = file.create_dataset("element/species", (3, 1), dtype=kind)
        for n, name in enumerate(example.shells):
            file[f"#refs#/{n}"] = np.array([[ord(c)] for c in name], dtype=np.uint16)
            species[n, 0] = file[f"#refs#/{n}"].ref
        orbitals = [
            (atom, l, m)
            for atom, shells in enumerate(example.shells.values(), 1)
            for l in shells  # noqa: E741
            for m in range(-l, l + 1)
        ]
        for name, column in zip(("Aorb", "Lorb", "Morb"), np.array(orbitals).T, strict=True):
            file[f"LCAO/orbInfo/{name}"] = column[:, None].astype(float)
    return folder / "x.h5"


def write_deeptb(folder, example, *, half=False, first=0, frames=1, names="hamiltonians overlaps"):
    """A folder of DeePTB, or with other names of dftio."""
    import h5py

    plural = "s" if names.startswith("hamiltonians") else ""
    for name, blocks in zip(names.split(), (example.H, example.S), strict=True):
        with h5py.File(folder / f"{name}.h5", "w") as file:
            for frame in range(frames):
                group = file.create_group(str(frame))
                for (i, j, R), block in blocks.items():
                    if not half or i <= j:
                        block = block[0] if blocks is example.H else block
                        key = "_".join(map(str, (i + first, j + first, *R)))
                        group[key] = block * (1 + 0.5 * (frame < frames - 1))
    np.savetxt(folder / f"position{plural}.dat", np.tile(FRACTIONS @ CELL, (frames, 1)))
    np.savetxt(folder / f"atomic_number{plural}.dat", list(NUMBERS.values()), fmt="%d")
    np.savetxt(folder / "cell.dat", np.tile(CELL, (frames, 1)))
    np.savetxt(folder / "pbc.dat", [1, 1, 1])
    letters = {
        name: "".join(f"{shells.count(n)}{'spd'[n]}" for n in sorted(set(shells)))
        for name, shells in example.shells.items()
    }
    (folder / "basis.dat").write_text(str(letters))
    return folder
