"""Densities in space."""

import numpy as np
import pytest
from orbitals import gaussian_basis

from moireio.errors import MoireioError
from moireio.projection.realspace import density_on_grid
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure


def atom(size=9.0, corner=0.0):
    return Structure(np.eye(3) * size, np.full((1, 3), corner), [6], [0], ["C"], [True, True, True])


@pytest.mark.parametrize("spinor", [False, True])
def test_one_orbital_integrates_to_one(spinor):
    """Of one atom in a large cell, at its corner: the parts beyond the faces come back inside."""
    basis = Basis({"C": gaussian_basis("s1p1")})
    states = np.eye(8 if spinor else 4, dtype=complex)
    ticks = []
    for column in range(states.shape[1]):
        values = density_on_grid(
            atom(),
            basis,
            np.zeros(3),
            states[:, column : column + 1],
            0.25,
            spinor,
            lambda steps, total: ticks.append((steps, total)),
        )
        assert values.mean() * 9.0**3 == pytest.approx(1.0, abs=2e-3)
    assert ticks == [(1, 1)] * states.shape[1]


def test_density_moves_with_the_atom():
    basis = Basis({"C": gaussian_basis("s1p1")})
    states = np.array([[0.6], [0.0], [0.8j], [0.0]])
    here = density_on_grid(atom(8.0), basis, np.zeros(3), states, 0.5)
    there = density_on_grid(atom(8.0, corner=2.0), basis, np.zeros(3), states, 0.5)
    assert np.roll(here, (4, 4, 4), axis=(0, 1, 2)) == pytest.approx(there, abs=1e-9)


def test_radial_functions_are_needed():
    basis = Basis({"C": SpeciesBasis(l=(0,))})
    with pytest.raises(MoireioError, match="radial"):
        density_on_grid(atom(), basis, np.zeros(3), np.ones((1, 1)), 1.0)
