"""Models of fewer than three dimensions in a cell."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.assembly.hoppings import GAP, Hoppings, three_vectors


@pytest.mark.parametrize(
    ("vectors", "normal"),
    [
        ([[2, 0], [1, 3]], [2]),
        ([[0, 2, 0], [0, 1, 3]], [2]),
        ([[0, 3]], [1, 2]),
        ([], [0, 1, 2]),
    ],
)
def test_further_vectors_are_normal_and_leave_a_vacuum(vectors, normal):
    points = np.array([[0, 0, 0], [4, 5, 6]], dtype=float)[:, : len(vectors[0]) if vectors else 3]
    cell, at, pbc = three_vectors(vectors, points, [True] * len(vectors))
    given = np.zeros((len(vectors), 3))
    if vectors:
        given[:, : len(vectors[0])] = vectors
    np.testing.assert_array_equal(cell[: len(given)], given)
    np.testing.assert_array_equal(at[:, : points.shape[1]], points)
    assert [n for n, periodic in enumerate(pbc) if not periodic] == normal
    for axis in normal:
        others = np.delete(cell, axis, axis=0)
        assert np.abs(others @ cell[axis]).max() < 1e-12
        along = at @ cell[axis] / np.linalg.norm(cell[axis])
        assert np.linalg.norm(cell[axis]) - np.ptp(along) == pytest.approx(GAP)


def test_vectors_along_which_a_model_is_not_periodic_get_long_enough():
    points = np.array([[0, 0], [9, 1]])
    cell, _, pbc = three_vectors([[1, 0], [0.5, 1]], points, [False, True])
    assert pbc == [False, True, False]
    np.testing.assert_array_equal(cell[1], [0.5, 1, 0])
    np.testing.assert_allclose(cell[0] / np.linalg.norm(cell[0]), [1, 0, 0])
    reduced = np.array([[0, 0, 0], [9, 1, 0]]) @ np.linalg.inv(cell)
    assert np.ptp(reduced[:, 0]) < 1


def test_elements_are_added_and_checked():
    hoppings = Hoppings(3, "model")
    hoppings.add(0, 1, [1, 0], [[1, 2]])
    hoppings.add(0, 1, [1, 0], 0.5)
    cells, (matrix,) = hoppings.matrices()
    assert cells.tolist() == [[1, 0, 0]]
    np.testing.assert_array_equal(matrix.toarray(), [[0, 1.5, 2], [0, 0, 0], [0, 0, 0]])
    assert matrix.dtype == np.float64
    for place, block in (((0, 2), [[1, 2]]), ((-1, 0), 1.0)):
        with pytest.raises(MoireioError, match="does not fit a model of 3 orbitals"):
            hoppings.add(*place, [0, 0, 0], block)
    with pytest.raises(MoireioError, match="not a finite number"):
        hoppings.add(0, 0, [0], np.inf)
