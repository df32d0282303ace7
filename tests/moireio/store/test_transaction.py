"""What a block file holds goes into another container as it is."""

import itertools

import numpy as np
import pytest

from moireio.store.containers import open_container
from moireio.store.transaction import copy_tree, write_container

SUFFIXES = [".h5", ".zarr", ".zarr.zip"]
ARRAYS = {
    "small": np.arange(4, dtype=np.int8),
    "half": np.linspace(0, 1, 5, dtype=np.float16),
    "flags": np.array([[True, False], [False, False]]),
    "number": np.array(2.5),
    "nothing": np.zeros((0, 3)),
    "long": np.arange(600_000).reshape(2, -1),
    "words": np.array([["Γ", "K"], ["K′", ""]], dtype=object),
}


def fill(container, group):
    container.create_group(group, {"text": "Å", "list": [1, 2]})
    for name, values in ARRAYS.items():
        dtype = "string" if values.dtype == object else values.dtype
        container.create_array(f"{group}/{name}", values.shape, dtype)
        container.write(f"{group}/{name}", values)


def assert_filled(container, group):
    assert container.attributes(group) == {"text": "Å", "list": [1, 2]}
    assert set(container.arrays(group)) == set(ARRAYS)
    for name, values in ARRAYS.items():
        stored = container.read(f"{group}/{name}")
        assert stored.shape == values.shape
        assert stored.dtype == values.dtype
        assert (stored == values).all()


@pytest.mark.parametrize(("first", "second"), list(itertools.product(SUFFIXES, SUFFIXES)))
def test_arrays_of_any_shape_and_type(tmp_path, first, second):
    with write_container(tmp_path / f"a{first}") as out:
        fill(out, "x_mine/inner")
        fill(out, "x_mine/dropped")
    source = open_container(tmp_path / f"a{first}")
    drop = ("x_mine/dropped",)
    with write_container(tmp_path / f"b{second}", base=source, drop=drop) as out:
        pass
    with write_container(tmp_path / f"c{second}") as out:
        copy_tree(source, out, drop)
    source.close()
    for name in "bc":
        copy = open_container(tmp_path / f"{name}{second}")
        assert copy.groups("x_mine") == ["inner"]
        assert_filled(copy, "x_mine/inner")
        copy.close()
