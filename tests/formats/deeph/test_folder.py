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


def test_unknown_operator(tmp_path):
    with pytest.raises(MoireioError, match=r"has no overlaps\.h5"):
        deeph.open_folder(str(write_folder(tmp_path / "a"))).operator("overlap")


def test_calculations_take_the_hamiltonian_asked_for(tmp_path):
    folder = write_folder(tmp_path / "a")
    os.rename(folder / "hamiltonians.h5", folder / "hamiltonians_pred.h5")
    with pytest.raises(MoireioError, match="has no Hamiltonian or overlap"):
        deeph.read(str(folder))
    with deeph.read(str(folder), predicted=True, label="a model's") as calculation:
        assert calculation.label == "a model's"
        assert list(calculation.operators) == ["hamiltonian"]
        assert calculation.hamiltonian.meta.source == "model"
        assert calculation.overlap is None
        assert calculation.electrons.fermi == -1.0
    write_folder(tmp_path / "b")
    with pytest.raises(MoireioError, match="has no predicted Hamiltonian"):
        deeph.read(str(tmp_path / "b"), predicted=True)


def test_the_digest_is_that_of_all_files_that_are_read(tmp_path):
    folder = write_folder(tmp_path / "a")
    first = deeph.read(str(folder)).digest(["hamiltonian"])
    assert deeph.read(str(folder)).digest(["hamiltonian"]) == first
    (folder / "notes.txt").write_text("not read")
    assert deeph.read(str(folder)).digest(["hamiltonian"]) == first
    np.savetxt(folder / "site_positions.dat", np.array([[0.0, 0, 0], [1.5, 0, 0]]).T)
    assert deeph.read(str(folder)).digest(["hamiltonian"]) != first
