"""Operations of crystals in space, multiplied and named."""

import numpy as np
import pytest
from crystals import assert_moves_atoms, graphene

from moireio.errors import MoireioError
from moireio.symmetry.finder import crystal_operations
from moireio.symmetry.operations import (
    chosen_operations,
    cyclic,
    generated_operations,
    time_reversal,
)


def names(operations):
    return sorted(o.name for o in operations)


def test_products():
    structure = graphene()
    found = crystal_operations(structure)
    a, b = (next(o for o in found if o.name == n) for n in ("C3", "Mx"))
    both = a @ b
    assert_moves_atoms(structure, both)
    assert np.abs(both.rotation - a.rotation @ b.rotation).max() < 1e-12
    assert (a @ time_reversal(structure)).name == "C3T"
    assert names(cyclic(a)) == ["C3", "C3^-1", "E"]
    assert a.order == 3
    assert len(generated_operations([a, b])) == 6
    k = np.array([0.1, 0.2, 0.0])
    cartesian = a.of_k(k) @ structure.reciprocal
    assert np.abs(cartesian - a.rotation @ (k @ structure.reciprocal)).max() < 1e-12


def test_operations_by_name():
    found = crystal_operations(graphene())
    chosen = chosen_operations(found, ["c3", "C2x", "C3z"])
    assert [o.name for o in chosen] == ["C3", "C2x", "C3"]
    turned = [o for o in found if o.name not in ("C2x", "C2y")]
    assert chosen_operations(turned, ["C2x"])[0].name == "C2(30°)"
    with pytest.raises(MoireioError, match=r"no operation C4 \(it has Mx, C2y, "):
        chosen_operations(found, ["C4"])
