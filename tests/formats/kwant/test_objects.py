"""Builders of Kwant."""

import contextlib

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
