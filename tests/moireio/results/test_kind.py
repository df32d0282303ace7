"""What a kind of result has by default."""

import json
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pytest

from moireio.results.kind import NOT_FINITE, SECTIONS, ResultKind, not_finite, read_schema
from moireio.results.registry import KINDS


@dataclass
class Arrays:
    energies: np.ndarray
    error: np.ndarray | None = None


class Least(ResultKind):
    """Only what has to be there."""

    def read(self, container, group):
        return {}

    def write(self, container, group, value, compression="none"):
        pass


def test_defaults():
    """Everything but `read` and `write`: nothing is asked of the group, it is shown by name."""
    kind = Least()
    assert isinstance(kind, ResultKind)
    assert (kind.section, kind.named) == ("results", True)
    assert kind.schema() == kind.summary(None, "x_a", {}) == {}
    assert kind.check(None, "x_a", {}, None) == []
    assert kind.lines("x_a-b", {}) == ["x_a-b"]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_own_kinds(name):
    """Each has a section that `h5-info` shows, and a schema that can stand in a larger one."""
    kind = KINDS[name]
    assert isinstance(kind, ResultKind)
    assert kind.section in SECTIONS
    schema = kind.schema()
    assert "$schema" not in schema
    file = resources.files("moireio.schemas").joinpath("results", f"{name}.json")
    whole = json.loads(file.read_text("utf-8"))
    assert {**schema, "$schema": whole["$schema"]} == whole
    assert read_schema(name) == schema


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(value):
    """One finding for each array, at its place; arrays that are None are passed over."""
    good, bad = np.zeros((2, 3)), np.zeros((2, 3))
    bad[1, 2] = value
    names = ("energies", "error")
    assert not_finite("bands-a", Arrays(good, None), names) == []
    findings = not_finite("bands-a", Arrays(bad, bad), names)
    assert [f.where for f in findings] == ["/bands-a/energies", "/bands-a/error"]
    assert {f.what for f in findings} == {NOT_FINITE}
    assert {f.level for f in findings} == {"error"}
