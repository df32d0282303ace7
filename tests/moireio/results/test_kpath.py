"""Points along a path, and the segments of a path."""

from dataclasses import replace

import numpy as np
import pytest
from result_examples import EXAMPLES

from moireio.errors import DamagedError
from moireio.results.kpath import KPath, KPathKind
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

KIND = KPathKind()


def test_breaks_of_a_path():
    k = np.array([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0.4, 0], [0, 0.4, 0]])
    path = KPath(k, np.array([0, 1.0, 1.0, 1.2, 1.2]), np.array([0]), ("G",))
    assert len(path) == 5
    assert path.breaks.tolist() == [2]


def test_letters_of_segments():
    segments = EXAMPLES["kpath"]
    assert len(segments) == 3
    assert segments.letters == "GMK,AL"
    assert KIND.lines("kpath", segments.letters) == ["kpath        GMK,AL"]


@pytest.mark.parametrize(
    "change",
    [
        {"counts": np.array([10, 5])},
        {"counts": np.array([10, 5, 0])},
        {"labels": (("G", "M"),)},
        {"points": np.zeros((2, 2, 3))},
    ],
)
def test_segments_that_do_not_fit(tmp_path, change):
    with write_container(tmp_path / "x.h5") as out:
        KIND.write(out, "kpath", replace(EXAMPLES["kpath"], **change))
    container = open_container(tmp_path / "x.h5")
    with pytest.raises(DamagedError, match="do not fit"):
        KIND.read(container)
    container.close()
