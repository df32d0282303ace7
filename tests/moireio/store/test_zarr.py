"""zarr: what is lost is found, never read as the fill value; the program's log stays as it is."""

import asyncio
import logging
import warnings
import zipfile

import numpy as np
import pytest

from moireio.errors import DamagedError
from moireio.store.containers import open_container
from moireio.store.transaction import write_container
from moireio.store.zarr import ZarrContainer


@pytest.fixture
def store(tmp_path):
    container = ZarrContainer(str(tmp_path / "a.zarr"), mode="w")
    container.create_group("g", {})
    container.close()
    return tmp_path / "a.zarr"


def _fail_inside_zarr(store):
    import zarr

    (store / "zarr.json").write_text("not JSON")
    try:
        zarr.open_group(str(store), mode="r")
    except Exception as error:
        return error
    raise AssertionError("zarr reads anything")


def test_errors_of_others_are_logged(store, caplog):
    log = logging.getLogger("asyncio")
    level = log.level
    ZarrContainer(str(store)).close()
    assert log.level == level
    log.error("Task failed", exc_info=ValueError("of another library"))
    log.error("plain")
    assert [r.message for r in caplog.records] == ["Task failed", "plain"]
    caplog.clear()
    log.error("Task exception was never retrieved", exc_info=_fail_inside_zarr(store))
    assert caplog.records == []
    assert asyncio.run(asyncio.sleep(0, "runs")) == "runs"


def test_a_damaged_store_is_one_error(store):
    (store / "zarr.json").write_text("not JSON")
    with pytest.raises(DamagedError, match=r"a\.zarr"):
        ZarrContainer(str(store))


@pytest.fixture(params=[".zarr", ".zarr.zip"])
def path(tmp_path, request):
    with write_container(tmp_path / f"x{request.param}") as out:
        for name in ("a/data", "a/b/data"):
            out.create_array(name, (5,), np.dtype(float))
            out.write(name, np.arange(5.0))
    return tmp_path / f"x{request.param}"


def without(path, member):
    """Remove a member of a store."""
    if path.is_dir():
        (path / member).unlink()
        return
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist() if name != member}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)


@pytest.mark.parametrize("child", ["data", "b"])
def test_metadata_that_are_lost(path, child):
    without(path, f"a/{child}/zarr.json")
    container = open_container(path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for children in (container.groups, container.arrays):
            with pytest.raises(DamagedError, match=f"{child} has lost its zarr.json"):
                children("a")
    container.close()


def test_a_chunk_that_is_lost(path):
    without(path, "a/data/c/0")
    container = open_container(path)
    assert container.arrays("a") == ["data"]
    with pytest.raises(DamagedError, match="chunk a/data/c/0 is lost"):
        container.read("a/data")
    container.close()
