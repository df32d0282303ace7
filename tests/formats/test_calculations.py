"""Finding calculations behind names."""

import os
import shutil

import pytest
from deeph_folders import write_dock_folder, write_folder
from helpers import random_operator, random_system, write_file

from moireio.errors import MoireioError
from moireio.formats.calculations import find_calculations, open_calculation


@pytest.fixture
def folder(tmp_path, data):
    structure, basis = random_system(2)
    h, _ = random_operator(2, basis.sizes(structure))
    write_file(tmp_path / "o2_col.h5", structure, basis, h)
    write_file(tmp_path / "x.zarr", structure, basis, h)
    write_folder(tmp_path / "old")
    write_dock_folder(tmp_path / "dock")
    shutil.copy(data / "o2_col.scfout", tmp_path / "o2_col.scfout")
    shutil.copy(data / "o2_col.scfout", tmp_path / "o2_2.scfout")
    (tmp_path / "notes.txt").write_text("no calculation")
    return tmp_path


def names(paths):
    return [os.path.basename(p) for p in paths]


def test_a_folder_stands_for_its_calculations(folder):
    """Files of any format; a .scfout that was converted beside it does not count twice."""
    found = names(find_calculations([str(folder)]))
    assert found == ["dock", "o2_2.scfout", "o2_col.h5", "old", "x.zarr"]


def test_names_patterns_and_lists(folder):
    (folder / "list").write_text(f"{folder}/x.zarr\n\n{folder}/o2_*.scfout\n")
    paths = [f"@{folder}/list", str(folder / "old"), str(folder / "*.zarr")]
    assert names(find_calculations(paths)) == ["x.zarr", "o2_2.scfout", "o2_col.scfout", "old"]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        ("absent.h5", "no such file"),
        ("@absent", "no such file"),
        ("empty", "holds no calculations"),
    ],
)
def test_names_that_stand_for_nothing(folder, source, complaint):
    (folder / "empty").mkdir()
    at = "@" if source.startswith("@") else ""
    with pytest.raises(MoireioError, match=complaint):
        find_calculations([f"{at}{folder / source.removeprefix('@')}"])


def test_the_reader_says_what_is_wrong(folder):
    with pytest.raises(MoireioError, match="is not a block file"):
        open_calculation(str(folder / "notes.txt"))
    with pytest.raises(MoireioError, match=r"has no lat\.dat"):
        open_calculation(str(folder / "x.zarr"), formats=("deeph-dock", "deeph"))
