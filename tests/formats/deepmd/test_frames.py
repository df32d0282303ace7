"""Training sets: what is written is what ASE and DeePMD's layout give back."""

import ase.io
import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.deepmd.frames import Frame, write

rng = np.random.default_rng(5)


def frame(symbols, stress=True):
    cell = np.diag([3.0, 4.0, 20.0]) + 0.1 * rng.random((3, 3))
    n = len(symbols)
    tensor = rng.normal(size=(3, 3)) * 1e-3
    return Frame(
        tuple(symbols),
        cell,
        rng.random((n, 3)) @ cell,
        rng.normal(size=(n, 3)),
        float(rng.normal()),
        tensor + tensor.T if stress else None,
    )


def test_arrays_are_those_of_deepmd(tmp_path):
    frames = [frame(["Te", "Mo", "Te"]), frame(["Mo", "Te", "Te"]), frame(["Mo", "Mo"])]
    assert write(frames, str(tmp_path / "set")) == ["Mo1Te2", "Mo2"]
    folder = tmp_path / "set" / "deepmd" / "Mo1Te2"
    assert (folder / "type_map.raw").read_text().split() == ["Mo", "Te"]
    assert (folder / "type.raw").read_text().split() == ["0", "1", "1"]
    arrays = {p.stem: np.load(p) for p in (folder / "set.000").iterdir()}
    assert {name: a.shape for name, a in arrays.items()} == {
        "coord": (2, 9),
        "force": (2, 9),
        "box": (2, 9),
        "virial": (2, 9),
        "energy": (2,),
    }
    first = frames[0]
    assert np.array_equal(arrays["coord"][0].reshape(3, 3), first.positions[[1, 0, 2]])
    assert np.array_equal(arrays["force"][0].reshape(3, 3), first.forces[[1, 0, 2]])
    assert np.array_equal(arrays["force"][1].reshape(3, 3), frames[1].forces)
    assert np.array_equal(arrays["box"][1].reshape(3, 3), frames[1].cell)
    volume = first.cell[0] @ np.cross(first.cell[1], first.cell[2])
    np.testing.assert_allclose(arrays["virial"][0].reshape(3, 3), -volume * first.stress)
    other = tmp_path / "set" / "deepmd" / "Mo2"
    assert (other / "type.raw").read_text().split() == ["0", "0"]


def test_extended_xyz_is_read_by_ase_to_the_last_digit(tmp_path):
    frames = [frame(["Mo", "Te", "Te"]), frame(["Mo", "Te", "Te"])]
    write(frames, str(tmp_path / "set"))
    for one, atoms in zip(frames, ase.io.read(tmp_path / "set" / "all.xyz", ":"), strict=True):
        assert atoms.get_chemical_symbols() == list(one.symbols)
        assert np.array_equal(atoms.positions, one.positions)
        assert np.array_equal(atoms.cell.array, one.cell)
        assert np.array_equal(atoms.get_forces(), one.forces)
        assert atoms.get_potential_energy() == one.energy
        np.testing.assert_allclose(atoms.get_stress(voigt=False), one.stress, rtol=1e-12)


def test_without_a_stress_of_every_frame_there_is_no_virial(tmp_path):
    write([frame(["C"]), frame(["C"], stress=False)], str(tmp_path / "set"))
    names = {p.name for p in (tmp_path / "set/deepmd/C1/set.000").iterdir()}
    assert names == {"coord.npy", "box.npy", "energy.npy", "force.npy"}


def test_what_exists_is_kept(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(MoireioError, match="not empty"):
        write([frame(["C"])], str(tmp_path))
    with pytest.raises(MoireioError, match="no structures"):
        write([], str(tmp_path / "none"))


def test_dpdata_reads_the_same(tmp_path):
    dpdata = pytest.importorskip("dpdata")
    one = frame(["Te", "Mo", "Te"])
    write([one], str(tmp_path / "set"))
    system = dpdata.LabeledSystem(str(tmp_path / "set/deepmd/Mo1Te2"), fmt="deepmd/npy")
    assert [system["atom_names"][n] for n in system["atom_types"]] == ["Mo", "Te", "Te"]
    np.testing.assert_allclose(system["coords"][0], one.positions[[1, 0, 2]], rtol=1e-6)
    np.testing.assert_allclose(system["forces"][0], one.forces[[1, 0, 2]], rtol=1e-6)
    np.testing.assert_allclose(system["energies"], [one.energy], rtol=1e-6)
