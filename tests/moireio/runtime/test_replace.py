"""The last step of writing: names, modes and owners."""

import errno
import os
import stat

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.runtime import replace
from moireio.runtime.files import write_text
from moireio.runtime.replace import (
    ASIDE,
    ASIDE_FROM,
    EarlySync,
    exchange,
    place,
    resemble,
    restore,
)
from moireio.store.transaction import write_container


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_replaced_file_keeps_mode_and_access(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old")
    new.write_text("new")
    old.chmod(0o640)
    try:
        os.setxattr(old, "user.note", b"mine")
        attributes = True
    except OSError:
        attributes = False
    place(str(new), str(old))
    assert old.read_text() == "new"
    assert mode(old) == 0o640
    assert not attributes or os.getxattr(old, "user.note") == b"mine"
    assert os.listdir(tmp_path) == ["old"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_root_keeps_the_owner(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.touch()
    new.touch()
    os.chown(old, 1234, 4321)
    resemble(str(new), str(old))
    assert (os.stat(new).st_uid, os.stat(new).st_gid) == (1234, 4321)


def test_new_files_follow_the_umask_and_old_ones_stay_private(tmp_path):
    before = os.umask(0o027)
    try:
        for _ in range(2):
            with write_text(tmp_path / "t.txt") as out:
                out.write("text")
            assert mode(tmp_path / "t.txt") == 0o640
        (tmp_path / "t.txt").chmod(0o600)
        with write_text(tmp_path / "t.txt") as out:
            out.write("text")
        assert mode(tmp_path / "t.txt") == 0o600
    finally:
        os.umask(before)


@pytest.mark.parametrize("folder", [False, True])
def test_a_name_that_is_taken_is_not_given_twice(tmp_path, folder):
    for name in ("new", "taken"):
        if folder:
            (tmp_path / name / "inside").mkdir(parents=True)
        else:
            (tmp_path / name).write_text(name)
    with pytest.raises(FileExistsError):
        place(str(tmp_path / "new"), str(tmp_path / "taken"), force=False)
    assert sorted(os.listdir(tmp_path)) == ["new", "taken"]
    place(str(tmp_path / "new"), str(tmp_path / "free"), force=False)
    assert sorted(os.listdir(tmp_path)) == ["free", "taken"]


def test_a_folder_and_a_file_change_places(tmp_path):
    work, target = tmp_path / "work", tmp_path / "target"
    (target / "inside").mkdir(parents=True)
    work.mkdir()
    (work / "new").write_text("new")
    replaced = exchange(str(work / "new"), str(target), str(work))
    assert target.read_text() == "new"
    assert os.listdir(replaced) == ["inside"]
    restore(str(work))
    assert target.read_text() == "new"


def test_what_lay_aside_comes_back(tmp_path):
    """As where a kill falls between two renames, on a disk that cannot exchange names."""
    work = tmp_path / "work"
    (tmp_path / "x.zarr").mkdir()
    work.mkdir()
    (work / ASIDE_FROM).write_text(os.path.join("x.zarr", "bands"))
    (work / ASIDE).write_text("old")
    restore(str(work))
    assert (tmp_path / "x.zarr" / "bands").read_text() == "old"


def test_a_growing_file_is_synced_now_and_then(tmp_path, monkeypatch):
    monkeypatch.setattr(replace, "EARLY_BYTES", 100)
    synced, path = [], tmp_path / "x"
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    with open(path, "wb", buffering=0) as file:
        early = EarlySync(str(path))
        for _ in range(3):
            early.add(file.write(bytes(30)))
        assert synced == []
        early.add(file.write(bytes(30)))
        early.close()
    assert synced == [120]


def test_a_disk_that_fails_on_the_way_is_reported(tmp_path, monkeypatch):
    """At the latest when the file is closed: the kernel names the failure only once."""

    def fail(descriptor):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    monkeypatch.setattr(replace, "EARLY_BYTES", 1 << 20)

    def write():
        values = np.zeros(1 << 19)
        with write_container(tmp_path / "x.h5") as container:
            container.create_group("x_other")
            container.create_array("x_other/values", values.shape, values.dtype)
            container.write("x_other/values", values, 0)

    with pytest.raises(MoireioError, match="cannot be written: Input/output error"):
        write()
    assert os.listdir(tmp_path) == []
