"""Anchors of an interrupted run are read back, whatever became of the end of their file."""

import numpy as np
import pytest

from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.record import AnchorRecord


def anchors():
    rng = np.random.default_rng(0)
    for channel in (0, 1, 0):
        states = rng.normal(size=(7, 3)) + 1j * channel * rng.normal(size=(7, 3))
        yield channel, Anchor(rng.random(3), np.sort(rng.random(3)), states, 4)


def write(path, some, key="run"):
    record = AnchorRecord(str(path), key)
    record.read()
    for channel, anchor in some:
        record.add(channel, anchor)
    record.close()


def same(one, two):
    fields = ("k", "energies", "states")
    equal = all((getattr(one, name) == getattr(two, name)).all() for name in fields)
    return equal and one.first == two.first and one.states.dtype == two.states.dtype


def test_anchors_are_read_as_they_were(tmp_path):
    some = list(anchors())
    write(tmp_path / "r", some[:1])
    write(tmp_path / "r", some[1:])  # a run that goes on
    found = AnchorRecord(str(tmp_path / "r"), "run").read()
    assert {channel: len(own) for channel, own in found.items()} == {0: 2, 1: 1}
    assert same(found[0][0], some[0][1])
    assert same(found[1][0], some[1][1])
    assert same(found[0][1], some[2][1])


@pytest.mark.parametrize("cut", [1, 100, 175, 250])
def test_an_end_that_was_cut_off_is_written_again(tmp_path, cut):
    some, path = list(anchors()), tmp_path / "r"
    write(path, some[:2])
    path.write_bytes(path.read_bytes()[:-cut])
    assert set(AnchorRecord(str(path), "run").read()) == {0}
    write(path, some[1:])
    found = AnchorRecord(str(path), "run").read()
    assert same(found[1][0], some[1][1])
    assert same(found[0][1], some[2][1])


def test_damage_is_found(tmp_path):
    path = tmp_path / "r"
    write(path, anchors())
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    found = AnchorRecord(str(path), "run").read()
    assert {channel: len(own) for channel, own in found.items()} == {0: 1, 1: 1}


def test_anchors_of_another_run_are_not_used(tmp_path):
    path = tmp_path / "r"
    write(path, anchors())
    assert AnchorRecord(str(path), "another").read() == {}
    write(path, list(anchors())[:1], "another")
    assert AnchorRecord(str(path), "run").read() == {}
    assert list(AnchorRecord(str(path), "another").read()) == [0]
    assert AnchorRecord(str(tmp_path / "none"), "run").read() == {}


def test_states_in_single_precision_stay_so(tmp_path):
    """They take half of the memory when a run goes on too."""
    rng = np.random.default_rng(0)
    states = rng.normal(size=(7, 3)).astype(np.complex64)
    one = Anchor(rng.random(3), np.sort(rng.random(3)), states, 4, responses=states[:, :2])
    write(tmp_path / "r", [(0, one)])
    (found,) = AnchorRecord(str(tmp_path / "r"), "run").read()[0]
    assert same(found, one)
    assert (found.responses == one.responses).all()
    assert found.responses.dtype == np.complex64
