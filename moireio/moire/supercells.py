"""Supercells and nanoribbons of a moiré cell."""

from dataclasses import replace
from typing import Literal

import numpy as np

from moireio.errors import MoireioError
from moireio.moire.build import MAX_ATOMS, VACUUM
from moireio.results.moire import Moire
from moireio.system.structure import Structure


def repeat(structure: Structure, moire: Moire, counts: tuple[int, int]) -> tuple[Structure, Moire]:
    """Repeat a moiré cell in the plane.

    Parameters
    ----------
    structure : Structure
        One cell.
    moire : Moire
        Its record.
    counts : (int, int)
        Cells along the first and second vector.

    Returns
    -------
    structure : Structure
        Cell after cell, the last vector fastest.
    moire : Moire
        The record with `repeat` set.

    Raises
    ------
    MoireioError
        If there would be more than `MAX_ATOMS` atoms.
    """
    if len(structure) * counts[0] * counts[1] > MAX_ATOMS:
        raise MoireioError(
            f"{len(structure)} atoms in {counts[0]} × {counts[1]} cells are more than "
            f"{MAX_ATOMS:,}",
            remedy="ask for fewer cells",
        )
    steps = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(-1, 2)
    shifts = steps @ structure.cell[:2]
    n_cells = len(steps)
    cell = structure.cell.copy()
    cell[:2] *= np.asarray(counts)[:, None]
    repeated = replace(
        structure,
        cell=cell,
        positions=(structure.positions + shifts[:, None]).reshape(-1, 3),
        numbers=np.tile(structure.numbers, n_cells),
        species=np.tile(structure.species, n_cells),
        layer=_repeated(structure.layer, n_cells),
        magmoms=_repeated(structure.magmoms, n_cells),
    )
    return repeated, replace(moire, repeat=tuple(int(c) for c in counts))


def _repeated(values, n_cells):
    return None if values is None else np.concatenate([values] * n_cells)


def ribbon(
    structure: Structure,
    moire: Moire,
    cells: int,
    open_axis: Literal[1, 2],
    vacuum: float = VACUUM,
) -> tuple[Structure, Moire]:
    """Cut a nanoribbon: some cells wide, open along one vector, periodic along the other.

    Parameters
    ----------
    structure : Structure
        One cell.
    moire : Moire
        Its record.
    cells : int
        Width of the ribbon, in cells along the open vector.
    open_axis : {1, 2}
        The lattice vector along which the ribbon is open.
    vacuum : float
        Empty space beside the ribbon, Å.

    Returns
    -------
    structure : Structure
        The open lattice vector at right angles to the edges.
    moire : Moire
        The record with `repeat` and `open_axis` set.
    """
    counts = (cells, 1) if open_axis == 1 else (1, cells)
    wide, moire = repeat(structure, moire, counts)
    along = structure.cell[2 - open_axis, :2]
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    if across @ structure.cell[open_axis - 1, :2] < 0:
        across = -across
    reach = wide.positions[:, :2] @ across
    cell = wide.cell.copy()
    cell[open_axis - 1, :2] = across * (np.ptp(reach) + vacuum)
    positions = wide.positions.copy()
    shift = across * (vacuum / 2 - reach.min())
    positions[:, :2] += shift
    pbc = np.array([True, True, False])
    pbc[open_axis - 1] = False
    cut = replace(wide, cell=cell, positions=positions, pbc=pbc)
    layers = tuple(replace(layer, centre=layer.centre + shift) for layer in moire.layers)
    return cut, replace(moire, layers=layers, open_axis=open_axis)
