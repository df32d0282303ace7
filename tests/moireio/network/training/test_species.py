"""Calculations that fit each other."""

from dataclasses import replace

import pytest
from systems import basis, small_model

from moireio.errors import MoireioError
from moireio.network.training.sets import CalculationSummary
from moireio.network.training.species import CollectedSpecies

NUMBERS = {"C": 6, "N": 7}


def summary(own, spinful=False):
    elements = {n: NUMBERS[n] for n in own.species}
    return CalculationSummary(0.0, "blake2b:0", dict(own.species), elements, spinful)


def test_species_in_order_of_their_elements():
    species = CollectedSpecies()
    species.accept("b", summary(basis(N="s2p1")))
    species.accept("a", summary(basis(C="s1p1d1")))
    found, numbers = species.beyond((), need_cutoffs=True)
    assert list(found.species) == ["C", "N"]
    assert numbers == [6, 7]
    assert species.beyond([6], need_cutoffs=False)[1] == [7]


def test_other_orbitals_and_spins_are_refused():
    species = CollectedSpecies()
    species.accept("a", summary(basis(C="s1p1d1")))
    with pytest.raises(MoireioError, match="b: species C has"):
        species.accept("b", summary(basis(C="s1p1")))
    with pytest.raises(MoireioError, match="b: its Hamiltonian is not spinless, as that of a is"):
        species.accept("b", summary(basis(C="s1p1d1"), spinful=True))
    with pytest.raises(MoireioError, match="in the model"):
        CollectedSpecies(small_model()).accept("c", summary(basis(C="s1p1")))


def test_cutoffs_that_are_missing():
    species, own = CollectedSpecies(), basis(C="s1p1d1")
    whole = summary(own)
    species.accept("a", replace(whole, basis={"C": replace(own["C"], cutoff=None)}))
    with pytest.raises(MoireioError, match="the cutoff of species C is not known"):
        species.beyond((), need_cutoffs=True)
