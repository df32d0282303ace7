"""One set of tests for every container, and writing that leaves no trace when it fails."""

import itertools
import os

import numpy as np
import pytest
from helpers import random_operator, random_system, write_file

import moireio
from moireio.blockfile.stream import write_target
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


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_lost_numbers_are_never_zero(tmp_path, suffix):
    with write_container(tmp_path / f"x{suffix}") as out:
        for name, dtype in (("x", np.float64), ("z", np.complex64), ("n", np.int32)):
            out.create_array(name, (10,), dtype)
    found = open_container(tmp_path / f"x{suffix}")
    if suffix == ".h5":
        assert np.isnan(found.read("x")).all()
        assert np.isnan(found.read("z")).all()
    else:
        for name in "xzn":
            with pytest.raises(DamagedError, match="is lost"):
                found.read(name)
    found.close()


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("what", ["attribute", "text"])
def test_seals_cover_what_chunks_do_not(tmp_path, made, suffix, what):
    """Attributes and texts carry no checksum of the container's own."""
    path = tmp_path / f"x{suffix}"
    with moireio.open(made["gr_ab"]) as file, write_container(path) as out:
        from moireio.store.transaction import copy_tree

        copy_tree(file.container, out, drop=("history",))
        if what == "attribute":
            out.set_attributes("electrons", {"fermi": -1.0})
        else:
            out.write("structure/species_names", np.array(["Si"], dtype=object))
    with moireio.open(path) as file, pytest.raises(DamagedError, match="do not fit their checksum"):
        print(file.structure, file.electrons)


def test_versions(tmp_path):
    structure, basis = random_system(0)
    source, _ = random_operator(0, basis.sizes(structure))
    path = write_file(tmp_path / "x.h5", structure, basis, source)
    import h5py

    for version, good in (
        ("1.7", True),
        ("2.0", False),
        ("0.9", False),
        ("1", False),
        ("new", False),
    ):
        with h5py.File(path, "r+") as file:
            file.attrs["format_version"] = version
            file.attrs.pop("metadata_crc", None)
        if good:
            moireio.open(path).close()
        else:
            with pytest.raises(MoireioError, match="version"):
                moireio.open(path)


def test_a_newer_minor_version_may_have_more(tmp_path):
    import h5py

    structure, basis = random_system(0)
    source, _ = random_operator(0, basis.sizes(structure))
    path = write_file(tmp_path / "x.h5", structure, basis, source)
    with h5py.File(path, "r+") as file:
        file.create_group("novelty")
    with moireio.open(path) as file:
        assert any("novelty" in f.what for f in moireio.validate(file))
    with h5py.File(path, "r+") as file:
        file.attrs["format_version"] = "1.9"
        del file.attrs["metadata_crc"]
    with moireio.open(path) as file:
        assert [f.level for f in moireio.validate(file)] == ["note"]  # no overlap


def test_what_must_not_be_replaced(tmp_path):
    structure, basis = random_system(0)
    source, _ = random_operator(0, basis.sizes(structure))
    folder = tmp_path / "papers.zarr"
    folder.mkdir()
    (folder / "thesis.tex").write_text("...")
    with pytest.raises(MoireioError, match="no zarr store"):
        write_file(folder, structure, basis, source, force=True)
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(MoireioError, match="neither a file nor a folder"):
        write_file(tmp_path / "pipe.h5", structure, basis, source, force=True)
    real = tmp_path / "real.h5"
    write_file(real, structure, basis, source)
    (tmp_path / "link.h5").symlink_to(real)
    write_file(tmp_path / "link.h5", structure, basis, source, force=True)
    assert (tmp_path / "link.h5").is_symlink()
    assert (folder / "thesis.tex").exists()


def test_a_damaged_object_header_is_not_passed_over(tmp_path, made):
    """One bit in the header of any object of an HDF5 file: found, never a missing group."""
    import re

    whole = made["o2_col"].read_bytes()
    headers = [m.start() for m in re.finditer(b"OHDR", whole)]
    assert len(headers) > 30
    for place in headers:
        raw = bytearray(whole)
        raw[place + 20] ^= 1
        path = tmp_path / "x.h5"
        path.write_bytes(raw)
        try:
            with moireio.open(path) as file:
                found = moireio.validate(file)
        except MoireioError:
            continue
        assert any(f.level == "error" for f in found), place


def test_a_full_disk(tmp_path):
    """Writing stops with one line; HDF5 does not crash. Runs under a limit of the file size."""
    import subprocess
    import sys

    code = (
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "from moireio.tools.openmx2h5 import main\n"
        "main()\n"
    )
    scfout = __import__("pathlib").Path(__file__).parents[2] / "data" / "o2_col.scfout"
    for suffix in SUFFIXES:
        done = subprocess.run(
            [sys.executable, "-c", code, str(scfout), "-o", f"x{suffix}", "--position"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
        )
        assert done.returncode == 1, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert f"x{suffix}: cannot be written: File too large" in done.stderr
        assert os.listdir(tmp_path) == []
