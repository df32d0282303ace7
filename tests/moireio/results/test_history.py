"""The history is appended, never rewritten."""

import pytest

from moireio import __version__
from moireio.results.history import HistoryEntry, HistoryKind
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

KIND = HistoryKind()


@pytest.mark.parametrize("suffix", [".h5", ".zarr", ".zarr.zip"])
def test_entries_are_appended_in_place(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    entries = [HistoryEntry.now(f"command {n}", [str(n)], [("in.h5", "d")]) for n in range(12)]
    with write_container(path) as out:
        KIND.write(out, "history", entries[:2])
        KIND.write(out, "history", entries[2:9])
    for entry in entries[9:]:
        base = open_container(path)
        with write_container(path, in_place=True, base=base) as out:
            KIND.write(out, "history", [entry])
        base.close()
    container = open_container(path)
    assert container.groups("history") == [f"{n:04d}" for n in range(1, 13)]
    stored = KIND.read(container)
    assert [entry.command for entry in stored] == [entry.command for entry in entries]
    assert stored == entries
    assert stored[0].version == __version__
    container.close()


def test_file_names_that_are_not_utf_8(tmp_path):
    with write_container(tmp_path / "x.h5") as out:
        KIND.write(out, "history", [HistoryEntry("x", inputs=["caf\udce9.h5"])])
    container = open_container(tmp_path / "x.h5")
    assert KIND.read(container)[0].inputs == ["caf?.h5"]
    container.close()
