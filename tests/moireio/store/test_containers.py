"""One set of tests for every container."""

import numpy as np
import pytest

from moireio.errors import DamagedError, MoireioError
from moireio.store.containers import Container, kind_of_file, open_container
from moireio.store.transaction import write_container

SUFFIXES = [".h5", ".zarr", ".zarr.zip"]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "complex128", "int32", "uint32", "bool"])
def test_arrays_and_attributes(tmp_path, suffix, dtype):
    values = (np.arange(600).reshape(200, 3) % 7).astype(dtype)
    with write_container(tmp_path / f"c{suffix}") as out:
        out.create_group("a/b", {"n": 3, "x": 0.25, "t": "Å", "yes": True, "list": [1.0, 2.0]})
        out.create_array("a/table", values.shape, values.dtype)
        out.write("a/table", values[:50], 0, axis=0)
        out.write("a/table", values[50:], 50, axis=0)
        out.create_array("a/empty", (0, 3), values.dtype)
        out.create_array("a/names", (2,), "string")
        out.write("a/names", np.array(["Γ", "K'"], dtype=object))
    with_ = open_container(tmp_path / f"c{suffix}")
    assert isinstance(with_, Container)
    assert with_.kind == kind_of_file(tmp_path / f"c{suffix}")
    assert with_.groups() == ["a"]
    assert with_.arrays("a") == ["empty", "names", "table"]
    assert with_.attributes("a/b") == {
        "n": 3,
        "x": 0.25,
        "t": "Å",
        "yes": True,
        "list": [1.0, 2.0],
    }
    assert with_.info("a/table").dtype == dtype
    assert with_.info("a/names").dtype == "string"
    assert (with_.read("a/table") == values).all()
    assert (with_.read("a/table", 10, 60, axis=0) == values[10:60]).all()
    assert with_.read("a/empty").shape == (0, 3)
    assert with_.read("a/names").tolist() == ["Γ", "K'"]
    with pytest.raises(DamagedError, match="/a/nothing"):
        with_.read("a/nothing")
    with_.close()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compression", ["none", "lzf", "gzip", "zstd"])
def test_large_arrays_in_pieces(tmp_path, suffix, compression):
    """Several chunks (and shards), written and read across their borders, any compression."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 1_000_003))
    wrong = {".h5": "zstd", ".zarr": "lzf", ".zarr.zip": "lzf"}[suffix]

    def write():
        with write_container(tmp_path / f"c{suffix}") as out:
            run = out.create_array("x", values.shape, values.dtype, compression=compression)
            assert run >= 1 << 17
            for start in range(0, values.shape[1], 400_000):
                out.write("x", values[:, start : start + 400_000], start)

    if compression == wrong:
        with pytest.raises(MoireioError, match=r"no .* compression"):
            write()
        assert list(tmp_path.iterdir()) == []
        return
    write()
    found = open_container(tmp_path / f"c{suffix}")
    assert (found.read("x", 130_000, 270_000) == values[:, 130_000:270_000]).all()
    assert (found.read("x") == values).all()
    found.close()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_lost_numbers_are_never_zero(tmp_path, suffix):
    with write_container(tmp_path / f"x{suffix}") as out:
        for name, dtype in (("x", np.float64), ("z", np.complex64), ("n", np.int32)):
            out.create_array(name, (10,), dtype)
    found = open_container(tmp_path / f"x{suffix}")
    message = "of which the file holds 0" if suffix == ".h5" else "is lost"
    for name in "xzn":
        with pytest.raises(DamagedError, match=message):
            found.read(name)
    found.close()
