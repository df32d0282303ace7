"""Sites of orbitals that belong to no shell."""

import numpy as np
import pytest

from moireio.errors import MoireioError
from moireio.formats.assembly.elements import matrices_from_source, source_from_matrices
from moireio.formats.assembly.sites import MOST_AT_ONE_SITE, sites

CELL = np.diag([3.0, 4.0, 5.0])
CENTRES = [[1, 1, 1], [0, 0, 0], [1, 1, 1 + 1e-6], [-7, 0, 0], [0, 0, 0]]


def hermitian(rng, n):
    """Return cells and matrices of a random H."""
    cells = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0]])
    one = rng.normal(size=(2, n, n)) + 1j * rng.normal(size=(2, n, n))
    return cells, [one[0] + one[0].conj().T, one[1], one[1].conj().T]


def test_orbitals_of_one_centre_share_a_site():
    structure, basis, orbitals = sites(CELL, CENTRES, 5)
    assert structure.species_of_atoms == ["X2", "X2", "X1"]
    np.testing.assert_array_equal(structure.positions, [[1, 1, 1], [0, 0, 0], [-7, 0, 0]])
    assert not structure.numbers.any()
    assert basis.orthogonal
    assert basis["X2"].l == (0, 0)
    np.testing.assert_array_equal(orbitals.rows, [0, 2, 1, 4, 3])
    np.testing.assert_array_equal(orbitals.sizes, [2, 2, 1])


@pytest.mark.parametrize("spinor", [None, "blocks", "interleaved"])
def test_matrices_come_back(spinor):
    _, _, orbitals = sites(CELL, CENTRES, 5, spinor=spinor)
    cells, matrices = hermitian(np.random.default_rng(3), 10 if spinor else 5)
    kind = "spinor" if spinor else "none"
    source = source_from_matrices("hamiltonian", cells, matrices, orbitals, label="test", spin=kind)
    back, (listed,) = matrices_from_source(source, orbitals)
    for cell, matrix in zip(back.tolist(), listed, strict=True):
        np.testing.assert_array_equal(matrix.toarray(), matrices[cells.tolist().index(cell)])


def test_spinor_blocks_have_all_up_orbitals_of_a_site_first():
    for spinor, rows in (
        ("blocks", [0, 4, 1, 8, 5, 2, 6, 3, 9, 7]),
        ("interleaved", [0, 2, 4, 6, 1, 3, 8, 9, 5, 7]),
    ):
        np.testing.assert_array_equal(sites(CELL, CENTRES, 5, spinor=spinor)[2].rows, rows)


def test_without_centres_orbitals_are_on_one_site_at_0():
    structure = sites(CELL, None, 3)[0]
    assert structure.species_of_atoms == ["X3"]
    assert not structure.positions.any()
    assert len(sites(CELL, None, MOST_AT_ONE_SITE + 1)[0]) == MOST_AT_ONE_SITE + 1


def test_what_cannot_be_placed_is_refused():
    with pytest.raises(MoireioError, match="not finite"):
        sites(CELL, [[np.nan, 0, 0]], 1)
    with pytest.raises(MoireioError, match=r"farther than 1e\+06 Å"):
        sites(CELL, [[0, 0, 0], [0, -1e300, 0]], 2)
    with pytest.raises(MoireioError, match="no orbitals"):
        sites(CELL, None, 0)
