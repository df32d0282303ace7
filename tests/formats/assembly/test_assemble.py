"""Calculations from the parts that a reader has found."""

import numpy as np
from helpers import random_operator, random_system

from moireio.formats.assembly.assemble import assemble
from moireio.operators.views import ArraySource


def test_overlap_has_the_pairs_of_the_hamiltonian():
    """Programs leave out small elements; the pairs that S lacks are zeros, the others stay."""
    structure, basis = random_system(3)
    sizes = basis.sizes(structure)
    hamiltonian = random_operator(3, sizes)[0]
    overlap, blocks = random_operator(3, sizes, name="overlap")
    fewer = {key: block for key, block in blocks.items() if key[0] == key[1] or key[2] == (0, 0, 0)}
    assert len(fewer) < len(blocks)
    few = ArraySource.from_blocks(overlap.meta, sizes, fewer)
    calculation = assemble(
        "x", structure, basis, {"hamiltonian": hamiltonian, "overlap": few}, pbc=structure.pbc
    )
    found = calculation.overlap
    assert np.array_equal(found.pairs.keys(), calculation.hamiltonian.pairs.keys())
    for i, j, R in zip(found.pairs.i, found.pairs.j, overlap.pairs.R, strict=True):
        key = int(i), int(j), tuple(R.tolist())
        place = int(overlap.pairs.find(i, j, R)[0])
        starts = np.concatenate([[0], np.cumsum(overlap.pairs.block_elements(sizes))])
        block = found.data[starts[place] : starts[place + 1]]
        assert np.array_equal(block, np.ravel(fewer.get(key, 0 * blocks[key])))
