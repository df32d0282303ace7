"""The record of a relaxation: numbers, displacements, and the analysis of the layers."""

from __future__ import annotations

import numpy as np

from moireio.relax.analysis import RelaxationAnalysis, analyse, displacements, lying
from moireio.relax.calculators import ForceField
from moireio.relax.groups import group_symbol
from moireio.relax.run import Relaxation
from moireio.results.moire import Moire
from moireio.results.relax import LayerPair, RelaxRecord
from moireio.system.structure import Structure


def make_record(
    found: Relaxation,
    field: ForceField,
    moire: Moire | None,
    *,
    fmax_asked: float,
    cell: str,
    symmetry: str,
) -> tuple[RelaxRecord, RelaxationAnalysis | None]:
    """Return the record of a relaxation.

    Parameters
    ----------
    found : Relaxation
        What came out.
    field : ForceField
        The calculator.
    moire : Moire or None
        How the layers lie in `found.start`.
    fmax_asked : float
        eV/Å.
    cell, symmetry : str
        What was done with them; groups are found unless `symmetry` is "off".

    Returns
    -------
    record : RelaxRecord
        For the block file.
    analysis : RelaxationAnalysis or None
        Compares two neighbouring layers: the lowest two that make a moiré pattern, else the lowest
        two; None where there are none.
    """
    start, end = found.start, found.structure
    moved = displacements(start, end)
    count = 0 if start.layer is None else int(start.layer.max(initial=-1)) + 1
    analyses = _analyses(start, end, moire, count)
    analysis = analyses[0] if analyses else None
    in_plane = moved if count == 0 else displacements(lying(start), lying(end, start))
    lengths = np.linalg.norm(in_plane[:, :2], axis=1)
    inplane = [lengths[start.layer == number].max(initial=0) for number in range(count)]
    groups = {}
    if symmetry != "off":
        groups = {"group_before": group_symbol(start), "group_after": group_symbol(end)}
    record = RelaxRecord(
        calculator=field.label,
        version=field.version,
        files=field.files,
        energy_before=found.energy_before,
        energy_after=found.energy_after,
        fmax=found.fmax,
        fmax_asked=fmax_asked,
        evaluations=found.evaluations,
        steps=found.steps,
        converged=found.converged,
        cell=cell,
        symmetry=symmetry,
        displacements=moved,
        pairs=tuple(
            LayerPair(
                (one.lower + 1, one.lower + 2), _known(one.distances), _known(one.local_twist)
            )
            for one in analyses
            if one.places
        ),
        inplane=np.array(inplane),
        **groups,
    )
    return record, analysis


def _analyses(
    start: Structure, end: Structure, moire: Moire | None, count: int
) -> list[RelaxationAnalysis]:
    """Return the comparison of all neighbouring layers, those with a moiré pattern first."""
    if count < 2:
        return []
    before, after = lying(start), lying(end, start)
    if before is not start:
        moire = None  # it describes layers in the xy plane
    found = [analyse(before, after, moire, lower) for lower in range(count - 1)]
    return sorted(found, key=lambda one: not one.places)


def _known(values: dict[str, float]) -> dict[str, float]:
    """Return the numbers of stackings where both layers have atoms."""
    return {name: float(value) for name, value in values.items() if np.isfinite(value)}
