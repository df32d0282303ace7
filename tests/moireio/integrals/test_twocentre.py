"""Two-centre integrals against quadrature in space, and the laws they obey."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orbitals import gaussian_basis
from systems import basis, random_structure, rotation_of_orbitals, structure

from moireio.errors import MoireioError
from moireio.integrals.pairs import overlapping_pairs
from moireio.integrals.sources import OrbitalIntegrals, OverlapSource, PositionSource
from moireio.system.basis import Basis
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
    atoms, own = dimer
    pairs = overlapping_pairs(atoms, own)
    points, weight = space_grid()
    origin = atoms.positions.mean(axis=0)
    values = [
        orbital_values(own[name], points + origin - place)
        for name, place in zip(("C", "N"), atoms.positions, strict=True)
    ]
    made = OrbitalIntegrals(own, True)
    overlap, position = OverlapSource(atoms, made, pairs), PositionSource(atoms, made, pairs)
    assert len(pairs) == 4
    for p in range(4):
        i, j, _, found = block(overlap, p)
        np.testing.assert_allclose(found, weight * values[i].T @ values[j], atol=2e-7)
        found = block(position, p)[3]
        for axis in range(3):
            moved = values[i] * (points + origin - atoms.positions[i])[:, axis, None]
            np.testing.assert_allclose(found[axis], weight * moved.T @ values[j], atol=2e-7)


def test_s_orbitals_by_formula():
    """⟨a|b⟩ of two normalised s Gaussians: (2√(ab)/(a+b))^(3/2) exp(−ab/(a+b) d²)."""
    own = basis(C="s2")
    made = OrbitalIntegrals(own)
    a = np.array([0.8, 1.9])
    mean, reduced = a[:, None] + a, a[:, None] * a / (a[:, None] + a)
    for d in (0.0, 0.9, 1.7, 3.1):
        positions = [[0.0, 0, 0], [0, 0, d or 1.0]]
        atoms = structure(positions, np.diag([40.0] * 3), [0, 0])
        source = OverlapSource(atoms, made, overlapping_pairs(atoms, own))
        found = block(source, 1 if d else 0)[3]
        expected = (2 * np.sqrt(a[:, None] * a) / mean) ** 1.5
        expected = expected * np.exp(-reduced * (d / BOHR_ANGSTROM) ** 2)
        np.testing.assert_allclose(found, expected, atol=1e-7)


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
    atoms, own = random_structure(seed, n=2), large.basis
    turned = structure(atoms.positions @ turn.T, atoms.cell @ turn.T, list(atoms.species))
    pairs = overlapping_pairs(atoms, own)
    assert (overlapping_pairs(turned, own).keys() == pairs.keys()).all()
    D = [rotation_of_orbitals(own[n].l, turn) for n in atoms.species_names]
    for kind in (OverlapSource, PositionSource):
        one, two = kind(atoms, large, pairs), kind(turned, large, pairs)
        for p in np.random.default_rng(seed).integers(0, len(pairs), 8):
            i, j, _, before = block(one, int(p))
            after = block(two, int(p))[3]
            expected = D[i] @ before @ D[j].T
            if kind is PositionSource:
                expected = np.einsum("xy,yab->xab", turn, expected)
            np.testing.assert_allclose(after, expected, atol=1e-10)


def test_slabs_and_storage_do_not_matter(small):
    from moireio.operators.views import UpperView

    atoms = random_structure(1, n=6)
    pairs = overlapping_pairs(atoms, small.basis)
    whole = OverlapSource(atoms, small, pairs)
    parts = [whole.rows(i, i + 1) for i in range(6)]
    assert (np.concatenate(parts) == whole.rows(0, 6)).all()
    half = OverlapSource(atoms, small, pairs, "upper")
    assert (half.rows(0, 6) == UpperView(whole).rows(0, 6)).all()
    place = PositionSource(atoms, small, pairs)
    parts = [place.rows(i, i + 1) for i in range(6)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), place.rows(0, 6), atol=1e-14)


def test_pairs_are_all_within_the_cutoffs():
    atoms, own = random_structure(3, n=4), basis(C="s1", N="s1")
    pairs = overlapping_pairs(atoms, own)
    reach = 2 * 7.0 * BOHR_ANGSTROM
    span = range(-3, 4)
    R = np.array([(x, y, z) for x in span for y in span for z in span])
    count = 0
    for i in range(len(atoms)):
        d = atoms.positions + (R @ atoms.cell)[:, None] - atoms.positions[i]
        count += int((np.linalg.norm(d, axis=-1) < reach).sum())
    assert len(pairs) == count


def test_atoms_on_top_of_each_other():
    atoms = structure([[0.0, 0, 0], [0, 0, 0.05]], np.diag([9.0] * 3), [0, 0])
    with pytest.raises(MoireioError, match=r"atoms 0 and 1 are 0\.050 Å apart"):
        overlapping_pairs(atoms, basis(C="s1"))
    bare = Basis({"C": replace(gaussian_basis("s1"), radial=None)})
    with pytest.raises(MoireioError, match="no radial functions"):
        OrbitalIntegrals(bare)
