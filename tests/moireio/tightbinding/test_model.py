"""Laws of the distance, bonds, and what a model makes of a structure."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moireio.errors import MoireioError
from moireio.system.structure import Structure
from moireio.tightbinding.model import (
    Bond,
    Law,
    ModelSpecies,
    OrbitalShell,
    TightBindingModel,
)
from moireio.tightbinding.modelfile import read_model

SIGMA = {("s", "s", 0): Law(-1.0)}
S = OrbitalShell("s", (0,))
P = OrbitalShell("p", (-1, 0, 1))


def s_model(*bonds):
    """Return a model of s orbitals on C and N."""
    species = {n: ModelSpecies((S,), (0.0,), 1.0) for n in ("C", "N")}
    return TightBindingModel("test", species, tuple(bonds))


def test_laws():
    r = np.array([1.2, 2.0, 3.1])
    np.testing.assert_allclose(Law(2.0)(r), 2.0)
    np.testing.assert_allclose(Law(2.0, 1.4, 0.5)(r), 2 * np.exp(-(r - 1.4) / 0.5))
    np.testing.assert_allclose(Law(2.0, 1.4, power=2)(r), 2 * (1.4 / r) ** 2)
    product = 2 * np.exp(-(r - 1.4) / 0.5) * (1.4 / r) ** 3
    np.testing.assert_allclose(Law(2.0, 1.4, 0.5, 3)(r), product)
    bond = Bond(("C", "C"), cutoff=3.0, above=1.5, smooth=(2.0, 0.1))
    expected = [0, 0, 1 / 2, 1 / (1 + np.e**10), 0]
    factor = bond.factor(np.array([1.2, 1.5, 2.0, 3.0, 3.1]))
    np.testing.assert_allclose(factor, expected, atol=1e-15)
    assert Bond(("C", "C"), 9.0, smooth=(1.0, 1e-3)).factor(np.array([8.0])) < 1e-300


def test_shells_of_neighbours_are_bonds_of_their_own():
    """A neighbour at just the cutoff counts, once."""
    near = Bond(("C", "C"), 1.5, hopping=SIGMA)
    far = Bond(("C", "C"), 3.0, above=1.5, hopping={("s", "s", 0): Law(-0.1)})
    d = np.zeros((3, 4))
    d[0] = [1.0, 1.5, 1.5 + 1e-14, 3.0]
    hopping = s_model(near, far).blocks("hopping", "C", "C", d)[0, 0]
    np.testing.assert_allclose(hopping, [-1, -1, -1, -0.1])


def test_formulas_of_the_papers():
    """In a layer, straight above, and askew."""
    d = np.array([[1.42, 0, 2.0], [0, 0, -1.0], [0, 3.35, 3.4]])
    r = np.sqrt((d**2).sum(axis=0))
    c = (d[2] / r) ** 2
    a = 2.46
    expected = -2.7 * np.exp(-(r - a / np.sqrt(3)) / (0.184 * a)) * (1 - c)
    expected += 0.48 * np.exp(-(r - 3.35) / (0.184 * a)) * c
    hopping = read_model("moon-koshino").blocks("hopping", "C", "C", d)[0, 0]
    np.testing.assert_allclose(hopping, expected, rtol=1e-12)
    expected = -2.7 * np.exp(2.218 * (1.418 - r)) * (1 - c) + 0.48 * np.exp(2.218 * (3.349 - r)) * c
    expected /= 1 + np.exp((r - 6.14) / 0.265)
    hopping = read_model("trambly").blocks("hopping", "C", "C", d)[0, 0]
    np.testing.assert_allclose(hopping, expected, rtol=1e-7)


def test_cutoffs_and_reach():
    model = s_model(Bond(("C", "N"), 2.0, hopping=SIGMA), Bond(("N", "C"), 3.0, hopping=SIGMA))
    assert model.cutoff("C", "N") == model.cutoff("N", "C") == 3.0
    assert model.cutoff("C", "C") == 0
    atoms = Structure(np.eye(3) * 9, np.eye(3)[:2], [6, 7], [0, 1], ["graphitic", "N"], [True] * 3)
    assert model.names_for(atoms) == ["C", "N"]
    assert model.reach(atoms) == pytest.approx(np.array([[0, 3], [3, 0]]))
    basis = model.basis(atoms)
    assert [basis[n].cutoff for n in ("graphitic", "N")] == [1.5, 1.5]
    assert basis.orthogonal
    other = Structure(np.eye(3) * 9, [[0, 0, 0]], [42], [0], ["Mo"], [True] * 3)
    with pytest.raises(MoireioError, match="no species Mo"):
        model.names_for(other)


def test_an_overlap_makes_the_basis_not_orthogonal():
    model = s_model(Bond(("C", "C"), 2.0, hopping=SIGMA, overlap={("s", "s", 0): Law(0.1)}))
    assert not model.orthogonal
    d = np.array([[0.0, 1.0], [0, 0], [0, 0]])
    np.testing.assert_allclose(model.blocks("overlap", "C", "C", d)[0, 0], [1, 0.1])
    np.testing.assert_allclose(model.blocks("hopping", "C", "C", d)[0, 0], [0, -1])


@given(st.tuples(*[st.floats(-3, 3)] * 3).filter(lambda d: np.linalg.norm(d) > 0.1))
def test_a_bond_reads_the_same_from_either_end(d):
    """⟨A|O|B at d⟩ = ⟨B|O|A at −d⟩ᵀ, whichever species the file names first."""
    laws = {("s", "p", 0): Law(0.7, 1.0, 0.5), ("p", "p", 1): Law(-0.3, 1.0, power=2)}
    species = {n: ModelSpecies((S, P), (0.0,) * 4, 1.0) for n in ("C", "N")}
    bond = Bond(("C", "N"), 9.0, hopping=laws)
    one = TightBindingModel("one", species, (bond,))
    other = TightBindingModel("other", species, (bond.reversed(),))
    vector = np.array(d)[:, None]
    there = one.blocks("hopping", "C", "N", vector)[:, :, 0]
    back = one.blocks("hopping", "N", "C", -vector)[:, :, 0]
    np.testing.assert_allclose(there, back.T, atol=1e-12)
    np.testing.assert_array_equal(there, other.blocks("hopping", "C", "N", vector)[:, :, 0])
