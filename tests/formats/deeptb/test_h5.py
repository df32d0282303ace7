"""DeePTB's and dftio's folders: a published set, naive files, and the way there and back."""

import gzip
import json

import h5py
import numpy as np
import pytest
from foreign_cells import Example, write_deeptb
from foreign_levels import levels, overlap_misfit

from moireio.errors import DamagedError, MoireioError
from moireio.formats.deeptb import h5


def test_published_silicon(shared, tmp_path):
    """Against dense matrices made of the file; p orbitals point along the bonds."""
    folder = shared / "foreign" / "deeptb_si64"
    for file in folder.iterdir():
        data = file.read_bytes()
        (tmp_path / file.name.removesuffix(".gz")).write_bytes(
            gzip.decompress(data) if file.suffix == ".gz" else data
        )
    calculation = h5.read(str(tmp_path))
    reference = json.loads((folder / "reference.json").read_text())
    found = levels(calculation, reference["k"][2])[0]
    assert np.abs(found - reference["eV"][2]).max() < 1e-5
    assert overlap_misfit(calculation, 1) < 1e-5
    assert calculation.overlap.meta.dtype == "float32"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"half": True},
        {"first": 1},
        {"names": "hamiltonian overlap"},
        {"frames": 2},
    ],
)
def test_every_form_gives_the_same_blocks(tmp_path, options):
    example = Example()
    write_deeptb(tmp_path, example, **options)
    frame = options.get("frames", 1) - 1
    calculation = h5.read(str(tmp_path), frame=frame)
    example.assert_equal(calculation, 1e-12)
    if frame:
        assert any("frame 1 of 2" in note for note in calculation.notes)
        assert np.abs(h5.read(str(tmp_path)).hamiltonian.data / 1.5).max() == pytest.approx(
            np.abs(calculation.hamiltonian.data).max()
        )
        with pytest.raises(MoireioError, match="none of number 7"):
            h5.read(str(tmp_path), frame="7")


def test_a_file_of_another_name_is_not_passed_over(tmp_path):
    write_deeptb(tmp_path, Example())
    (tmp_path / "hamiltonians.h5").rename(tmp_path / "mine.h5")
    with pytest.raises(MoireioError, match=r"mine\.h5: has no name .* DeePTB"):
        h5.read(str(tmp_path / "mine.h5"))


def test_compressed_files(tmp_path):
    example = Example()
    write_deeptb(tmp_path, example)
    (tmp_path / "info.json").write_text(json.dumps({"nframes": 1, "pos_type": "cart"}))
    for file in list(tmp_path.iterdir()):
        file.with_name(file.name + ".gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    example.assert_equal(h5.read(str(tmp_path)), 1e-12)


def test_a_predicted_unit_overlap_is_noted(tmp_path):
    """DeePTB's export for Pardiso has S = 1, whatever the orbitals."""
    write_deeptb(tmp_path, Example(), names="predicted_hamiltonians predicted_overlaps")
    for name in ("position", "atomic_number"):
        (tmp_path / f"{name}.dat").rename(tmp_path / f"{name}s.dat")
    calculation = h5.read(str(tmp_path / "predicted_hamiltonians.h5"))
    assert not any("unit matrix" in note for note in calculation.notes)
    with h5py.File(tmp_path / "predicted_overlaps.h5", "r+") as file:
        for name, block in file["0"].items():
            i, j, *R = map(int, name.split("_"))
            block[...] = np.eye(*block.shape) * (i == j and not any(R))
    calculation = h5.read(str(tmp_path / "predicted_hamiltonians.h5"))
    assert any("predicted_overlaps.h5 is the unit matrix" in note for note in calculation.notes)


def _edit(edit):
    def change(folder):
        with h5py.File(folder / "hamiltonians.h5", "r+") as file:
            edit(file["0"])

    return change


def _delete(group):
    del group["1_0_0_0_0"]


def _rename(group):
    group.move("1_0_0_0_0", "1_0_0_0")


def _shape(group):
    del group["1_0_0_0_0"]
    group["1_0_0_0_0"] = np.zeros((2, 2))


def _nan(group):
    group["1_0_0_0_0"][0, 0] = np.nan


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "basis.dat").unlink(), r"no basis.dat .*`shells` as in C=s2p2d1"),
        (lambda f: (f / "positions.dat").unlink(), "no positions.dat beside it"),
        (lambda f: (f / "positions.dat").write_text("1 2\n"), "positions.dat"),
        (lambda f: (f / "atomic_numbers.dat").write_text("6 42"), "for|of 3 atoms"),
        (lambda f: (f / "pbc.dat").write_text("1\n1\n"), "pbc.dat: holds 2 numbers, three"),
        (lambda f: (f / "cell.dat").write_text("3 0 0\n0 3 0\n"), "cell.dat: has 2 rows, three"),
        (lambda f: (f / "basis.dat").write_text("nothing"), "basis.dat: holds 'nothing'"),
        (_edit(_delete), "block 0_1_0_0_0 has no partner"),
        (_edit(_rename), "'1_0_0_0' is no name of a block"),
        (_edit(_shape), r"block 1_0_0_0_0 \(Mo and C\) is float64 \(2, 2\), \(9, 4\)"),
        (_edit(_nan), "not finite"),
        (lambda f: (f / "overlaps.h5").write_bytes(b"x"), "overlaps.h5: is not an HDF5 file"),
    ],
)
def test_damage_is_named(tmp_path, damage, message):
    write_deeptb(tmp_path, Example())
    damage(tmp_path)
    with pytest.raises(MoireioError, match=message):
        h5.read(str(tmp_path))


def test_files_that_are_missing(tmp_path):
    write_deeptb(tmp_path, Example())
    (tmp_path / "hamiltonians.h5").unlink()
    with h5.read(str(tmp_path)) as found:
        assert "no hamiltonians.h5: H is not known" in found.notes
    (tmp_path / "positions.dat").unlink()
    assert h5.detect(str(tmp_path))  # so that the message names the file
    (tmp_path / "atomic_numbers.dat").unlink()
    assert h5.detect(str(tmp_path))


def test_blocks_of_fewer_atoms_are_refused(tmp_path):
    """Those of another structure: an atom without any block had zero energies."""
    write_deeptb(tmp_path, Example())
    for name in ("hamiltonians.h5", "overlaps.h5"):
        whole = (tmp_path / name).read_bytes()
        with h5py.File(tmp_path / name, "r+") as file:
            for key in [key for key in file["0"] if "2" in key.split("_")[:2]]:
                del file["0"][key]
        with pytest.raises(DamagedError, match=rf"{name}: lacks the block 2_2_0_0_0 of an atom"):
            h5.read(str(tmp_path))
        (tmp_path / name).write_bytes(whole)


def test_a_cell_that_is_none_is_named(tmp_path):
    write_deeptb(tmp_path, Example())
    rows = (tmp_path / "cell.dat").read_text().split("\n")
    (tmp_path / "cell.dat").write_text("\n".join([rows[0], rows[0], rows[2]]) + "\n")
    with pytest.raises(DamagedError, match=r"cell\.dat: its three lattice vectors are not indep"):
        h5.read(str(tmp_path))
