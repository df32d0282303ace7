"""The zarr container leaves the program's log as it is, but for failures that it raises itself."""

import asyncio
import logging

import pytest

from moireio.errors import DamagedError
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
