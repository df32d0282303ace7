"""Wannier90's ``_wsvec.dat``."""

import numpy as np
import pytest

from moireio.errors import DamagedError, MoireioError
from moireio.formats.wannier90.wsvec import read_wsvec

CELLS = np.array([[-1, 0, 0], [0, 0, 0], [1, 0, 0]])
TEXT = (
    "## written\n -1 0 0 1 1\n 2\n 0 0 0\n 2 0 0\n 0 0 0 1 1\n 1\n 0 0 0\n 1 0 0 1 1\n 2\n 0 0 0\n"
    " -2 0 0\n"
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x_wsvec.dat"


def test_elements_images_and_weights(path):
    path.write_text(TEXT)
    images = read_wsvec(str(path), CELLS, 1)
    np.testing.assert_array_equal(images.element, [0, 0, 1, 2, 2])
    np.testing.assert_array_equal(images.cells[:, 0], [-1, 1, 0, 1, -1])
    np.testing.assert_array_equal(images.weights, [0.5, 0.5, 1, 0.5, 0.5])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: "", "ends where a comment"),
        (lambda t: t[:-8], "ends inside element"),
        (lambda t: t[: t.index(" 1 0 0 1 1")], "has 2 elements, 3"),
        (lambda t: t.replace(" 2\n", " 99\n", 1), "has 99 images"),
        (lambda t: t.replace(" 1 0 0 1 1", " 0 0 0 1 1", 1), "twice"),
        (lambda t: t.replace(" 1 0 0 1 1", " 1 0 0 1 2", 1), "outside 1..1"),
        (lambda t: t.replace(" 1 0 0 1 1", " 5 0 0 1 1", 1), "which the Hamiltonian has not"),
        (lambda t: t.replace("2 0 0", "x 0 0", 1), "line 5"),
        (lambda t: t.replace("2 0 0", "0.5 0 0", 1), "line 5"),
        (lambda t: t.replace("2 0 0", "9999 0 0", 1), "beyond"),
    ],
)
def test_damage_is_named(path, change, words):
    path.write_text(change(TEXT))
    with pytest.raises(MoireioError, match=words) as caught:
        read_wsvec(str(path), CELLS, 1)
    assert "x_wsvec.dat" in str(caught.value)
    assert isinstance(caught.value, DamagedError) or "not" in words
