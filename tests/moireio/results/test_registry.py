"""Every kind of result: the same laws for moireio's own and for another package's."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from helpers import overlap_like, random_operator, random_system, write_file
from jsonschema import Draft202012Validator
from result_examples import EXAMPLES, assert_same

import moireio
from moireio.blockfile.schema import load_schema, tree
from moireio.blockfile.stream import write_target
from moireio.blockfile.summary import summarise, summary_text
from moireio.errors import DamagedError, MoireioError
from moireio.results.kind import SECTIONS
from moireio.results.registry import KINDS, require_kind, result_kind, usable_kind
from moireio.store.base import seal
from moireio.store.containers import open_container
from moireio.store.transaction import write_container
from moireio.tools import h5_info, h5_validate

SUFFIXES = [".h5", ".zarr"]


def test_every_kind_has_an_example():
    assert set(EXAMPLES) == set(KINDS)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", KINDS)
def test_round_trip(tmp_path, name, suffix):
    kind, value, path = KINDS[name], EXAMPLES[name], tmp_path / f"x{suffix}"
    groups = [name, f"{name}-mine"] if kind.named else [name]
    with write_container(path) as out:
        for group in groups:
            kind.write(out, group, value)
    container = open_container(path)
    assert container.groups() == groups
    stored = replace(value, states=None) if hasattr(value, "states") else value
    for group in groups:
        assert_same(kind.read(container, group), stored)
        # everything that the example has is in the schema, and the other way round
        schema, present = kind.schema(), tree(container, group)
        Draft202012Validator(schema).validate(present)
        for part in ("attributes", "arrays"):
            missing = set(schema["properties"][part]["properties"]) - set(present[part])
            assert missing <= {"metadata_crc"}
        summary = json.loads(json.dumps(kind.summary(container, group, stored)))
        lines = kind.lines(group, summary)
        assert kind.section in SECTIONS
        assert lines
        assert all(line and "\n" not in line for line in lines)
        assert kind.check(container, group, stored, None) == []
    container.close()


@pytest.mark.parametrize("name", [n for n in KINDS if n != "history"])
def test_an_attribute_that_is_altered_is_found(tmp_path, name):
    with write_container(tmp_path / "x.h5") as out:
        KINDS[name].write(out, name, EXAMPLES[name])
        out.set_attributes(name, {"colour": "red"})
    container = open_container(tmp_path / "x.h5")
    with pytest.raises(DamagedError, match="checksum"):
        KINDS[name].read(container, name)
    container.close()


def test_names():
    assert result_kind("bands-a-b") is KINDS["bands"]
    for group in ("structure", "hamiltonian", "relax-x", "electrons-x", "bandsy", "x_nobody"):
        assert result_kind(group) is None
    with pytest.raises(MoireioError, match=r"no result is called 'band' \(known: .*bands, dos"):
        require_kind("band")


MODULE = '''
"""Another package's result: a number with a unit."""

from moireio.results.kind import ResultKind
from moireio.store.finding import Finding


class Kind(ResultKind[float]):
    def read(self, container, group):
        return container.attributes(group)["value"]

    def write(self, container, group, value, compression="none"):
        container.create_group(group, {"value": value})

    def check(self, container, group, value, structure):
        return [] if value > 0 else [Finding(f"/{group}", "is not positive")]

    def schema(self):
        return {"properties": {"attributes": {"required": ["value"]}}}

    def summary(self, container, group, value):
        return {"value": value}

    def lines(self, group, summary):
        return [f"{group:<12} {summary['value']} eV"]


