"""Blocks of an operator from dense matrices of the whole cell, many at once.

`moireio.formats.assembly.elements` does the same from sparse matrices of any number of partners,
element by element; this is for files in which every element of every R is printed, where both
partners are there and time counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.formats.assembly.elements import OrbitalMap
from moireio.operators.blocks import block_offsets
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource
from moireio.system.pairs import Pairs


def symmetrise_matrices(
    cells: npt.NDArray[np.int64],
    matrices: npt.NDArray[Any],
    *,
    name: str,
    label: str,
    limit: float = np.inf,
) -> float:
    """Replace every matrix by the mean of it and the adjoint of that of −R, in place.

    Parameters
    ----------
    cells : (n, 3) array of int64
        The lattice vectors R, each once.
    matrices : (n, rows, rows) array
        ⟨a,0|O|b,R⟩; changed.
    name : str
        What they are, for messages.
    label : str
        The file, for messages.
    limit : float
        A larger deviation is damage.

    Returns
    -------
    float
        Largest deviation.

    Raises
    ------
    DamagedError
        If −R is missing for an R whose matrix is not 0, or a deviation is larger than `limit`.
    """
    number = {tuple(cell): place for place, cell in enumerate(cells.tolist())}
    worst, where = 0.0, None
    for place, cell in enumerate(cells.tolist()):
        partner = number.get(tuple(-c for c in cell))
        if partner is None:
            if matrices[place].any():
                raise DamagedError(
                    f"has R = {_shown(cell)}, but not its partner −R",
                    path=label,
                    remedy="the file is cut short, or was altered: make it again",
                )
            continue
        if partner < place:
            continue
        turned = matrices[partner].conj().T
        gap = np.abs(matrices[place] - turned)
        largest = float(gap.max(initial=0.0))
        if not largest <= worst:
            worst, at = largest, np.unravel_index(int(gap.argmax()), gap.shape)
            where = cell, int(at[0]) + 1, int(at[1]) + 1
        mean = matrices[place] + turned
        mean *= 0.5
        matrices[place] = mean
        matrices[partner] = mean.conj().T
    if where is not None and not worst <= limit:
        cell, row, column = where
        raise DamagedError(
            f"the {name} of functions {row} and {column} at R = {_shown(cell)} and that of "
            f"{column} and {row} at −R are no partners: they differ by {worst:.1e}",
            path=label,
            remedy=f"at most {limit:.0e} is rounding: the file is damaged, make it again",
        )
    return worst


def source_from_dense(
    name: str,
    cells: npt.NDArray[np.int64],
    components: Sequence[npt.NDArray[Any]],
    orbitals: OrbitalMap,
    *,
    spin: str = "none",
    source: str = "dft",
    residual: float = 0.0,
) -> ArraySource:
    """Make the blocks of an operator from one dense matrix for each R.

    Parameters
    ----------
    name : str
        The operator.
    cells : (n, 3) array of int64
        The lattice vectors R, each once.
    components : sequence of (n, rows, rows) arrays
        ⟨a,0|O|b,R⟩, exactly as the rule of the operator's partners wants them; up and down, or
        x, y and z, where there are several.
    orbitals : OrbitalMap
        Where their rows stand.
    spin : {"none", "collinear", "spinor"}
        What the rows are.
    source : str
        "dft", "model", "tight-binding" …
    residual : float
        Largest deviation from the rule before.

    Returns
    -------
    ArraySource
        Stored "full", without blocks that are 0 in all components, those on site excepted. Real
        where all numbers are.
    """
    sizes = np.asarray(orbitals.sizes, dtype=np.int64)
    order = np.lexsort(cells.T[::-1])
    cells = cells[order]
    theirs = np.empty(len(orbitals), dtype=np.int64)
    theirs[orbitals.rows] = np.arange(len(orbitals))
    signs = orbitals.signs[theirs]
    own = int(np.flatnonzero(~cells.any(axis=1))[0])
    bounds = block_offsets(sizes)
    complex_ = spin == "spinor" or any(
        matrix.dtype.kind == "c" and matrix.imag.any() for matrix in components
    )
    dtype = np.dtype(np.complex128 if complex_ else np.float64)
    columns_of = np.split(theirs, bounds[1:-1])
    ascending, natural = bool((np.diff(order) == 1).all()), bool((signs == 1).all())
    same_order = bool((np.diff(theirs) == 1).all())
    data: list[list[npt.NDArray[Any]]] = [[] for _ in components]
    indptr, atoms, places = [0], [], []
    for i, rows in enumerate(columns_of):
        parts = []
        for matrix in components:
            part = matrix if complex_ else matrix.real
            part = np.take(part, rows, axis=1)
            part = part if ascending else part[order]
            part = part if same_order else part[:, :, theirs]
            if not natural:
                part = part * (signs[bounds[i] : bounds[i + 1], None] * signs)
            parts.append(part)
        filled = np.any([part.any(axis=1) for part in parts], axis=0)
        present = np.logical_or.reduceat(filled, bounds[:-1], axis=1)
        present[own, i] = True
        found, cell = np.nonzero(present.T)
        indptr.append(indptr[-1] + len(found))
        atoms.append(found)
        places.append(cell)
        for flat, part in zip(data, parts, strict=True):
            flat.extend(_blocks(part, found, cell, bounds))
    meta = operator_type(name).meta(spin=spin, dtype=str(dtype), source=source, residual=residual)
    pairs = Pairs(np.array(indptr), np.concatenate(atoms), cells[np.concatenate(places)])
    flat = [np.concatenate(one).astype(dtype, copy=False) for one in data]
    return ArraySource(meta, sizes, pairs, flat[0] if len(flat) == 1 else np.stack(flat))


def _blocks(
    part: npt.NDArray[Any],
    found: npt.NDArray[np.int64],
    cell: npt.NDArray[np.int64],
    bounds: npt.NDArray[np.int64],
) -> list[npt.NDArray[Any]]:
    """Return the blocks of one atom's rows (n, rows, all columns), flat, pair after pair."""
    if len(bounds) - 1 == int(bounds[-1]):  # one orbital each
        return [part[cell, :, found].ravel()]
    first = np.searchsorted(found, np.arange(len(bounds)))
    return [
        part[cell[first[j] : first[j + 1]], :, bounds[j] : bounds[j + 1]].ravel()
        for j in range(len(bounds) - 1)
    ]


def _shown(cell: Sequence[int]) -> str:
    return " ".join(str(c) for c in cell)
