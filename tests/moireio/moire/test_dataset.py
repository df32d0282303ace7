"""Folders of calculations: written whole or not at all, read as they were written."""

import json
import os

import pytest
from helpers import random_system

from moireio.errors import MoireioError
from moireio.moire import dataset
from moireio.moire.sample import StructureSample


@pytest.fixture
def samples():
    return [
        StructureSample(f"s{seed}", random_system(seed)[0], {"seed": seed}) for seed in range(3)
    ]


def write(folder, samples, text=lambda sample: f"atoms {len(sample.structure)}\n"):
    return dataset.write(str(folder), samples, text, suffix=".in", code="toy", record={"copies": 3})


def test_a_dataset_is_read_as_it_was_written(tmp_path, samples):
    folder = tmp_path / "set"
    assert write(folder, samples) == 3
    entries = dataset.read(str(folder))
    assert [e.name for e in entries] == ["s0", "s1", "s2"]
    assert [e.origin for e in entries] == [{"seed": n} for n in range(3)]
    assert [e.atoms for e in entries] == [4, 4, 4]
    assert entries[0].digest == entries[1].digest  # the same text
    with open(entries[2].file(".in")) as stream:
        assert stream.read() == "atoms 4\n"
    assert (folder / "runs.txt").read_text().split() == ["s0", "s1", "s2"]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["code"], manifest["made"]) == ("toy", {"copies": 3})


def test_a_failure_leaves_nothing_behind(tmp_path, samples):
    def fail(sample):
        if sample.name == "s2":
            raise MoireioError("no basis")
        return ""

    with pytest.raises(MoireioError, match="no basis"):
        write(tmp_path / "set", samples, fail)
    assert os.listdir(tmp_path) == []
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine").write_text("")
    with pytest.raises(MoireioError, match="is not empty"):
        write(tmp_path / "set", samples)


@pytest.mark.parametrize(
    ("manifest", "complaint"),
    [
        (
            '{"format": "moireio-dataset", "version": 1, "structures": [{"name": ".."}]}',
            "name '..'",
        ),
        ('{"format": "moireio-dataset", "version": 1}', "'structures' is missing"),
        ("[" * 100_000, "is no manifest"),
        ("{", "is no manifest"),
        ('{"format": "x", "version": 1}', "its format is 'x'"),
        ('{"format": "moireio-dataset", "version": 2}', "version 2"),
    ],
)
def test_damaged_manifests(tmp_path, manifest, complaint):
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(MoireioError, match=complaint):
        dataset.read(str(tmp_path))


def test_what_is_a_dataset(tmp_path, samples):
    folder = tmp_path / "set"
    write(folder, samples)
    assert dataset.is_dataset(str(folder))
    for text in ("", "[]", '{"format": "other"}', "[" * 100_000):
        (folder / "manifest.json").write_text(text)
        assert not dataset.is_dataset(str(folder))
    assert not dataset.is_dataset(str(tmp_path))
