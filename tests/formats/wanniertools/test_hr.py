"""WannierTools' Hamiltonians, dense and sparse."""

import gzip
import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers import random_operator, random_system
from scipy.linalg import eigh
from wannier_files import at_k, bands, hr_text, random_model, reference, sparse_text

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, ExistingFileError, MissingFileError, MoireioError
from moireio.formats.calculations import open_calculation
from moireio.formats.wannier90 import files as wannier90
from moireio.formats.wanniertools import hr
from moireio.operators.bloch import BlochSum
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis

K = np.random.default_rng(8).uniform(-0.5, 0.5, (4, 3))
INPUT = """&TB_FILE
Hrfile = "x.dat"  ! the file
{package}
/
&SYSTEM
SOC = {soc}
E_FERMI = 1.5d0
/
LATTICE
Bohr
4 0 0
0 5 0
0 0 6
ATOM_POSITIONS
2
Direct
C 0.1 0 0
H 0.5 1.5 0
PROJECTORS
3 1
C px py pz
H s
"""


def write_input(folder, soc=0, package="", name="wt.in"):
    (folder / name).write_text(INPUT.format(soc=soc, package=package))


@pytest.mark.parametrize(
    ("folder", "name", "formula"),
    [
        ("w90_bhz_wanniertools", "BHZ_hr.dat", "C"),
        ("w90_bhz_wanniertools", "wt.in", "C"),
        ("wanniertools_sparse_tbg244", "TG_hr.dat-sparse.gz", "C244"),
        ("wanniertools_sparse_tbg244", "wt.in-bands-sparse", "C244"),
    ],
)
def test_published_examples(shared, folder, name, formula):
    path = shared / "foreign" / folder / name
    assert hr.detect(str(path))
    calculation = hr.read(str(path))
    known = reference(path.parent)
    np.testing.assert_allclose(bands(calculation, known["k"]), known["eV"], atol=1e-9)
    assert calculation.structure.formula == formula
    assert calculation.electrons.fermi == 0
    assert calculation.structure.pbc.tolist() == [True, True, False]


def test_files_of_wannier90_are_left_to_it(shared):
    for name in ("qe_w90_si/si_hr.dat", "qe_w90_si/si.win", "tbmodels_haldane/haldane_hr.dat"):
        assert not hr.detect(str(shared / "foreign" / name))


@pytest.mark.parametrize("cells_line", [False, True])
def test_atoms_shells_and_order(tmp_path, cells_line):
    """Rows px, py, pz of C become m = −1, 0, 1."""
    cells, matrices = random_model(2, 4)
    (tmp_path / "x.dat").write_text(sparse_text(cells, matrices, cells_line=cells_line))
    write_input(tmp_path)
    assert hr.detect(str(tmp_path / "x.dat"))
    one = hr.read(str(tmp_path / "x.dat"))
    assert one.basis["C"].l == (1,)
    assert one.basis["H"].l == (0,)
    assert one.basis.orthogonal
    assert one.electrons.fermi == 1.5
    np.testing.assert_allclose(one.structure.positions[1] / 0.529177249, [2, 7.5, 0])
    order = [1, 2, 0, 3]
    total = BlochSum.from_source(one.hamiltonian)
    for k in K:
        expected = at_k(cells, matrices, k)[np.ix_(order, order)]
        np.testing.assert_allclose(total.dense(k), expected, atol=1e-11)


def test_the_other_name_of_a_card(tmp_path):
    cells, matrices = random_model(2, 4)
    (tmp_path / "x.dat").write_text(sparse_text(cells, matrices))
    (tmp_path / "wt.in").write_text(INPUT.format(soc=0, package="").replace("ORS", "OR"))
    assert hr.read(str(tmp_path / "x.dat")).basis["C"].l == (1,)


@pytest.mark.parametrize("package", ["", "Package = 'QE'"])
@pytest.mark.parametrize("dense", [False, True])
def test_spinor_rows(tmp_path, package, dense):
    cells, matrices = random_model(3, 8)
    text = hr_text(cells, matrices, comment="m") if dense else sparse_text(cells, matrices)
    (tmp_path / "x.dat").write_text(text)
    write_input(tmp_path, 1, package)
    one = hr.read(str(tmp_path / "x.dat"))
    assert one.hamiltonian.meta.spin == "spinor"
    # px up, px down, py up …; or all up, then all down
    order = [2, 4, 0, 3, 5, 1, 6, 7] if package else [1, 2, 0, 5, 6, 4, 3, 7]
    total = BlochSum.from_source(one.hamiltonian)
    for k in K:
        expected = at_k(cells, matrices, k)[np.ix_(order, order)]
        np.testing.assert_allclose(total.dense(k), expected, atol=1e-11)


