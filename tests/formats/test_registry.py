"""The registry of formats: detection, and formats of other packages."""

import pickle
import shutil
import sys

import numpy as np
import pytest
from deeph_folders import write_dock_folder, write_folder
from foreign_cells import (
    Example,
    write_aims,
    write_cp2k,
    write_deeptb,
    write_dftbplus,
    write_rescu,
)
from hamgnn_graphs import write_hamgnn
from helpers import random_operator, random_system, write_file
from plugin_packages import install
from siesta_files import random_hsx
from wannier_files import write_wannier90

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats import matrices
from moireio.formats.calculations import open_calculation
from moireio.formats.registry import FORMATS, detect_format, format_names, named_format
from moireio.system.basis import Basis

TOY = """
from moireio.formats.registry import Format

def detect(path):
    return path.endswith(".toy")

def read(path, *, label=None, scale=1.0):
    from helpers import random_operator, random_system
    from moireio.blockfile.calculation import Calculation

    structure, basis = random_system(1)
    h, _ = random_operator(1, basis.sizes(structure))
    h.data *= scale
    return Calculation(label or path, structure, basis, {"hamiltonian": h})

TOY = Format("toy", "a toy", detect, read, suffixes=(".toy",))
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    rows = {"moireio.formats": {"toy": "toy_format:TOY", "bad": "toy_format:detect"}}
    install(str(folder), "toy-format", rows, {"toy_format.py": TOY})
    monkeypatch.syspath_prepend(str(folder))
    yield
    sys.modules.pop("toy_format", None)


@pytest.fixture(scope="module")
def by_cells(tmp_path_factory):
    """One calculation of each format with one matrix a cell."""
    example, paths = Example(), {}
    writers = {"aims": write_aims, "dftbplus": write_dftbplus, "deeptb": write_deeptb}
    for name, write in (writers | {"cp2k": write_cp2k, "rescu": write_rescu}).items():
        folder = tmp_path_factory.mktemp(name)
        paths[name] = str(write(folder, example))
    return paths


@pytest.fixture
def files(tmp_path, data, by_cells):
    """One calculation of each of moireio's formats."""
    structure, basis = random_system(2)
    h, _ = random_operator(2, basis.sizes(structure))
    write_file(tmp_path / "x.zarr", structure, basis, h)
    write_folder(tmp_path / "old")
    write_dock_folder(tmp_path / "dock")
    shutil.copy(data / "o2_col.scfout", tmp_path)
    cell = {(0, 0, 0): np.diag([1.0, 2]), (0, 1, 0): np.ones((2, 2))}
    model = matrices.read(cell, cell=np.eye(3), centres=[[0, 0, 0], [0.5, 0, 0]], partners="half")
    FORMATS["tbmodels"].write(model, str(tmp_path / "model.hdf5"))
    paths = {"moireio": "x.zarr", "deeph": "old", "deeph-dock": "dock", "openmx": "o2_col.scfout"}
    paths |= write_wannier90(tmp_path)
    paths |= {"tbmodels": "model.hdf5"}
    random_hsx(tmp_path / "x.HSX")
    other = Calculation("x", structure, Basis(basis.species, orthogonal=True), {"hamiltonian": h})
    FORMATS["abacus"].write(other, str(tmp_path / "abacus"))
    paths |= {"siesta": "x.HSX", "abacus": "abacus"}
    paths |= write_hamgnn(tmp_path)
    return {name: str(tmp_path / path) for name, path in paths.items()} | by_cells


@pytest.mark.parametrize("name", FORMATS)
def test_a_calculation_is_of_one_format(files, name):
    """Every format detects its own files and no others, and reads them."""
    assert [other for other, path in files.items() if FORMATS[name].detect(path)] == [name]
    assert detect_format(files[name]).name == name
    with FORMATS[name].read(files[name], label="x") as calculation:
        assert isinstance(calculation, Calculation)
        assert calculation.label == "x"
        rows = calculation.hamiltonian.rows(0, len(calculation.structure))
        assert rows.size > 0
        assert calculation.digest(list(calculation.operators)).startswith("blake2b:")


@pytest.mark.parametrize("name", FORMATS)
def test_rows_say_what_they_keep(name):
    row = FORMATS[name]
    assert row.description
    assert row.keeps
    assert not row.detect("/no/such/file.xyz")


def test_a_format_of_another_package(toy, tmp_path):
    path = tmp_path / "a.toy"
    path.write_text("")
    assert {"toy", "bad"} < set(format_names())
    assert "toy_format" not in sys.modules
    with (
        open_calculation(str(path), formats=["toy"]) as one,
        open_calculation(str(path), formats=["toy"], scale=2.0) as two,
    ):
        assert (two.hamiltonian.rows(0, 4) == 2 * one.hamiltonian.rows(0, 4)).all()
    with pytest.raises(MoireioError, match=r"'bad'.*toy_format.* is not a Format"):
        named_format("bad")
    with pytest.raises(MoireioError, match=r"no format is called 'x'.*openmx"):
        named_format("x")


@pytest.mark.parametrize("name", FORMATS)
def test_readers_go_to_worker_processes(files, name):
    read = pickle.loads(pickle.dumps(FORMATS[name].read))
    with read(files[name]) as calculation:
        assert len(calculation.structure) > 1
