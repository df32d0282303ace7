"""Builders of Kwant."""

import contextlib
from typing import NamedTuple

import numpy as np
import pytest
from foreign_levels import levels

from moireio.errors import MoireioError
from moireio.formats import kwant as ours
from moireio.formats import matrices

with contextlib.suppress(ImportError, ValueError):  # built for another NumPy
    import kwant
needs_kwant = pytest.mark.skipif("kwant" not in globals(), reason="Kwant is not installed")


def haldane():
    lattice = kwant.lattice.honeycomb(2.46, norbs=1)
    a, b = lattice.sublattices
    builder = kwant.Builder(kwant.TranslationalSymmetry(lattice.vec((1, 0)), lattice.vec((0, 1))))
    builder[a(0, 0)] = 0.2
    builder[b(0, 0)] = lambda site, mass: -mass
    builder[lattice.neighbors()] = -1.0
    for family, second in ((a, 0.15j), (b, -0.15j)):
        for vector in ((0, 1), (1, -1), (-1, 0)):
            builder[kwant.builder.HoppingKind(vector, family, family)] = second
    return builder


def random_builder(dimension, rng):
    """Two sites of two orbitals, and hoppings that leave the cell."""
    lattice = kwant.lattice.general(
        rng.normal(size=(3, 3)) + 3 * np.eye(3), [(0, 0, 0), (0.1, 0.2, 3.3)], norbs=2
    )
    vectors = [lattice.vec(v) for v in np.eye(3, dtype=int)[:dimension]]
    builder = kwant.Builder(*[kwant.TranslationalSymmetry(*vectors)] if vectors else [])
    a, b = lattice.sublattices
    for family in (a, b):
        energy = rng.normal(size=(2, 2))
        builder[family(0, 0, 0)] = energy + energy.T
    hops = [(a(0, 0, 0), b(0, 0, 0))]
    hops += [(b(0, 0, 0), a(1, 0, 0))] if dimension else []
    hops += [(b(2, 0, 0), b(2, -1, 1))] if dimension == 3 else []
    for one, other in hops:
        builder[one, other] = rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2))
    return builder


def bands_of_kwant(builder, dimension, k, **params):
    system = (kwant.wraparound.wraparound(builder) if dimension else builder).finalized()
    phases = {f"k_{axis}": 2 * np.pi * value for axis, value in zip("xyz", k, strict=False)}
    return np.linalg.eigvalsh(system.hamiltonian_submatrix(params=phases | params))


@needs_kwant
def test_bands_of_kwant_at_random_k():
    """Haldane's model has no time reversal: the wrong sign of k is seen."""
    builder = haldane()
    calculation = ours.read(builder, {"mass": 0.2})
    assert calculation.structure.pbc.tolist() == [True, True, False]
    wrong = 0.0
    for k in np.random.default_rng(4).random((5, 2)):
        expected = bands_of_kwant(builder, 2, k, mass=0.2)
        np.testing.assert_allclose(levels(calculation, [*k, 0])[0], expected, atol=1e-13)
        wrong = max(wrong, np.abs(levels(calculation, [*-k, 0])[0] - expected).max())
    assert wrong > 0.1


@needs_kwant
@pytest.mark.parametrize("dimension", [0, 1, 3])
def test_any_number_of_periods(dimension):
    rng = np.random.default_rng(dimension)
    builder = random_builder(dimension, rng)
    calculation = ours.read(builder)
    assert calculation.structure.pbc.sum() == dimension
    k = rng.random(dimension)
    np.testing.assert_allclose(
        levels(calculation, [*k, 0, 0, 0][:3])[0],
        bands_of_kwant(builder, dimension, k),
        atol=1e-13,
    )
    again = ours.read(ours.write(calculation))
    np.testing.assert_array_equal(again.hamiltonian.data, calculation.hamiltonian.data)
    np.testing.assert_array_equal(again.hamiltonian.pairs.R, calculation.hamiltonian.pairs.R)
    np.testing.assert_allclose(
        again.structure.positions, calculation.structure.positions, atol=1e-14
    )