@pytest.mark.parametrize("dense", [False, True])
def test_conjugated_spin_blocks_are_rebuilt_from_the_partner(tmp_path, dense):
    cells, matrices = random_model(4, 8)
    wrong = matrices.copy()
    wrong[:, 4:, :4] = wrong[:, :4, 4:].conj()
    text = hr_text(cells, wrong, comment="m") if dense else sparse_text(cells, wrong)
    (tmp_path / "x.dat").write_text(text)
    write_input(tmp_path, 1)
    one = hr.read(str(tmp_path / "x.dat"))
    exact = [np.linalg.eigvalsh(at_k(cells, matrices, k)) for k in K]
    np.testing.assert_allclose(bands(one, K), exact, atol=1e-10)
    assert any("not Hermitian" in note and "−R" in note for note in one.notes)
    wrong[3, 5, 1] += 0.1
    (tmp_path / "x.dat").write_text(sparse_text(cells, wrong))
    with pytest.raises(DamagedError, match="differ by"):
        hr.read(str(tmp_path / "x.dat"))


def test_hartree_of_openmx_and_a_file_without_spin(tmp_path):
    cells, matrices = random_model(5, 4)
    (tmp_path / "x.dat").write_text(sparse_text(cells, matrices))
    write_input(tmp_path, package="Package='OPENMX'")
    one = hr.read(str(tmp_path / "x.dat"))
    exact = [27.2113845 * np.linalg.eigvalsh(at_k(cells, matrices, k)) for k in K]
    np.testing.assert_allclose(bands(one, K), exact, atol=1e-9)
    assert any("Hartree" in note for note in one.notes)


def system(spin, seed=3):
    structure, basis = random_system(seed)
    h, _ = random_operator(seed, basis.sizes(structure), spin=spin)
    return Calculation("x", structure, Basis(basis.species, True), {"hamiltonian": h})


def same(one, two, name="hamiltonian"):
    a, b = one.operators[name], two.operators[name]
    for field in ("indptr", "j", "R"):
        np.testing.assert_array_equal(getattr(a.pairs, field), getattr(b.pairs, field))
    np.testing.assert_array_equal(a.data, b.data)


@pytest.mark.parametrize("spin", ["none", "spinor"])
@pytest.mark.parametrize("form", ["sparse", "dense"])
def test_round_trip_to_the_last_bit(tmp_path, spin, form):
    one = system(spin)
    hr.write(one, str(tmp_path / "x_hr.dat"), form=form)
    assert hr.detect(str(tmp_path / "x_hr.dat"))
    two = hr.read(str(tmp_path / "x_hr.dat"))
    same(one, two)
    assert two.structure.species_of_atoms == one.structure.species_of_atoms
    np.testing.assert_array_equal(two.structure.positions, one.structure.positions)
    np.testing.assert_array_equal(two.structure.cell, one.structure.cell)
    assert two.electrons is None
    one.electrons = Electrons(fermi=-0.5)
    hr.write(one, str(tmp_path / "x_hr.dat"), form=form, force=True)
    assert hr.read(str(tmp_path / "x_hr.dat")).electrons.fermi == -0.5
    assert {n: b.l for n, b in two.basis.species.items()} == {
        n: one.basis[n].l for n in two.basis.species
    }


@pytest.mark.parametrize("name", ["hbn_soc", "gr_ab"])
def test_round_trip_with_an_overlap(data, tmp_path, name):
    with open_calculation(str(data / f"{name}.scfout")) as one:
        hr.write(one, str(tmp_path / "x.dat"))
        two = hr.read(str(tmp_path / "x.dat"))
        assert (tmp_path / "x_overlap.dat").exists()
        assert not two.basis.orthogonal
        assert two.electrons.fermi == one.electrons.fermi
        sums = [
            (BlochSum.from_source(c.hamiltonian),
             BlochSum.from_source(c.overlap, spinor=name == "hbn_soc"))
            for c in (one, two)
        ]  # fmt: skip
        for k in K:
            (h, s), (h2, s2) = ((a.dense(k), b.dense(k)) for a, b in sums)
            np.testing.assert_allclose(h, h2, atol=1e-12)
            np.testing.assert_allclose(s, s2, atol=1e-12)
            assert eigh(h2, s2, eigvals_only=True)[0] < 0


