"""Primitive cells of TBPLaS, against its own sum over hoppings.

TBPLaS is on no package index. The class here has the arrays that its documentation and its source
(``tbplas/builder/primitive.py``) name, ``set_ham`` is the sum that it does (``core``).
"""

import numpy as np
import pytest
from foreign_levels import levels

from moireio.errors import MoireioError
from moireio.formats import tbplas as ours


class PrimitiveCell:
    """The arrays of TBPLaS 1: None until `sync_array` is called."""

    def __init__(self):
        self.lat_vec = np.array([[0.246, 0, 0], [0.123, 0.213, 0], [0, 0, 1.0]])
        self.orb_pos = self.orb_eng = self.hop_ind = self.hop_eng = None

    def sync_array(self):
        self.orb_pos = np.array([[0.1, 0.2, 0.3], [0.4333, 0.5333, 0.3]])
        self.orb_eng = np.array([-0.3, 0.2])
        self.hop_ind = np.array(
            [[0, 0, 0, 0, 1], [1, 0, 0, 1, 0], [0, -1, 0, 0, 1], [1, 0, 0, 0, 0], [1, -1, 0, 1, 1]],
            dtype=np.int32,
        )
        self.hop_eng = np.array([-2.7 + 0.1j, -2.6, -2.5 - 0.3j, 0.2j, 0.1 - 0.15j])


def set_ham(cell, k):
    h = np.diag(cell.orb_eng).astype(complex)
    for (*R, i, j), energy in zip(cell.hop_ind.tolist(), cell.hop_eng, strict=True):
        term = energy * np.exp(2j * np.pi * k @ (R + cell.orb_pos[j] - cell.orb_pos[i]))
        h[i, j] += term
        h[j, i] += term.conjugate()
    return h


def test_levels_at_random_k():
    cell = PrimitiveCell()
    calculation = ours.read(cell)
    structure = calculation.structure
    assert structure.pbc.tolist() == [True, True, False]
    np.testing.assert_allclose(structure.cell[0], [2.46, 0, 0])
    apart = structure.positions[1] - structure.positions[0]
    np.testing.assert_allclose(apart, 10 * (cell.orb_pos[1] - cell.orb_pos[0]) @ cell.lat_vec)
    for k in np.random.default_rng(4).normal(size=(5, 3)) * [1, 1, 0]:
        expected = np.linalg.eigvalsh(set_ham(cell, k))
        np.testing.assert_allclose(levels(calculation, k)[0], expected, atol=1e-12)
        assert np.abs(levels(calculation, -k)[0] - expected).max() > 1e-3  # no time reversal


def test_what_is_no_cell_is_refused():
    with pytest.raises(MoireioError, match="a PrimitiveCell of TBPLaS is expected"):
        ours.read(object())
    cell = PrimitiveCell()
    cell.sync_array = None
    with pytest.raises(MoireioError, match="no orbitals"):
        ours.read(cell)
    cell = PrimitiveCell()
    cell.sync_array()
    cell.sync_array = None
    cell.hop_ind = cell.hop_ind[:-1]
    with pytest.raises(MoireioError, match="do not fit 2 orbitals and 5 hoppings"):
        ours.read(cell)
