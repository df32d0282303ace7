"""Calculations: operators that are read late, full storage, closing."""

import h5py
import numpy as np
import pytest
from helpers import overlap_like, random_operator, random_system, write_file

from moireio.blockfile.calculation import Calculation, Operators, is_block_file, read
from moireio.errors import MoireioError
from moireio.operators.views import UpperView


@pytest.fixture
def system():
    structure, basis = random_system(7)
    sizes = basis.sizes(structure)
    return structure, basis, random_operator(7, sizes)[0], overlap_like(7, sizes)[0]


def test_operators_are_loaded_once_and_when_asked_for():
    calls = []
    operators = Operators(("a", "b"), lambda name: calls.append(name) or name.upper())
    assert list(operators) == ["a", "b"]
    assert len(operators) == 2
    assert "c" not in operators
    assert calls == []
    assert (operators["a"], operators["a"]) == ("A", "A")
    assert calls == ["a"]


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_block_file_in_upper_storage_gives_full_operators(tmp_path, system, suffix):
    structure, basis, h, s = system
    path = write_file(tmp_path / f"x{suffix}", structure, basis, UpperView(h), UpperView(s))
    with read(str(path), label="the file") as calculation:
        assert calculation.label == "the file"
        assert calculation.operator("hamiltonian").meta.storage == "upper"
        for full, source in ((calculation.hamiltonian, h), (calculation.overlap, s)):
            assert full.meta.storage == "full"
            np.testing.assert_array_equal(full.rows(0, 4), source.rows(0, 4))
        assert calculation.digest(["hamiltonian"]).startswith("blake2b:")


def test_what_is_absent(tmp_path, system):
    structure, basis, h, _ = system
    calculation = Calculation("x", structure, basis, {"hamiltonian": h})
    assert calculation.overlap is None
    assert calculation.hamiltonian is h
    with pytest.raises(MoireioError, match="x: has no density"):
        calculation.operator("density")
    path = write_file(tmp_path / "x.h5", structure, basis)
    with read(str(path)) as calculation, pytest.raises(MoireioError, match="has no /hamiltonian"):
        _ = calculation.hamiltonian


def test_the_file_is_closed_in_the_end_and_after_a_failure(system):
    structure, basis, h, _ = system
    closed = []
    calculation = Calculation(
        "x", structure, basis, {"hamiltonian": h}, close=lambda: closed.append(1)
    )
    with pytest.raises(KeyError), calculation:
        raise KeyError
    assert closed == [1]


def test_block_files_are_told_by_name_and_contents(tmp_path, system):
    structure, basis, h, _ = system
    path = write_file(tmp_path / "x.h5", structure, basis, h)
    path.rename(tmp_path / "renamed")
    (tmp_path / "text").write_text("H 0 0 0")
    assert is_block_file(str(tmp_path / "renamed"))
    assert is_block_file("-")
    assert is_block_file("not-made-yet.zarr.zip")
    assert not is_block_file(str(tmp_path / "text"))
    assert not is_block_file(str(tmp_path))
    assert not is_block_file(str(tmp_path / "absent"))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1.0
    whole = (tmp_path / "other.h5").read_bytes()
    for at in range(800):  # h5py has errors of several kinds for damaged headers
        (tmp_path / "other.h5").write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
        assert isinstance(is_block_file(str(tmp_path / "other.h5")), bool)
