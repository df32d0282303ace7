"""DeepH's older data folders."""

import os

import h5py
import numpy as np
import pytest
from deeph_folders import write_folder

import moireio
from moireio.errors import MoireioError
from moireio.formats.deeph import folder as deeph


def test_data_folder_is_openmx(shared, made):
    """DeepH's folder of AB graphene and the .scfout are the same calculation."""
    data = deeph.open_folder(str(shared / "deephe3" / "graphene" / "structures" / "gr_ab"))
    with moireio.open(made["gr_ab"]) as file:
        theirs, ours = data.operator("hamiltonian"), file.hamiltonian
        np.testing.assert_array_equal(theirs.pairs.keys(), ours.pairs.keys())
        assert np.abs(theirs.rows(0, 4) - ours.rows(0, 4)).max() < 1e-7
        assert abs(data.electrons.fermi - file.electrons.fermi) < 1e-9


@pytest.mark.parametrize("spin", [False, True])
def test_data_folder(tmp_path, spin):
    folder = write_folder(tmp_path / "a", spin)
    data = deeph.open_folder(str(folder))
    raw = data.operator("hamiltonian", symmetrise=False)
    H = data.operator("hamiltonian")
    assert H.meta.residual > 0.1
    with h5py.File(folder / "hamiltonians.h5") as file:
        block = file["[0, 0, 0, 1, 1]"][()]
    order = np.array([0, 2, 3, 1])  # s, then y, z, x of x, y, z
    order = np.r_[order, order + 4] if spin else order
    size = len(order) ** 2
    np.testing.assert_array_equal(raw.data[:size], block[np.ix_(order, order)].ravel())
    own = H.data[:size].reshape(len(order), -1)
    assert (own == own.conj().T).all()


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda d: os.remove(d / "lat.dat"), "has no lat.dat"),
        (lambda d: (d / "element.dat").write_text("6\n"), "do not fit"),
        (lambda d: (d / "element.dat").write_text("6\n700\n"), "outside 1..118"),
        (lambda d: (d / "orbital_types.dat").write_text("0 1\n"), "has 1 lines for 2 atoms"),
        (lambda d: (d / "orbital_types.dat").write_text("0 1\n0 1\n"), "has shape"),
        (lambda d: (d / "hamiltonians.h5").write_bytes(b"x"), "is not a file of blocks"),
        (lambda d: (d / "info.json").write_text("["), "is not JSON"),
    ],
)
def test_damaged_data_folders(tmp_path, damage, complaint):
    folder = write_folder(tmp_path / "a")
    damage(folder)
    with pytest.raises(MoireioError) as error:
        deeph.open_folder(str(folder)).operator("hamiltonian")
    assert complaint in str(error.value)
