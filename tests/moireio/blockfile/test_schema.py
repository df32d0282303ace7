"""The schema and what is written agree: names, and the prose that explains them."""

import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from result_examples import EXAMPLES

from moireio.blockfile.schema import is_foreign, load_schema, tree, violations
from moireio.operators.catalogue import CATALOGUE
from moireio.results.registry import KINDS
from moireio.store.containers import open_container
from moireio.store.transaction import write_container

PROSE = (Path(__file__).parents[3] / "schemas" / "blockfile-1.md").read_text("utf-8")
RESERVED = {"irreps", "chern", "edges", "flat", "relax"}


def names(schema):
    """All names of attributes and arrays below a schema of a group."""
    out = set()
    for part in ("attributes", "arrays"):
        out |= set(schema.get("properties", {}).get(part, {}).get("properties", {}))
    groups = schema.get("properties", {}).get("groups", {})
    inner = [*groups.get("properties", {}).values(), *groups.get("patternProperties", {}).values()]
    inner += [groups[key] for key in ("additionalProperties",) if groups.get(key)]
    return out.union(*(names(group) for group in inner if isinstance(group, dict)))


def test_groups_of_the_core():
    schema = load_schema()
    groups = set(schema["properties"]["groups"]["properties"])
    assert groups == {"structure", "basis", *CATALOGUE, *KINDS, *RESERVED}
    for group in groups:
        assert f"`{group}`" in PROSE


def test_the_prose_explains_every_name():
    words = set(re.findall(r"`([^`\s]+)`", PROSE))
    schema = load_schema()
    everything = names(schema).union(*(names(s) for s in schema["$defs"].values()))
    assert len(everything) > 50
    assert everything <= words


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_violations_of_results(tmp_path, suffix):
    with write_container(tmp_path / f"x{suffix}") as out:
        for group in ("bands", "bands-a", "dos-b", "electrons"):
            KINDS[group.partition("-")[0]].write(out, group, EXAMPLES[group.partition("-")[0]])
        out.set_attributes("bands-a", {"colour": "red"})
        out.create_group("novelty")
        out.create_group("x_other/deep")
    container = open_container(tmp_path / f"x{suffix}")
    assert is_foreign("x_other")
    assert "x_other" not in tree(container)["groups"]
    found = violations(container)
    assert ("/bands-a", "unknown attribute colour") in found
    assert ("/", "unknown group novelty") in found
    assert not any("x_other" in what or "dos" in where for where, what in found)
    later = violations(container, newer=True)
    assert {what for _, what in found} - {what for _, what in later} == {
        "unknown attribute colour",
        "unknown group novelty",
    }
    container.close()


def _edit(file, what):
    if what == "attribute":
        file["basis/C"].attrs["valence"] = "four"
    elif what == "shape":
        del file["history/0001/digests"]
        file["history/0001"]["digests"] = b"one"
    else:
        del file["history"]
        file["history"] = np.arange(3)


@pytest.mark.parametrize(
    ("what", "words", "command"),
    [
        ("attribute", "/basis/C: valence is 'four', a finite number is expected", ["h5-info"]),
        ("shape", "/history/0001/digests/shape: [] ", ["h5-info"]),
        ("array", "/: unknown array history", ["convert-h", "-q", "-o", "o.h5"]),
    ],
)
def test_values_of_another_kind_are_named(
    tmp_path, made, invoke, monkeypatch, what, words, command
):
    """Where code fails at a value, the message is of the file: place, found, expected."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(made["gr_ab"], "x.h5")
    with h5py.File("x.h5", "r+") as file:
        _edit(file, what)
        for group in ("basis/C", "basis", "history/0001"):
            if group in file:
                file[group].attrs.pop("metadata_crc", None)
    name, *options = command
    result = invoke(name, "x.h5", *options)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: x.h5: {words}"), result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "o.h5").exists()
