"""The sparse form of WannierTools' matrices, and the rule of its spins."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.formats.assembly.elements import OrbitalMap
from moireio.formats.text.tables import NumberFile
from moireio.formats.wannier90.wsvec import FARTHEST

ROW = "R1 R2 R3 i j and the real and imaginary part"
MOST_ELEMENTS = 1 << 34
MOST_ORBITALS = 1 << 24
#: Deviation from Hermitian beyond which a file is damaged, or breaks the rule of spins, eV and 1.
LIMIT = 1e-3


@dataclass(frozen=True, eq=False)
class SparseMatrices:
    """One matrix for each R.

    Parameters
    ----------
    cells : (n_cells, 3) array of int64
        The lattice vectors R.
    matrices : list of csr_array
        ⟨i,0|O|j,R⟩.
    """

    cells: npt.NDArray[np.int64]
    matrices: list[Any]


def read_sparse(path: str) -> tuple[SparseMatrices, int]:
    """Read a matrix in the sparse form.

    Parameters
    ----------
    path : str
        The file, compressed or not.

    Returns
    -------
    matrices : SparseMatrices
        One for each R that occurs.
    n : int
        Number of orbitals, spin included.

    Raises
    ------
    DamagedError
        With the line that is not as it should be.
    """
    from scipy.sparse import csr_array

    with NumberFile(path) as file:
        file.line("a comment")
        (count,) = file.whole("the number of elements", 1, MOST_ELEMENTS)
        (n,) = file.whole("the number of orbitals", 1, MOST_ORBITALS)
        if count < 1 or n < 1:
            file.fail(f"{count} elements of {n} orbitals: both must be positive")
        file.require_room(count, 7, f"{count} elements")
        file.skip_count("the number of lattice vectors")
        parts = []
        for run in file.rows(count, 7, ROW):
            numbers = run.columns(0, 7)
            names = np.rint(numbers[:, :5]).astype(np.int64)
            wrong = (names != numbers[:, :5]).any(axis=1) | (names[:, 3:] < 1).any(axis=1)
            wrong |= (names[:, 3:] > n).any(axis=1) | (np.abs(names[:, :3]) > FARTHEST).any(axis=1)
            if wrong.any():
                place = int(np.flatnonzero(wrong)[0])
                file.fail(
                    f"{ROW} expected, i and j from 1 to {n}; found "
                    + " ".join(f"{number:g}" for number in numbers[place]),
                    line=run.first + place,
                )
            parts.append((names.astype(np.int32), numbers[:, 5] + 1j * numbers[:, 6]))
        file.skip_blank()
        if not file.at_end:
            file.line("nothing")
            file.fail(f"goes on after the {count} elements that its header announces")
    names = np.concatenate([part for part, _ in parts])
    values = np.concatenate([part for _, part in parts])
    if not values.imag.any():
        values = values.real
    cells, of_element = np.unique(names[:, :3], axis=0, return_inverse=True)
    order = np.argsort(of_element.ravel(), kind="stable")
    bounds = np.searchsorted(of_element.ravel()[order], np.arange(len(cells) + 1))
    matrices = []
    for a, b in pairwise(bounds):
        chosen = order[a:b]
        place = names[chosen, 3].astype(np.int64) * (n + 1) + names[chosen, 4]
        distinct, first = np.unique(place, return_index=True)
        if len(distinct) < len(place):
            twice = chosen[np.setdiff1d(np.arange(len(place)), first)[0]]
            text = " ".join(str(number) for number in names[twice])
            raise DamagedError(f"lists the element {text} twice", path=path)
        where = names[chosen, 3] - 1, names[chosen, 4] - 1
        matrices.append(csr_array((values[chosen], where), shape=(n, n)))
    return SparseMatrices(cells.astype(np.int64), matrices), n


def spin_rows(orbitals: OrbitalMap) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the rows of up and of down orbitals of a spinor matrix.

    Parameters
    ----------
    orbitals : OrbitalMap
        Where its rows stand.

    Returns
    -------
    up, down : (n,) arrays of int64
        Rows of the matrix, in the same order of orbitals.
    """
    half = len(orbitals) // 2
    if orbitals.rows[1] == orbitals.rows[0] + orbitals.sizes[0] // 2:  # they alternate
        return np.arange(0, 2 * half, 2), np.arange(1, 2 * half, 2)
    return np.arange(half), np.arange(half, 2 * half)


def set_spin_rule(h: SparseMatrices, orbitals: OrbitalMap, path: str, notes: list[str]) -> None:
    """Rebuild down–up blocks that a file has as conjugates of up–down blocks of the same R.

    HamGNN and the matrices that WannierTools takes from OpenMX store [down,up](R) =
    conj([up,down](R)); right is the adjoint of [up,down](−R). The mean of both would be wrong.

    Parameters
    ----------
    h : SparseMatrices
        Spinor matrices; changed.
    orbitals : OrbitalMap
        Where their rows stand.
    path : str
        The file, for the note.
    notes : list of str
        Gets a note where blocks were rebuilt.
    """
    number = {tuple(cell): place for place, cell in enumerate(h.cells.tolist())}
    up, down = spin_rows(orbitals)
    deviation = same = 0.0
    for place, cell in enumerate(h.cells.tolist()):
        partner = number.get(tuple(-c for c in cell))
        if partner is None:
            return  # the missing partner is named where blocks are made
        lower = h.matrices[place][down][:, up]
        adjoint = h.matrices[partner][up][:, down].conj().T
        deviation = max(deviation, _largest(lower - adjoint))
        same = max(same, _largest(lower - h.matrices[place][up][:, down].conj()))
    if deviation <= LIMIT or same > 1e-3 * deviation:
        return
    from scipy.sparse import bmat

    order = np.argsort(np.concatenate([up, down]))
    rebuilt = []
    for place, cell in enumerate(h.cells.tolist()):
        matrix = h.matrices[place]
        partner = h.matrices[number[tuple(-c for c in cell)]]
        whole = bmat(
            [
                [matrix[up][:, up], matrix[up][:, down]],
                [partner[up][:, down].conj().T, matrix[down][:, down]],
            ],
            format="csr",
        )
        rebuilt.append(whole[order][:, order])
    h.matrices[:] = rebuilt
    notes.append(
        f"{os.path.basename(path)} is not Hermitian, by {deviation:.2g}: its down–up blocks are "
        "conjugates of the up–down blocks of the same R; they are made from those of −R instead"
    )


def _largest(matrix: Any) -> float:
    return float(np.abs(matrix.data).max(initial=0.0)) if matrix.nnz else 0.0
