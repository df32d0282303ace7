"""Corners of the Brillouin zone."""

import numpy as np
import pytest
from crystals import HUNDRED_TWENTY, SIXTY, one_atom

from moireio.errors import MoireioError
from moireio.kspace.corners import seekpath_points, special_points
from moireio.system.structure import Structure


@pytest.mark.parametrize("cell", [SIXTY, HUNDRED_TWENTY])
def test_hexagonal_corners_lie_along_the_first_vector(cell):
    """The same K in both settings: on +a1, at distance 4π/3a; K' opposite; all are corners."""
    structure = one_atom(cell)
    points, default = special_points(structure)
    assert default == "GMKG"
    k = points["K"] @ structure.reciprocal
    assert k == pytest.approx([4 * np.pi / 3 / 2.46, 0, 0], abs=1e-7)
    assert points["K'"] @ structure.reciprocal == pytest.approx(-k)
    m = points["M"] @ structure.reciprocal
    assert np.linalg.norm(m) == pytest.approx(2 * np.pi / np.sqrt(3) / 2.46)
    # a corner is as far from Γ as from two neighbouring reciprocal lattice points
    grid = np.array([[a, b, 0] for a in (-1, 0, 1) for b in (-1, 0, 1)]) @ structure.reciprocal
    far = np.sort(np.linalg.norm(grid - k, axis=1))
    assert far[2] == pytest.approx(far[0])
    assert far[3] > 1.2 * far[0]


def test_a_plane_in_other_axes():
    cell = np.array(SIXTY)[[2, 0, 1]]
    points, _ = special_points(one_atom(cell, (False, True, True)))
    assert points["K"].tolist() == [0, 2 / 3, 1 / 3]


def test_other_lattices_come_from_ase():
    square, _ = special_points(one_atom(np.diag([3.0, 3.0, 20.0])))
    assert square["M"].tolist() == [0.5, 0.5, 0]
    rectangular, _ = special_points(one_atom(np.diag([3.3, 4.6, 20.0])))
    assert rectangular["S"].tolist() == [0.5, 0.5, 0]
    line, _ = special_points(one_atom(np.diag([3.0, 20, 20]), (True, False, False)))
    assert line["X"].tolist() == [0.5, 0, 0]
    fcc = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 2.7
    points, path = special_points(one_atom(fcc, (True, True, True)))
    assert np.linalg.norm(points["X"] @ one_atom(fcc).reciprocal) == pytest.approx(2 * np.pi / 5.4)
    assert path.startswith("G")


def test_a_molecule_has_only_the_centre():
    points, path = special_points(one_atom(SIXTY, (False, False, False)))
    assert path == "G"
    assert points["G"].tolist() == [0, 0, 0]


def test_seekpath_letters_and_refusal():
    pytest.importorskip("seekpath")
    cubic = Structure(np.eye(3) * 3.0, np.zeros((1, 3)), [84], [0], ["Po"], [True] * 3)
    points, path = seekpath_points(cubic)
    assert points["G"].tolist() == [0, 0, 0]
    assert points["R"] == pytest.approx([0.5, 0.5, 0.5])
    assert path.startswith("GX")
    twice = Structure(np.eye(3) * 3.0, np.zeros((2, 3)), [84, 84], [0, 0], ["Po"], [True] * 3)
    with pytest.raises(MoireioError, match="SeeK-path fails"):
        seekpath_points(twice)
