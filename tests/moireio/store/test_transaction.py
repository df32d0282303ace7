"""Writing that completes or leaves no trace; copies into any container."""

import itertools
import os
import socket
from contextlib import closing

import numpy as np
import pytest
from helpers import random_operator, random_system, write_file

import moireio
from moireio.blockfile.stream import write_target
from moireio.errors import MoireioError
from moireio.store.containers import open_container
from moireio.store.transaction import copy_tree, write_container

SUFFIXES = [".h5", ".zarr", ".zarr.zip"]
ARRAYS = {
    "small": np.arange(4, dtype=np.int8),
    "half": np.linspace(0, 1, 5, dtype=np.float16),
    "flags": np.array([[True, False], [False, False]]),
    "number": np.array(2.5),
    "nothing": np.zeros((0, 3)),
    "long": np.arange(600_000).reshape(2, -1),
    "words": np.array([["Γ", "K"], ["K′", ""]], dtype=object),
}


def fill(container, group):
    container.create_group(group, {"text": "Å", "list": [1, 2]})
    for name, values in ARRAYS.items():
        dtype = "string" if values.dtype == object else values.dtype
        container.create_array(f"{group}/{name}", values.shape, dtype)
        container.write(f"{group}/{name}", values)


def assert_filled(container, group):
    assert container.attributes(group) == {"text": "Å", "list": [1, 2]}
    assert set(container.arrays(group)) == set(ARRAYS)
    for name, values in ARRAYS.items():
        stored = container.read(f"{group}/{name}")
        assert stored.shape == values.shape
        assert stored.dtype == values.dtype
        assert (stored == values).all()


@pytest.mark.parametrize(("first", "second"), list(itertools.product(SUFFIXES, SUFFIXES)))
def test_arrays_of_any_shape_and_type(tmp_path, first, second):
    with write_container(tmp_path / f"a{first}") as out:
        fill(out, "x_mine/inner")
        fill(out, "x_mine/dropped")
    source = open_container(tmp_path / f"a{first}")
    drop = ("x_mine/dropped",)
    with write_container(tmp_path / f"b{second}", base=source, drop=drop) as out:
        pass
    with write_container(tmp_path / f"c{second}") as out:
        copy_tree(source, out, drop)
    source.close()
    for name in "bc":
        copy = open_container(tmp_path / f"{name}{second}")
        assert copy.groups("x_mine") == ["inner"]
        assert_filled(copy, "x_mine/inner")
        copy.close()


@pytest.mark.parametrize(("first", "second"), list(itertools.product(SUFFIXES, SUFFIXES)))
def test_conversion_keeps_everything(tmp_path, made, first, second):
    """HDF5 ⇄ zarr ⇄ zip, upper ⇄ full, on the real spinor and collinear files."""
    for name in ("hbn_soc", "o2_col"):
        one, two = tmp_path / f"{name}1{first}", tmp_path / f"{name}2{second}"
        with moireio.open(made[name]) as file:
            with write_target(str(one), base=file):
                pass
            with moireio.open(one) as middle, write_target(str(two), base=middle):
                pass
            with moireio.open(two) as last:
                assert last.digest() == file.digest()
                assert last.attributes == file.attributes
                assert last.history == file.history
                assert last.electrons == file.electrons
                assert last.basis["B" if name == "hbn_soc" else "O"].label == (
                    "B7.0-s2p2d1" if name == "hbn_soc" else "O6.0-s2p2d1"
                )
                for operator in file.operators:
                    n = len(file.structure)
                    a, b = file.operator(operator), last.operator(operator)
                    assert a.meta == b.meta
                    assert (a.rows(0, n) == b.rows(0, n)).all()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_in_place_adds_and_replaces(tmp_path, made, suffix):
    path = tmp_path / f"x{suffix}"
    with moireio.open(made["o2_col"]) as file, write_target(str(path), base=file):
        pass
    for points in (5, 7):
        with moireio.open(path) as file:
            bands = moireio.solve_bands(file, moireio.make_path(file.structure, "GX", points))
            with write_target(None, base=file, in_place=True, drop=("bands",)) as out:
                out.bands(bands)
                out.history("band")
        with moireio.open(path) as file:
            assert len(file.bands().path) == points
            assert moireio.validate(file) == []
    with moireio.open(path) as file:
        assert [e.command for e in file.history] == ["openmx2h5", "band", "band"]
    assert sorted(os.listdir(tmp_path)) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_failure_leaves_no_trace(tmp_path, suffix):
    structure, basis = random_system(0)
    path = tmp_path / f"x{suffix}"

    def fail():
        with write_target(str(path), force=True) as out:
            out.structure(structure)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    source, _ = random_operator(0, basis.sizes(structure))
    write_file(path, structure, basis, source)
    with pytest.raises(RuntimeError):
        fail()
    with moireio.open(path) as file:
        assert "hamiltonian" in file
    with pytest.raises(MoireioError, match="`force` replaces it"):
        write_file(path, structure, basis, source)
    write_file(path, structure, basis, source, force=True)
    assert sorted(os.listdir(tmp_path)) == [path.name]


def test_what_must_not_be_replaced(tmp_path, monkeypatch):
    structure, basis = random_system(0)
    source, _ = random_operator(0, basis.sizes(structure))
    folder = tmp_path / "papers.zarr"
    folder.mkdir()
    (folder / "thesis.tex").write_text("...")
    with pytest.raises(MoireioError, match="no block file that could be replaced"):
        write_file(folder, structure, basis, source, force=True)
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind("socket.h5")
        with pytest.raises(MoireioError, match="neither a file nor a folder"):
            write_file(tmp_path / "socket.h5", structure, basis, source, force=True)
    real = tmp_path / "real.h5"
    write_file(real, structure, basis, source)
    (tmp_path / "link.h5").symlink_to(real)
    write_file(tmp_path / "link.h5", structure, basis, source, force=True)
    assert (tmp_path / "link.h5").is_symlink()
    assert (folder / "thesis.tex").exists()
