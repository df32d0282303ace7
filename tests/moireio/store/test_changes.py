"""Two runs that change the same file: nothing of either is lost without a word."""

import os
import subprocess
import sys

import numpy as np
import pytest

from moireio.errors import ExistingFileError, MoireioError
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

SUFFIXES = [".h5", ".zarr", ".zarr.zip"]
INDEPENDENT = frozenset(["result-one", "result-two"])


def add(container, group, value):
    container.create_group(group, {"value": value})
    container.create_array(f"{group}/numbers", (3,), np.float64)
    container.write(f"{group}/numbers", np.arange(3.0) * value)


def start(path):
    with write_container(path) as out:
        out.create_group("", {"format": "moireio"})
        for group in ("input", "result-one", "record/0001"):
            add(out, group, 1)


def contents(path):
    container = open_container(path)
    try:
        groups = [g for g in container.groups() if g != "record"]
        groups += [f"record/{n}" for n in container.groups("record")]
        values = {g: container.attributes(g)["value"] for g in groups}
        for group, value in values.items():
            assert container.read(f"{group}/numbers").tolist() == [0, value, 2 * value]
        return values
    finally:
        container.close()


def change(path, group, value, between=None):
    """Replace a group and append to the record; `between` is called before the last step."""
    base = open_container(path)
    try:
        with write_container(
            path, in_place=True, base=base, drop=(group,), independent=INDEPENDENT.__contains__
        ) as out:
            add(out, group, value)
            number = len(out.groups("record")) + 1
            add(out, f"record/{number:04d}", value)
            if between is not None:
                between()
    finally:
        base.close()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_results_of_both_runs_stay(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    start(path)
    change(path, "result-one", 5, between=lambda: change(path, "result-two", 6))
    assert contents(path) == {
        "input": 1,
        "result-one": 5,
        "result-two": 6,
        "record/0001": 1,
        "record/0002": 6,
        "record/0003": 5,
    }
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("theirs", "mine", "message"),
    [
        ("result-one", "result-one", "/result-one was written by another run meanwhile, and stays"),
        ("input", "result-one", "/input was changed by another run meanwhile, and this one read"),
    ],
)
def test_what_cannot_be_merged_is_refused(tmp_path, suffix, theirs, mine, message):
    path = tmp_path / f"x{suffix}"
    start(path)
    with pytest.raises(MoireioError, match=message):
        change(path, mine, 5, between=lambda: change(path, theirs, 6))
    wanted = {"input": 1, "result-one": 1, "record/0001": 1, "record/0002": 6}
    assert contents(path) == wanted | {theirs: 6}
    assert os.listdir(tmp_path) == [path.name]


def test_a_file_that_became_another_container_is_not_touched(tmp_path):
    path = tmp_path / "x.h5"
    start(path)

    def replace_it():
        with write_container(path, kind="zip", force=True) as out:
            out.create_group("", {"format": "moireio", "new": True})

    with pytest.raises(MoireioError, match="was replaced by another run meanwhile"):
        change(path, "result-one", 5, between=replace_it)
    container = open_container(path)
    assert (container.kind, container.attributes()["new"]) == ("zip", True)
    container.close()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_copy_is_of_one_state_of_its_source(tmp_path, suffix):
    path, copy = tmp_path / f"x{suffix}", tmp_path / f"y{suffix}"
    start(path)
    base = open_container(path)
    change(path, "result-two", 7)
    known = INDEPENDENT.__contains__
    with write_container(copy, base=base, independent=known) as out:
        add(out, "result-three", 3)
    assert contents(copy)["result-three"] == 3
    change(path, "input", 8)
    if suffix == ".h5":  # the file that is open stays what it was
        with write_container(copy, base=base, independent=known, force=True):
            pass
        assert contents(copy)["input"] == 1
    else:
        with (
            pytest.raises(MoireioError, match="/input was changed by another run meanwhile"),
            write_container(copy, base=base, independent=known, force=True),
        ):
            pass
    base.close()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_new_file_does_not_replace_one_made_meanwhile(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    with pytest.raises(ExistingFileError, match="exists already"), write_container(path) as out:  # noqa: PT012
        add(out, "late", 2)
        start(path)
    assert contents(path) == {"input": 1, "result-one": 1, "record/0001": 1}
    assert os.listdir(tmp_path) == [path.name]


WRITER = """
import sys
sys.path[:0] = sys.argv[3:]
from test_changes import change
for n in range(4):
    change(sys.argv[1], f"result-{sys.argv[2]}", n)
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_two_processes_write_in_turn(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    start(path)
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, path, name, os.path.dirname(__file__)])
        for name in ("one", "two")
    ]
    assert [process.wait() for process in processes] == [0, 0]
    after = contents(path)
    assert after["result-one"] == after["result-two"] == 3
    assert sorted(g for g in after if "/" in g) == [f"record/{n:04d}" for n in range(1, 10)]
    assert os.listdir(tmp_path) == [path.name]
