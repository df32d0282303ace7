"""h5-validate finds what it promises to find."""

import h5py
import pytest
from damage import copy_to, findings
from helpers import overlap_like, random_operator, random_system, write_file

import moireio
from moireio.errors import MoireioError


@pytest.fixture
def good(tmp_path, made):
    return copy_to(tmp_path, made["gr_ab"])


def test_a_good_file(good):
    assert findings(good) == []


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("basis", "error: /: group basis is missing"),
        ("structure", "error: /: group structure is missing"),
        ("structure/cell", "error: /structure: array cell is missing"),
        ("hamiltonian/crc", "error: /hamiltonian: array crc is missing"),
    ],
)
def test_something_missing(good, group, expected):
    with h5py.File(good, "r+") as file:
        del file[group]
    assert expected in findings(good)


def test_schema_violations_have_a_place(good):
    with h5py.File(good, "r+") as file:
        file.create_group("extra")
        file["hamiltonian"].attrs["spin"] = "sideways"
        file["structure"].create_dataset("colour", data=[1.0])
    found = findings(good)
    assert "error: /: unknown group extra" in found
    assert "error: /structure: unknown array colour" in found
    assert any(f.startswith("error: /hamiltonian/spin") for f in found)


def test_unknown_version(good):
    with h5py.File(good, "r+") as file:
        file.attrs["format_version"] = "2.0"
    with pytest.raises(MoireioError, match=r"2\.0"):
        moireio.open(good)


def test_upper_storage_and_missing_overlap(tmp_path):
    from moireio.operators.views import UpperView

    structure, basis = random_system(9)
    sizes = basis.sizes(structure)
    h, _ = random_operator(9, sizes)
    s, _ = overlap_like(9, sizes)
    path = write_file(tmp_path / "x.h5", structure, basis, UpperView(h), s)
    assert findings(path) == []
    path = write_file(tmp_path / "y.h5", structure, basis, h)
    assert findings(path) == ["note: /overlap: not computed yet"]


def test_a_part_that_cannot_be_understood(good):
    with h5py.File(good, "r+") as file:
        file.create_group("moire").attrs["open_axis"] = "upwards"
        file.copy("electrons", "bands")
    assert any("upwards" in f and f.startswith("error: /moire") for f in findings(good))
    assert any(f.startswith("error: /bands: /bands/k cannot be read") for f in findings(good))
