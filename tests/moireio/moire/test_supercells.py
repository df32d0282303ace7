"""Supercells and ribbons of moiré cells."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.moire import build, cells, layers, supercells


@pytest.fixture(scope="module")
def mote2():
    layer = layers.named("MoTe2")
    cell = cells.from_index(layer.lattice, layer.lattice, 2, 1)
    return build.build([layer, layer], cell)


def test_repeated_cells_are_the_same_crystal(mote2):
    structure, moire = mote2
    wide, record = supercells.repeat(structure, moire, (2, 3))
    assert len(wide) == 6 * len(structure)
    assert np.allclose(wide.cell[:2], structure.cell[:2] * [[2], [3]])
    assert wide.closest_pair(2.0) is None
    assert record.repeat == (2, 3)
    shift = (wide.positions - np.tile(structure.positions, (6, 1))) @ np.linalg.inv(structure.cell)
    assert np.abs(shift - np.round(shift)).max() < 1e-9
    assert (wide.layer == np.tile(structure.layer, 6)).all()


@pytest.mark.parametrize("axis", [1, 2])
def test_ribbons(mote2, axis):
    structure, moire = mote2
    cut, record = supercells.ribbon(structure, moire, 3, axis, vacuum=15.0)
    assert len(cut) == 3 * len(structure)
    assert cut.pbc.tolist() == [axis != 1, axis != 2, False]
    assert record.open_axis == axis
    assert record.repeat == ((3, 1) if axis == 1 else (1, 3))
    assert abs(cut.cell[0] @ cut.cell[1]) < 1e-9
    # the periodic vector stays, and the vacuum lies on both sides
    assert np.allclose(cut.cell[2 - axis], structure.cell[2 - axis])
    inside = (cut.positions[:, :2] @ np.linalg.inv(cut.cell[:2, :2]))[:, axis - 1]
    width = np.linalg.norm(cut.cell[axis - 1])
    assert inside.min() * width == pytest.approx(7.5)
    assert (1 - inside.max()) * width == pytest.approx(7.5)
    # atoms keep their distances, and the rotation axis moves with them
    wide, _ = supercells.repeat(structure, moire, record.repeat)
    moved = cut.positions - wide.positions
    assert np.abs(moved - moved[0]).max() < 1e-9
    assert np.allclose(record.layers[0].centre, moved[0, :2])


@pytest.mark.parametrize("counts", [(100_000, 100_000), (1, 10**18)])
def test_supercells_of_no_sense_take_no_memory(mote2, counts):
    with pytest.raises(MoireioError, match=r"42 atoms in .* cells are more than 10,000,000"):
        supercells.repeat(*mote2, counts)
