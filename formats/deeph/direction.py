"""Cells R of the wrong sign, as DeepH-dock's conversions of FHI-aims had them before 2026.

H(k) is that of −k then, which levels of crystals with time reversal do not show. S does: its blocks
are two-centre integrals along the vectors between the atoms.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from moireio.formats.assembly.twocentre import misfit_of, not_normalised, strongest
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


def look_at(structure: Structure, basis: Basis, overlap: FolderOperator) -> tuple[bool, str | None]:
    """Compare S with the atoms.

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
    is_reversed : bool
        Whether S fits the atoms with −R, and not with R; False also where S does not show it.
    note : str or None
        Where it fits neither.
    """
    bonds, between = strongest(structure, basis, overlap)
    if bonds is None or not overlap.pairs.R.any():
        return False, None
    wrong = between is not None and between.violation() >= WRONG
    # Those inside the cell must fit too: of atoms in another order some pairs fit with -R.
    if wrong and between is not None and max(between.violation(-1), bonds.violation(-1)) < RIGHT:
        return True, None
    remark = not_normalised(structure, overlap)
    return False, remark or misfit_of(bonds, "the file of atoms or that of their shells")
