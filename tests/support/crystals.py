"""Structures of which only the cell matters."""

import numpy as np

from moireio.system.structure import Structure

SIXTY = [[2.46, 0, 0], [1.23, 2.13042249, 0], [0, 0, 20]]
HUNDRED_TWENTY = [[2.46, 0, 0], [-1.23, 2.13042249, 0], [0, 0, 20]]


def one_atom(cell, pbc=(True, True, False)):
    """Return one atom in a cell."""
    return Structure(cell, np.zeros((1, 3)), [6], [0], ["C"], pbc)


GRAPHENE = np.array([[2.46, 0, 0], [1.23, 2.46 * np.sqrt(0.75), 0], [0, 0, 6.7]])


def graphene(layers=1, pbc=(True, True, False)):
    """Return one layer, or two in AA stacking, 3.35 Å (half of the cell's height) apart."""
    flat = np.array([[1, 1, 0], [2, 2, 0]]) / 3 @ GRAPHENE
    positions = np.concatenate([flat + np.array([0, 0, 3.35 * n]) for n in range(layers)])
    count = len(positions)
    return Structure(GRAPHENE, positions, [6] * count, [0] * count, ["C"], pbc)


def assert_moves_atoms(structure, operation, tolerance=1e-9):
    """Assert that an operation takes atoms to where it claims, within Å."""
    images = structure.positions @ operation.rotation.T + operation.translation
    there = structure.positions[operation.atoms] + operation.cells @ structure.cell
    assert np.linalg.norm(images - there, axis=1).max() < tolerance
    assert (structure.species[operation.atoms] == structure.species).all()
