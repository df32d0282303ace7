"""Moiré cells that change: to a potential's own lattice constant, or by relaxation."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.moire import layers, plane
from moireio.relax.calculators import ForceField
from moireio.relax.run import relax
from moireio.results.moire import Moire
from moireio.system.structure import Structure

LAYER_FMAX = 1e-5  # eV/Å
VACUUM = 20.0  # Å

OpenField = Callable[[Structure], AbstractContextManager[ForceField]]


def layer_scales(moire: Moire, open_field: OpenField) -> dict[str, float]:
    """Find by how much a calculator stretches the lattice constant of each layer by itself.

    Parameters
    ----------
    moire : Moire
        Record of the layers, which are those of the table.
    open_field : callable
        Makes a calculator for a structure, as a context manager.

    Returns
    -------
    dict of str to float
        Square root of the ratio of areas, by the layer's name.

    Raises
    ------
    MoireioError
        If a layer is not one of the table, or does not relax.
    """
    scales: dict[str, float] = {}
    for entry in moire.layers:
        layer = layers.named(entry.name)
        if layer is None:
            raise MoireioError(
                f"`cell` potential: layer {entry.name} is not of the table of build-twist",
                remedy="`cell` free relaxes the cell with the atoms",
            )
        if entry.name in scales:
            continue
        alone = monolayer(layer)
        with open_field(alone) as field:
            found = relax(alone, field, fmax=LAYER_FMAX, free_cell=True, steps=500)
        if not found.converged:
            raise MoireioError(
                f"layer {entry.name} by itself does not relax with {field.label}",
                remedy="`cell` fixed, or another `calculator`",
            )
        area = abs(np.linalg.det(found.structure.cell[:2, :2]))
        scales[entry.name] = float(np.sqrt(area / abs(np.linalg.det(entry.lattice))))
    return scales


def monolayer(layer: layers.Layer) -> Structure:
    """Return one cell of a layer in vacuum."""
    cell = np.diag([1.0, 1.0, layer.thickness + VACUUM])
    cell[:2, :2] = layer.lattice
    names = list(dict.fromkeys(layer.symbols))
    from ase.data import atomic_numbers

    return Structure(
        cell,
        layer.positions,
        [atomic_numbers[s] for s in layer.symbols],
        [names.index(s) for s in layer.symbols],
        names,
        (True, True, False),
        layer=np.zeros(len(layer), dtype=int),
    )


def scaled(structure: Structure, moire: Moire, scale: float) -> tuple[Structure, Moire]:
    """Return a structure whose layers have another lattice constant.

    Parameters
    ----------
    structure : Structure
        A moiré structure, its layers in the xy plane.
    moire : Moire
        Its record.
    scale : float
        Factor of lengths in the plane.

    Returns
    -------
    structure : Structure
        Heights stay.
    moire : Moire
        With the lattices, shifts and centres scaled; strains stay.
    """
    factors = np.array([scale, scale, 1.0])
    moved = replace(
        structure, cell=structure.cell * factors, positions=structure.positions * factors
    )
    entries = tuple(
        replace(e, lattice=e.lattice * scale, shift=e.shift * scale, centre=e.centre * scale)
        for e in moire.layers
    )
    return moved, replace(moire, layers=entries)


def deformed_moire(
    moire: Moire, before: npt.NDArray[np.float64], after: npt.NDArray[np.float64]
) -> Moire:
    """Return the record of a moiré structure whose cell has changed.

    Parameters
    ----------
    moire : Moire
        Record of the cell before.
    before, after : (3, 3) array
        Cells, Å.

    Returns
    -------
    Moire
        With other strains and angles.
    """
    change = np.linalg.solve(before[:2, :2], after[:2, :2]).T  # acts on column vectors
    entries = []
    for entry in moire.layers:
        strain, angle = plane.polar(change @ entry.gradient)
        # polar gives angles in (−180°, 180°]; the turn stays
        turn = (float(angle) - entry.angle + 180) % 360 - 180
        entries.append(
            replace(entry, strain=strain, angle=entry.angle + turn, centre=change @ entry.centre)
        )
    return replace(moire, layers=tuple(entries))
