"""ABACUS's matrices written and read naively, from the layout alone."""

import re

import numpy as np

RYDBERG = 13.605698066
#: m of the orbitals of a shell; odd ones have the opposite sign.
ORDER = {0: [0], 1: [0, 1, -1], 2: [0, 1, -1, 2, -2], 3: [0, 1, -1, 2, -2, 3, -3]}


def naive_csr(path):
    """Return {R: dense matrix} of an old file, word by word; Ry."""
    words = re.sub(r"\(([^,()]*),([^,()]*)\)", r"\1;\2", path.read_text()).split()
    if words[0] == "STEP:":
        words = words[2:]
    n, count = int(words[4]), int(words[9])
    words = iter(words[10:])
    found = {}
    for _ in range(count):
        *R, elements = (int(next(words)) for _ in range(4))
        matrix = np.zeros((n, n), dtype=complex)
        if elements:
            values = [complex(*map(float, next(words).split(";"))) for _ in range(elements)]
            columns = [int(next(words)) for _ in range(elements)]
            pointers = [int(next(words)) for _ in range(n + 1)]
            for row in range(n):
                for at in range(pointers[row], pointers[row + 1]):
                    matrix[row, columns[at]] = values[at]
        found[tuple(R)] = matrix
    assert next(words, None) is None
    return found


def at_k(matrices, k):
    """Σ_R e^{2πi k·R} M(R)."""
    return sum(np.exp(2j * np.pi * np.dot(k, R)) * M for R, M in matrices.items())


def abacus_rows(structure, basis, spins=1):
    """For each of ABACUS's rows (atom, l, zeta, m, spin) of gathered atoms with shells sorted by l:
    the row (spin, atom, shell, m) of moireio's and the sign."""
    sizes = basis.sizes(structure)
    starts = np.concatenate([[0], np.cumsum(sizes * spins)])
    rows, signs = [], []
    for atom, name in enumerate(structure.species_of_atoms):
        begin = 0
        for momentum in basis[name].l:
            for m in ORDER[momentum]:
                for spin in range(spins):
                    rows.append(starts[atom] + spin * sizes[atom] + begin + momentum + m)
                    signs.append((-1.0) ** m)
            begin += 2 * momentum + 1
    return np.array(rows), np.array(signs)


def write_csr(path, letter, matrices, *, step=True, unit=RYDBERG, form="old", atoms=None):
    """Write {R: dense matrix} (eV) in one of the forms."""
    n = len(next(iter(matrices.values())))
    with open(path, "w") as out:
        if form == "old":
            out.write("STEP: 0\n" if step else "")
            out.write(f"Matrix Dimension of {letter}(R): {n}\n")
            out.write(f"Matrix number of {letter}(R): {len(matrices)}\n")
        else:
            out.write(
                f" --- Ionic Step 1 ---\n # print {letter} matrix in real space {letter}(R)\n"
            )
            out.write(" 1 # number of spin directions\n 1 # spin index, E_Fermi = -3.5606 eV\n")
            out.write(f" {n} # number of localized basis\n")
            out.write(f" {len(matrices) + 2} # number of Bravais lattice vector R\n\n{atoms}\n")
            out.write(" #---#\n # CSR Format #\n #---#\n")
        for R, matrix in matrices.items():
            matrix = np.asarray(matrix) / unit
            pointers = np.concatenate([[0], np.cumsum((matrix != 0).sum(axis=1))])
            rows, columns = np.nonzero(matrix)
            values = matrix[rows, columns]
            text = [
                f"({v.real:.8e},{v.imag:.8e})" if np.iscomplexobj(values) else f"{v:.8e}"
                for v in values
            ]
            if form == "old":
                out.write(f"{R[0]} {R[1]} {R[2]} {len(values)}\n")
                if len(values):
                    out.writelines(
                        " " + " ".join(map(str, part)) + "\n" for part in (text, columns, pointers)
                    )
                continue
            if not len(values):
                continue
            out.write(f"\n {R[0]} {R[1]} {R[2]} {len(values)}\n")
            for title, part, width in (
                ("CSR values", text, 6),
                ("CSR column indices", columns, 16),
                ("CSR row pointers", pointers, 16),
            ):
                out.write(f" # {title}\n")
                for begin in range(0, len(part), width):
                    out.write(" " + " ".join(map(str, part[begin : begin + width])) + "\n")


