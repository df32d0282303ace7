"""What a file may claim, and files that point to others."""

import os
import subprocess
import sys
import zipfile

import h5py
import numpy as np
import pytest

import moireio
from moireio.errors import DamagedError, MoireioError
from moireio.store.bounds import require_backed, require_member, require_sound_heap
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

SECRET = np.arange(12.0)


def test_shapes_against_bytes():
    require_backed((10**6, 8), 1, 0, 1)  # small ones need no proof
    require_backed((10**8, 3), 8, 10**9, 4)
    with pytest.raises(ValueError, match=r"100000000 x 3 takes 2\.4 GB, but 110\.0 kB are stored"):
        require_backed((10**8, 3), 8, 110_000, 1100)
    with pytest.raises(ValueError, match="TB"):
        require_backed((2**62, 2**62), 8, 10**9, 1100)


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../../x", "a//b", "a/\n", "a/" + "b" * 300])
def test_members_outside(name):
    with pytest.raises(ValueError, match="outside the store"):
        require_member(name)


def test_members_inside():
    for name in ("zarr.json", "structure/cell/c/0/0", "basis/C 1/", "bands-Γ/k/zarr.json"):
        require_member(name)


@pytest.fixture
def target(tmp_path):
    with write_container(tmp_path / "x.h5") as out:
        out.create_group("g", {"a": 1})
        out.create_array("g/x", (12,), float)
        out.write("g/x", SECRET)
    return tmp_path / "x.h5"


def _external(file, folder):
    raw = [(str(folder / "secret.bin"), 0, 96)]
    file.create_dataset("g/y", (12,), "f8", external=raw)


def _external_link(file, folder):
    file["g/y"] = h5py.ExternalLink(str(folder / "other.h5"), "g/x")


def _loop(file, folder):
    file["g/y"] = file["g"]


@pytest.mark.parametrize("point", [_external, _external_link, _loop])
def test_hdf5_that_points_elsewhere_is_not_copied(tmp_path, target, point):
    (tmp_path / "other.h5").write_bytes(target.read_bytes())
    (tmp_path / "secret.bin").write_bytes(SECRET.tobytes())
    with h5py.File(target, "r+") as file:
        point(file, tmp_path)
    found = open_container(target)
    for suffix in (".h5", ".zarr"):
        with (
            pytest.raises(MoireioError, match=r"link into|another file|lies in several groups"),
            write_container(tmp_path / f"o{suffix}", base=found),
        ):
            pass
    found.close()
    assert sorted(p.name for p in tmp_path.glob("o*")) == ["other.h5"]


def test_hdf5_chunks_that_are_lost(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        options = {"chunks": (1000, 3), "compression": "gzip"}
        file.create_dataset("partly", (2000, 3), "f8", **options)[:1000] = 1
        file.create_dataset("whole", (2000, 3), "f8", **options)[...] = 0
        file.create_dataset("text", (), "S1000000000")
    found = open_container(path)
    with pytest.raises(DamagedError, match="1 of 2 chunks of /partly are lost"):
        found.read("partly")
    with pytest.raises(DamagedError, match="1000000000 bytes, of which the file holds"):
        found.read("text")
    assert (found.read("whole") == 0).all()
    found.close()


def test_zarr_shapes_that_nothing_backs(tmp_path):
    import zarr

    root = zarr.open_group(str(tmp_path / "x.zarr"), mode="w", zarr_format=3)
    root.create_array("never", shape=(10**8, 3), dtype="f8", chunks=(10**7, 3))
    root.create_array("many", shape=(10**14,), dtype="i1", chunks=(1,))[:2] = 1
    root.create_array("chunk", shape=(3,), dtype="f8", chunks=(10**9,))
    (tmp_path / "x.zarr/chunk/c").mkdir()
    (tmp_path / "x.zarr/chunk/c/0").write_bytes(b"1")
    found = open_container(tmp_path / "x.zarr")
    for name in ("never", "many", "chunk"):
        with pytest.raises(DamagedError, match=r"takes .* are stored"):
            found.read(name)
    found.close()


@pytest.fixture
def stores(tmp_path):
    out = {}
    for suffix in (".zarr", ".zarr.zip"):
        with write_container(tmp_path / f"x{suffix}") as container:
            container.create_group("g", {"a": 1})
            container.create_array("g/x", (12,), float)
            container.write("g/x", SECRET)
        out[suffix] = tmp_path / f"x{suffix}"
    return out


@pytest.mark.parametrize("place", ["secret", "g/secret", "g/x/c", "g/zarr.json", "g", "zarr.json"])
def test_links_inside_a_folder(tmp_path, stores, place):
    store = stores[".zarr"]
    linked = store / place
    there = tmp_path / "elsewhere"
    if linked.exists():
        linked.rename(there)
    else:
        there.write_text("secret")
    linked.symlink_to(there)
    with pytest.raises(DamagedError, match=r"link to elsewhere .*only the file that is named"):
        _everything(store)
    before = {p: p.stat().st_mtime for p in there.rglob("*")}
    for suffix in (".zarr", ".h5"):
        with pytest.raises(DamagedError):
            _copy(store, tmp_path / f"o{suffix}")
    assert {p: p.stat().st_mtime for p in there.rglob("*")} == before
    assert not list(tmp_path.glob("o.*"))


def _copy(path, target):
    with write_container(target, base=open_container(path)):
        pass


def _everything(path):
    found = open_container(path)
    for group in ("", *found.groups()):
        found.attributes(group)
        for array in found.arrays(group):
            found.read(f"{group}/{array}" if group else array)


def test_the_store_itself_may_be_linked(tmp_path, stores):
    (tmp_path / "l.zarr").symlink_to(stores[".zarr"])
    _everything(tmp_path / "l.zarr")


def test_a_pipe_in_a_folder_is_not_waited_for(stores):
    os.remove(stores[".zarr"] / "g/x/zarr.json")
    os.mkfifo(stores[".zarr"] / "g/x/zarr.json")
    with pytest.raises(DamagedError, match="is no file"):
        _everything(stores[".zarr"])


def _with_members(path, members):
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)


