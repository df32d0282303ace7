"""Writing Wannier90's forms, and what others read of them."""

import numpy as np
import pytest
from helpers import random_operator, random_system
from wannier_files import bands

from moireio.blockfile.calculation import Calculation
from moireio.blockfile.convert import Conversion, convert
from moireio.errors import ExistingFileError, MoireioError
from moireio.formats import matrices
from moireio.formats.assembly.elements import OrbitalMap, matrices_from_source
from moireio.formats.calculations import open_calculation
from moireio.formats.wannier90 import files
from moireio.formats.wannier90.win import read_win
from moireio.formats.wanniertools import hr
from moireio.operators.bloch import BlochSum
from moireio.system.basis import Basis

K = np.random.default_rng(8).uniform(-0.5, 0.5, (5, 3))


def calculation(spin="none", seed=3):
    """A random slab of atoms outside the cell, with orthogonal orbitals."""
    structure, basis = random_system(seed)
    h, _ = random_operator(seed, basis.sizes(structure), spin=spin)
    return Calculation("random", structure, Basis(basis.species, orthogonal=True), {
        "hamiltonian": h
    })  # fmt: skip


def rows_of(one, spinor=None):
    """H(R) as dense matrices in the order of the atoms, by R and component."""
    orbitals = OrbitalMap.make(one.structure, one.basis, spinor=spinor)
    cells, listed = matrices_from_source(one.hamiltonian, orbitals)
    return {
        (*cell, c): matrix.toarray()
        for c, matrices in enumerate(listed)
        for cell, matrix in zip(cells.tolist(), matrices, strict=True)
        if matrix.toarray().any()
    }


def same(first, second):
    assert first.keys() == second.keys()
    for key, matrix in first.items():
        np.testing.assert_array_equal(matrix, second[key])


@pytest.mark.parametrize("form", ["hr", "tb"])
@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_round_trip_to_the_last_bit(tmp_path, form, spin):
    one = calculation(spin)
    path = str(tmp_path / f"x_{form}.dat")
    files.write(one, path)
    two = files.read(path)
    spinor = "interleaved" if spin == "spinor" else None
    same(rows_of(one, spinor), rows_of(two, spinor))
    assert two.hamiltonian.meta.spin == spin
    np.testing.assert_array_equal(two.structure.positions, one.structure.positions)
    np.testing.assert_array_equal(two.structure.cell, one.structure.cell)
    np.testing.assert_array_equal(two.structure.pbc, one.structure.pbc)
    np.testing.assert_allclose(two.extra["x_wannier90"]["positions"], one.structure.positions)
    assert two.extra["x_wannier90"]["numbers"].tolist() == one.structure.numbers.tolist()


def test_collinear_makes_two_files(tmp_path):
    one = calculation("collinear")
    files.write(one, str(tmp_path / "x_hr.dat"))
    up, down = (str(tmp_path / f"x_{spin}_hr.dat") for spin in ("up", "dn"))
    assert any("x_dn_hr.dat" in note for note in one.notes)
    two = files.read(up, companions=[down])
    same(rows_of(one), rows_of(two))


def test_fewer_digits(tmp_path):
    one = calculation("spinor")
    path = tmp_path / "x_hr.dat"
    files.write(one, str(path), digits=6)
    assert len(path.read_text().split("\n")[-2]) == 49  # Wannier90's own width
    np.testing.assert_allclose(bands(files.read(str(path)), K), bands(one, K), atol=1e-5)


def test_positions_round_trip(shared, tmp_path):
    one = files.read(str(shared / "foreign" / "qe_w90_si" / "si_tb.dat"))
    path = str(tmp_path / "si_tb.dat")
    files.write(one, path)
    two = files.read(path)
    assert not any("no si_wsvec" in note for note in two.notes)
    first, second = one.operators["position"], two.operators["position"]
    np.testing.assert_array_equal(first.pairs.R, second.pairs.R)
    np.testing.assert_allclose(first.data, second.data, atol=1e-15)
    np.testing.assert_array_equal(one.hamiltonian.data, two.hamiltonian.data)
    files.write(one, str(tmp_path / "y_hr.dat"))
    np.testing.assert_array_equal(
        files.read(str(tmp_path / "y_hr.dat")).hamiltonian.data, one.hamiltonian.data
    )


def test_atoms_of_the_run_go_through_a_block_file(shared, tmp_path):
    one = files.read(str(shared / "foreign" / "qe_w90_si" / "si_hr.dat"))
    convert(one, str(tmp_path / "si.h5"), Conversion("test"))
    with open_calculation(str(tmp_path / "si.h5")) as two:
        files.write(two, str(tmp_path / "y_hr.dat"))
    win = read_win(str(tmp_path / "y.win"))
    assert win.numbers.tolist() == [14, 14]
    np.testing.assert_array_equal(win.positions, one.extra["x_wannier90"]["positions"])