def write_binary(path, matrices, *, unit=RYDBERG, form="old"):
    """Write {R: dense matrix} (eV) in one of the binary forms."""
    pointer = "i4" if form == "old" else "i8"
    n = len(next(iter(matrices.values())))
    with open(path, "wb") as out:
        out.write(np.array([0, n, len(matrices)], dtype="i4").tobytes())
        for R, matrix in matrices.items():
            matrix = np.asarray(matrix) / unit
            rows, columns = np.nonzero(matrix)
            out.write(np.array([*R, len(rows)], dtype="i4").tobytes())
            if len(rows) or form != "old":
                counts = (matrix != 0).sum(axis=1)
                out.write(matrix[rows, columns].tobytes())
                out.write(columns.astype("i4").tobytes())
                out.write(np.concatenate([[0], np.cumsum(counts)]).astype(pointer).tobytes())


def write_positions(path, matrices, *, binary=False):
    """Write {R: (x, y, z) dense matrices} in Bohr: for each R a line, then count and matrix."""
    n = len(next(iter(matrices.values()))[0])
    with open(path, "wb") as out:
        if binary:
            out.write(np.array([0, n, len(matrices)], dtype="i4").tobytes())
        else:
            out.write(f"STEP: 0\nMatrix Dimension of r(R): {n}\n".encode())
            out.write(f"Matrix number of r(R): {len(matrices)}\n".encode())
        for R, axes in matrices.items():
            out.write(np.array(R, "i4").tobytes() if binary else b"%d %d %d\n" % R)
            for matrix in axes:
                rows, columns = np.nonzero(matrix)
                pointers = np.concatenate([[0], np.cumsum((matrix != 0).sum(axis=1))])
                values = matrix[rows, columns]
                count = len(values)
                out.write(np.array([count], "i4").tobytes() if binary else b"%d\n" % count)
                if count and binary:
                    out.write(values.tobytes())
                    out.write(columns.astype("i4").tobytes())
                    out.write(pointers.astype("i4").tobytes())
                elif count:
                    for part in ([f"{v:.8e}" for v in values], columns, pointers):
                        out.write((" " + " ".join(map(str, part)) + "\n").encode())


def naive_positions(path):
    """Return {R: (3, n, n) array} of a text file, word by word; Bohr."""
    words = iter(path.read_text().split()[2:])
    n, count = (int([next(words) for _ in range(5)][4]) for _ in range(2))
    found = {}
    for _ in range(count):
        R = tuple(int(next(words)) for _ in range(3))
        found[R] = np.zeros((3, n, n))
        for matrix in found[R]:
            if elements := int(next(words)):
                values = [float(next(words)) for _ in range(elements)]
                columns = [int(next(words)) for _ in range(elements)]
                pointers = [int(next(words)) for _ in range(n + 1)]
                for row in range(n):
                    for at in range(pointers[row], pointers[row + 1]):
                        matrix[row, columns[at]] = values[at]
    assert next(words, None) is None
    return found


def inside(structure):
    """Lattice vectors that bring each atom into the cell, where ABACUS has it."""
    return -np.floor(structure.positions @ np.linalg.inv(structure.cell)).astype(int)


def dense_cells(source, rows, signs, moves=None):
    """Return {R: matrix} of an operator in ABACUS's rows, one for each component.

    R counts the cells between atoms that were moved by lattice vectors.
    """
    from foreign_levels import blocks_of

    n = int(np.sum(source.sizes))
    starts = np.concatenate([[0], np.cumsum(source.sizes)])
    found = [{} for _ in range(source.meta.components)]
    for i, j, R, block in blocks_of(source):
        if moves is not None:
            R = R + moves[i] - moves[j]
        for one, part in zip(found, block, strict=True):
            matrix = one.setdefault(tuple(R.tolist()), np.zeros((n, n), dtype=block.dtype))
            matrix[starts[i] : starts[i + 1], starts[j] : starts[j + 1]] = part
    turn = np.ix_(rows, rows)
    return [{R: M[turn] * np.outer(signs, signs) for R, M in one.items()} for one in found]
