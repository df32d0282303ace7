"""What h5-info shows: keys that scripts read, and lines."""

import json

import pytest
from helpers import overlap_like, random_operator, random_system
from result_examples import EXAMPLES

import moireio
from moireio.blockfile.stream import write_target
from moireio.blockfile.summary import summarise, summary_text


@pytest.fixture
def full(tmp_path):
    structure, basis = random_system(1)
    sizes = basis.sizes(structure)
    with write_target(str(tmp_path / "x.h5")) as out:
        out.structure(structure)
        out.basis(basis)
        out.operators([random_operator(1, sizes)[0], overlap_like(1, sizes)[0]])
        for name, value in EXAMPLES.items():
            out.result(name, value)
        out.result("dos-mine", EXAMPLES["dos"])
    return tmp_path / "x.h5"


def test_keys(full):
    with moireio.open(full) as file:
        summary = json.loads(json.dumps(summarise(file)))
    assert set(summary) == {
        *("file", "container", "format_version", "creator", "formula", "atoms", "cell", "pbc"),
        *("layers", "basis", "operators", "results", "orbitals", "orthogonal"),
        *("moire", "relax", "electrons", "kpath", "history"),
    }
    assert set(summary["results"]) == {
        *("anchors", "bands", "chern", "dos", "dos-mine", "edges", "symmetry"),
    }
    assert summary["operators"]["hamiltonian"]["pairs"] == summary["operators"]["overlap"]["pairs"]
    assert [entry["command"] for entry in summary["history"]] == ["band", "dos"]
    assert summary["kpath"] == "GMK,AL"
    assert summary["electrons"] == {"count": 8, "fermi": -1, "temperature": 300, "spin": 0.5}


def test_lines_come_section_by_section(full):
    with moireio.open(full) as file:
        lines = summary_text(summarise(file)).splitlines()
    words = [line[:12].strip() for line in lines]
    order = [
        *("layer 1", "layer 2", "ribbon", "relax", "basis", "hamiltonian", "overlap", "electrons"),
        *("kpath", "bands", "dos", "dos-mine", "symmetry", "history 1", "history 2"),
    ]
    assert [word for word in words if word in order] == order


def test_without_results(tmp_path):
    structure, basis = random_system(1)
    with write_target(str(tmp_path / "y.zarr")) as out:
        out.structure(structure)
        out.basis(basis)
    with moireio.open(tmp_path / "y.zarr") as file:
        summary = summarise(file)
    assert (summary["results"], summary["operators"], summary["history"]) == ({}, {}, [])
    assert "moire" not in summary
