"""Files that are compressed one by one are read as those that are not, in every format."""

import bz2
import gzip
import itertools
import lzma
import os
import shutil

import numpy as np
import pytest
from deeph_systems import local_folder
from foreign_cells import Example, write_aims, write_dftbplus, write_rescu
from foreign_levels import assert_same_blocks
from hamgnn_graphs import naive_graph, save_plainly

from moireio.blockfile.calculation import read
from moireio.formats.registry import FORMATS, detect_format

PACK = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
WRITTEN = {
    "abacus": "a", "deeph": "d", "deeph-dock": "d", "cp2k": "c", "deeptb": "t",
    "hamgnn": "graph_data.npz", "wanniertools": "x.dat",
}  # fmt: skip
NAIVE = {"aims": write_aims, "dftbplus": write_dftbplus, "rescu": write_rescu}
CASES = [*WRITTEN, *NAIVE, "rh", "pieces", "hamgnn-prediction"]


def make(folder, case, made):
    """Write a calculation; return the name of the source, and the format's."""
    if case == "rh":
        local_folder(folder / "d", False, "npz")
        return "d", "deeph"
    if case in NAIVE:
        example = Example(shells={"C": (0, 1), "Mo": (0,), "H": (0,)}, reach=3.2)
        return os.path.relpath(NAIVE[case](folder, example), folder), case
    with read(str(made["gr_ab"])) as calculation:
        if case == "hamgnn-prediction":
            graph = naive_graph(calculation, 14)
            save_plainly(folder / "graph_data.npz", graph)
            rows = np.concatenate([graph["Hon"], graph["Hoff"]])
            np.save(folder / "prediction_hamiltonian.npy", rows)
            return "prediction_hamiltonian.npy", case
        name = "deeph" if case == "pieces" else case
        FORMATS[name].write(calculation, str(folder / WRITTEN[name]))
    if case == "pieces":
        os.rename(folder / "d" / "overlaps.h5", folder / "d" / "overlaps_0.h5")
    return WRITTEN[name], name


def pack(path, suffix):
    with open(path, "rb") as plain, PACK[suffix](f"{path}{suffix}", "wb") as packed:
        shutil.copyfileobj(plain, packed)
    os.remove(path)


@pytest.mark.parametrize(
    ("case", "suffix"), zip(CASES, itertools.cycle(PACK)), ids=lambda value: value.strip(".")
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
