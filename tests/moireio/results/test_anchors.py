"""Anchors in a file: each can be read by itself, and damage is named."""

import numpy as np
import pytest
from result_examples import example_anchors

from moireio.errors import DamagedError, MoireioError
from moireio.results.anchors import AnchorsKind, read_anchor
from moireio.store.base import seal, write_array
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

KIND = AnchorsKind()


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_states_are_read_one_k_point_at_a_time(tmp_path, suffix):
    anchors = example_anchors(70_000)  # in several chunks
    with write_container(tmp_path / f"x{suffix}") as out:
        KIND.write(out, "anchors", anchors)
    container = open_container(tmp_path / f"x{suffix}")
    stored = KIND.read(container, "anchors")
    assert len(stored) == 3
    for number, states in enumerate(anchors.states):
        assert np.array_equal(read_anchor(container, "anchors", stored, number), states)
    with pytest.raises(MoireioError, match="/anchors has no k point 3"):
        read_anchor(container, "anchors", stored, 3)
    summary = KIND.summary(container, "anchors", stored)
    assert (summary["first_band"], summary["last_band"], summary["orbitals"]) == (7, 10, 70_000)
    container.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("count", [3, 2, 5]),
        ("count", [9, 0, 0]),
        ("first_band", [-1, 0, 0]),
        ("channel", [0, 2, 0]),
        ("k", np.zeros((2, 3))),
        ("states", np.zeros((8, 5), complex)),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, name, value):
    with write_container(tmp_path / "a.h5") as out:
        KIND.write(out, "anchors", example_anchors())
    source = open_container(tmp_path / "a.h5")
    with write_container(tmp_path / "b.h5") as out:
        out.create_group("anchors", {"unit": "eV", "digest": "d"})
        for array in source.arrays("anchors"):
            values = value if array == name else source.read(f"anchors/{array}")
            write_array(out, f"anchors/{array}", np.asarray(values))
        seal(out, "anchors")
    source.close()
    container = open_container(tmp_path / "b.h5")
    with pytest.raises(DamagedError, match="/anchors: its arrays do not fit together"):
        KIND.read(container, "anchors")
    container.close()


def test_numbers_that_are_not_finite_are_found(tmp_path):
    anchors = example_anchors()
    anchors.states[1][0, 0] = np.nan
    anchors.energies[2][0] = np.inf
    with write_container(tmp_path / "a.h5") as out:
        KIND.write(out, "anchors", anchors)
    container = open_container(tmp_path / "a.h5")
    found = KIND.check(container, "anchors", KIND.read(container, "anchors"), None)
    assert [one.where for one in found] == ["/anchors/energies", "/anchors/states"]
    container.close()
