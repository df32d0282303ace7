"""Which calculations serve for what."""

import contextlib

import pytest
from training_data import data

from moireio.errors import MoireioError
from moireio.network.training.config import DataSplit
from moireio.network.training.sets import find_sets, summarise


@contextlib.contextmanager
def opened(path):
    """A calculation for every number; "bad" is damaged."""
    if path == "bad":
        raise MoireioError("is damaged", path=path)
    yield data(int(path))


def sets_of(*arguments, notes=None, **options):
    split = DataSplit(*arguments, **options)
    notes = [] if notes is None else notes
    found = find_sets(split, opened, lambda path, summary: None, notes.append)
    return {name: list(group) for name, group in found.items()}


def test_parts_of_the_data():
    paths = [str(n) for n in range(10)]
    sets = sets_of(paths)
    assert {name: len(group) for name, group in sets.items()} == {
        "training": 8,
        "validation": 2,
        "test": 0,
    }
    assert sorted(path for group in sets.values() for path in group) == paths
    assert sets == sets_of(paths)
    assert sets != sets_of(paths, seed=1)
    assert len(sets_of(paths, fractions=(0.5, 0.2, 0.1))["training"]) == 5


def test_given_sets_and_remarks():
    notes = []
    sets = sets_of(["0", "1", "bad", "2"], ["2"], bad_data="skip", notes=notes)
    assert sets == {"training": ["0", "1"], "validation": ["2"], "test": []}
    assert notes == ["skipped: bad: is damaged", "2 for training, 1 for validation, 0 for test"]
    with pytest.raises(MoireioError, match="bad: is damaged"):
        sets_of(["0", "bad"])
    with pytest.raises(MoireioError, match="nothing is left to train on"):
        sets_of(["0"])


def test_calculations_without_overlap():
    @contextlib.contextmanager
    def without(path):
        calculation = data(0)
        calculation.overlap = None
        yield calculation

    with pytest.raises(MoireioError, match="has no overlap"):
        summarise("0", without)
    summary = summarise("0", opened)
    assert set(summary.basis) == {"C", "N"}
    assert summary.elements == {"C": 6, "N": 7}
    assert not summary.spinful