def test_block_file_to_wannier90_to_wanniertools(data, tmp_path):
    """The dense form of orthogonalised orbitals is what Wannier90's reader takes."""
    with open_calculation(str(data / "hbn_soc.scfout")) as one:
        hr.write(one, str(tmp_path / "x_hr.dat"), form="dense", orthogonalise="2x2")
        with pytest.raises(MoireioError, match="overlap is not 1"):
            hr.write(one, str(tmp_path / "y_hr.dat"), form="dense", force=True)
        two = hr.read(str(tmp_path / "x_hr.dat"))
        three = wannier90.read(str(tmp_path / "x_hr.dat"))
        np.testing.assert_allclose(bands(two, K), bands(three, K), atol=1e-9)
        assert two.hamiltonian.meta.spin == "spinor"


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(MoireioError, match="collinear"):
        hr.write(system("collinear"), str(tmp_path / "x.dat"))
    with pytest.raises(MoireioError, match="sparse or dense"):
        hr.write(system("none"), str(tmp_path / "x.dat"), form="x")
    unknown = system("none")
    unknown.basis = replace(unknown.basis, orthogonal=False)
    for form in ("sparse", "dense"):
        with pytest.raises(MoireioError, match="has no overlap, and its orbitals are not orthog"):
            hr.write(unknown, str(tmp_path / "x.dat"), form=form)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "wt.in").write_text("mine")
    with pytest.raises(ExistingFileError, match=r"wt\.in"):
        hr.write(system("none"), str(tmp_path / "x.dat"))
    assert [path.name for path in tmp_path.iterdir()] == ["wt.in"]


def test_missing_companions_are_named(shared, tmp_path):
    cells, matrices = random_model(5, 4)
    (tmp_path / "x.dat").write_text(sparse_text(cells, matrices))
    one = hr.read(str(tmp_path / "x.dat"))
    assert any("no wt.in beside it" in note for note in one.notes)
    exact = [np.linalg.eigvalsh(at_k(cells, matrices, k)) for k in K]
    np.testing.assert_allclose(bands(one, K), exact, atol=1e-10)
    other = tmp_path / "other"
    other.mkdir()
    write_input(other, package="Overlapfile = 'S.dat', Orthogonal_Basis = F")
    with pytest.raises(MissingFileError, match=r"S\.dat"):
        hr.read(str(tmp_path / "x.dat"), companions=[str(other / "wt.in")])
    shutil.copy(tmp_path / "x.dat", tmp_path / "S.dat")  # beside the Hamiltonian
    found = hr.read(str(tmp_path / "x.dat"), companions=[str(other / "wt.in")])
    np.testing.assert_array_equal(found.overlap.data, found.hamiltonian.data)
    with pytest.raises(MissingFileError, match=r"names x\.dat, which is not there .*`companions`"):
        hr.read(str(other / "wt.in"))
    write_input(other)
    named = hr.read(str(other / "wt.in"), companions=[str(tmp_path / "x.dat")])
    assert list(named.operators) == ["hamiltonian"]
    np.testing.assert_allclose(bands(named, K), exact, atol=1e-10)
    shutil.copy(shared / "foreign/wanniertools_sparse_tbg244/TG_hr.dat-sparse.gz", other)
    poscar = str(shared / "foreign/wanniertools_sparse_tbg244/POSCAR-rigid")
    two = hr.read(str(other / "TG_hr.dat-sparse.gz"), companions=[poscar])
    assert two.structure.formula == "X1244"
    assert np.ptp(two.structure.positions, axis=0).min() > 1


