"""Wannier90's input."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.wannier90.win import BOHR, read_win

TEXT = """
! a comment
Num_Wann : 8   ! functions
SPINORS = .TRUE.
use_ws_distance false
mp_grid = 4 4 1
Begin Unit_Cell_Cart
 bohr
 1 0 0
 0 2.0d0 0
 0 0 3
End Unit_Cell_Cart
begin atoms_frac
 Si1 0.5 0 0  # one
 Q 0 0 0.5
end atoms_frac
begin projections
 Si: sp3 (u)
end projections
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.win"


def test_contents(path):
    path.write_text(TEXT)
    win = read_win(str(path))
    np.testing.assert_allclose(win.cell, np.diag([1, 2, 3]) * BOHR)
    assert win.numbers.tolist() == [14, 0]
    np.testing.assert_allclose(win.positions, np.array([[0.5, 0, 0], [0, 0, 1.5]]) * BOHR)
    assert win.count("num_wann") == 8
    assert win.flag("spinors", False)
    assert not win.flag("use_ws_distance", True)
    assert win.flag("absent", True)
    assert win.mesh == (4, 4, 1)
    assert win.one_spin_projections


def test_atoms_in_cartesian_coordinates(path):
    path.write_text("begin atoms_cart\nang\nC 1 2 3\nend atoms_cart\n")
    win = read_win(str(path))
    np.testing.assert_array_equal(win.positions, [[1, 2, 3]])
    assert win.cell is None
    assert win.mesh is None


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (" 0 0 3\n", "", "has 2 vectors"),
        (" 0 0 3\n", " 0 0 x\n", "line 11: three numbers"),
        (" 0 0 3\n", " 0 0 nan\n", "line 11: three numbers"),
        ("end projections", "", "has no end"),
        (" Q 0 0 0.5", " Q 0 0", "line 15"),
    ],
)
def test_damage_is_named(path, old, new, words):
    path.write_text(TEXT.replace(old, new))
    with pytest.raises(MoireioError, match=words):
        read_win(str(path))
