"""Libraries of radial functions behind a path."""

import numpy as np
import pytest
from crystals import one_atom
from helpers import write_file
from orbitals import gaussian, gaussian_basis, write_pao

from moireio.errors import MoireioError
from moireio.formats.openmx.library import PaoFolder, open_library
from moireio.integrals.library import BasisOfFile
from moireio.store.transaction import write_container
from moireio.system.basis import Basis, SpeciesBasis
from moireio.units import BOHR_ANGSTROM


@pytest.fixture
def atoms():
    return one_atom(np.diag([9.0] * 3))


def test_a_folder_of_orbital_files(tmp_path):
    """It has a basis by its name, with the functions of the file."""
    write_pao(tmp_path / "C7.0.pao")
    library = open_library(str(tmp_path))
    assert isinstance(library, PaoFolder)
    assert library.label == str(tmp_path)
    assert library.default("C", "C") is None
    basis = library.find("C1", "C", "C7.0-s1p1")
    assert (basis.name, basis.l, basis.valence) == ("C7.0-s1p1", (0, 1), 4.0)
    r, values = basis.radial
    expected = gaussian(0, 0.8, r / BOHR_ANGSTROM)
    np.testing.assert_allclose(values[0] * BOHR_ANGSTROM**1.5, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("element", "name", "complaint"),
    [
        ("N", "N7.0-s1", r"has no N7\.0\.pao"),
        ("C", "C7.0-s3", "C7.0-s3 needs 3"),
        ("Si", "C7.0-s1", "basis C7.0-s1 is not one of Si"),
    ],
)
def test_a_basis_that_a_folder_does_not_have(tmp_path, element, name, complaint):
    write_pao(tmp_path / "C7.0.pao")
    with pytest.raises(MoireioError, match=complaint) as raised:
        PaoFolder(str(tmp_path)).find(element, element, name)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("suffix", [".h5", ".zarr"])
def test_a_block_file_with_radial_functions(tmp_path, atoms, suffix):
    """A folder is a block file too where it is a Zarr store."""
    own = gaussian_basis("s2p1")
    path = str(write_file(tmp_path / f"x{suffix}", atoms, Basis({"C": own})))
    library = open_library(path)
    assert isinstance(library, BasisOfFile)
    basis = library.find("C", "C", own.name)
    assert basis.l == own.l
    np.testing.assert_array_equal(basis.radial[1], own.radial[1])


def test_what_is_no_library(tmp_path, atoms):
    write_pao(tmp_path / "C7.0.pao")
    with pytest.raises(MoireioError, match=r"is one orbital file \(give the folder it lies in\)"):
        open_library(str(tmp_path / "C7.0.pao"))
    with write_container(tmp_path / "other.h5") as out:
        out.set_attributes("", {"format": "of another program"})
    with pytest.raises(MoireioError, match=r"other\.h5: is neither a block file nor a model file"):
        open_library(str(tmp_path / "other.h5"))
    with write_container(tmp_path / "bare.h5") as out:
        out.set_attributes("", {"format": "moireio"})
    with pytest.raises(MoireioError, match=r"bare\.h5: has no /basis with radial functions"):
        open_library(str(tmp_path / "bare.h5"))
    names = Basis({"C": SpeciesBasis((0, 1), "C7.0-s1p1")})
    library = open_library(str(write_file(tmp_path / "names.h5", atoms, names)))
    with pytest.raises(MoireioError, match="radial functions"):
        library.find("C", "C", "C7.0-s1p1")


def test_the_default_of_a_folder_is_the_usual_basis_if_its_file_is_there(tmp_path):
    library = PaoFolder(str(tmp_path))
    write_pao(tmp_path / "C7.0.pao")
    assert (library.default("C", "C"), library.known("C", "C")) == (None, ["C7.0"])
    write_pao(tmp_path / "C6.0.pao")
    assert library.default("C", "C") == "C6.0-s2p2d1"
    assert library.known("X", "X") == []
