"""What both layouts of DeepH's data folders share."""

import os

import h5py
import numpy as np
import pytest
from deeph_folders import write_dock_folder, write_folder

from moireio.errors import MoireioError
from moireio.formats.deeph import dock
from moireio.formats.deeph import folder as deeph
from moireio.formats.deeph.common import files_of


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


@pytest.mark.parametrize("spin", [False, True])
@pytest.mark.parametrize(("write", "layout"), [(write_folder, deeph), (write_dock_folder, dock)])
def test_symmetrised_blocks_are_the_mean_with_their_partners(tmp_path, write, layout, spin):
    write(tmp_path / "a", spin)
    data = layout.open_folder(str(tmp_path / "a"))
    raw = data.operator("hamiltonian", symmetrise=False)
    mean = data.operator("hamiltonian")
    assert list(zip(raw.pairs.i, raw.pairs.j, strict=True)) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    n, m = raw.sizes
    start = n * n
    before, after = (x.data[start : start + n * m].reshape(n, m) for x in (raw, mean))
    partner = raw.data[start + n * m : start + 2 * n * m].reshape(m, n).conj().T
    np.testing.assert_allclose(after, (before + partner) / 2, atol=1e-15)
    assert mean.meta.residual >= np.abs(before - partner).max() > 0.1


@pytest.mark.parametrize(
    ("write", "layout", "place"),
    [
        (write_folder, deeph, ("hamiltonians.h5", "[0, 0, 0, 1, 1]")),
        (write_dock_folder, dock, ("hamiltonian.h5", "entries")),
    ],
)
def test_numbers_that_are_not_finite(tmp_path, write, layout, place):
    """One line that names the file of the operator."""
    write(tmp_path / "a")
    name, array = place
    with h5py.File(tmp_path / "a" / name, "r+") as file:
        file[array][0] = np.nan
    with pytest.raises(MoireioError, match=f"{name}: contains numbers that are not finite"):
        layout.open_folder(str(tmp_path / "a")).operator("hamiltonian")


def test_files_that_there_are(tmp_path):
    (tmp_path / "s.h5").touch()
    names = {"overlap": "s.h5", "hamiltonian": "h.h5"}
    assert files_of(str(tmp_path), names) == {"overlap": str(tmp_path / "s.h5")}