class Site(NamedTuple):
    """A site of `Builder`: its family in the cell that its tag names."""

    family: int
    tag: tuple[int, ...]
    pos: tuple[float, ...]


class Builder:
    """What the reader takes of Kwant's builders: sites of the first cell, hoppings from there."""

    def __init__(self, dimension, rng):
        self.periods = 3 * np.eye(3)[:dimension] + 0.3 * rng.normal(size=(dimension, 3))
        self.symmetry, self.places = self, rng.uniform(-4, 4, (2, 3))
        first = (0,) * dimension
        a, b = self.site(0, first), self.site(1, first)
        self.energies = {a: 0.4, b: lambda site, mass: np.array([[mass, 1j], [-1j, -mass]])}
        self.hoppings = {(a, b): rng.normal(size=(1, 2))}
        for n in range(dimension):
            R = tuple(rng.integers(1, 3, dimension).tolist())
            matrix = rng.normal(size=(2, 2)) + 1j * rng.normal(size=(2, 2))
            self.hoppings[b, self.site(1, (*R[:n], -3, *R[n + 1 :]))] = matrix
            self.hoppings[b, self.site(0, R)] = rng.normal(size=(2, 1))

    def site(self, family, tag):
        return Site(family, tag, tuple(self.places[family] + np.array(tag) @ self.periods))

    def which(self, site):
        return site.tag

    def to_fd(self, site):
        return self.site(site.family, (0,) * len(site.tag))

    def site_value_pairs(self):
        return self.energies.items()

    def hopping_value_pairs(self):
        return self.hoppings.items()


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_a_builder_by_its_attributes_alone(dimension):
    """Any object like Kwant's: H(k) is the sum of all hoppings and their adjoints."""
    rng = np.random.default_rng(dimension)
    builder = Builder(dimension, rng)
    calculation = ours.read(builder, {"mass": 0.2})
    np.testing.assert_allclose(calculation.structure.positions, builder.places, atol=1e-12)
    np.testing.assert_allclose(calculation.structure.cell[:dimension], builder.periods)
    rows = slice(0, 1), slice(1, 3)
    for k in rng.uniform(-1, 1, (4, 3)) * (np.arange(3) < dimension):
        H = np.array([[0.4, 0, 0], [0, 0.2, 1j], [0, -1j, -0.2]])
        for (a, b), value in builder.hoppings.items():
            one = np.zeros((3, 3), dtype=complex)
            one[rows[a.family], rows[b.family]] = value
            one *= np.exp(2j * np.pi * k[:dimension] @ b.tag)
            H = H + one + one.conj().T
        np.testing.assert_allclose(levels(calculation, k)[0], np.linalg.eigvalsh(H), atol=1e-12)
    with pytest.raises(MoireioError, match=r"a value needs mass.*give them as `params`"):
        ours.read(builder)


@needs_kwant
def test_values_need_their_parameters():
    with pytest.raises(MoireioError, match=r"a value needs mass.*give them as `params`"):
        ours.read(haldane())


def test_what_is_no_builder_is_refused():
    with pytest.raises(MoireioError, match=r"kwant\.Builder is expected"):
        ours.read(object())


@needs_kwant
def test_overlaps_and_two_spins_are_refused():
    one = {(0, 0, 0): np.eye(1)}
    overlapping = matrices.read(one, one, cell=np.eye(3), centres=[[0, 0, 0]])
    with pytest.raises(MoireioError, match="its orbitals overlap"):
        ours.write(overlapping)
    collinear = matrices.read((one, {(0, 0, 0): 2 * np.eye(1)}), cell=np.eye(3))
    with pytest.raises(MoireioError, match="choose with `spin`"):
        ours.write(collinear)
    assert levels(ours.read(ours.write(collinear, spin=1)), [0, 0, 0]) == 2
