"""OpenMX's orbital files, and where a basis comes from."""

from dataclasses import replace

import numpy as np
import pytest
from orbitals import gaussian, gaussian_basis, write_pao

from moireio.errors import MoireioError
from moireio.formats.openmx import pao
from moireio.formats.openmx.library import PaoFolder
from moireio.integrals.library import BasisOfFile, complete_basis
from moireio.system.basis import Basis, SpeciesBasis
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
    ("name", "told"),
    [
        ("N7.0-s1", "has no N7.0.pao"),
        ("C7.0-s3", "has 2 functions with l = 0 (s), C7.0-s3 needs 3"),
        ("C7.0-s1g1", "has 0 functions with l = 4 (g)"),
        ("C-s1", "does not tell a cutoff"),
        ("carbon", "is not a basis name"),
    ],
)
def test_what_a_folder_lacks(folder, name, told):
    with pytest.raises(MoireioError) as error:
        pao.species_basis(str(folder), name)
    assert told in str(error.value)


def test_element_of_a_basis(folder):
    with pytest.raises(MoireioError, match="is not one of N"):
        pao.species_basis(str(folder), "C7.0-s1", "N")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda t: t[: len(t) // 2], "the table of l = .* is damaged"),
        (lambda t: t.replace("1.", "x.", 40), "stands where a number is expected"),
        (lambda t: "nothing here\n", "holds no radial functions"),
        (lambda t: t.replace(".L=1>", ".L=9>"), "'pseudo.atomic.orbita' stands where a number"),
    ],
)
def test_damaged_files(folder, damage, told):
    path = folder / "C7.0.pao"
    path.write_text(damage(path.read_text()))
    with pytest.raises(MoireioError, match=told) as error:
        pao.read(str(path))
    assert str(path) in str(error.value)


def test_short_table(folder):
    text = (folder / "C7.0.pao").read_text()
    (folder / "C9.5.pao").write_text(text)
    with pytest.raises(MoireioError, match=r"ends at 7\.400 Bohr, before the cutoff"):
        pao.species_basis(str(folder), "C9.5-s1")


def test_sources_of_a_basis(folder, atoms):
    library = PaoFolder(str(folder))
    from_folder = complete_basis(atoms, None, {"C": "C7.0-s2p1"}, library, "x.h5")
    named = Basis({"C": SpeciesBasis((0, 0, 1), "C7.0-s2p1", valence=3.0)})
    filled = complete_basis(atoms, named, {}, library, "x.h5")
    np.testing.assert_array_equal(filled["C"].radial[1], from_folder["C"].radial[1])
    assert filled["C"].valence == 3.0
    assert complete_basis(atoms, filled, {}, None, "x.h5")["C"] is filled["C"]
    again = complete_basis(atoms, filled, {"C": "C7.0-s2p1"}, library, "x.h5")
    assert again["C"].name == "C7.0-s2p1"
    other = complete_basis(atoms, None, {}, BasisOfFile(filled, "model.h5"), "x.h5")
    assert other["C"] is filled["C"]


def test_sources_that_disagree(folder, atoms):
    library, own = PaoFolder(str(folder)), gaussian_basis("s2p1")
    cases = [
        (None, {}, library, "no basis for species C"),
        (None, {"C": "C7.0-s1"}, None, "no radial functions for species C"),
        (None, {"N": "N7.0-s1"}, library, "has no species N"),
        (Basis({"C": own}), {"C": "C7.0-s1"}, None, "has the basis C7.0-s2p1, but `basis` gives"),
        (
            Basis({"C": replace(own, radial=(own.radial[0], own.radial[1] * 1.01))}),
            {},
            library,
            "differ from those in",
        ),
        (Basis({"C": SpeciesBasis((0, 1), "C7.0-s2p1")}), {}, library, "are not C7.0-s2p1"),
        (Basis({"C": own}, orthogonal=True), {}, library, "S is 1"),
        (None, {"C": "C7.0-s1"}, BasisOfFile(Basis({"C": own}), "m.h5"), "m.h5: has C7.0-s2p1"),
        (None, {}, BasisOfFile(Basis({"N": own}), "m.h5"), "no basis for species C"),
    ]
    for basis, names, where, told in cases:
        with pytest.raises(MoireioError) as error:
            complete_basis(atoms, basis, names, where, "x.h5")
        assert told in str(error.value), told
