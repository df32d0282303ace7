"""Chern numbers in a block file: damage, spin Chern numbers, groups by bands."""

from dataclasses import replace

import numpy as np
import pytest
from result_examples import example_chern

from moireio.errors import DamagedError
from moireio.results.chern import ChernKind, ChernNumbers
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

KIND = ChernKind()


def test_spin_chern_numbers_are_half_the_difference():
    bare, whole = example_chern().groups
    assert bare.spin_chern is None
    assert whole.spin_chern == -0.5
    assert replace(whole, chern_up=-1, chern_down=1).spin_chern == -1


def test_groups_by_their_bands():
    numbers = example_chern()
    assert numbers.of((3, 4)).chern == -2
    assert numbers.of((1, 3)) is None


@pytest.mark.parametrize("name", ["curvature", "metric", "centres", "centres_k2"])
def test_arrays_that_do_not_fit(tmp_path, name):
    whole = example_chern().groups[1]
    part = getattr(whole, name)
    with write_container(tmp_path / "x.h5") as out:
        KIND.write(out, "chern", ChernNumbers((replace(whole, **{name: part[:-1]}),)))
    container = open_container(tmp_path / "x.h5")
    with pytest.raises(DamagedError, match="do not fit together"):
        KIND.read(container, "chern")
    container.close()


def test_a_line_for_every_group():
    numbers = example_chern()
    lines = KIND.lines("chern", KIND.summary(None, "chern", numbers))
    assert lines == [
        "chern        bands 1 to 4: C = 0",
        "             bands 3 to 4: C = -2, Z2 = 1, spin C = -0.5, direct gap 0.2500 eV",
    ]


def test_numbers_that_are_not_finite():
    numbers = example_chern()
    numbers.groups[1].curvature[0, 0] = np.nan
    assert [f.where for f in KIND.check(None, "chern", numbers, None)] == ["/chern/1/curvature"]
