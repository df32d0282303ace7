"""h5-validate finds what it promises to find."""

import shutil

import h5py
import numpy as np
import pytest
from helpers import overlap_like, random_operator, random_system, write_file

import moireio
from moireio.errors import MoireioError
from moireio.operators.blocks import checksum


@pytest.fixture
def good(tmp_path, made):
    path = tmp_path / "good.h5"
    shutil.copy(made["gr_ab"], path)
    return path


def findings(path):
    with moireio.open(path) as file:
        return [str(f) for f in moireio.validate(file)]


def rewrite_checksums(file, name):
    """What somebody does who edits a file with care: the checksums fit again."""
    group = file[name]
    crc = group["crc"][...]
    for i in range(len(crc)):
        a, b = group["indptr"][i], group["indptr"][i + 1]
        u, v = group["row_offset"][i], group["row_offset"][i + 1]
        crc[i] = checksum(group["j"][a:b], group["R"][a:b], group["data"][..., u:v])
    group["crc"][...] = crc


def test_a_good_file(good):
    assert findings(good) == []


@pytest.mark.parametrize("careful", [False, True])
def test_a_block_changed_by_1e_3(good, careful):
    with h5py.File(good, "r+") as file:
        file["hamiltonian/data"][20_000] += 1e-3
        if careful:
            rewrite_checksums(file, "hamiltonian")
    found = findings(good)
    assert any(
        "differs from its partner's adjoint by 1.0e-03 eV (2 such pairs)" in f for f in found
    )
    assert any("checksum" in f for f in found) != careful


def test_a_pair_without_its_partner(good):
    with h5py.File(good, "r+") as file:
        group = file["overlap"]
        # pair (0, 3, R) becomes (0, 3, R + 9a): sorted still, but alone
        row = group["R"][: group["indptr"][1]]
        last = len(row) - 1
        group["R"][last] = row[last] + [9, 0, 0]
        rewrite_checksums(file, "overlap")
    found = findings(good)
    assert any(
        f.startswith("error: /overlap: pair (0, 3, R = ") and "no partner" in f for f in found
    )
    # and H now has pairs that S lacks
    assert any("is not among those of /overlap" in f for f in found)


def test_an_overlap_that_is_not_positive(good):
    with h5py.File(good, "r+") as file:
        size = 13 * 13
        place = int(file["overlap/row_offset"][0])
        onsite = next(
            p
            for p in range(file["overlap/indptr"][1])
            if file["overlap/j"][p] == 0 and not file["overlap/R"][p].any()
        )
        begin = place + onsite * size
        block = file["overlap/data"][begin : begin + size].reshape(13, 13)
        block[0, 0] = -block[0, 0]
        file["overlap/data"][begin : begin + size] = block.ravel()
        rewrite_checksums(file, "overlap")
    where = "k = 0.0000 0.0000 0.0000"
    assert findings(good) == [f"error: /overlap: is not positive definite at {where}"]


def test_a_large_overlap_is_checked_by_its_pivots(good, monkeypatch):
    from moireio.operators import checks

    monkeypatch.setattr(checks, "DENSE_ORBITALS", 10)
    assert findings(good) == []
    test_an_overlap_that_is_not_positive(good)


def test_a_nan(good):
    with h5py.File(good, "r+") as file:
        file["hamiltonian/data"][100] = np.nan
        rewrite_checksums(file, "hamiltonian")
    found = findings(good)
    assert any("not finite (NaN), as atom 0" in f for f in found)


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


def test_a_position_that_breaks_its_rule(good):
    with h5py.File(good, "r+") as file:
        file["position/data"][2, 30_000] += 1e-4
        rewrite_checksums(file, "position")
    assert any("/position" in f and "breaks the rule" in f for f in findings(good))
