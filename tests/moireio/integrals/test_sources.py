"""Overlaps and positions of structures against quadrature in space, and the laws they obey."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from systems import basis, random_structure, rotation_of_orbitals, structure

from moireio.integrals.pairs import overlapping_pairs
from moireio.integrals.sources import OrbitalIntegrals, OverlapSource, PositionSource
from moireio.operators.bloch import BlochSum
from moireio.operators.views import UpperView
from moireio.system.orbitals import orbital_values
from moireio.units import BOHR_ANGSTROM


def block(source, p):
    """Block of pair p, and its atoms."""
    i = int(np.searchsorted(source.pairs.indptr, p, side="right")) - 1
    j = int(source.pairs.j[p])
    sizes = source.sizes
    before = int((sizes[i] * sizes[source.pairs.j[source.pairs.indptr[i] : p]]).sum())
    data = source.rows(i, i + 1)[..., before : before + int(sizes[i] * sizes[j])]
    return i, j, source.pairs.R[p], data.reshape(*data.shape[:-1], sizes[i], sizes[j])


def space_grid(extent=8.5, n=96):
    """A uniform grid, which is exact for Gaussians as narrow as these."""
    x = np.linspace(-extent, extent, n) * BOHR_ANGSTROM
    weight = (x[1] - x[0]) ** 3
    return np.stack(np.meshgrid(x, x, x, indexing="ij"), -1).reshape(-1, 3), weight


@pytest.fixture(scope="module")
def dimer():
    cell = np.diag([30.0, 30.0, 30.0])
    positions = np.array([[0.0, 0.0, 0.0], [0.7, -0.9, 0.55]])
    return structure(positions, cell, [0, 1]), basis(C="s2p2d2f1", N="s1p1d1f1")


@pytest.fixture(scope="module")
def small():
    return OrbitalIntegrals(basis(C="s1p1d1", N="s2p1"), True)


@pytest.fixture(scope="module")
def large():
    return OrbitalIntegrals(basis(C="s1p1d1f1", N="s1p2d1"), True)


def test_against_quadrature_in_space(dimer):
    """S and positions up to f, signs and order of orbitals included."""
    atoms, species = dimer
    pairs = overlapping_pairs(atoms, species)
    points, weight = space_grid()
    origin = atoms.positions.mean(axis=0)
    values = [
        orbital_values(species[name], points + origin - nucleus)
        for name, nucleus in zip(("C", "N"), atoms.positions, strict=True)
    ]
    integrals = OrbitalIntegrals(species, True)
    overlap = OverlapSource(atoms, integrals, pairs)
    position = PositionSource(atoms, integrals, pairs)
    assert len(pairs) == 4
    for p in range(4):
        i, j, _, S = block(overlap, p)
        np.testing.assert_allclose(S, weight * values[i].T @ values[j], atol=2e-7)
        P = block(position, p)[3]
        for axis in range(3):
            moved = values[i] * (points + origin - atoms.positions[i])[:, axis, None]
            np.testing.assert_allclose(P[axis], weight * moved.T @ values[j], atol=2e-7)


@given(st.integers(0, 10_000))
@settings(max_examples=8)
def test_partners_are_exact_adjoints(small, seed):
    atoms = random_structure(seed, n=4)
    pairs = overlapping_pairs(atoms, small.basis)
    partner = pairs.partner()
    assert (partner >= 0).all()
    overlap, position = OverlapSource(atoms, small, pairs), PositionSource(atoms, small, pairs)
    rng = np.random.default_rng(seed)
    for p in rng.integers(0, len(pairs), 12):
        i, j, R, S = block(overlap, int(p))
        assert (S == block(overlap, int(partner[p]))[3].T).all()
        d = atoms.positions[j] + R @ atoms.cell - atoms.positions[i]
        turned = block(position, int(partner[p]))[3].transpose(0, 2, 1)
        expected = turned + d[:, None, None] * S
        np.testing.assert_allclose(block(position, int(p))[3], expected, atol=1e-10)


@given(st.integers(0, 10_000), st.booleans())
@settings(max_examples=6)
def test_turning_the_structure_turns_the_blocks(large, seed, mirrored):
    from scipy.spatial.transform import Rotation

    turn = Rotation.random(rng=np.random.default_rng(seed)).as_matrix()
    turn = -turn if mirrored else turn
    atoms, species = random_structure(seed, n=2), large.basis
    turned = structure(atoms.positions @ turn.T, atoms.cell @ turn.T, list(atoms.species))
    pairs = overlapping_pairs(atoms, species)
    assert (overlapping_pairs(turned, species).keys() == pairs.keys()).all()
    D = [rotation_of_orbitals(species[n].l, turn) for n in atoms.species_names]
    for operator in (OverlapSource, PositionSource):
        plain, rotated = operator(atoms, large, pairs), operator(turned, large, pairs)
        for p in np.random.default_rng(seed).integers(0, len(pairs), 8):
            i, j, _, before = block(plain, int(p))
            after = block(rotated, int(p))[3]
            expected = D[i] @ before @ D[j].T
            if operator is PositionSource:
                expected = np.einsum("xy,yab->xab", turn, expected)
            np.testing.assert_allclose(after, expected, atol=1e-10)


def test_slabs_and_storage_do_not_matter(small):
    atoms = random_structure(1, n=6)
    pairs = overlapping_pairs(atoms, small.basis)
    whole = OverlapSource(atoms, small, pairs)
    parts = [whole.rows(i, i + 1) for i in range(6)]
    assert (np.concatenate(parts) == whole.rows(0, 6)).all()
    half = OverlapSource(atoms, small, pairs, "upper")
    assert (half.rows(0, 6) == UpperView(whole).rows(0, 6)).all()
    position = PositionSource(atoms, small, pairs)
    parts = [position.rows(i, i + 1) for i in range(6)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), position.rows(0, 6), atol=1e-14)


@given(st.integers(0, 10_000))
@settings(max_examples=5)
def test_the_choice_of_the_cell_does_not_matter(small, seed):
    """Atoms moved by lattice vectors, and other lattice vectors of the same lattice: same S(k)."""
    rng = np.random.default_rng(seed)
    atoms = random_structure(seed, n=3)
    shift = rng.integers(-2, 3, (3, 3))
    change = np.array([[1, int(rng.integers(-2, 3)), 0], [0, 1, 0], [1, 0, 1]])
    moved = replace(atoms, positions=atoms.positions + shift @ atoms.cell)
    other = replace(atoms, cell=change @ atoms.cell)
    k = rng.uniform(-0.5, 0.5, 3)

    def overlap(crystal, k):
        pairs = overlapping_pairs(crystal, small.basis)
        return BlochSum.from_source(OverlapSource(crystal, small, pairs)).dense(k)

    S = overlap(atoms, k)
    np.testing.assert_allclose(overlap(other, change @ k), S, atol=1e-10)
    # in the lattice gauge an atom that moves by T changes the phases of its rows and columns
    phase = np.repeat(np.exp(-2j * np.pi * shift @ k), small.basis.sizes(atoms))
    np.testing.assert_allclose(overlap(moved, k), phase.conj()[:, None] * S * phase, atol=1e-10)


def test_tables_serve_the_species_of_any_structure(small):
    """Species without an atom, and in another order than in the tables."""
    atoms = random_structure(2, n=4)
    other = replace(atoms, species=1 - atoms.species, species_names=atoms.species_names[::-1])
    pairs = overlapping_pairs(atoms, small.basis)
    expected = OverlapSource(atoms, small, pairs).rows(0, 4)
    np.testing.assert_array_equal(OverlapSource(other, small, pairs).rows(0, 4), expected)
