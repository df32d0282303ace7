"""One line for each finding."""

from dataclasses import FrozenInstanceError

import pytest

from moireio.store.finding import Finding


def test_lines():
    """Level, place, description; what is not called a note is an error."""
    wrong = Finding("/bands/energies", "contains a number that is not finite")
    assert str(wrong) == "error: /bands/energies: contains a number that is not finite"
    assert str(Finding("/x_a", "was not checked", "note")) == "note: /x_a: was not checked"


def test_findings_are_values():
    """Equal ones are one in a set, and none can be changed."""
    finding = Finding("/a", "b")
    assert {finding, Finding("/a", "b"), Finding("/a", "b", "note")} == {
        finding,
        Finding("/a", "b", "note"),
    }
    with pytest.raises(FrozenInstanceError):
        finding.level = "note"
