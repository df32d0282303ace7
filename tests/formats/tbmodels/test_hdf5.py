"""TBmodels' HDF5 files."""

import gzip
import json
import shutil
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from foreign_levels import levels

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fuzz"))

from mutations import damage_file, edit_hdf5

from moireio.errors import ExistingFileError, MoireioError
from moireio.formats import matrices
from moireio.formats.calculations import open_calculation
from moireio.formats.tbmodels import hdf5


@pytest.fixture
def haldane(shared, tmp_path):
    target = tmp_path / "haldane.hdf5"
    shutil.copyfile(shared / "foreign" / "tbmodels_haldane" / "haldane.hdf5", target)
    return str(target)


def random_calculation(n, spinor=None):
    rng = np.random.default_rng(5)
    half = {
        cell: rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
        for cell in ((0, 0, 0), (1, 0, 0), (-1, 2, 0), (0, 0, 1))
    }
    centres = rng.normal(size=(n // 2 if spinor else n, 3)) * 4
    cell = rng.normal(size=(3, 3)) + 4 * np.eye(3)
    return matrices.read(half, cell=cell, centres=centres, partners="half", spinor=spinor)


def test_haldane(shared, haldane):
    """The reference breaks time reversal: a wrong sign of k is 0.29 eV off."""
    reference = json.loads((shared / "foreign/tbmodels_haldane/reference.json").read_text())
    assert hdf5.detect(haldane)
    calculation = hdf5.read(haldane)
    for k, energies in zip(reference["k"], reference["eV"], strict=True):
        np.testing.assert_allclose(levels(calculation, k)[0], energies, atol=1e-14)
    assert calculation.structure.pbc.tolist() == [True, True, False]
    packed = f"{haldane}.gz"
    with open(haldane, "rb") as whole, gzip.open(packed, "wb") as stream:
        shutil.copyfileobj(whole, stream)
    assert hdf5.detect(packed)
    np.testing.assert_array_equal(
        levels(hdf5.read(packed), [0.1, 0.2, 0]), levels(calculation, [0.1, 0.2, 0])
    )


@pytest.mark.parametrize(("spinor", "n"), [(None, 3), ("blocks", 4), ("interleaved", 4), (None, 7)])
def test_written_files_come_back(tmp_path, monkeypatch, spinor, n):
    """To the last bit, dense or sparse."""
    monkeypatch.setattr(hdf5, "MOST_DENSE", 6)
    calculation = random_calculation(n, spinor)
    path = str(tmp_path / "model.hdf5")
    hdf5.write(calculation, path, spinor=spinor or "blocks")
    again = hdf5.read(path, spinor=spinor)
    np.testing.assert_array_equal(again.hamiltonian.data, calculation.hamiltonian.data)
    np.testing.assert_array_equal(again.hamiltonian.pairs.R, calculation.hamiltonian.pairs.R)
    np.testing.assert_allclose(
        again.structure.positions, calculation.structure.positions, atol=1e-14
    )
    with h5py.File(path) as file:
        assert ("data" in file["hop/0"]) == (n == 7)


def test_tbmodels_reads_written_files(tmp_path, monkeypatch):
    tbmodels = pytest.importorskip("tbmodels")
    monkeypatch.setattr(hdf5, "MOST_DENSE", 6)
    for n in (3, 7):
        path = str(tmp_path / f"{n}.hdf5")
        calculation = random_calculation(n)
        hdf5.write(calculation, path)
        model = tbmodels.io.load(path)
        for k in np.random.default_rng(3).random((5, 3)):
            np.testing.assert_allclose(
                model.eigenval(k), levels(calculation, k)[0], rtol=1e-9, atol=1e-12
            )


@pytest.mark.parametrize("name", ["hbn_soc", "gr_ab"])
def test_orbitals_that_overlap_are_orthogonalised(data, tmp_path, name):
    """Levels at the points of the mesh are those of H and S, also after reading."""
    path = str(tmp_path / "m.hdf5")
    with open_calculation(str(data / f"{name}.scfout")) as one:
        with pytest.raises(MoireioError, match=r"overlap is not 1.*`orthogonalise`"):
            hdf5.write(one, path)
        assert not list(tmp_path.iterdir())
        hdf5.write(one, path, orthogonalise="3x3")
        assert any("on a mesh of 3 x 3 x 1 points" in note for note in one.notes)
        k = (1 / 3, -1 / 3, 0)
        exact = levels(one, k)
        options = {"spinor": "blocks"} if one.hamiltonian.meta.spin == "spinor" else {}
    np.testing.assert_allclose(levels(hdf5.read(path, **options), k), exact, atol=1e-7)


def test_files_are_not_replaced_unasked(tmp_path):
    path = tmp_path / "model.hdf5"
    path.write_text("mine")
    with pytest.raises(ExistingFileError):
        hdf5.write(random_calculation(2), str(path))
    hdf5.write(random_calculation(2), str(path), force=True)
    assert hdf5.detect(str(path))


def replaced(name, value):
    def change(file):
        del file[name]
        if value is not None:
            file[name] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replaced("size", 3), "the matrix of R = .* has the shape"),
        (replaced("size", 2**40), "the matrix of R = .* has the shape"),
        (replaced("dim", 7), "7 dimensions, 1 to 3 are possible"),
        (replaced("dim", None), "no whole number dim"),
        (replaced("hop", None), "no hop"),
        (replaced("hop", np.zeros(3)), "its hop is no group"),
        (replaced("hop/1/R", None), "hop/1 has no R of integers"),
        (replaced("hop/1/mat", None), "hop/1 has neither mat nor data"),
        (replaced("hop/1/mat", np.full((2, 2), np.nan)), "hop/1/mat has a number that is not"),
        (replaced("pos", np.zeros((3, 3))), r"positions \(3, 3\)"),
        (replaced("uc", "cubic"), "uc is object, numbers expected"),
        (replaced("occ", 5), "5.0 occupied states of 2"),
    ],
)
def test_damage_is_named(haldane, change, message):
    with h5py.File(haldane, "r+") as file:
        change(file)
    with pytest.raises(MoireioError, match=message) as caught:
        hdf5.read(haldane)
    assert str(caught.value).startswith(haldane)


def test_files_that_are_cut_short(haldane, tmp_path):
    whole = Path(haldane).read_bytes()
    for length in (0, 100, 4000, len(whole) - 3000):
        path = tmp_path / f"{length}.hdf5"
        path.write_bytes(whole[:length])
        with pytest.raises(MoireioError, match=str(path)):
            hdf5.read(str(path))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("damage", [damage_file, edit_hdf5])
@pytest.mark.parametrize("sparse", [False, True])
def test_random_damage_is_refused(tmp_path, monkeypatch, damage, sparse):
    """In one line that names the file, or read; nothing else."""
    monkeypatch.setattr(hdf5, "MOST_DENSE", 1 if sparse else 500)
    good, bad = tmp_path / "good.hdf5", tmp_path / "bad.hdf5"
    hdf5.write(random_calculation(4), str(good))
    messages = []
    for seed in range(50):
        shutil.copy(good, bad)
        what = damage(str(bad), seed)
        hdf5.detect(str(bad))
        try:
            with hdf5.read(str(bad)) as found:
                assert np.isfinite(found.hamiltonian.data).all(), what
        except MoireioError as error:
            messages.append(str(error))
    assert len(messages) > 5
    assert [text for text in messages if "\n" in text or str(bad) not in text] == []
