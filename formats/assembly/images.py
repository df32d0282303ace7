"""Cells for the pairs of a matrix at Γ, in which all images of an atom are summed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise, product
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.formats.assembly.elements import OrbitalMap
from moireio.operators.blocks import block_offsets
from moireio.system.neighbours import reduced
from moireio.system.periodicity import USUAL_REACH
from moireio.system.structure import Structure

#: Elements of S, or of H in its unit, above which two atoms count as within reach.
REACH = 1e-4


def at_nearest_images(
    structure: Structure,
    orbitals: OrbitalMap,
    matrices: Mapping[str, Sequence[Sequence[Any]]],
    pbc: Sequence[bool] | None = None,
) -> tuple[dict[str, npt.NDArray[np.int64]], dict[str, list[list[Any]]], str]:
    """Give every pair of atoms of a matrix at Γ to its nearest images.

    Parameters
    ----------
    structure : Structure
        The atoms.
    orbitals : OrbitalMap
        Where the rows of the matrices stand.
    matrices : mapping of str to list of lists with one coo_array
        For each operator one matrix of each component.
    pbc : sequence of three bool, optional
        Vectors along which there are images; by default all.

    Returns
    -------
    cells : dict of str to (n, 3) array of int64
        For each operator the cells.
    matrices : dict of str to list of lists of coo_array
        For each component one matrix for each cell.
    note : str
        How many pairs of atoms have more than one image within reach, so that their elements are
        sums.
    """
    from scipy.sparse import coo_array

    n_atoms = len(structure)
    starts = block_offsets(orbitals.sizes)
    atoms = (np.searchsorted(starts, orbitals.rows, side="right") - 1).astype(np.int64)
    keys = [
        np.unique(atoms[m.row] * n_atoms + atoms[m.col])
        for channels in matrices.values()
        for (m,) in channels
    ]
    listed = np.unique(np.concatenate(keys))
    R, nearest, second = _nearest(structure, listed, pbc)
    strong = np.zeros(len(listed), dtype=bool)
    for (m,) in matrices.get("overlap", matrices.get("hamiltonian", ())):
        large = np.abs(m.data) > REACH
        pair = atoms[m.row[large]] * n_atoms + atoms[m.col[large]]
        strong[np.searchsorted(listed, np.unique(pair))] = True
    reach = float(nearest[strong].max(initial=0.0))
    if reach > 0.8 * nearest.max():  # no decay is seen inside the cell
        reach = max(reach, USUAL_REACH)
    several = int((second <= reach + 1e-6).sum())
    cells, which = np.unique(R, axis=0, return_inverse=True)
    which = which.ravel()
    out_cells, out = {}, {}
    for name, channels in matrices.items():
        parts = []
        for (m,) in channels:
            pair = np.searchsorted(listed, atoms[m.row] * n_atoms + atoms[m.col])
            order = np.argsort(which[pair], kind="stable")
            bounds = np.searchsorted(which[pair][order], np.arange(len(cells) + 1))
            parts.append(
                [
                    coo_array((m.data[p], (m.row[p], m.col[p])), m.shape)
                    for p in (order[a:b] for a, b in pairwise(bounds))
                ]
            )
        out_cells[name], out[name] = cells, parts
    text = "a matrix at the Gamma point alone: every pair of atoms is given to its nearest images"
    if several:
        text += (
            f"; {several} of {len(listed)} pairs have another image within the reach of "
            f"{reach:.1f} Å, and bands are right at Gamma only"
        )
    return out_cells, out, text


def _nearest(
    structure: Structure, keys: npt.NDArray[np.int64], pbc: Sequence[bool] | None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the nearest image of each pair, its distance, and that of the next image."""
    n_atoms = len(structure)
    i, j = np.divmod(keys, n_atoms)
    along = np.flatnonzero(np.array(pbc or (True,) * 3))
    # Reduced, so that the nearest images lie next to the rounded one.
    vectors = reduced(structure.cell[along]) @ np.eye(3, dtype=np.int64)[along]
    steps = np.array(list(product((-1, 0, 1), repeat=len(along))), dtype=np.int64)
    inverse = np.linalg.pinv(vectors @ structure.cell)
    # Of i < j, so that partners get opposite cells where two images are equally near.
    first, last = np.minimum(i, j), np.maximum(i, j)
    apart = structure.positions[last] - structure.positions[first]
    base = -np.round(apart @ inverse).astype(np.int64)
    R = np.empty((len(keys), 3), dtype=np.int64)
    distances = np.empty((2, len(keys)))
    for begin in range(0, len(keys), 1 << 16):
        part = slice(begin, begin + (1 << 16))
        cells = (base[part, None, :] + steps) @ vectors
        length = np.linalg.norm(apart[part, None, :] + cells @ structure.cell, axis=-1)
        order = np.argsort(length + 1e-9 * np.arange(len(steps)), axis=1)
        rows = np.arange(len(length))
        R[part] = cells[rows, order[:, 0]]
        distances[0, part] = length[rows, order[:, 0]]
        distances[1, part] = length[rows, order[:, 1]] if len(steps) > 1 else np.inf
    same = i == j
    R[same] = 0
    return np.where((i <= j)[:, None], R, -R), distances[0], distances[1]
