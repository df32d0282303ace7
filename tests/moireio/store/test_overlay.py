"""Changes in place: the same result in every container, and whole groups whenever it ends."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.store.base import seal, verify
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

SUFFIXES = [".h5", ".zarr", ".zarr.zip"]
GROUPS = ["one", "one/two", "one/three", "one/two/four", "five", "five-name", "five-name/six"]


def tree(container, name=""):
    """Everything below a group, with the seals of groups compared."""
    seals = name and "metadata_crc" in container.attributes(name)
    attributes = verify(container, name) if seals else container.attributes(name)
    prefix = f"{name}/" if name else ""
    arrays = {n: container.read(prefix + n).tolist() for n in container.arrays(name)}
    return attributes, arrays, {n: tree(container, prefix + n) for n in container.groups(name)}


def contents(path):
    container = open_container(path)
    try:
        return tree(container)
    finally:
        container.close()


def change(path, group, number, drop=(), array=True):
    """Write a group in place: an attribute, an array that no step before wrote, the seal."""
    base = open_container(path)
    try:
        with write_container(path, in_place=True, base=base, drop=drop) as out:
            out.create_group(group, {"number": number, f"only-{number}": True})
            if array:
                values = np.arange(4) + number
                out.create_array(f"{group}/array-{number}", values.shape, values.dtype)
                out.write(f"{group}/array-{number}", values)
            seal(out, group)
            assert tree(out)[2].keys() == set(out.groups())
    finally:
        base.close()


def start(folder):
    paths = [folder / f"x{suffix}" for suffix in SUFFIXES]
    for path in paths:
        with write_container(path) as out:
            out.create_group("", {"format": "test"})
    return paths


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_siblings_of_nested_groups_stay(tmp_path, suffix):
    start(tmp_path)
    path = tmp_path / f"x{suffix}"
    for number, group in enumerate(["topology/one", "topology/two", "topology-name/one"]):
        change(path, group, number)
    change(path, "topology/one", 7, drop=("topology/one",))
    change(path, "topology-name/two", 8)
    _, _, groups = contents(path)
    assert {n: set(groups[n][2]) for n in groups} == {
        "topology": {"one", "two"},
        "topology-name": {"one", "two"},
    }
    assert groups["topology"][2]["one"][1] == {"array-7": [7, 8, 9, 10]}
    assert groups["topology"][2]["two"][1] == {"array-1": [1, 2, 3, 4]}
    assert sorted(os.listdir(tmp_path)) == sorted(f"x{s}" for s in SUFFIXES)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(GROUPS),
        st.sets(st.sampled_from(GROUPS), max_size=2),
        st.booleans(),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=15)
@given(STEPS)
def test_every_container_ends_the_same(tmp_path_factory, steps):
    paths = start(tmp_path_factory.mktemp("changes"))
    for path in paths:
        for number, (group, drop, array) in enumerate(steps):
            change(path, group, number, tuple(drop), array)
    first, second, third = map(contents, paths)
    assert first == second == third


@pytest.mark.parametrize("suffix", [".zarr", ".zarr.zip"])
def test_what_is_kept_is_not_written(tmp_path, suffix):
    start(tmp_path)
    path = tmp_path / f"x{suffix}"
    change(path, "one", 0)
    before = contents(path)
    base = open_container(path)
    with write_container(path, in_place=True, base=base) as out:
        with pytest.raises(MoireioError, match="has /one/array-0 already"):
            out.create_array("one/array-0", (4,), int)
        with pytest.raises(MoireioError, match="is kept"):
            out.write("one/array-0", np.zeros(4, dtype=int))
    base.close()
    assert contents(path) == before


KILLED = """
import os, signal, sys
path, last = sys.argv[1], int(sys.argv[2])
sys.path[:0] = sys.argv[3:]
from moireio.runtime import replace
from test_overlay import change
count = 0
def stop_at(move):
    def counted(*args):
        global count
        if any(str(end).startswith(path + os.sep) for end in args):  # not zarr's own, beside it
            if count == last:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
        return move(*args)
    return counted
os.rename, os.replace = stop_at(os.rename), stop_at(os.replace)
replace.exchange = stop_at(replace.exchange)
change(path, "one/two", 5, drop=("one/two", "five"))
"""


def test_killed_at_every_rename(tmp_path):
    """A group is the old one or the new one; what stays is whole."""
    number = 0
    while True:
        folder = tmp_path / str(number)
        folder.mkdir()
        path = start(folder)[1]
        for step, group in enumerate(["one/two", "one/three", "five"]):
            change(path, group, step)
        before = contents(path)[2]
        done = subprocess.run(
            [sys.executable, "-c", KILLED, path, str(number), os.path.dirname(__file__)]
        )
        after = contents(path)[2]
        assert after["one"][2]["three"] == before["one"][2]["three"]
        assert after.get("five", before["five"]) == before["five"]
        two = after["one"][2]["two"]
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL
        assert two == before["one"][2]["two"] or two[0]["number"] == 5
        number += 1
    assert two[0]["number"] == 5
    assert "five" not in after
    assert number == 2
