"""Damaged data folders of DeepH: refused in one line, or read; nothing else."""

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from deeph_systems import LAYOUTS, local_folder, split_folder, system

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fuzz"))

from mutations import damage_file, edit_hdf5

from moireio.errors import MoireioError
from moireio.formats.deeph import dock, folder


def make(kind, path):
    if kind == "local":
        local_folder(path, False)
        return folder.read
    if kind == "split":
        split_folder(path)
        return dock.read
    write, read = LAYOUTS[kind]
    write(system(), str(path))
    return read


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["dock", "deeph", "local", "split"])
@pytest.mark.parametrize("damage", [damage_file, edit_hdf5])
def test_damage_is_refused(tmp_path, kind, damage):
    read = make(kind, tmp_path / "good")
    messages = []
    for seed in range(25):
        shutil.copytree(tmp_path / "good", tmp_path / "work")
        what = damage(str(tmp_path / "work"), seed, missing=True)
        try:
            with read(str(tmp_path / "work")) as found:
                for name in found.operators:
                    rows = found.operator(name).rows(0, len(found.structure))
                    assert np.isfinite(rows).all(), what
        except MoireioError as error:
            messages.append(f"{error}")
        shutil.rmtree(tmp_path / "work")
    assert len(messages) > 5
    assert all("\n" not in text for text in messages)
    assert [text for text in messages if str(tmp_path) not in text] == []
