"""Pairs of atoms that overlap."""

from dataclasses import replace

import numpy as np
import pytest
from systems import basis, random_structure, structure

from moireio.errors import MoireioError
from moireio.integrals.pairs import overlapping_pairs
from moireio.system.basis import Basis
from moireio.units import BOHR_ANGSTROM


def test_pairs_are_all_within_the_cutoffs():
    atoms, orbitals = random_structure(3, n=4), basis(C="s1", N="s1")
    pairs = overlapping_pairs(atoms, orbitals)
    reach = 2 * 7.0 * BOHR_ANGSTROM
    span = range(-3, 4)
    R = np.array([(x, y, z) for x in span for y in span for z in span])
    count = 0
    for i in range(len(atoms)):
        d = atoms.positions + (R @ atoms.cell)[:, None] - atoms.positions[i]
        count += int((np.linalg.norm(d, axis=-1) < reach).sum())
    assert len(pairs) == count


def test_each_pair_of_species_has_its_reach():
    """Cutoffs of 2 and 3 Å: 4, 5 and 6 Å."""
    short = {"C": 2.0, "N": 3.0}
    orbitals = Basis({n: replace(basis()[n], cutoff=c) for n, c in short.items()})
    for kinds, reach in (([0, 0], 4.0), ([0, 1], 5.0), ([1, 1], 6.0)):
        for d, count in ((reach - 0.01, 4), (reach + 0.01, 2)):
            atoms = structure([[0.0, 0, 0], [0, 0, d]], np.eye(3) * 30, kinds)
            assert len(overlapping_pairs(atoms, orbitals)) == count


def test_refusals():
    atoms = structure([[0.0, 0, 0], [0, 0, 0.05]], np.diag([9.0] * 3), [0, 0])
    with pytest.raises(MoireioError, match=r"atoms 0 and 1 are 0\.050 Å apart"):
        overlapping_pairs(atoms, basis(C="s1"))
    unknown = Basis({"C": replace(basis(C="s1")["C"], cutoff=None)})
    with pytest.raises(MoireioError, match="cutoff of the orbitals of C is not known"):
        overlapping_pairs(atoms, unknown)
