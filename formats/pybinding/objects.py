"""Lattices of pybinding, taken as they are.

Kept: vectors, positions of sublattices, their energies and the hoppings, numbers or matrices; of
each pair of partners pybinding has one. Lost: shapes, modifiers and leads of a model, of which only
the lattice counts. Lengths are nm there. Its Hamiltonians of finite systems are those of moireio;
at a wave vector k it has H(−k), verified on lattices without time reversal.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.hoppings import Hoppings, calculation_of_model
from moireio.operators.blocks import block_offsets

ANGSTROM = 10.0  # of a nm


def read(model: Any) -> Calculation:
    """Return a lattice as a calculation.

    Parameters
    ----------
    model : pybinding.Lattice or pybinding.Model
        Its energies are taken as eV.

    Returns
    -------
    Calculation
        With structure, basis and Hamiltonian; S = 1.

    Raises
    ------
    MoireioError
        If it is neither.
    """
    lattice = getattr(model, "lattice", model)
    label = f"pybinding {type(model).__name__}"
    for name in ("vectors", "sublattices", "hoppings"):
        if not hasattr(lattice, name):
            raise MoireioError(
                f"has no {name}", path=label, remedy="a Lattice or Model of pybinding is expected"
            )
    notes = []
    if lattice is not model:
        notes.append("pybinding: only the lattice of the model is taken, no shape or modifier")
    listed = sorted(lattice.sublattices.items(), key=lambda item: item[1].unique_id)
    if any(sub.alias_id != sub.unique_id for _, sub in listed):
        raise MoireioError(
            "has sublattices that are aliases of others", path=label, remedy="name each of them"
        )
    energies = [np.atleast_2d(_matrix(sub.energy)) for _, sub in listed]
    sizes = [len(block) for block in energies]
    offsets = block_offsets(np.array(sizes, dtype=np.int64))[:-1].tolist()
    starts = {sub.unique_id: start for (_, sub), start in zip(listed, offsets, strict=True)}
    hoppings = Hoppings(sum(sizes), label)
    for start, block in zip(offsets, energies, strict=True):
        hoppings.add(start, start, (0, 0, 0), block / 2)
    for family in lattice.hoppings.values():
        for term in family.terms:
            cell = [*map(int, term.relative_index), 0, 0, 0][:3]
            hoppings.add(starts[term.from_id], starts[term.to_id], cell, _matrix(family.energy))
    positions = np.array([np.asarray(sub.position, dtype=float) for _, sub in listed])
    cells, matrices = hoppings.matrices()
    return calculation_of_model(
        label,
        np.array(lattice.vectors, dtype=float) * ANGSTROM,
        [True] * len(lattice.vectors),
        np.repeat(positions, sizes, axis=0) * ANGSTROM,
        cells,
        matrices,
        partners="half",
        notes=notes,
    )


def _matrix(energy: Any) -> Any:
    """Return an energy as a matrix; a vector is its diagonal."""
    block = np.asarray(energy)
    return np.diag(block) if block.ndim == 1 and len(block) > 1 else np.atleast_2d(block)
