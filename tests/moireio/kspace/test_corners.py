"""Corners of the Brillouin zone."""

import numpy as np
import pytest
from crystals import HUNDRED_TWENTY, SIXTY, one_atom

from moireio.errors import MoireioError
from moireio.kspace.corners import continued_corners, seekpath_points, special_points
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


def turned(cell, degrees, axis=(0.0, 0.0, 1.0)):
    """Return a cell after a rotation in space."""
    from scipy.spatial.transform import Rotation

    rotation = Rotation.from_rotvec(np.radians(degrees) * np.array(axis)).as_matrix()
    return np.asarray(cell) @ rotation.T


def deformed(cell, xx, yy=0.0, xy=0.0):
    return np.asarray(cell) @ (np.eye(3) + np.array([[xx, xy, 0], [xy, yy, 0], [0, 0, 0]]))


def in_first_cell(k):
    return (np.asarray(k) + 1e-9) % 1


@pytest.mark.parametrize("degrees", [0, 17, 60, 123.4, 180, 301])
@pytest.mark.parametrize("flip", [1, -1])
def test_two_cells_of_one_lattice_have_the_same_corners(degrees, flip):
    """K and K' of a1, a2 and of a1, a2 − a1, in space, up to reciprocal lattice vectors.

    Also with the third vector downwards and with the plane upright; M up to a turn by 120°.
    """
    sixty = turned(turned(SIXTY, degrees), 35, (0.6, 0.8, 0))
    sixty[2] *= flip
    other = np.array([[1, 0, 0], [-1, 1, 0], [0, 0, 1]]) @ sixty
    one, two = one_atom(sixty), one_atom(other)
    for label in ("K", "K'"):
        expected = special_points(one)[0][label] @ one.reciprocal
        found = special_points(two)[0][label] @ two.reciprocal
        np.testing.assert_allclose(found, expected, atol=1e-12)
        assert found @ sixty[0] == pytest.approx((1 if label == "K" else -1) * 4 * np.pi / 3)
    m = [in_first_cell(special_points(s)[0]["M"] @ s.reciprocal @ sixty.T / 2 / np.pi)
         for s in (one, two)]  # fmt: skip
    equivalent = np.array([[0.5, 0, 0], [0, 0.5, 0], [0.5, 0.5, 0]])
    for point in m:
        assert np.abs(equivalent - point).max(axis=1).min() < 1e-6


def test_a_lattice_of_the_other_handedness_has_the_same_k():
    """a2 on either side of a1: K still lies along a1."""
    left = np.array(SIXTY) * [1, -1, 1]
    k = special_points(one_atom(left))[0]["K"] @ one_atom(left).reciprocal
    np.testing.assert_allclose(k, [4 * np.pi / 3 / 2.46, 0, 0], atol=1e-7)


def test_exchanged_vectors_exchange_the_valleys_of_sixty_degrees_only():
    """K is defined by the first vector; turned by 60° it is K', turned by 120° K."""
    for cell, same in ((SIXTY, False), (HUNDRED_TWENTY, True)):
        first, second = one_atom(cell), one_atom(np.array(cell)[[1, 0, 2]])
        k = special_points(first)[0]["K"] @ first.reciprocal
        other = special_points(second)[0]["K"] @ second.reciprocal
        steps = np.array([k - other, k + other]) @ first.cell.T / (2 * np.pi)
        whole = np.abs(steps - np.rint(steps)).max(axis=1) < 1e-6
        assert whole.tolist() == [same, not same]


@pytest.mark.parametrize(
    "strain", [(0.005,), (0.01,), (0.01, -0.0016), (0, 0, 0.01), (-0.02, 0.01, 0.01), (0.045,)]
)
@pytest.mark.parametrize("cell", [SIXTY, HUNDRED_TWENTY])
def test_corners_of_strained_layers_are_continued(cell, strain):
    """Fractional coordinates stay, in either setting and any direction, and a remark says so."""
    sign = 1 if cell is SIXTY else -1
    structure = one_atom(turned(deformed(cell, *strain), 17))
    points, path = special_points(structure)
    assert path == "GMKG"
    assert points["K"].tolist() == [2 / 3, sign / 3, 0]
    assert points["K'"].tolist() == [-2 / 3, -sign / 3, 0]
    assert points["M"].tolist() == [0.5, 0, 0]
    assert "no threefold axis: K, K' and M keep" in continued_corners(structure)


def test_remarks_are_for_strained_hexagonal_layers_only():
    assert continued_corners(one_atom(SIXTY)) is None
    assert continued_corners(one_atom(deformed(SIXTY, 0.03, 0.03))) is None  # threefold still
    rounded = np.round(SIXTY, 3)  # as in files of three decimals
    assert continued_corners(one_atom(rounded)) is None
    assert continued_corners(one_atom(deformed(SIXTY, 0.01), (True, True, True))) is None
    assert continued_corners(one_atom(np.diag([3.0, 4.0, 20.0]))) is None
    assert "strain of 1 %" in continued_corners(one_atom(deformed(SIXTY, 0.01)))


def test_layers_far_from_hexagonal_keep_the_letters_of_ase():
    for cell in (deformed(SIXTY, 0.06), [[3.0, 0, 0], [1.0, 4.0, 0], [0, 0, 20]]):
        points, _ = special_points(one_atom(cell))
        assert "K" not in points
        assert continued_corners(one_atom(cell)) is None


@pytest.mark.parametrize("change", [[[1, 1], [1, 2]], [[2, 1], [-1, -1]], [[1, 2], [0, 1]]])
def test_hexagonal_lattices_of_vectors_that_are_not_the_shortest(change):
    """K and K' are corners, opposite to each other, and M is half a reciprocal vector."""
    cell = np.array(SIXTY)
    cell[:2] = np.array(change) @ cell[:2]
    points, path = special_points(one_atom(cell))
    assert path == "GMKG"
    shortest = one_atom(SIXTY).reciprocal
    found = {label: k @ one_atom(cell).reciprocal for label, k in points.items()}
    assert np.linalg.norm(found["K"]) == pytest.approx(4 * np.pi / 3 / 2.46)
    assert found["K'"] == pytest.approx(-found["K"])
    assert 3 * found["K"] @ np.linalg.inv(shortest) == pytest.approx(
        np.rint(3 * found["K"] @ np.linalg.inv(shortest))
    )
    assert np.linalg.norm(found["M"]) == pytest.approx(2 * np.pi / np.sqrt(3) / 2.46)


def test_a_plane_in_other_axes():
    cell = np.array(SIXTY)[[2, 0, 1]]
    points, _ = special_points(one_atom(cell, (False, True, True)))
    assert points["K"].tolist() == [0, 2 / 3, 1 / 3]
    cell = np.array(HUNDRED_TWENTY)[[0, 2, 1]]
    points, _ = special_points(one_atom(cell, (True, False, True)))
    assert points["K"].tolist() == [2 / 3, 0, -1 / 3]
    assert points["M"].tolist() == [0.5, 0, 0]


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
