"""How a moiré cell was built: geometry, and the check against the structure."""

from dataclasses import replace

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_examples import example_moire

from moireio.errors import DamagedError
from moireio.results.moire import MoireKind, MoireLayer
from moireio.store.containers import open_container
from moireio.store.transaction import write_container
from moireio.system.structure import Structure

KIND = MoireKind()


@given(st.integers(0, 10**6))
def test_the_cell_of_a_layer(seed):
    rng = np.random.default_rng(seed)
    lattice, strain = rng.normal(size=(2, 2)), rng.normal(size=(2, 2)) * 0.01
    matrix, angle = rng.integers(-3, 4, (2, 2)), float(rng.uniform(-180, 180))
    layer = MoireLayer("x", lattice, matrix, strain + strain.T, angle)
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    turned = lattice @ np.array([[c, s], [-s, c]])  # rows, counter-clockwise
    assert np.allclose(layer.cell, matrix @ turned @ (np.eye(2) + strain + strain.T))
    assert layer.multiple == round(abs(np.linalg.det(matrix)))


def structure_of(moire, n_layers=2):
    cell = np.diag([1.0, 1.0, 20.0])
    cell[:2, :2] = moire.layers[0].cell * np.array(moire.repeat)[:, None]
    return Structure(
        cell=cell,
        positions=np.arange(3.0 * n_layers).reshape(-1, 3),
        numbers=[6] * n_layers,
        species=[0] * n_layers,
        species_names=["C"],
        pbc=[True, True, False],
        layer=np.arange(n_layers),
    )


def test_the_check_against_the_structure():
    moire = example_moire()
    same = replace(moire, layers=(moire.layers[0], moire.layers[0]), open_axis=0)
    assert KIND.check(None, "moire", same, structure_of(same)) == []
    (cell,) = KIND.check(None, "moire", replace(same, layers=moire.layers), structure_of(same))
    assert cell.where == "/moire/1"
    assert "do not make the cell" in cell.what
    broken = replace(moire.layers[0], angle=float("nan"))
    (cell,) = KIND.check(None, "moire", replace(same, layers=(broken,)), structure_of(same, 1))
    assert cell.where == "/moire/0"
    (few,) = KIND.check(None, "moire", same, structure_of(same, 3))
    assert few.what == "has fewer layers than /structure"


def test_lines():
    moire = example_moire()
    summary = KIND.summary(None, "moire", moire)
    assert KIND.lines("moire", summary)[-1] == "ribbon       2 cells, open along a"
    closed = KIND.summary(None, "moire", replace(moire, open_axis=0))
    assert KIND.lines("moire", closed)[-1] == "repeated     2 × 1 moiré cells"


def test_more_layers_than_ten_keep_their_order(tmp_path):
    moire = example_moire()
    layers = tuple(replace(moire.layers[0], name=f"layer {n}") for n in range(12))
    with write_container(tmp_path / "x.h5") as out:
        KIND.write(out, "moire", replace(moire, layers=layers))
    container = open_container(tmp_path / "x.h5")
    assert [x.name for x in KIND.read(container).layers] == [x.name for x in layers]
    container.close()


def test_a_matrix_of_another_shape(tmp_path):
    layer = replace(example_moire().layers[0], matrix=np.eye(3, dtype=int))
    with write_container(tmp_path / "x.h5") as out:
        KIND.write(out, "moire", replace(example_moire(), layers=(layer,)))
    container = open_container(tmp_path / "x.h5")
    with pytest.raises(DamagedError, match="matrix is not 2 x 2"):
        KIND.read(container)
    container.close()


@pytest.mark.parametrize(
    ("name", "value"),
    [("open_axis", 5), ("repeat", [1]), ("0/strain", np.inf), ("0/shift", [np.nan, 0.0])],
)
def test_values_that_are_none(tmp_path, name, value):
    """An error when the group is read, which names the place."""
    with write_container(tmp_path / "x.h5") as out:
        MoireKind().write(out, "moire", example_moire())
    with h5py.File(tmp_path / "x.h5", "r+") as file:
        file["moire"].attrs.pop("metadata_crc")
        file["moire/0"].attrs.pop("metadata_crc")
        if name == "0/strain":
            file["moire/0/strain"][0, 1] = value
        else:
            group, _, key = f"moire/{name}".rpartition("/")
            file[group].attrs[key] = value
    with pytest.raises(DamagedError, match=name.rpartition("/")[2]):
        MoireKind().read(open_container(tmp_path / "x.h5"), "moire")
