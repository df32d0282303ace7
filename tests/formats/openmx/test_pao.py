"""OpenMX's orbital files, and where a basis comes from."""

import numpy as np
import pytest
from orbitals import gaussian, write_pao

from moireio.errors import MoireioError
from moireio.formats.openmx import pao
from moireio.system.structure import Structure
from moireio.units import BOHR_ANGSTROM


@pytest.fixture
def folder(tmp_path):
    write_pao(tmp_path / "C7.0.pao")
    return tmp_path


@pytest.fixture
def atoms():
    return Structure(np.eye(3) * 9, [[0.0, 0, 0], [1.4, 0, 0]], [6, 6], [0, 0], ["C"], [True] * 3)


def test_radial_functions_and_units(folder):
    basis = pao.species_basis(str(folder), "C7.0-s2p1d1", "C")
    assert basis.l == (0, 0, 1, 2)
    assert basis.valence == 4
    r, R = basis.radial
    bohr = r / BOHR_ANGSTROM
    for values, momentum, a in zip(R, basis.l, (0.8, 1.9, 0.9, 1.1), strict=True):
        np.testing.assert_allclose(
            values * BOHR_ANGSTROM**1.5, gaussian(momentum, a, bohr), rtol=1e-12
        )
        assert abs(np.trapezoid(values**2 * r**2, r) - 1) < 1e-4
    assert basis.cutoff == 7 * BOHR_ANGSTROM


def test_folder_of_openmx(folder):
    (folder / "PAO").mkdir()
    (folder / "C7.0.pao").rename(folder / "PAO" / "C7.0.pao")
    assert pao.species_basis(str(folder), "C7.0-s1").l == (0,)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("N7.0-s1", "has no N7.0.pao, which basis N7.0-s1 needs (it has none of N)"),
        ("C6.0-s1", "has no C6.0.pao, which basis C6.0-s1 needs (of C it has C7.0)"),
        ("C-s1", "has no C.pao"),
        ("C7.0-s3", "has 2 functions with l = 0 (s), C7.0-s3 needs 3"),
        ("C7.0-s1g1", "has 0 functions with l = 4 (g)"),
        ("carbon", "is not a basis name"),
    ],
)
def test_what_a_folder_lacks(folder, name, complaint):
    with pytest.raises(MoireioError) as error:
        pao.species_basis(str(folder), name)
    assert complaint in str(error.value)


def test_element_of_a_basis(folder):
    with pytest.raises(MoireioError, match="is not one of N"):
        pao.species_basis(str(folder), "C7.0-s1", "N")


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (lambda t: t[: len(t) // 2], "the table <pseudo.atomic.orbitals.L=1 .* does not end"),
        (lambda t: t.replace(" 1.", " x.", 40), "line .* stands where a number is expected"),
        (lambda t: "nothing here\n", "has no PAO.Lmax"),
        (lambda t: t.replace(".L=1>", ".L=9>"), "the table <pseudo.atomic.orbitals.L=1 of line"),
        (lambda t: t.replace("PAO.Lmax   3", "PAO.Lmax 4"), "has no table <.*L=4"),
        (lambda t: t.replace("PAO.Mul    2", "PAO.Mul 3"), r"has 4 numbers, 5 are expected"),
        (lambda t: t.replace("PAO.Mul    2", "PAO.Mul many"), "line 5: PAO.Mul: 'many' stands"),
        (lambda t: t.replace("radial.cutoff.pao", "radius"), "has no radial.cutoff.pao"),
        (lambda t: t.replace("pao  7.0", "pao  700"), "radial.cutoff.pao is 700 Bohr, up to 50"),
        (lambda t: t.replace("pao  7.0", "pao  nan"), "line 3: radial.cutoff.pao: 'nan' stands"),
        (lambda t: t.replace("electron   4.0", "electron 4e9"), "valence.electron is 4e.09"),
        (lambda t: t + "grid.num.output 800\n", "tables of 900 lines, but grid.num.output is 800"),
    ],
)
def test_damaged_files(folder, damage, complaint):
    path = folder / "C7.0.pao"
    path.write_text(damage(path.read_text()))
    with pytest.raises(MoireioError, match=complaint) as error:
        pao.read(str(path))
    assert str(path) in str(error.value)


