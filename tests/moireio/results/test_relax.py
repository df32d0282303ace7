"""The record of a relaxation, ``/relax``."""

from dataclasses import replace

import numpy as np
from helpers import random_system
from result_examples import assert_same, example_relax

from moireio.results.relax import LayerPair, RelaxKind
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

KIND = RelaxKind()


def kept(path, record):
    with write_container(path) as out:
        KIND.write(out, "relax", record)
    return open_container(path)


def test_what_is_not_known_is_left_out(tmp_path):
    record = replace(
        example_relax(),
        files={},
        pairs=(),
        inplane=np.zeros(0),
        group_before=None,
        group_after=None,
    )
    container = kept(tmp_path / "x.h5", record)
    assert set(container.arrays("relax")) == {"displacements"}
    assert_same(KIND.read(container, "relax"), record)


def test_findings(tmp_path):
    structure, _ = random_system(0, 4)
    record = example_relax(4)
    container = kept(tmp_path / "x.h5", record)
    assert KIND.check(container, "relax", record, structure) == []
    short = replace(record, displacements=record.displacements[:3])
    (finding,) = KIND.check(container, "relax", short, structure)
    assert "has 3 rows for 4 atoms" in str(finding)
    wrong = replace(record, inplane=np.array([0.1, np.nan]))
    assert len(KIND.check(container, "relax", wrong, structure)) == 1


def test_line_and_json(tmp_path):
    record = replace(example_relax(), converged=False)
    container = kept(tmp_path / "x.h5", record)
    summary = KIND.summary(container, "relax", record)
    assert summary["distances_A"] == {"AA": 3.6, "AB": 3.4}
    assert summary["pairs"][1]["layers"] == [3, 4]
    assert summary["inplane_A"] == [0.0, 0.2, 0.1, 0.3]
    (line,) = KIND.lines("relax", summary)
    assert line.startswith("relax        chgnet + D3(PBE), 0.500000 eV lower")
    assert "not converged; distances of layers 2 and 3 AA 3.6000, AB 3.4000 Å; distances of" in line


def test_two_layers_need_no_numbers(tmp_path):
    two = replace(example_relax(), pairs=(LayerPair((1, 2), {"AA": 3.6}, {"AA": 2.4}),))
    container = kept(tmp_path / "x.h5", two)
    assert "distances_layer" not in container.arrays("relax")
    assert_same(KIND.read(container, "relax"), two)