def test_overlaps_are_refused_or_orthogonalised(data, tmp_path):
    one = open_calculation(str(data / "hbn_soc.scfout"))
    path = str(tmp_path / "x_hr.dat")
    with pytest.raises(MoireioError, match=r"overlap is not 1.*orthogonalise"):
        files.write(one, path)
    with pytest.raises(MoireioError, match="no mesh"):
        files.write(one, path, orthogonalise="dense")
    assert not list(tmp_path.iterdir())
    files.write(one, path, orthogonalise="3x3")
    assert any("eV between them" in note for note in one.notes)
    two = files.read(path)
    s, h = BlochSum.from_source(one.overlap, spinor=True), BlochSum.from_source(one.hamiltonian)
    for k in [[0, 0, 0], [1 / 3, 1 / 3, 0], [1 / 3, 0, 0]]:
        root = np.linalg.cholesky(np.linalg.inv(s.dense(k)))
        exact = np.linalg.eigvalsh(root.conj().T @ h.dense(k) @ root)
        np.testing.assert_allclose(bands(two, [k])[0], exact, atol=1e-7)


def test_names_and_existing_files(tmp_path):
    one = calculation()
    with pytest.raises(MoireioError, match=r"as X_hr\.dat"):
        files.write(one, str(tmp_path / "x.dat"))
    (tmp_path / "x.win").write_text("mine")
    with pytest.raises(ExistingFileError):
        files.write(one, str(tmp_path / "x_hr.dat"))
    assert [path.name for path in tmp_path.iterdir()] == ["x.win"]
    files.write(one, str(tmp_path / "x_hr.dat"), force=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "x.win", "x_centres.xyz", "x_hr.dat",
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("spin", ["none", "spinor"])
def test_tbmodels_reads_it(tmp_path, spin):
    tbmodels = pytest.importorskip("tbmodels")
    one = calculation(spin)
    files.write(one, str(tmp_path / "x_hr.dat"))
    theirs = tbmodels.Model.from_wannier_files(
        hr_file=str(tmp_path / "x_hr.dat"),
        win_file=str(tmp_path / "x.win"),
        xyz_file=str(tmp_path / "x_centres.xyz"),
    )
    np.testing.assert_allclose([theirs.eigenval(k) for k in K], bands(one, K), atol=1e-9)
    reduced = one.structure.positions @ np.linalg.inv(one.structure.cell)
    copies = 2 if spin == "spinor" else 1
    sizes = one.hamiltonian.sizes
    assert copies * one.basis.sizes(one.structure).sum() == sizes.sum()
    gap = theirs.pos - np.repeat(reduced, sizes, axis=0)
    np.testing.assert_allclose(gap - np.rint(gap), 0, atol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_sisl_reads_it(tmp_path):
    sisl = pytest.importorskip("sisl")
    one = calculation("spinor")
    files.write(one, str(tmp_path / "x_hr.dat"))
    theirs = sisl.get_sile(str(tmp_path / "x.win")).read_hamiltonian(dtype=np.complex128)
    np.testing.assert_allclose([theirs.eigh(k) for k in K], bands(one, K), atol=1e-9)


@pytest.mark.filterwarnings("ignore")
def test_pythtb_reads_it(tmp_path):
    pythtb = pytest.importorskip("pythtb")
    one = calculation()
    files.write(one, str(tmp_path / "x_hr.dat"))
    (tmp_path / "x_band.kpt").write_text("0\n")
    theirs = pythtb.w90(str(tmp_path), "x").model()
    found = [theirs.solve_one(k) for k in K]
    np.testing.assert_allclose(found, bands(one, K), atol=1e-9)


@pytest.mark.parametrize("spin", ["none", "collinear"])
def test_both_forms_of_one_name_share_the_files_beside_them(tmp_path, spin):
    files.write(calculation(spin), str(tmp_path / "x_hr.dat"))
    files.write(calculation(spin), str(tmp_path / "x_tb.dat"))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    assert len(before) == (4 if spin == "none" else 8)
    for name in ("x_hr.dat", "x_tb.dat"):
        with pytest.raises(ExistingFileError, match="exists already, and belongs to"):
            files.write(calculation(spin, seed=4), str(tmp_path / name), force=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_images_of_another_run_are_not_left_beside(tmp_path):
    (tmp_path / "x_wsvec.dat").write_text("of a run of Wannier90")
    with pytest.raises(ExistingFileError, match=r"x_wsvec\.dat: is of another run"):
        files.write(calculation(), str(tmp_path / "x_hr.dat"), force=True)
    assert [p.name for p in tmp_path.iterdir()] == ["x_wsvec.dat"]


@pytest.mark.parametrize("digits", [0, -1, 400])
def test_digits_that_numbers_have_not(tmp_path, digits):
    for write, name in ((files.write, "x_hr.dat"), (files.write, "x_tb.dat"), (hr.write, "w.dat")):
        with pytest.raises(MoireioError, match="1 to 17 digits"):
            write(calculation(), str(tmp_path / name), digits=digits)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["x_hr.dat", "x_tb.dat", "w.dat"])
def test_wide_numbers_do_not_touch(tmp_path, name):
    """Levels of cores, cells far away."""
    h = {
        (0, 0, 0): np.diag([-123456.5, -2.25]),
        (-999, 200, -300): np.full((2, 2), -4321.5),
        (999, -200, 300): np.full((2, 2), -4321.5),
    }
    one = matrices.read(h, cell=np.eye(3), centres=[[0, 0, 0], [0, 0, 0.5]])
    program = hr if name == "w.dat" else files
    program.write(one, str(tmp_path / name), digits=2)
    same(rows_of(one), rows_of(program.read(str(tmp_path / name))))