KIND, WRONG = Kind(), 3
'''


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Install another package that has results, without editing anything of moireio."""
    site = tmp_path / "site"
    (site / "toy-1.0.dist-info").mkdir(parents=True)
    (site / "toy_results.py").write_text(MODULE)
    (site / "toy-1.0.dist-info" / "METADATA").write_text("Name: toy\nVersion: 1.0\n")
    (site / "toy-1.0.dist-info" / "entry_points.txt").write_text(
        "[moireio.results]\nx_toy = toy_results:KIND\nx_wrong = toy_results:WRONG\n"
    )
    monkeypatch.syspath_prepend(site)
    yield
    sys.modules.pop("toy_results", None)


def with_groups(folder, groups):
    structure, basis = random_system(3)
    sizes = basis.sizes(structure)
    path = write_file(
        folder / "a.h5", structure, basis, random_operator(3, sizes)[0], overlap_like(3, sizes)[0]
    )
    with moireio.open(path) as file, write_target(str(folder / "b.zarr"), base=file) as out:
        for group in groups:
            out.container.create_group(group, {"value": 2.5})
            out.container.create_array(f"{group}/inner/data", (3,), np.dtype(float))
            out.container.write(f"{group}/inner/data", np.arange(3.0))
            seal(out.container, group)
    return folder / "b.zarr"


def findings(path):
    with moireio.open(path) as file:
        return [str(finding) for finding in moireio.validate(file)]


def test_results_of_another_package(tmp_path, package):
    path = with_groups(tmp_path, ["x_toy", "x_toy-second"])
    assert findings(path) == []
    with moireio.open(path) as file:
        assert file.result("x_toy") == 2.5
        summary = summarise(file)
        drop = ("x_toy", "x_toy-second")
        with write_target(None, base=file, in_place=True, drop=drop) as out:
            out.result("x_toy", -1.0)
    assert summary["results"] == {"x_toy": {"value": 2.5}, "x_toy-second": {"value": 2.5}}
    assert "x_toy        2.5 eV" in summary_text(summary).splitlines()
    assert findings(path) == ["error: /x_toy: is not positive"]


def test_a_package_that_does_not_fit(tmp_path, package):
    path = with_groups(tmp_path, ["x_wrong"])
    with moireio.open(path) as file:
        with pytest.raises(MoireioError, match=r"of the distribution toy is not a ResultKind"):
            file.result("x_wrong")
        assert summarise(file)["results"] == {"x_wrong": {}}
    assert usable_kind("x_wrong") is None
    (note,) = findings(path)
    assert note.startswith("note: /x_wrong: not checked: 'x_wrong' (moireio.results)")


def test_foreign_groups_are_kept_and_noted(tmp_path):
    """Groups x_… of programs that are not installed: no error, and no command loses them."""
    path, run = with_groups(tmp_path, ["x_other"]), CliRunner()
    from moireio.tools import band, convert_h

    for number, (command, words) in enumerate(
        [
            (convert_h, ["-o", tmp_path / "c.h5", "--storage", "upper"]),
            (convert_h, ["-o", tmp_path / "d.zarr.zip"]),
            (band, ["--path", "0,0,0 0.5,0,0", "-n", "2", "--in-place"]),
        ]
    ):
        done = run.invoke(command.main, [str(path), *map(str, words)])
        assert done.exit_code == 0, done.output
        path = words[1] if number < 2 else path
    assert findings(path) == ["note: /x_other: of another program, not checked"]
    with moireio.open(path) as file:
        assert "bands" in file
        assert file.container.read("x_other/inner/data").tolist() == [0.0, 1.0, 2.0]
        assert "x_other" not in tree(file.container)["groups"]
    done = run.invoke(h5_validate.main, [str(path)])
    assert (done.exit_code, done.output.split(": ")[0]) == (0, "note")
    assert "x_other      of another program" in run.invoke(h5_info.main, [str(path)]).output
    shown = json.loads(run.invoke(h5_info.main, [str(path), "--json"]).output)
    assert shown["results"]["x_other"] == {}


def test_the_schema_has_a_place_for_all():
    schema = load_schema()
    Draft202012Validator.check_schema(schema)
    groups = schema["properties"]["groups"]
    assert set(KINDS) <= set(groups["properties"])
    assert set(groups["patternProperties"]) == {
        "^x_",
        "^anchors-.+$",
        "^bands-.+$",
        "^chern-.+$",
        "^dos-.+$",
        "^edges-.+$",
        "^symmetry-.+$",
    }
    assert groups["additionalProperties"] is False
