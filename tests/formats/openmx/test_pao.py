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
        ("N7.0-s1", "has no N7.0.pao"),
        ("C7.0-s3", "has 2 functions with l = 0 (s), C7.0-s3 needs 3"),
        ("C7.0-s1g1", "has 0 functions with l = 4 (g)"),
        ("C-s1", "gives no cutoff"),
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
        (lambda t: t[: len(t) // 2], "the table of l = .* is damaged"),
        (lambda t: t.replace("1.", "x.", 40), "stands where a number is expected"),
        (lambda t: "nothing here\n", "holds no radial functions"),
        (lambda t: t.replace(".L=1>", ".L=9>"), "'pseudo.atomic.orbita' stands where a number"),
    ],
)
def test_damaged_files(folder, damage, complaint):
    path = folder / "C7.0.pao"
    path.write_text(damage(path.read_text()))
    with pytest.raises(MoireioError, match=complaint) as error:
        pao.read(str(path))
    assert str(path) in str(error.value)


def test_short_table(folder):
    text = (folder / "C7.0.pao").read_text()
    (folder / "C9.5.pao").write_text(text)
    with pytest.raises(MoireioError, match=r"ends at 7\.400 Bohr, before the cutoff"):
        pao.species_basis(str(folder), "C9.5-s1")
