"""HDF5: damaged headers, full disks, texts outside the heap that has no checksum."""

import contextlib
import os

import h5py
import numpy as np
import pytest

import moireio
from moireio.errors import DamagedError, MoireioError
from moireio.store.containers import open_container
from moireio.store.hdf5 import Hdf5Container
from moireio.store.transaction import write_container

SUFFIXES = [".h5", ".zarr", ".zarr.zip"]


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


def texts(path):
    """Type of every text in a file, by its place."""
    out = {}
    with h5py.File(path) as file:

        def visit(name, item):
            if isinstance(item, h5py.Dataset):
                out[name] = h5py.check_string_dtype(item.dtype)
            for key in item.attrs:
                kind = h5py.check_string_dtype(item.attrs.get_id(key).dtype)
                out[f"{name}@{key}"] = kind

        visit("", file)
        file.visititems(visit)
    return {place: kind for place, kind in out.items() if kind is not None}


def test_texts_have_a_fixed_length(made):
    kinds = texts(made["o2_col"])
    assert {"@creator", "structure/species_names", "hamiltonian@unit"} <= set(kinds)
    assert {(kind.length is None, kind.encoding) for kind in kinds.values()} == {(False, "utf-8")}


@pytest.mark.parametrize("values", [["Å", "", "Γ → K"], [], [""]])
def test_texts_come_back(tmp_path, values):
    path = tmp_path / "x.h5"
    with write_container(str(path)) as out:
        out.create_group("a", {"text": "⟨i| ∂ |j⟩", "empty": "", "list": ["Å", "ħħ"]})
        out.create_array("a/b", (len(values),), "string")
        out.write("a/b", np.array(values, dtype=object))
    container = open_container(str(path))
    assert container.attributes("a") == {"text": "⟨i| ∂ |j⟩", "empty": "", "list": ["Å", "ħħ"]}
    assert container.read("a/b").tolist() == values
    assert container.info("a/b").dtype == "string"
    container.close()


def test_texts_of_variable_length_are_read(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.attrs["text"] = "Å"
        file["b"] = np.array(["Γ", "M"], dtype=h5py.string_dtype())
    container = open_container(str(path))
    assert container.attributes() == {"text": "Å"}
    assert container.read("b").tolist() == ["Γ", "M"]
    container.close()


def test_groups_of_ever_so_many_members(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
        group = file.create_group("history")
        for n in range(10_001):
            group[str(n)] = h5py.SoftLink("/")
    with (
        contextlib.closing(Hdf5Container(tmp_path / "x.h5")) as container,
        pytest.raises(DamagedError, match="/history cannot be read: it has 10001 members"),
    ):
        container.groups("history")


def test_names_that_are_no_text(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_group(b"x_\xff")
    with (
        contextlib.closing(Hdf5Container(tmp_path / "x.h5")) as container,
        pytest.raises(DamagedError, match=r"xff' is no name of a group or array"),
    ):
        container.groups()
