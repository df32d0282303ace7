"""Levels and states from anchors against LAPACK."""

import numpy as np
import pytest
from anchored_systems import GMKG, Exact, bilayer, line, solve_from_anchors, supercell

from moireio.kspace.mesh import make_mesh
from moireio.spectrum.anchors.anchor import Anchor


@pytest.fixture(scope="module")
def folded():
    """AB bilayer graphene, its bands folded 36 times."""
    structure, *operators = bilayer()
    structure, h, s = supercell(structure, (6, 6, 1), *operators)
    return structure, h, s, Exact(h, s)


def test_a_wrong_basis_is_noticed(folded):
    """Anchors all at Γ do not suffice: others are added, and every band is right."""
    structure, h, s, exact = folded
    energies, states = exact.pairs(np.zeros(3))
    part = slice(60, 84)
    anchors = [Anchor(np.zeros(3), energies[part], states[:, part], part.start)] * 3
    how = {"tolerance": 1e-8, "anchors": anchors, "exact": exact}
    found = solve_from_anchors(structure, h, s, GMKG[::2], (70, 73), **how)
    assert found.direct
    assert found.ratio <= 1
    assert found.bounds.max() <= 1e-8


def test_states_solve_the_eigenproblem(folded):
    structure, h, s, exact = folded
    k = line([[0, 0, 0], [0.2, 0.1, 0]], [12])
    found = solve_from_anchors(structure, h, s, k, (70, 73), states=True, exact=exact)
    assert len(found.direct) < len(k)
    for point, states in found.states.items():
        image = s.dense(k[point]) @ states
        assert np.abs(states.conj().T @ image - np.eye(4)).max() < 1e-8
        residual = h.dense(k[point]) @ states - image * found.energies[point]
        assert np.linalg.norm(residual, axis=0).max() < 1e-2


@pytest.fixture(scope="module")
def mesh(folded):
    """k points of a part of the zone, and LAPACK's levels."""
    structure, h, s, exact = folded
    return structure, h, s, 0.4 * make_mesh(structure, [7, 7]).k, exact


def test_a_mesh_needs_few_anchors(mesh):
    """All levels of a mesh lie in one plane, numbered from the anchors on."""
    *system, exact = mesh
    found = solve_from_anchors(*system, (70, 73), exact=exact)
    assert found.ratio <= 1
    assert found.accuracy.factorisations <= 14


def test_small_matrices_that_do_not_fit_are_not_made(mesh):
    """Though the states would fit."""
    *system, exact = mesh
    found = solve_from_anchors(*system, (70, 73), exact=exact, memory=2e7)
    assert found.accuracy.factorisations == len(found.energies) == 49
    assert "20.0 MB may be used" in found.accuracy.notes[0]


def test_time_reversal_gives_an_anchor_for_each_that_is_solved(folded):
    """The states at −k are the complex conjugates, in the phases of H(−k)."""
    structure, h, s, exact = folded
    k = 0.05 * (make_mesh(structure, [7, 7]).k * 7 - [3, 3, 0]) + np.array([0.001, 0.002, 0])
    k = np.concatenate([k, -k])
    found = solve_from_anchors(structure, h, s, k, (70, 73), states=True, exact=exact)
    assert found.ratio <= 1
    solved = {point % 49 for point in found.direct}
    assert len(solved) == len(found.direct) <= 14
    for point in found.direct:
        other = (point + 49) % 98
        assert np.array_equal(found.states[other], found.states[point].conj())
        assert np.array_equal(found.energies[other], found.energies[point])
