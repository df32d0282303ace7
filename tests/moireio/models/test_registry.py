"""Registries of model files, with damaged ones among them."""

import shutil

import h5py
import pytest
from systems import small_model

from moireio.errors import MissingFileError, MoireioError
from moireio.models.registry import (
    entries,
    find,
    registry_folders,
    shipped_folder,
    user_folder,
)
from moireio.network.modelfile import read, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    write(str(folder / "good.h5"), small_model(local=True))
    for name in ("altered", "cut", "newer", "reweighted"):
        shutil.copy(folder / "good.h5", folder / f"{name}.h5")
    with h5py.File(folder / "altered.h5", "a") as file:
        file["model"].attrs["kind"] = 1
        file["model"].attrs.modify("metadata_crc", 1)
    raw = (folder / "cut.h5").read_bytes()
    (folder / "cut.h5").write_bytes(raw[: len(raw) // 2])
    with h5py.File(folder / "newer.h5", "a") as file:
        file.attrs.modify("format_version", "2.0")
    with h5py.File(folder / "block.h5", "w") as file:
        file.attrs["format"] = "moireio"
    (folder / "notes.txt").write_text("not a model")
    return folder


def test_every_model_has_a_status(folder):
    found = {entry.name: entry for entry in entries([str(folder)])}
    assert set(found) == {"good", "altered", "cut", "newer", "reweighted"}
    assert found["good"].status == "ok"
    assert found["good"].digest == read(str(folder / "good.h5")).digest()
    assert found["good"].elements == ("C", "N")
    assert found["good"].spin == "none"
    assert found["altered"].status == "damaged"
    assert found["cut"].status == "damaged"
    assert found["newer"].status == "other version"
    assert "2.0" in found["newer"].why
    assert all(entry.to_plain()["path"].endswith(".h5") for entry in found.values())


def test_weights_that_are_not_those_of_the_card(folder, tmp_path):
    from moireio.network.register import with_card

    path = tmp_path / "a.h5"
    write(str(path), with_card(small_model(local=True), {"functional": "PBE"}))
    assert find("a", [str(tmp_path)]).card.functional == "PBE"
    with h5py.File(path, "a") as file:
        weights = file["model/weights/embedding"]
        weights[...] = weights[...] + 1
    (entry,) = entries([str(tmp_path)])
    assert entry.status == "damaged"
    assert "weights are not those of its card" in entry.why


def test_folders():
    assert registry_folders() == [user_folder(), shipped_folder()]
    assert registry_folders(["here", "shipped"]) == ["here", shipped_folder()]
    assert "graphene-bilayer" in {e.name for e in entries([shipped_folder()])}


def test_names(folder):
    assert find("good", [str(folder)]).path == str(folder / "good.h5")
    assert find(str(folder / "good.h5"), []).status == "ok"
    with pytest.raises(MissingFileError, match="no model of this name"):
        find("absent", [str(folder)])
    with pytest.raises(MoireioError, match="a registry is a folder"):
        entries([str(folder / "absent")])
