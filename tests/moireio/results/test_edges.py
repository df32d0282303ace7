"""Edge states in a file: they come back, and damage is found."""

import json
from dataclasses import replace

import numpy as np
import pytest
from result_examples import assert_same, example_edges

from moireio.errors import DamagedError
from moireio.results.edges import EdgesKind, signed
from moireio.store.containers import open_container
from moireio.store.transaction import write_container
from moireio.topology.report import edges_json, edges_table

KIND = EdgesKind()


def written(path, edges):
    with write_container(path) as out:
        KIND.write(out, "edges", edges)
    return open_container(path)


@pytest.mark.parametrize("change", [{}, {"width": None, "spin": None, "layers": None}])
def test_they_come_back(tmp_path, change):
    edges = replace(example_edges(), **change)
    container = written(tmp_path / "x.h5", edges)
    assert_same(KIND.read(container, "edges"), edges)
    container.close()


@pytest.mark.parametrize("name", ["k", "energies", "low", "spin"])
def test_arrays_that_do_not_fit(tmp_path, name):
    edges = example_edges()
    container = written(tmp_path / "x.h5", replace(edges, **{name: getattr(edges, name)[:-1]}))
    with pytest.raises(DamagedError, match="/edges: its arrays do not fit together"):
        KIND.read(container, "edges")
    container.close()


def test_numbers_that_are_not_finite():
    edges = example_edges()
    edges.high[0, 0] = np.nan
    assert [f.where for f in KIND.check(None, "edges-x", edges, None)] == ["/edges-x/high"]


def test_states_of_a_window_may_be_fewer(tmp_path):
    edges = replace(example_edges(), first_band=None)
    for array in (edges.energies, edges.low, edges.high, *edges.spin, *edges.layers):
        array[1:, -1] = np.nan
    container = written(tmp_path / "x.h5", edges)
    read = KIND.read(container, "edges")
    container.close()
    assert read.first_band is None
    assert np.array_equal(read.energies, edges.energies, equal_nan=True)
    assert KIND.check(None, "edges", read, None) == []
    found = json.loads(edges_json(read))
    assert found["energies"][1][-1] is None
    assert found["weights"]["low"][0][-1] == edges.low[0, -1]
    rows = [line for line in edges_table(read, states=True).splitlines() if line[:1] == "0"]
    assert len(rows) == edges.energies.size - 3


def test_summary_in_one_line():
    summary = KIND.summary(None, "edges", example_edges())
    (line,) = KIND.lines("edges", summary)
    assert "20 cells wide, 4 k points, 3 bands; -0.5000 eV: low edge -1, high edge +1" in line
    assert "1.5000 eV: low edge ?, high edge 0" in line
    assert signed(None) == "?"
