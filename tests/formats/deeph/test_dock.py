"""DeepH-dock's data folders."""

import os

import numpy as np
import pytest
from deeph_folders import write_dock_folder

from moireio.errors import MoireioError
from moireio.formats.deeph import dock
from moireio.formats.openmx import band
from moireio.operators.bloch import BlochSum


@pytest.mark.parametrize("spin", [False, True])
def test_dock_folder(tmp_path, spin):
    blocks = write_dock_folder(tmp_path / "a", spin)
    data = dock.open_folder(str(tmp_path / "a"))
    raw = data.operator("hamiltonian", symmetrise=False)
    assert raw.pairs.i.tolist() == [0, 0, 1, 1]
    order = [(0, 0, 0, 0, 0), (0, 0, 0, 0, 1), (0, 0, 0, 1, 0), (0, 0, 0, 1, 1)]
    np.testing.assert_array_equal(raw.data, np.concatenate([blocks[k].ravel() for k in order]))
    assert data.operator("hamiltonian").meta.residual > 0.1
    assert data.basis["C"].name == "C6.0-s1p1"
    assert abs(data.basis["C"].cutoff - 6 * 0.529177249) < 1e-12


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda d: (d / "info.json").write_text("{}"), "lacks or has a wrong"),
        (lambda d: (d / "info.json").write_text("{"), "is not JSON"),
        (lambda d: (d / "POSCAR").write_text("x\n"), "cannot be read"),
        (lambda d: (d / "hamiltonian.h5").write_bytes(b"x"), "is not a file of blocks"),
        (
            lambda d: (d / "info.json").write_text(
                (d / "info.json").read_text().replace('"C": [0, 1]', '"C": [0, 0]')
            ),
            "is not that of elements_orbital_map",
        ),
        (lambda d: os.remove(d / "hamiltonian.h5"), "has no hamiltonian.h5"),
    ],
)
def test_damaged_dock_folders(tmp_path, damage, complaint):
    write_dock_folder(tmp_path / "a")
    damage(tmp_path / "a")
    with pytest.raises(MoireioError) as error:
        dock.open_folder(str(tmp_path / "a")).operator("hamiltonian")
    assert complaint in str(error.value)


def test_dock_folder_is_openmx(shared):
    """The folder of the test cell, its bands against OpenMX's."""
    from scipy.linalg import eigh

    data = dock.open_folder(str(shared / "tbg" / "tbg_2-1"))
    bands = band.read(str(shared / "openmx" / "tbg_2-1" / "tbg_2-1.Band"))
    H, S = (BlochSum.from_source(data.operator(n)) for n in ("hamiltonian", "overlap"))
    k = bands.k[5]
    energies = eigh(H.dense(k), S.dense(k), eigvals_only=True)
    near = np.abs(energies - data.electrons.fermi) < 5
    assert near.sum() > 10
    assert np.abs(energies - bands.energies[0, 5])[near].max() < 1e-5
