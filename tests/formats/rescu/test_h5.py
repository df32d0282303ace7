"""RESCU's matrices: its own run, and files of a naive writer."""

import json
import shutil

import h5py
import numpy as np
import pytest
from foreign_cells import Example, write_rescu
from foreign_levels import levels, overlap_misfit

from moireio.errors import MoireioError
from moireio.formats.rescu import h5

HARTREE = 27.21138602


def test_aluminium(shared):
    folder = shared / "foreign" / "rescu_al"
    calculation = h5.read(str(folder / "al_lcao_scf.h5"))
    reference = json.loads((folder / "reference.json").read_text())
    found = np.array([levels(calculation, k)[0, :10] for k in reference["k"]]) / HARTREE
    assert np.abs(found - reference["hartree"]).max() < 2.4e-7
    assert calculation.electrons.fermi / HARTREE == pytest.approx(reference["fermi_hartree"])
    assert calculation.electrons.count == 3
    assert overlap_misfit(calculation, 1) < 1e-5
    assert overlap_misfit(calculation, 2) < 1e-5


@pytest.mark.parametrize("source", ["x.h5", "x.mat"])
def test_several_species_and_shells_in_any_order(tmp_path, source):
    """Matrices are not symmetric here, so that the transposed ones would be seen."""
    example = Example(shells={"C": (1, 0), "Mo": (2, 0, 1), "H": (0,)})
    write_rescu(tmp_path, example)
    calculation = h5.read(str(tmp_path / source))
    example.assert_equal(calculation, 1e-12, HARTREE)
    assert calculation.basis["Mo"].l == (2, 0, 1)
    assert calculation.electrons.count == 19


def test_detection(tmp_path):
    path = write_rescu(tmp_path, Example())
    assert h5.detect(str(path))
    assert h5.detect(str(tmp_path / "x.mat"))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["0/0_0_0_0_0"] = 1.0
    assert not h5.detect(str(tmp_path / "other.h5"))


def _change(name, edit):
    def change(folder):
        with h5py.File(folder / name, "r+") as file:
            edit(file)

    return change


def _shorten(file):
    del file["LCAO/orbInfo/Lorb"]
    file["LCAO/orbInfo/Lorb"] = np.zeros((3, 1))


def _delete(name):
    def edit(file):
        del file[name]

    return edit


def _nan(file):
    file["LCAO/hamiltonian3"][0, 0] = np.nan


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "x.mat").unlink(), r"no x.mat beside it.*atoms.*companion"),
        (lambda f: (f / "x.mat").write_bytes(b"MATLAB 5.0 MAT-file" + bytes(600)), "-v7.3"),
        (_change("x.h5", _delete("LCAO/hamiltonian3")), r"x.h5: has \d+ matrices LCAO/ham"),
        (_change("x.h5", _delete("LCAO/Rvec")), "x.h5: has no LCAO/Rvec"),
        (_change("x.h5", _nan), "x.h5: its LCAO/hamiltonian3 .* not finite"),
        (_change("x.mat", _shorten), "x.mat: its LCAO/orbInfo"),
        (_change("x.mat", _delete("atom/xyz")), "x.mat: has no atom/xyz"),
    ],
)
def test_damage_is_named(tmp_path, damage, message):
    path = write_rescu(tmp_path, Example())
    damage(tmp_path)
    with pytest.raises(MoireioError, match=message):
        h5.read(str(path))


def test_other_place(tmp_path):
    example = Example()
    path = write_rescu(tmp_path, example)
    (tmp_path / "there").mkdir()
    shutil.move(tmp_path / "x.mat", tmp_path / "there" / "y.mat")
    calculation = h5.read(str(path), companions=[str(tmp_path / "there" / "y.mat")])
    example.assert_equal(calculation, 1e-12, HARTREE)