def edited(folder, momentum, line, column, number):
    """The file with one number of a table of its own."""
    path = folder / "C7.0.pao"
    lines = path.read_text().splitlines()
    at = lines.index(f"<pseudo.atomic.orbitals.L={momentum}") + line
    words = lines[at].split()
    words[column] = number(words[column]) if callable(number) else number
    lines[at] = " ".join(words)
    path.write_text("\n".join(lines))
    return str(path)


@pytest.mark.parametrize(
    ("line", "column", "number", "complaint"),
    [
        (500, 1, lambda r: f"{float(r) * 1.001:.15e}", "l = 1 has another grid than that of l = 0"),
        (500, 0, "-9.0", r"table of l = 1, line 500: -9 is not ln"),
        (650, 2, lambda f: f"{float(f) + 0.2:.15e}", r"line 650: function 1 jumps to"),
        (650, 3, "1e300", "1e300 is out of range"),
        (650, 3, "1e9", "function 2: ∫ R² r² dr is .*, 1 is expected"),
        (650, 3, "nan", "'nan' stands where a number"),
    ],
)
def test_numbers_of_a_table_that_contradict_others(folder, line, column, number, complaint):
    """The grid is given three times; functions are smooth and normalised."""
    with pytest.raises(MoireioError, match=complaint):
        pao.read(edited(folder, 1, line, column, number))


def test_orbital_files_of_openmx(shared):
    for path in sorted((shared / "pao").glob("*.pao")):
        file = pao.read(str(path))
        assert file.cutoff == float(path.stem.lstrip("BCHiMNORTeno"))
        assert len(file.functions[3]) == 15


def test_the_cutoff_is_that_of_the_file(folder):
    """OpenMX takes it from radial.cutoff.pao; C2Si8.pao is a virtual atom of 7 Bohr."""
    text = (folder / "C7.0.pao").read_text()
    for stem in ("C9.5", "C2Si8", "C_1"):
        (folder / f"{stem}.pao").write_text(text)
        basis = pao.species_basis(str(folder), f"{stem}-s1", "C")
        assert basis.cutoff == 7 * BOHR_ANGSTROM
    (folder / "C9.5.pao").write_text(text.replace("pao  7.0", "pao  7.5"))
    with pytest.raises(MoireioError, match=r"ends at 7\.400 Bohr, before its cutoff of 7\.5 Bohr"):
        pao.species_basis(str(folder), "C9.5-s1")


def test_contracted_orbitals_are_not_in_the_file(folder):
    with pytest.raises(MoireioError, match="has contracted orbitals") as error:
        pao.species_basis(str(folder), "C7.0-s2>1p2>1", "C")
    assert "give `basis` C=C_1-s1p1; or use C7.0-s2p2" in str(error.value)
    assert pao.species_basis(str(folder), "C7.0-s1>1p1", "C").l == (0, 1)


def test_file_of_another_element(folder):
    path = folder / "C7.0.pao"
    path.write_text("AtomSpecies 7\n" + path.read_text())
    with pytest.raises(MoireioError, match=r"C7.0.pao: is of N \(AtomSpecies 7\), not of C"):
        pao.species_basis(str(folder), "C7.0-s1")
    path.rename(folder / "C2Si8.pao")  # a virtual atom
    assert pao.species_basis(str(folder), "C2Si8-s1").l == (0,)


def test_an_empty_atom_has_no_electrons(folder):
    basis = pao.species_basis(str(folder), "C7.0-s1p1", "X")
    assert (basis.valence, basis.l) == (0.0, (0, 1))


def test_files_of_an_element(folder):
    (folder / "PAO").mkdir()
    for name in ("C6.0.pao", "Co6.0S.pao", "C_1.pao", "C2Si8.pao", "C6.0.vps"):
        (folder / "PAO" / name).touch()
    assert pao.stems(str(folder), "C") == ["C2Si8", "C6.0", "C7.0", "C_1"]
    assert pao.stems(str(folder / "none"), "C") == []
