"""Tables of Chern numbers, and transitions of a series."""

import json
from dataclasses import replace

import numpy as np
import pytest
from result_examples import example_chern

from moireio.results.chern import ChernNumbers
from moireio.topology.chern_report import chern_json, chern_table, trace_text, transitions


def series(*members):
    whole = replace(example_chern().groups[1], channel=None)
    return [
        (f"{n}.h5", ChernNumbers((replace(whole, strain=s, chern=c, direct_gap=g),)))
        for n, (s, c, g) in enumerate(members)
    ]


def test_a_transition_lies_where_the_gap_vanishes():
    rows = series((0.0, -1, 0.04), (0.002, -1, 0.02), (0.006, 2, 0.06))
    (change,) = transitions(rows)
    assert change.chern == (-1, 2)
    assert change.between == (0.002, 0.006)
    assert change.strain == pytest.approx(0.003)
    last = chern_table(rows).splitlines()[-1]
    assert last == (
        "# bands 3:4: C changes from -1 to 2 between 0.2000 and 0.6000 % strain, where the direct "
        "gap points to 0.3000 %"
    )


def test_a_series_over_something_else_names_the_files():
    rows = series((0.0, -1, 0.04), (0.0, 0, 0.02))
    (change,) = transitions(rows)
    assert (change.strain, change.files) == (None, ("0.h5", "1.h5"))
    last = chern_table(rows).splitlines()[-1]
    assert last == "# bands 3:4: C changes from -1 to 0 between 0.h5 and 1.h5"


def test_a_series_without_transition():
    assert transitions(series((0.0, 1, 0.04), (0.002, 1, 0.02))) == []


def test_an_object_or_a_list():
    numbers = example_chern()
    objects = json.loads(chern_json([("x.h5", numbers)]))
    assert [one["bands"] for one in objects] == [[1, 4], [3, 4]]
    one = json.loads(chern_json([("x.h5", ChernNumbers(numbers.groups[1:]))]))
    assert one["spin"] == "down"
    assert one["spin_chern"] == -0.5
    assert one["link"] == "position"
    assert objects[0]["z2"] is None


def test_unknown_numbers_are_strokes_and_links_without_positions_are_named():
    text = chern_table([("x.h5", example_chern())])
    assert "without intra-atomic dipoles" in text
    assert text.splitlines()[3].startswith("- 1:4 0 - - - - - - - - 0.750")


def test_the_trace_condition():
    curvature, metric = np.full((2, 2), -3.0), np.zeros((2, 2, 2, 2))
    metric[..., 0, 0], metric[..., 1, 1] = 2.0, 1.5
    text = trace_text(curvature, metric, 2 * np.pi)
    assert text == "trace condition: ∫tr g/2π = 3.5000, ∫|Ω|/2π = 3.0000, 0.5000 apart"
