"""Centres of Wannier functions."""

import numpy as np
import pytest
from wannier_files import xyz_text

from moireio.errors import MoireioError
from moireio.formats.wannier90.centres import read_wout, read_xyz
from moireio.formats.wannier90.win import BOHR

WOUT = """
 |  Length Unit               :                 Bohr             |
 Final State
  WF centre and spread    1  (  1.000000,  2.000000, -3.000000 )     1.74
  WF centre and spread    2  (  0.000000,  0.500000,  0.000000 )     1.74
"""


def test_xyz(shared, tmp_path):
    folder = shared / "foreign" / "w90_fe_collinear_tb2j"
    np.testing.assert_allclose(read_xyz(str(folder / "Fe_up_centres.xyz"), 9), 0, atol=1e-7)
    path = tmp_path / "x_centres.xyz"
    path.write_text(xyz_text([[1, 2, 3], [4, 5, 6]]) + "Fe 0 0 0\n")
    np.testing.assert_array_equal(read_xyz(str(path), 2), [[1, 2, 3], [4, 5, 6]])
    with pytest.raises(MoireioError, match="has 2 centres, but there are 3"):
        read_xyz(str(path), 3)
    path.write_text("2\n\nX 1 2 3\nX 1 2 y\n")
    with pytest.raises(MoireioError, match="line 4"):
        read_xyz(str(path), 2)


def test_wout(tmp_path):
    path = tmp_path / "x.wout"
    path.write_text(WOUT)
    expected = np.array([[1, 2, -3], [0, 0.5, 0]])
    np.testing.assert_allclose(read_wout(str(path), 2), BOHR * expected)
    path.write_text(WOUT.replace("Bohr", "Ang"))
    np.testing.assert_allclose(read_wout(str(path), 2), expected)
    with pytest.raises(MoireioError, match="has the centres of 2"):
        read_wout(str(path), 1)
    path.write_text(WOUT.replace("2.000000", "2.0x"))
    with pytest.raises(MoireioError, match="is no point"):
        read_wout(str(path), 2)
    path.write_text("begun\n")
    assert read_wout(str(path), 2) is None