def test_what_an_input_says_of_overlap_and_spin(tmp_path):
    """Neither is passed over in silence."""
    cells, matrices = random_model(5, 4)
    (tmp_path / "x.dat").write_text(sparse_text(cells, matrices))
    write_input(tmp_path, package="Orthogonal_Basis = F")
    with pytest.raises(MissingFileError, match=r"names no Overlapfile .*`companions`"):
        hr.read(str(tmp_path / "x.dat"))
    write_input(tmp_path, package="Overlapfile = 'S.dat'")
    assert any("Overlapfile is left out" in note for note in hr.read(str(tmp_path / "x.dat")).notes)
    cells, matrices = random_model(5, 8)
    (tmp_path / "x.dat").write_text(sparse_text(cells, matrices))
    for package, known in (("VASP", True), ("pwscf", True), ("mine", False)):
        write_input(tmp_path, soc=1, package=f"Package = '{package}'")
        notes = hr.read(str(tmp_path / "x.dat")).notes
        assert any("Package 'mine' is not known" in note for note in notes) != known


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: "", "ends where a comment"),
        (lambda t: t[: len(t) // 2], "cut short"),
        (
            lambda t: t.replace("! elements", "9 ! elements").replace(" 9 !", "9 !", 1),
            "too few|ends",
        ),
        (lambda t: t + t.rstrip().rpartition("\n")[2] + "\n", "goes on after"),
        (lambda t: t.replace("4 # orb", "3 # orb"), "i and j from 1 to 3"),
        (lambda t: t.replace("\n-1 -1 -1 1 2 ", "\n-1 -1 -1 1 1 ", 1), "twice"),
        (lambda t: t.replace("\n-1 -1 -1 1 2 ", "\n-1 -1 -1 1 x ", 1), "line 5"),
        (lambda t: t.replace("\n-1 -1 -1 1 2 ", "\n-1 -1 -1.5 1 2 ", 1), "line 5"),
        (lambda t: t.rstrip()[:-14] + "nan\n", "expected, found"),
    ],
)
def test_damage_is_named(tmp_path, change, words):
    cells, matrices = random_model(6, 4)
    path = tmp_path / "x.dat.gz"
    path.write_bytes(gzip.compress(change(sparse_text(cells, matrices)).encode()))
    with pytest.raises(DamagedError, match=words) as caught:
        hr.read(str(path))
    assert "x.dat.gz" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("3 1\n", "4 1\n", "C px py pz"),
        ("3 1\n", "2 1\n", "are 3 orbitals, but"),
        ("H s", "", "ends after"),
        ("0 0 6", "0 0 x", "three numbers expected"),
        ("0.5 1.5 0", "0.5 nan 0", "three numbers expected"),
        ("\n2\nDirect", "\nx\nDirect", "number of atoms"),
        ("H 0.5 1.5 0", "H 0.1 1.5 0\nH 0.5 1.5 0", "no more than 2 atoms expected"),
    ],
)
def test_damaged_inputs_are_named(tmp_path, old, new, words):
    cells, matrices = random_model(6, 4)
    (tmp_path / "x.dat").write_text(sparse_text(cells, matrices))
    (tmp_path / "wt.in").write_text(INPUT.format(soc=0, package="").replace(old, new))
    with pytest.raises(MoireioError, match=words) as caught:
        hr.read(str(tmp_path / "x.dat"), companions=[str(tmp_path / "wt.in")])
    assert "wt.in" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: "", r"wt\.in: is empty"),
        (lambda t: t[: t.index("/\n")], r"wt\.in: its namelist '&TB_FILE' has no end"),
        (lambda t: t.replace("&TB_FILE\n", ""), r"wt\.in: has no &TB_FILE"),
        (lambda t: t.replace("0 0 6", "0 0 x"), r"wt\.in: line \d+: three numbers"),
        (lambda t: t[: t.index("LATTICE")], r"wt\.in: has no card LATTICE .*`companions`"),
    ],
)
@pytest.mark.parametrize("dense", [False, True])
def test_a_damaged_input_beside_is_not_passed_over(tmp_path, change, words, dense):
    """Without it H was read with S = 1, no atoms and no spin."""
    cells, matrices = random_model(6, 4)
    text = (hr_text if dense else sparse_text)(cells, matrices)
    (tmp_path / "x.dat").write_text(text)
    (tmp_path / "wt.in").write_text(change(INPUT.format(soc=0, package="")))
    assert hr.detect(str(tmp_path / "x.dat"))
    with pytest.raises(MoireioError, match=words):
        hr.read(str(tmp_path / "x.dat"))
    (tmp_path / "x.win").touch()  # a dense one is Wannier90's then
    assert hr.detect(str(tmp_path / "x.dat")) != dense


def test_a_hamiltonian_with_a_damaged_head(tmp_path):
    """The input names it."""
    write_input(tmp_path)
    (tmp_path / "x.dat").write_text("comment\nx\n4\n")
    assert open_calculation_fails(tmp_path / "x.dat").startswith(f"{tmp_path}/x.dat: line 2: ")


def open_calculation_fails(path):
    with pytest.raises(MoireioError) as caught:
        open_calculation(str(path))
    return str(caught.value)


def test_an_overlap_of_other_atoms(data, tmp_path):
    with open_calculation(str(data / "gr_ab.scfout")) as one:
        hr.write(one, str(tmp_path / "x.dat"))
    assert not [note for note in hr.read(str(tmp_path / "x.dat")).notes if "overlap" in note]
    text = (tmp_path / "wt.in").read_text()
    lines = text.split("\n")
    at = next(n for n, line in enumerate(lines) if line.startswith("ATOM_POSITIONS")) + 3
    name, x, *rest = lines[at].split()
    lines[at] = " ".join([name, repr(float(x) + 0.1), *rest])
    (tmp_path / "wt.in").write_text("\n".join(lines))
    (note,) = [note for note in hr.read(str(tmp_path / "x.dat")).notes if "overlap" in note]
    assert "is wt.in of another calculation or step?" in note
