"""S between near atoms against their direction, where a mesh of k points truncates S(R)."""

import numpy as np
from foreign_levels import begin_of_last, blocks_of, harmonics


def near_misfit(calculation, momentum, reach):
    """Largest part of ⟨s|l m⟩ that is not a positive multiple of −Y_lm(to s), up to a distance.

    The second atom's lobe of positive sign points away from the first: ⟨s|l m⟩ has the sign
    (−1)^l Y_lm of the vector between them. Relative to the largest of them.
    """
    structure, basis = calculation.structure, calculation.basis
    largest = worst = 0.0
    for i, j, R, (block,) in blocks_of(calculation.overlap):
        first, second = (basis[structure.species_of_atoms[a]].l for a in (i, j))
        vector = structure.positions[j] + R @ structure.cell - structure.positions[i]
        length = np.linalg.norm(vector)
        if not 1e-3 < length < reach:
            continue
        begin = begin_of_last(second, momentum)
        found = block[begin_of_last(first, 0)][begin : begin + 2 * momentum + 1]
        expected = (-1) ** momentum * harmonics(momentum, vector / length)
        along = max(0.0, (found @ expected).real / (expected @ expected))
        largest = max(largest, np.abs(found).max())
        worst = max(worst, np.abs(found - along * expected).max())
    assert largest > 0.01
    return worst / largest
