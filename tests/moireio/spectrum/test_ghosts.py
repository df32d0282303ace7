"""Levels that errors of H put where none is."""

import numpy as np
import pytest

import moireio
from moireio.operators.blocks import read_pairs
from moireio.operators.views import ArraySource
from moireio.spectrum.ghosts import find_ghosts

ATOMS = np.arange(4)


@pytest.fixture(scope="module")
def bilayer(made):
    with moireio.open(made["gr_ab"]) as file:
        yield file


def disturbed(H, S, k=(0.5, 0, 0), shift=-1.5, home=(0, 0, 0)):
    """H with a level of the smallest eigenvector of S(k), by what blocks of the home cell do."""
    values, vectors = np.linalg.eigh(S.at_k(k, dense=True))
    c = vectors[:, 0].real
    data, offsets = read_pairs(H, np.arange(len(H.pairs)))
    begin = np.concatenate([[0], np.cumsum(H.sizes)])
    level = (c @ H.at_k(k, dense=True).real @ c) / values[0]
    factor = (shift - level) * values[0]
    for p in np.flatnonzero((np.array(home) == H.pairs.R).all(axis=1)):
        i, j = H.pairs.i[p], H.pairs.j[p]
        block = np.outer(c[begin[i] : begin[i + 1]], c[begin[j] : begin[j + 1]])
        data[offsets[p] : offsets[p + 1]] += factor * block.ravel()
    return ArraySource(H.meta, H.sizes, H.pairs, data)


def test_none_in_a_calculation(bilayer):
    H, S = bilayer.hamiltonian.full(), bilayer.overlap.full()
    assert find_ghosts(H, S, bilayer.structure, 16, ATOMS) == []


def test_a_level_in_the_null_space_of_the_overlap(bilayer):
    """An error of some meV in single elements moves a level down by tens of eV."""
    H, S = bilayer.hamiltonian.full(), bilayer.overlap.full()
    wrong = disturbed(bilayer.hamiltonian.full(), bilayer.overlap)
    before = bilayer.hamiltonian.full().rows(0, 4)
    assert 0.001 < np.abs(wrong.rows(0, 4) - before).max() < 0.2
    (ghost, *_) = find_ghosts(wrong, S, bilayer.structure, 16, ATOMS)
    assert max(weight for _, weight, _ in ghost.levels) > 100
    assert set(ghost.atoms) <= set(range(4))
    assert "level at " in str(ghost)
    assert "|c|² up to" in str(ghost)
    assert find_ghosts(H, S, bilayer.structure, 16, ATOMS) == []
