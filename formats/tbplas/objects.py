"""Primitive cells of TBPLaS, taken as they are.

Kept: lattice, positions of orbitals, their energies and the hoppings ⟨i,0|H|j,R⟩ in eV, of which
TBPLaS has one of each pair of partners. Lost: labels. Lengths are nm there. A ``Sample`` is a
finite piece whose cells are no longer known; its primitive cell is what to give here. The other
way: TBPLaS reads Wannier90's files with ``wan2pc``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.hoppings import Hoppings, calculation_of_model

ANGSTROM = 10.0  # of a nm
ARRAYS = ("lat_vec", "orb_pos", "orb_eng", "hop_ind", "hop_eng")


def read(cell: Any) -> Calculation:
    """Return a primitive cell as a calculation.

    Parameters
    ----------
    cell : tbplas.PrimitiveCell
        Or any object with its arrays: ``lat_vec`` (3, 3) in nm, ``orb_pos`` (n, 3) fractional,
        ``orb_eng`` (n,) and ``hop_eng`` (m,) in eV, ``hop_ind`` (m, 5): R1, R2, R3, i, j.

    Returns
    -------
    Calculation
        With structure, basis and Hamiltonian; S = 1. The structure is periodic along a vector that
        hoppings cross.

    Raises
    ------
    MoireioError
        If it is none, or its arrays do not fit each other.
    """
    label = f"TBPLaS {type(cell).__name__}"
    if callable(getattr(cell, "sync_array", None)):
        cell.sync_array()
    absent = [name for name in ARRAYS if not hasattr(cell, name)]
    if absent:
        raise MoireioError(
            f"has no {absent[0]}", path=label, remedy="a PrimitiveCell of TBPLaS is expected"
        )
    if cell.orb_eng is None or len(cell.orb_eng) == 0:
        raise MoireioError("has no orbitals", path=label)
    energies = np.asarray(cell.orb_eng, dtype=np.float64)
    none = cell.hop_eng is None
    values = np.zeros(0) if none else np.asarray(cell.hop_eng, dtype=np.complex128)
    indices = np.zeros((0, 5), dtype=np.int64) if none else np.asarray(cell.hop_ind)
    positions, vectors = np.asarray(cell.orb_pos), np.asarray(cell.lat_vec)
    shapes = (positions.shape, vectors.shape, indices.shape)
    if shapes != ((len(energies), 3), (3, 3), (len(values), 5)):
        raise MoireioError(
            f"its arrays do not fit {len(energies)} orbitals and {len(values)} hoppings", path=label
        )
    hoppings = Hoppings(len(energies), label)
    for number, energy in enumerate(energies):
        hoppings.add(number, number, (0, 0, 0), energy / 2)
    for (*R, i, j), value in zip(indices.tolist(), values, strict=True):
        hoppings.add(i, j, R, value)
    cells, matrices = hoppings.matrices()
    origin = np.asarray(getattr(cell, "origin", (0.0, 0.0, 0.0)), dtype=np.float64)
    return calculation_of_model(
        label,
        vectors * ANGSTROM,
        cells.any(axis=0).tolist(),
        (positions @ vectors + origin) * ANGSTROM,
        cells,
        matrices,
        partners="half",
    )