@pytest.mark.parametrize("name", ["/abs", "../up", "g/../../up"])
def test_zip_members_outside(stores, name):
    _with_members(stores[".zarr.zip"], {name: b"1"})
    with pytest.raises(DamagedError, match="outside the store"):
        _everything(stores[".zarr.zip"])


def test_members_that_nobody_knows_are_left_behind(tmp_path, stores):
    junk = {"junk.bin": bytes(1 << 24), "g/x/c/7": bytes(1 << 22), "g/notes": bytes(1 << 22)}
    _with_members(stores[".zarr.zip"], junk)
    base = open_container(stores[".zarr.zip"])
    with write_container(tmp_path / "o.zarr.zip", base=base) as out:
        out.create_group("h")
    with zipfile.ZipFile(tmp_path / "o.zarr.zip") as file:
        names = file.namelist()
    assert not set(names) & set(junk)
    found = open_container(tmp_path / "o.zarr.zip")
    assert found.groups() == ["g", "h"]
    assert (found.read("g/x") == SECRET).all()
    assert os.path.getsize(tmp_path / "o.zarr.zip") < 10_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"[" * (5 << 20), r"5\.2 MB, more than"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' + b"9" * 6000 + b"}", "too many digits"),
    ],
)
def test_metadata_that_ask_for_too_much(stores, content, words):
    (stores[".zarr"] / "g/zarr.json").write_bytes(content)
    _with_members(stores[".zarr.zip"], {"h/zarr.json": content})
    for path in stores.values():
        with pytest.raises(DamagedError, match=words):
            _everything(path)


def test_a_chunk_that_unpacks_to_more_than_it_is(stores):
    with zipfile.ZipFile(stores[".zarr.zip"]) as file:
        members = {n: file.read(n) for n in file.namelist() if n != "g/x/c/0"}
    os.remove(stores[".zarr.zip"])
    _with_members(stores[".zarr.zip"], members | {"g/x/c/0": bytes(1 << 25)})
    with pytest.raises(DamagedError, match=r"33\.6 MB, more than what it is for"):
        _everything(stores[".zarr.zip"])


def test_a_damaged_heap_of_texts_ends(tmp_path):
    """HDF5 itself reads such a heap for ever: in a process of its own, with a limit of time."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w", libver=("v110", "v110")) as file:
        file.attrs["a"] = "hello world"
        file.create_dataset("t", data=["one", "two"], dtype=h5py.string_dtype())
    raw = bytearray(path.read_bytes())
    found = open_container(path)
    assert found.attributes() == {"a": "hello world"}
    assert found.read("t").tolist() == ["one", "two"]
    found.close()
    begin = raw.find(b"GCOL")
    code = (
        "import sys; from moireio.store.containers import open_container\n"
        "found = open_container(sys.argv[1])\n"
        "for read in (found.attributes, lambda: found.read('t')):\n"
        "    try: print(read())\n"
        "    except ValueError as error: print(error)\n"
    )
    for place in (16, 24, 40):
        damaged = raw.copy()
        damaged[begin + place : begin + place + 37] = bytes(37)
        path.write_bytes(damaged)
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=30
        )
        assert done.stdout.count("the heap of its texts is damaged") == 2, done
    with pytest.raises(ValueError, match="heap"):
        require_sound_heap(path)


def test_new_files_have_no_heap(made):
    assert b"GCOL" not in made["o2_col"].read_bytes()
    with moireio.open(made["o2_col"]) as file:
        assert file.attributes["format_version"] == "1.1"
