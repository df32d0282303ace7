"""Centres of Wannier functions."""

import numpy as np
import pytest
from wannier_files import hr_text, random_model, win_text, xyz_text

from moireio.errors import MoireioError
from moireio.formats.wannier90 import files
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


def test_centres_of_other_atoms_are_noted(tmp_path):
    """Both files list the atoms; centres of another run have as many functions."""
    cells, matrices = random_model(2, 2)
    atoms = ["begin atoms_frac", "Si1 0.1 0.2 0.3", "O 0.5 0.5 0.5", "end atoms_frac"]
    (tmp_path / "w_hr.dat").write_text(hr_text(cells, matrices))
    (tmp_path / "w.win").write_text(win_text(np.diag([3, 4, 5]), 2, *atoms))
    text = xyz_text([[0, 0, 0], [1, 1, 1]]).replace("2\n", "4\n", 1)

    def notes(*lines):
        (tmp_path / "w_centres.xyz").write_text(text + "\n".join(lines) + "\n")
        found = files.read(str(tmp_path / "w_hr.dat"))
        assert np.ptp(found.structure.positions, axis=0).tolist() == [1, 1, 1]
        return [note for note in found.notes if "lists other atoms than" in note]

    assert notes() == notes("x y") == []
    assert notes("O 1.5 2 2.5", "Si 0.3 4.8 1.5") == []  # the order, a lattice vector
    for other in (["O 1.5 2 2.5"], ["O 1.5 2 2.6", "Si 0.3 0.8 1.5"], ["O 1.5 2 2.5"] * 2):
        (note,) = notes(*other)
        assert "w_centres.xyz lists other atoms than" in note
        assert "w.win" in note
