"""Where radial functions come from, and sources that disagree."""

from dataclasses import replace

import numpy as np
import pytest
from orbitals import gaussian_basis
from systems import structure

from moireio.errors import MoireioError
from moireio.integrals.library import (
    BasisOfFile,
    complete_basis,
    shipped_library,
    with_radial,
)
from moireio.system.basis import Basis, SpeciesBasis


class Folder:
    """A library that has every basis by its name, as a folder of orbital files."""

    label, fallback = "folder", False

    def __init__(self, default=None):
        self.usual = default

    def default(self, species, element):
        return self.usual

    def known(self, species, element):
        return ["C5.0", "C7.0"] if element == "C" else []

    def find(self, species, element, name):
        return gaussian_basis(name.partition("-")[2], element)


@pytest.fixture
def atoms():
    return structure([[0.0, 0, 0]], np.diag([9.0] * 3), [0])


def test_sources_of_a_basis(atoms):
    from_folder = complete_basis(atoms, None, {"C": "C7.0-s2p1"}, Folder(), "x.h5")
    named = Basis({"C": SpeciesBasis((0, 0, 1), "C7.0-s2p1", valence=3.0)})
    filled = complete_basis(atoms, named, {}, Folder(), "x.h5")
    np.testing.assert_array_equal(filled["C"].radial[1], from_folder["C"].radial[1])
    assert filled["C"].valence == 3.0
    assert complete_basis(atoms, filled, {}, None, "x.h5")["C"] is filled["C"]
    again = complete_basis(atoms, filled, {"C": "C7.0-s2p1"}, Folder(), "x.h5")
    assert again["C"].name == "C7.0-s2p1"
    other = complete_basis(atoms, None, {}, BasisOfFile(filled, "model.h5"), "x.h5")
    assert other["C"] is filled["C"]


def test_sources_that_disagree(atoms):
    carbon = gaussian_basis("s2p1")
    r, values = carbon.radial
    altered = replace(carbon, radial=(r, values * 1.01))
    cases = {
        "no basis for species C (folder has C5.0, C7.0: give `basis` C=C5.0-s2p2d1 or alike)": (
            None,
            {},
            Folder(),
        ),
        "no basis for species C (give `basis` C=NAME": (None, {}, None),
        "no radial functions for species C": (None, {"C": "C7.0-s1"}, None),
        "has no species N, which `basis` names": (None, {"N": "N7.0-s1"}, Folder()),
        "the basis C7.0-s2p1, but `basis` gives": (Basis({"C": carbon}), {"C": "C7.0-s1"}, None),
        "differ from those in folder": (Basis({"C": altered}), {}, Folder()),
        "are not C7.0-s2p1": (Basis({"C": SpeciesBasis((0, 1), "C7.0-s2p1")}), {}, Folder()),
        "S is 1": (Basis({"C": carbon}, orthogonal=True), {}, Folder()),
        "m.h5: has C7.0-s2p1": (
            None,
            {"C": "C7.0-s1"},
            BasisOfFile(Basis({"C": carbon}), "m.h5"),
        ),
        "no basis for species C": (None, {}, BasisOfFile(Basis({"N": carbon}), "m.h5")),
        "m.h5: has no radial functions for C": (
            None,
            {"C": "C7.0-s2p1"},
            BasisOfFile(Basis({}), "m.h5"),
        ),
    }
    for message, (stored, names, library) in cases.items():
        with pytest.raises(MoireioError) as error:
            complete_basis(atoms, stored, names, library, "x.h5")
        assert message in str(error.value)


def test_a_fallback_serves_only_its_own_basis(atoms):
    carbon = gaussian_basis("s2p1")
    shipped = BasisOfFile(Basis({"C": carbon}), "shipped.h5", fallback=True)
    assert complete_basis(atoms, None, {}, shipped, "x.h5")["C"] is carbon
    with pytest.raises(MoireioError, match="give `pao`"):
        complete_basis(atoms, None, {"C": "C7.0-s1"}, shipped, "x.h5")
    stored = Basis({"C": gaussian_basis("s1")})
    assert complete_basis(atoms, stored, {}, shipped, "x.h5")["C"] is stored["C"]


def test_radial_functions_of_a_model():
    """Names of a model's species need not be symbols."""
    model = Basis({"top": SpeciesBasis((0, 0, 1)), "N": SpeciesBasis((0,), "N7.0-s1")})
    names = {"top": "C7.0-s2p1"}
    filled = with_radial(model, {"top": 6, "N": 7}, names, Folder(), "model.h5")
    assert filled["top"].name == "C7.0-s2p1"
    assert filled["N"].radial is not None
    with pytest.raises(MoireioError, match="no basis for species top"):
        with_radial(model, {"top": 6, "N": 7}, {}, Folder(), "model.h5")


def test_shipped_orbitals(atoms):
    library = shipped_library(atoms)
    assert library.fallback
    assert complete_basis(atoms, None, {}, library, "x.h5")["C"].radial is not None
    assert shipped_library(structure([[0.0, 0, 0]], np.eye(3) * 9, [1])) is None


def test_a_folder_completes_what_has_no_basis(atoms):
    """With its default, unless the orbitals that are stored are others."""
    assert complete_basis(atoms, None, {}, Folder("C7.0-s2p1"), "x.h5")["C"].name == "C7.0-s2p1"
    unnamed = Basis({"C": SpeciesBasis((0, 0, 1))})
    completed = complete_basis(atoms, unnamed, {}, Folder("C7.0-s2p1"), "x.h5")
    assert completed["C"].name == "C7.0-s2p1"
    with pytest.raises(MoireioError, match=r"give `basis` C=C5.0-s2p1 or alike"):
        complete_basis(atoms, unnamed, {}, Folder("C7.0-s2p2d1"), "x.h5")


def test_optimised_orbitals_replace_contracted_ones(atoms):
    stored = Basis({"C": SpeciesBasis((0, 1), "C6.0-s2>1p2>1", valence=4.0)})
    completed = complete_basis(atoms, stored, {"C": "C_1-s1p1"}, Folder(), "x.h5")
    assert completed["C"].valence == 4.0
    assert completed["C"].radial is not None
    with pytest.raises(MoireioError, match="are not C_1-s2p1"):
        complete_basis(atoms, stored, {"C": "C_1-s2p1"}, Folder(), "x.h5")
