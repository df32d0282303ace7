"""Bases: sizes, names, and the notation of OpenMX."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from orbitals import gaussian_basis

from moireio.errors import MoireioError
from moireio.system.basis import Basis, SpeciesBasis, parse_name
from moireio.system.structure import Structure
from moireio.units import BOHR_ANGSTROM

momenta = st.lists(st.integers(0, 5), max_size=6)


@given(momenta)
def test_size_is_that_of_the_groups(l):  # noqa: E741
    basis = SpeciesBasis(l)
    assert basis.size == sum(2 * v + 1 for v in l) == sum(n for _, n in basis.groups)
    assert len({name for name, _ in basis.groups}) == len(l)


@given(st.lists(st.tuples(st.sampled_from("spdfgh"), st.integers(1, 4)), min_size=1))
def test_names_and_labels_agree(shells):
    """The label of a basis without a name is what `parse_name` reads."""
    counts = dict(shells)
    text = "".join(f"{letter}{counts[letter]}" for letter in "spdfgh" if letter in counts)
    basis, element = parse_name(f"Mo7.0-{text}")
    assert element == "Mo"
    assert basis.cutoff == 7.0 * BOHR_ANGSTROM
    assert basis.label == f"Mo7.0-{text}"
    assert SpeciesBasis(basis.l).label == text


def test_names_of_openmx():
    basis, element = parse_name("H5.0-s4>1")
    assert (basis.l, element) == ((0,), "H")
    basis, element = parse_name("E-s1")
    assert (basis.cutoff, element) == (None, "E")
    basis, _ = parse_name("C6.0_1s-s2p2d1")
    assert basis.l == (0, 0, 1, 1, 2)
    for wrong in ("C", "C6.0", "C6.0-", "C6.0-x2", "6.0-s1", ""):
        with pytest.raises(MoireioError, match="not a basis name"):
            parse_name(wrong)


def test_incomplete_shells():
    basis = SpeciesBasis((1, 2), m=(0, 2))
    assert basis.size == 2
    assert basis.groups == [("pz", 1), ("dx2-y2", 1)]
    assert SpeciesBasis((0, 0, 1)).groups == [("s1", 1), ("s2", 1), ("p1", 3)]


def test_angular_momenta_have_bounds():
    for wrong in (-1, 6):
        with pytest.raises(MoireioError, match="between 0 and 5"):
            SpeciesBasis((0, wrong))


def test_same_radial_functions():
    one, two = gaussian_basis("s2p1"), gaussian_basis("s2p1")
    assert one.same_radial(two)
    assert not one.same_radial(gaussian_basis("s2p2"))
    r, values = two.radial
    assert not one.same_radial(SpeciesBasis(two.l, radial=(r, values * 1.001)))
    assert not one.same_radial(SpeciesBasis(two.l))


def test_basis_of_a_structure():
    structure = Structure(
        np.eye(3) * 9, np.eye(3), [6, 7, 6], [0, 1, 0], ["C", "N"], [True, True, True]
    )
    basis = Basis({"C": SpeciesBasis((0, 1), valence=4), "N": SpeciesBasis((0, 1, 2), valence=5)})
    assert basis.covers(structure)
    assert basis.sizes(structure).tolist() == [4, 9, 4]
    assert basis.valence(structure) == 13
    unknown = Basis({"C": SpeciesBasis((0,), valence=4), "N": SpeciesBasis((0,))})
    assert unknown.valence(structure) is None
    assert not Basis({"C": SpeciesBasis((0,))}).covers(structure)
    with pytest.raises(MoireioError, match="no basis for species N"):
        Basis({"C": SpeciesBasis((0,))}).sizes(structure)
