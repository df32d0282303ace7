"""What `force` may remove: block files, and nothing that lies among them."""

import json
import os

import numpy as np
import pytest

from moireio.errors import ExistingFileError, MoireioError
from moireio.store.containers import open_container
from moireio.store.members import check_members
from moireio.store.transaction import check_target, write_container


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "x.zarr"
    with write_container(path) as out:
        out.create_group("", {"format": "moireio"})
        for name, values in (("a/b/one", np.arange(3)), ("a/two", np.array(1.5))):
            out.create_array(name, values.shape, values.dtype)
            out.write(name, values)
        out.create_array("a/texts", (2,), "string")
        out.write("a/texts", np.array(["Γ", "K"], dtype=object))
        out.create_array("a/long", (400_000,), float)
        out.write("a/long", np.zeros(400_000))
    return path


def test_a_block_file_may_be_replaced(store):
    check_members(str(store), "x.zarr")
    with write_container(store, force=True) as out:
        out.create_group("", {"format": "moireio", "number": 2})
    file = open_container(store)
    assert file.attributes()["number"] == 2
    assert file.groups() == []
    file.close()
    assert os.listdir(store.parent) == ["x.zarr"]


@pytest.mark.parametrize(
    "name",
    ["thesis.txt", "a/thesis.txt", "a/b/one/c/thesis.txt", "a/b/one/thesis.txt", ".git/HEAD"],
)
def test_what_lies_among_its_files_is_named_and_stays(store, name):
    (store / name).parent.mkdir(exist_ok=True)
    (store / name).write_text("ten years")
    shown = name.removesuffix("/HEAD")
    message = f"{store}: holds what is not of a block file: {shown} "
    with pytest.raises(MoireioError, match=message):
        check_target(str(store), force=True)
    with pytest.raises(ExistingFileError, match="exists already"):
        check_target(str(store))
    assert (store / name).read_text() == "ten years"


def test_links_are_not_of_a_block_file(store, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (store / "a" / "b" / "one" / "c" / "1").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MoireioError, match="not of a block file: a/b/one/c/1 "):
        check_members(str(store), "x.zarr")


def test_of_many_things_three_are_named(store):
    for n in range(5):
        (store / f"page{n}").touch()
    with pytest.raises(MoireioError, match="file: page0, page1, page2 and others"):
        check_members(str(store), "x.zarr")


@pytest.mark.parametrize(
    "metadata",
    [
        "{}",
        "not JSON",
        json.dumps({"zarr_format": 3, "node_type": "group", "attributes": {"format": "else"}}),
        json.dumps({"zarr_format": 3, "node_type": "array", "attributes": {"format": "moireio"}}),
        json.dumps({"zarr_format": 3, "node_type": "group"}),
    ],
)
def test_other_folders_are_no_block_files(tmp_path, metadata):
    home = tmp_path / "home.zarr"
    home.mkdir()
    (home / "zarr.json").write_text(metadata)
    (home / "thesis.txt").write_text("ten years")
    with (
        pytest.raises(MoireioError, match="is a folder, and no block file that could be replaced"),
        write_container(home, force=True),
    ):
        pass
    assert (home / "thesis.txt").read_text() == "ten years"


def test_what_comes_while_the_new_file_is_made_stays_too(store):
    with (  # noqa: PT012
        pytest.raises(MoireioError, match=r"not of a block file: thesis\.txt"),
        write_container(store, force=True) as out,
    ):
        out.create_group("", {"format": "moireio"})
        (store / "thesis.txt").write_text("ten years")
    assert (store / "thesis.txt").read_text() == "ten years"
    assert (store / "a" / "two").is_dir()
    assert os.listdir(store.parent) == ["x.zarr"]
