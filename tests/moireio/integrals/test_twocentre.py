"""Two-centre integrals as functions of the vector between the atoms."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from orbitals import EXPONENTS, gaussian_basis
from scipy.spatial.transform import Rotation
from systems import rotation_of_orbitals

from moireio.integrals.twocentre import TwoCentre
from moireio.system.radial import radial_functions
from moireio.units import BOHR_ANGSTROM


def shells(text):
    return radial_functions("C", gaussian_basis(text))


TWO = [shells("s1p1d1"), shells("s2p1")]
TABLES = TwoCentre(TWO, [(0, 0), (0, 1), (1, 1)])
vectors = st.tuples(*[st.floats(-4, 4)] * 3).map(np.array)


def test_s_orbitals_by_formula():
    """⟨a|b⟩ of two normalised s Gaussians: (2√(ab)/(a+b))^(3/2) exp(−ab/(a+b) d²)."""
    a = np.array(EXPONENTS[0])
    mean, reduced = a[:, None] + a, a[:, None] * a / (a[:, None] + a)
    d = np.array([0.0, 0.9, 1.7, 3.1])
    overlaps = TwoCentre([shells("s2")], [(0, 0)])(0, 0, np.array([0 * d, 0 * d, d]))
    expected = (2 * np.sqrt(a[:, None] * a) / mean) ** 1.5
    expected = expected[..., None] * np.exp(-reduced[..., None] * (d / BOHR_ANGSTROM) ** 2)
    np.testing.assert_allclose(overlaps, expected, atol=1e-7)


def test_at_one_place_shells_are_orthonormal():
    """Up to the overlap of the two s functions of one atom."""
    S = TABLES(0, 0, np.zeros((3, 1)))[:, :, 0]
    np.testing.assert_allclose(S, np.eye(9), atol=1e-6)


@given(vectors)
def test_reversed_vectors(d):
    """⟨φ_a|φ_b(−d)⟩ = (−1)^(l_a + l_b) ⟨φ_a|φ_b(d)⟩, to the last digit."""
    parity = [np.repeat([(-1) ** s.l for s in set_], [2 * s.l + 1 for s in set_]) for set_ in TWO]
    there, back = TABLES(0, 1, d[:, None]), TABLES(0, 1, -d[:, None])
    np.testing.assert_array_equal(back, parity[0][:, None, None] * parity[1][:, None] * there)


@given(vectors, st.integers(0, 1000))
@settings(max_examples=15)
def test_rotated_vectors(d, seed):
    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    D = [rotation_of_orbitals([s.l for s in set_], turn) for set_ in TWO]
    before = TABLES(0, 1, d[:, None])[:, :, 0]
    after = TABLES(0, 1, (turn @ d)[:, None])[:, :, 0]
    np.testing.assert_allclose(after, D[0] @ before @ D[1].T, atol=1e-9)


def test_numbers_depend_on_their_own_vector_only():
    d = np.random.default_rng(0).normal(size=(3, 50)) * 2
    together = TABLES(0, 1, d)
    for n in (0, 7, 49):
        np.testing.assert_array_equal(TABLES(0, 1, d[:, n : n + 1])[..., 0], together[..., n])


def test_zero_beyond_the_reach():
    far = np.array([[0.0], [0.0], [2 * TWO[0][0].end + 0.1]])
    np.testing.assert_allclose(TABLES(0, 0, far), 0, atol=1e-12)
