"""Files that are compressed one by one are read as those that are not, in every format."""

import bz2
import gzip
import itertools
import lzma
import os
import shutil

import numpy as np
import pytest
from foreign_levels import assert_same_blocks
from written_formats import NAIVE, WRITTEN, make

from moireio.formats.registry import FORMATS, detect_format

PACK = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
CASES = [*WRITTEN, *NAIVE, "rh", "pieces", "hamgnn-prediction"]


def pack(path, suffix):
    with open(path, "rb") as plain, PACK[suffix](f"{path}{suffix}", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    os.remove(path)


@pytest.mark.parametrize(
    ("case", "suffix"), list(zip(CASES, itertools.cycle(PACK))), ids=lambda value: value.strip(".")
)
def test_all_files_compressed(tmp_path, made, case, suffix):
    (tmp_path / "run").mkdir()
    source, name = make(tmp_path / "run", case, made)
    shutil.copytree(tmp_path / "run", tmp_path / "packed")
    for folder, _, files in os.walk(tmp_path / "packed"):
        for file in files:
            pack(os.path.join(folder, file), suffix)
    path = str(tmp_path / "packed" / source)
    path += "" if os.path.isdir(path) else suffix
    assert detect_format(path).name == name
    read_it = FORMATS[name].read
    with read_it(str(tmp_path / "run" / source)) as plain, read_it(path) as packed:
        for operator in ("hamiltonian", "overlap"):
            assert (operator in plain.operators) == (operator in packed.operators)
            if operator in plain.operators:
                assert_same_blocks(plain.operators[operator], packed.operators[operator], 0, 0)
        assert np.array_equal(plain.structure.positions, packed.structure.positions)
        found = [c.electrons and c.electrons.fermi for c in (plain, packed)]
        assert found[0] == found[1]
        assert all(os.path.exists(file) for file in packed.files)
        assert packed.digest(list(packed.operators))
