"""Two-centre operators: partners are adjoints to the last bit, whatever the run of atoms."""

from itertools import pairwise

import numpy as np
import pytest
from helpers import random_system
from hypothesis import assume, given
from hypothesis import strategies as st

from moireio.operators.catalogue import operator_type
from moireio.operators.twocentre import PairSource, place_blocks
from moireio.operators.views import FullView, UpperView
from moireio.system.neighbours import TOO_CLOSE, close_pairs


class Toy(PairSource):
    """Blocks that depend on both species and on the vector, with no symmetry of their own."""

    def _fill(self, out, offsets, species, swapped, vectors):
        a, b = species
        rows, columns = (self.shells[n] for n in species)
        grid = np.add.outer(3.0 * np.arange(rows), np.arange(columns)) + 10 * a + b
        distance = np.sqrt((vectors**2).sum(axis=0))
        blocks = np.sin(grid[..., None] * (1 + distance) + vectors[0])
        onsite = distance == 0
        blocks[..., onsite] = (blocks + blocks.transpose(1, 0, 2))[..., onsite] if a == b else 0
        place_blocks(out, offsets, blocks, swapped)


def toy(seed):
    structure, basis = random_system(seed)
    pairs = close_pairs(structure, np.full((3, 3), 4.0))
    source = Toy(structure, basis, pairs, operator_type("overlap").meta())
    source.shells = [sum(2 * n + 1 for n in basis[name].l) for name in basis.species]
    return source


@given(st.integers(0, 10**6))
def test_partners_are_exact_adjoints(seed):
    assume(random_system(seed)[0].closest_pair(TOO_CLOSE) is None)
    source = toy(seed)
    full = source.rows(0, 4)
    np.testing.assert_array_equal(FullView(UpperView(source)).rows(0, 4), full)


@pytest.mark.parametrize("bounds", [(0, 1, 4), (0, 2, 3, 4)])
def test_runs_of_atoms_join_to_the_whole(bounds):
    source = toy(1)
    parts = [source.rows(a, b) for a, b in pairwise(bounds)]
    np.testing.assert_array_equal(np.concatenate(parts), source.rows(0, 4))


def test_blocks_are_placed_row_by_row_or_transposed():
    blocks = np.arange(12.0).reshape(2, 3, 2)  # two pairs
    flat = np.zeros(13)
    place_blocks(flat, np.array([6, 0]), blocks, swapped=False)
    np.testing.assert_array_equal(flat[6:12], blocks[..., 0].ravel())
    place_blocks(flat, np.array([6, 0]), blocks, swapped=True)
    np.testing.assert_array_equal(flat[:6], blocks[..., 1].T.ravel())
