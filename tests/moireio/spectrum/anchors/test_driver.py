"""Levels of hard systems from anchors, against LAPACK."""

import numpy as np
from anchored_systems import Exact, blocks_of, carbon, line, solve_from_anchors, sum_of

from moireio.spectrum.anchors.anchor import Anchor


def copies_of(structure, operator, splitting):
    """Two copies of a system at the same places, uncoupled, their levels apart by a little."""
    count, blocks = len(structure), {}
    for (i, j, R), block in blocks_of(operator).items():
        own = splitting * np.eye(len(block)) if i == j and R == (0, 0, 0) else 0
        blocks[i, j, R] = block
        blocks[i + count, j + count, R] = block + own
    positions = np.concatenate([structure.positions] * 2)
    whole = carbon(structure.cell, positions, structure.pbc)
    return whole, sum_of(np.tile(np.diff(operator.atom_start), 2), blocks)


def random_chain(seed, count=8, size=3):
    """Chains that do not couple, of atoms at random places, three orbitals each."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 1, (count, 3)) * [1.5 * count, 2, 2]
    cell = np.diag([1.5 * count, 20, 20])
    blocks = {}
    for i in range(count):
        for j in range(i + 1):
            for n in (-1, 0, 1):
                length = np.linalg.norm(positions[j] + [n * cell[0, 0], 0, 0] - positions[i])
                block = rng.normal(size=(size, size)) * 2 * np.exp(-length / 1.2)
                if i == j and n == 0:
                    block = np.diag(rng.normal(size=size))
                if i != j or n >= 0:
                    blocks[i, j, (n, 0, 0)] = block
                    blocks[j, i, (-n, 0, 0)] = block.T
    return carbon(cell, positions, (True, True, False)), sum_of([size] * count, blocks)


def test_a_corner_keeps_the_bounds_of_its_energies():
    """A corner belongs to two lines; its energies are those of the first, which has others."""
    structure, h = random_chain(1, count=14)
    exact = Exact(h, None)
    known = []
    for x in (0.02, 0.15):
        energies, states = exact.pairs([x, 0, 0])
        known.append(Anchor(np.array([x, 0, 0]), energies[8:32], states[:, 8:32], 8))
    k = line([[0, 0, 0], [0.25, 0, 0], [0.4, 0.1, 0]], [8, 4])
    how = {"anchors": known, "exact": exact, "tolerance": 1e-2}
    found = solve_from_anchors(structure, h, None, k, (18, 21), **how)
    assert found.ratio <= 1
    assert found.errors[8].max() > 4e-10
