"""Matrices of a whole cell for each lattice vector as blocks of atoms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.operators.blocks import block_offsets, by_shape, scatter
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource, symmetrised
from moireio.system.pairs import Pairs

ZERO = 1e-12  # eV or Å; of blocks that are left out


def source_from_cells(
    name: str,
    cells: npt.NDArray[np.int64],
    matrices: Sequence[npt.NDArray[Any]],
    sizes: npt.NDArray[np.int64],
    spin: str,
    label: str,
) -> ArraySource:
    """Return an operator between orthogonal orbitals as blocks of atoms.

    Parameters
    ----------
    name : str
        The operator, such as "hamiltonian".
    cells : (n_cells, 3) array of int64
        The lattice vectors R.
    matrices : sequence of (n_cells, n, n) arrays
        ⟨a,0|O|b,R⟩ of each component.
    sizes : (N,) array of int64
        Rows of each atom, spin included.
    spin : {"none", "collinear", "spinor"}
        What the rows are.
    label : str
        For messages.

    Returns
    -------
    ArraySource
        Exactly Hermitian; blocks of zeros are left out.
    """
    starts = block_offsets(sizes)[:-1]
    peak = np.max([np.abs(matrix) for matrix in matrices], axis=0)
    peak = np.maximum.reduceat(np.maximum.reduceat(peak, starts, axis=1), starts, axis=2)
    atoms = np.arange(len(sizes))
    place, i, j = np.nonzero(peak > ZERO)
    i, j = np.concatenate([i, atoms]), np.concatenate([j, atoms])
    R = np.concatenate([cells[place], np.zeros((len(atoms), 3), dtype=np.int64)])
    rows = np.unique(np.column_stack([i, j, R]), axis=0)
    pairs = Pairs.sort(len(sizes), rows[:, 0], rows[:, 1], rows[:, 2:])[0].with_partners()
    number = {tuple(cell): n for n, cell in enumerate(cells.tolist())}
    of_pair = np.array([number.get(tuple(cell), -1) for cell in pairs.R.tolist()])
    offsets = block_offsets(pairs.block_elements(sizes))
    dtype = matrices[0].dtype
    channels = []
    for matrix in matrices:
        flat = np.zeros(int(offsets[-1]), dtype=dtype)
        for shape, group in by_shape(sizes[pairs.i], sizes[pairs.j]):
            group = group[of_pair[group] >= 0]
            a = starts[pairs.i[group]][:, None, None] + np.arange(shape[0])[:, None]
            b = starts[pairs.j[group]][:, None, None] + np.arange(shape[1])
            blocks = matrix[of_pair[group][:, None, None], a, b]
            scatter(flat, offsets[:-1][group], np.ascontiguousarray(blocks.reshape(len(group), -1)))
        channels.append(flat)
    one = operator_type("hamiltonian").meta(
        spin="spinor" if spin == "spinor" else "none", dtype=str(dtype)
    )
    each = [symmetrised(ArraySource(one, sizes, pairs, flat), label).data for flat in channels]
    meta = operator_type(name).meta(spin=spin, dtype=str(dtype), source="model")
    data = each[0] if meta.components == 1 else np.stack(each)
    return ArraySource(meta, sizes, pairs, data)
