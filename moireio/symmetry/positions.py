"""Position matrices averaged over the operations of a crystal.

⟨iα,0| r − τ_i |jβ,R⟩ = D + ½ (τ_j + R − τ_i) S, where D are dipoles of pairs about their middles.
D turns as a vector, and is averaged; S is the averaged overlap, and the atoms stay where they are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.operators.blocks import OperatorSource, read_pairs
from moireio.operators.views import View, stored_as
from moireio.symmetry.average import AveragedOperator
from moireio.symmetry.operations import Operation
from moireio.system.basis import Basis
from moireio.system.structure import Structure


class _Shifted(View):
    """Position matrices and a multiple of (τ_j + R − τ_i) S."""

    def __init__(
        self, source: OperatorSource, overlap: OperatorSource, structure: Structure, factor: float
    ) -> None:
        super().__init__(source)
        self._overlap, self._factor = stored_as(overlap, "full"), factor
        self._structure = structure
        pairs = self.pairs
        self._places = self._overlap.pairs.find(pairs.i, pairs.j, pairs.R)

    def rows(self, i0: int, i1: int) -> npt.NDArray[Any]:
        """Return all blocks of the atoms ``i0 <= i < i1``."""
        pairs, structure = self.pairs, self._structure
        data = np.array(self._source.rows(i0, i1), dtype=np.float64)
        span = pairs.rows(i0, i1)
        i = np.repeat(np.arange(i0, i1), np.diff(pairs.indptr[i0 : i1 + 1]))
        j, places = pairs.j[span], self._places[span]
        bonds = structure.positions[j] + pairs.R[span] @ structure.cell - structure.positions[i]
        elements = self.sizes[i] * self.sizes[j]
        there = places >= 0
        values = np.zeros(int(elements.sum()))
        values[np.repeat(there, elements)] = read_pairs(self._overlap, places[there])[0]
        return data + self._factor * np.repeat(bonds.T, elements, axis=1) * values


def averaged_positions(
    position: OperatorSource,
    overlap: OperatorSource,
    averaged_overlap: OperatorSource,
    group: Sequence[Operation],
    structure: Structure,
    basis: Basis,
) -> OperatorSource:
    """Return position matrices averaged over a group.

    Parameters
    ----------
    position, overlap : OperatorSource
        As they are.
    averaged_overlap : OperatorSource
        S averaged over the same group.
    group : sequence of Operation
        A group up to lattice translations, the identity first.
    structure : Structure
        The crystal.
    basis : Basis
        Its orbitals.

    Returns
    -------
    OperatorSource
        Obeying P_ij(R) = P_ji(−R)ᵀ + (τ_j + R − τ_i) S_ij(R) with the averaged S.
    """
    dipoles = _Shifted(position, overlap, structure, -0.5)
    mean = AveragedOperator(dipoles, group, structure, basis, vector=True)
    return _Shifted(mean, averaged_overlap, structure, 0.5)
