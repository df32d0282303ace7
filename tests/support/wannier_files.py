"""Files of Wannier90 written from its documentation alone, and bands of calculations."""

import json

import numpy as np

from moireio.operators.bloch import BlochSum


def bands(calculation, ks, component=0):
    """Eigenvalues of H(k) of an orthogonal basis, (nk, n)."""
    total = BlochSum.from_source(calculation.hamiltonian, component=component)
    return np.array([np.linalg.eigvalsh(total.dense(k)) for k in ks])


def reference(folder):
    """The reference of a folder of foreign files."""
    return json.loads((folder / "reference.json").read_text())


def random_model(seed, n, reach=1):
    """Cells and matrices of a random Hermitian H(R), with numbers of six decimals."""
    rng = np.random.default_rng(seed)
    cells = np.array(list(np.ndindex(*[2 * reach + 1] * 3))) - reach
    parts = np.round(rng.normal(size=(2, len(cells), n, n)), 6)
    matrices = parts[0] + 1j * parts[1]
    number = {tuple(cell): place for place, cell in enumerate(cells.tolist())}
    for place, cell in enumerate(cells.tolist()):
        partner = number[tuple(-c for c in cell)]
        if partner > place:
            matrices[partner] = matrices[place].conj().T
        elif partner == place:
            matrices[place] = np.triu(matrices[place], 1)
            matrices[place] += matrices[place].conj().T + np.diag(parts[0, place].diagonal())
    return cells, matrices


def at_k(cells, matrices, k):
    """Σ_R e^{2πi k·R} H(R)."""
    return np.tensordot(np.exp(2j * np.pi * (cells @ np.asarray(k))), matrices, 1)


def hr_text(cells, matrices, degeneracy=None, comment="written on 1Jan2026 at 00:00:00"):
    """The text of ``_hr.dat``."""
    n = matrices.shape[1]
    counts = np.ones(len(cells), dtype=int) if degeneracy is None else np.asarray(degeneracy)
    lines = [f" {comment} ", f"{n:12d}", f"{len(cells):12d}"]
    for begin in range(0, len(counts), 15):
        lines.append("".join(f"{count:5d}" for count in counts[begin : begin + 15]))
    for cell, matrix in zip(cells.tolist(), matrices, strict=True):
        for b in range(n):
            for a in range(n):
                value = matrix[a, b]
                names = "".join(f"{number:5d}" for number in (*cell, a + 1, b + 1))
                lines.append(f"{names}{value.real:12.6f}{value.imag:12.6f}")
    return "\n".join(lines) + "\n"


def win_text(cell, n, *lines):
    """A minimal ``.win``."""
    rows = "\n".join(" ".join(f"{x:.9f}" for x in row) for row in cell)
    head = "\n".join([f"num_wann = {n}", *lines])
    return f"{head}\nbegin unit_cell_cart\n{rows}\nend unit_cell_cart\n"


def xyz_text(centres):
    """The text of ``_centres.xyz``."""
    rows = "\n".join("X " + " ".join(f"{x:.8f}" for x in row) for row in np.asarray(centres))
    return f"{len(centres)}\n centres\n{rows}\n"


def tb_text(cells, matrices, cell, position=None, comment="written on 1Jan2026 at 00:00:00"):
    """The text of ``_tb.dat``; `position` is (3, n_cells, n, n)."""
    n = matrices.shape[1]
    lines = [f" {comment} ", *(" ".join(f"{x:24.16f}" for x in row) for row in cell)]
    lines += [f"{n:12d}", f"{len(cells):12d}"]
    for begin in range(0, len(cells), 15):
        lines.append("".join(f"{1:5d}" for _ in cells[begin : begin + 15]))
    tables = [matrices[None]] if position is None else [matrices[None], position]
    for table in tables:
        for place, R in enumerate(cells.tolist()):
            lines += ["", "".join(f"{number:5d}" for number in R)]
            for b in range(n):
                for a in range(n):
                    parts = [p for z in table[:, place, a, b] for p in (z.real, z.imag)]
                    numbers = " ".join(f"{x:15.8E}" for x in parts)
                    lines.append(f"{a + 1:5d}{b + 1:5d}   {numbers}")
    return "\n".join(lines) + "\n"


WT_IN = """&TB_FILE
Hrfile = "x.dat"
/
LATTICE
Angstrom
4 0 0
0 5 0
0 0 6
ATOM_POSITIONS
2
Direct
C 0.1 0 0
H 0.5 1.5 0
PROJECTORS
1 1
C pz
H s
"""


def sparse_text(cells, matrices, count=None, cells_line=False):
    """The text of WannierTools' sparse form, zeros left out."""
    rows = [
        f"{' '.join(map(str, cell))} {i + 1} {j + 1} {matrix[i, j].real:.12f} "
        f"{matrix[i, j].imag:.12f}"
        for cell, matrix in zip(cells.tolist(), matrices, strict=True)
        for i, j in np.argwhere(matrix)
    ]
    head = ["comment", f"{len(rows) if count is None else count} ! elements"]
    head += [f"{matrices.shape[1]} # orbitals"] + ([f"{len(cells)}"] if cells_line else [])
    return "\n".join([*head, *rows]) + "\n"


def write_wannier90(folder):
    """A calculation in each form of Wannier90 and WannierTools; paths by format."""
    cells, matrices = random_model(7, 2)
    centres = np.array([[0.0, 0, 0], [1, 1, 1]])
    position = np.zeros((3, *matrices.shape), dtype=complex)
    home = int(np.flatnonzero(~cells.any(axis=1))[0])
    position[:, home] = np.array([np.diag(row) for row in centres.T])
    (folder / "w_hr.dat").write_text(hr_text(cells, matrices))
    (folder / "w_centres.xyz").write_text(xyz_text(centres))
    (folder / "w.win").write_text(win_text(np.diag([3, 4, 5]), 2))
    (folder / "w_tb.dat").write_text(tb_text(cells, matrices, np.diag([3, 4, 5]), position))
    (folder / "wt").mkdir()
    (folder / "wt" / "wt.in").write_text(WT_IN)
    (folder / "wt" / "x.dat").write_text(sparse_text(cells, matrices))
    return {"wanniertools": "wt/x.dat", "wannier90": "w_tb.dat"}
