"""A new operator is one row: everything else follows from the catalogue."""

import numpy as np
import pytest
from helpers import overlap_like, random_operator, random_system, write_file
from plugin_packages import install

import moireio
from moireio.errors import MoireioError
from moireio.operators.blocks import adjoint
from moireio.operators.catalogue import (
    CATALOGUE,
    OperatorType,
    operator_names,
    operator_type,
)

TOY = """
from moireio.operators.catalogue import OperatorType

SPIN = OperatorType("x_torque", "eV/rad", "the torque", parity=-1, vector=True, within="overlap")
"""


@pytest.fixture
def torque(tmp_path, monkeypatch):
    """The catalogue with a vector operator of another package."""
    folder = tmp_path / "site"
    folder.mkdir()
    rows = {"moireio.operators": {"x_torque": "toy_torque:SPIN"}}
    install(str(folder), "toy-torque", rows, {"toy_torque.py": TOY})
    monkeypatch.syspath_prepend(str(folder))
    return operator_type("x_torque")


@pytest.mark.parametrize("name", CATALOGUE)
@pytest.mark.parametrize("spin", ["none", "collinear", "spinor"])
def test_rows_give_meta_that_fits_them(name, spin):
    row = operator_type(name)
    meta = row.meta(spin=spin, source="test")
    assert (meta.name, meta.unit, meta.parity) == (name, row.unit, row.parity)
    assert meta.spin == (spin if name in ("hamiltonian", "density") else "none")
    assert meta.components == {"position": 3, "momentum": 3}.get(
        name, 2 if meta.spin == "collinear" else 1
    )
    assert np.dtype(meta.dtype).kind == ("c" if meta.spin == "spinor" else "f")


def test_operators_that_a_row_refers_to_exist():
    for row in CATALOGUE.values():
        assert {row.shifted, row.within} <= {None, *CATALOGUE}
        assert (row.parity == 0) == (row.shifted is not None)


def test_a_row_of_another_package_is_written_read_checked_and_validated(tmp_path, torque):
    assert operator_names()[-1] == "x_torque"
    structure, basis = random_system(4)
    sizes = basis.sizes(structure)
    s, _ = overlap_like(4, sizes, fill=1)
    source, blocks = random_operator(4, sizes, name="x_torque")
    path = write_file(tmp_path / "x.h5", structure, basis, s, source)
    with moireio.open(path) as file:
        assert file.operators == ["overlap", "x_torque"]
        operator = file.operator("x_torque")
        assert (operator.meta.components, operator.meta.unit) == (3, "eV/rad")
        (i, j, R), block = next(item for item in blocks.items() if item[0][0] != item[0][1])
        back = operator.block(j, i, tuple(-v for v in R))
        assert (back == adjoint(block, -1)).all()
        assert [f for f in moireio.validate(file) if f.level == "error"] == []
        digest = file.digest()
    plain = write_file(tmp_path / "plain.h5", structure, basis, s)
    with moireio.open(plain) as file:
        assert file.digest() == digest  # the same where the package is not installed


def test_its_pairs_and_unit_are_checked_too(tmp_path, torque):
    structure, basis = random_system(4)
    sizes = basis.sizes(structure)
    s, _ = overlap_like(5, sizes)
    source, _ = random_operator(6, sizes, name="x_torque")
    source.meta = source.meta.with_(unit="eV")
    path = write_file(tmp_path / "x.h5", structure, basis, s, source)
    with moireio.open(path) as file:
        lines = [str(f) for f in moireio.validate(file)]
    assert any("/x_torque/unit" in line and "eV/rad" in line for line in lines), lines
    assert any("/x_torque" in line and "not among those of /overlap" in line for line in lines)


def test_unknown_names_are_refused_with_those_known():
    with pytest.raises(MoireioError, match=r"'spin'.*hamiltonian"):
        operator_type("spin")


@pytest.mark.parametrize("text", ["ROW = 1", "ROW = None"])
def test_an_entry_point_that_is_no_row_is_refused(tmp_path, monkeypatch, text):
    module = f"no_row_{len(text)}"
    install(
        str(tmp_path),
        module,
        {"moireio.operators": {"x_no": f"{module}:ROW"}},
        {f"{module}.py": text},
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MoireioError, match=module):
        operator_type("x_no")


def test_vectors_have_three_components_whatever_the_spin():
    row = OperatorType("x_v", "1", "v", spins=("none", "spinor"), vector=True)
    assert [row.components(s) for s in row.spins] == [3, 3]
