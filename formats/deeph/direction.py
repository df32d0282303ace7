"""Cells R of the wrong sign, as DeepH-dock's conversions of FHI-aims had them before 2026.

H(k) is that of −k then, which levels of crystals with time reversal do not show. S does: its blocks
are two-centre integrals along the vectors between the atoms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from moireio.formats.assembly.twocentre import strongest
from moireio.formats.deeph.blocks import BlockFile
from moireio.formats.deeph.source import FolderOperator
from moireio.system.basis import Basis
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure

RIGHT, WRONG = 0.01, 0.1  # violations


class Reversed:
    """Blocks whose R have the opposite sign.

    Parameters
    ----------
    blocks : BlockFile
        As stored.
    """

    def __init__(self, blocks: BlockFile) -> None:
        pairs = blocks.pairs
        self.pairs, self._order = Pairs.sort(pairs.n_atoms, pairs.i, pairs.j, -pairs.R)
        self.dtype, self.in_order, self._blocks = blocks.dtype, blocks.in_order, blocks

    def take(
        self, members: npt.NDArray[np.int64], shape: tuple[int, int]
    ) -> npt.NDArray[np.inexact]:
        """Return the blocks of some pairs of one shape, (p, rows, columns)."""
        return self._blocks.take(self._order[members], shape)


def is_reversed(structure: Structure, basis: Basis, overlap: FolderOperator) -> bool:
    """Return whether S fits the atoms with −R, and not with R.

    Parameters
    ----------
    structure : Structure
        The atoms, as in the file.
    basis : Basis
        Their orbitals.
    overlap : FolderOperator
        S.

    Returns
    -------
    bool
        False also where S does not show it.
    """
    bonds = strongest(structure, basis, overlap, only_images=True)
    if bonds is None or bonds.violation() < WRONG:
        return False
    return bonds.violation(-1) < RIGHT
