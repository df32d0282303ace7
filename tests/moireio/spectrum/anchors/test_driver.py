"""Levels of hard systems from anchors, against LAPACK."""

from functools import partial

import numpy as np
import pytest
from anchored_systems import (
    Exact,
    bilayer,
    blocks_of,
    carbon,
    line,
    solve_from_anchors,
    sum_of,
    supercell,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import eigh
from toymodels import kane_mele

from moireio.spectrum.anchors import driver, space
from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.products import BlochProducts

GMKG_CORNERS = [[0, 0, 0], [0.5, 0, 0], [2 / 3, 1 / 3, 0], [0, 0, 0]]


def copies_of(structure, operator, splitting):
    """Two copies of a system at the same places, uncoupled, their levels apart by a little."""
    count, blocks = len(structure), {}
    for (i, j, R), block in blocks_of(operator).items():
        own = splitting * np.eye(len(block)) if i == j and R == (0, 0, 0) else 0
        blocks[i, j, R] = block
        blocks[i + count, j + count, R] = block + own
    positions = np.concatenate([structure.positions] * 2)
    whole = carbon(structure.cell, positions, structure.pbc)
    return whole, sum_of(np.tile(np.diff(operator.atom_start), 2), blocks)


def random_chain(seed, count=8, size=3):
    """Chains that do not couple, of atoms at random places, three orbitals each."""
    rng = np.random.default_rng(seed)
    positions = rng.uniform(0, 1, (count, 3)) * [1.5 * count, 2, 2]
    cell = np.diag([1.5 * count, 20, 20])
    blocks = {}
    for i in range(count):
        for j in range(i + 1):
            for n in (-1, 0, 1):
                length = np.linalg.norm(positions[j] + [n * cell[0, 0], 0, 0] - positions[i])
                block = rng.normal(size=(size, size)) * 2 * np.exp(-length / 1.2)
                if i == j and n == 0:
                    block = np.diag(rng.normal(size=size))
                if i != j or n >= 0:
                    blocks[i, j, (n, 0, 0)] = block
                    blocks[j, i, (-n, 0, 0)] = block.T
    return carbon(cell, positions, (True, True, False)), sum_of([size] * count, blocks)


def coupled(cell, positions, pbc, hopping, overlap=None, cutoff=3.0):
    """A system of one orbital an atom, from functions of two atoms and their distance."""
    reach = [int(np.ceil(cutoff * n)) if p else 0 for n, p in zip(pull(cell), pbc, strict=True)]
    h, s = {}, {}
    for steps in np.ndindex(*[2 * n + 1 for n in reach]):
        R = tuple(int(a - n) for a, n in zip(steps, reach, strict=True))
        vectors = positions[None] + np.array(R) @ cell - positions[:, None]
        lengths = np.linalg.norm(vectors, axis=-1)
        for i, j in np.argwhere(lengths < cutoff).tolist():
            h[i, j, R] = np.full((1, 1), hopping(i, j, lengths[i, j]))
            if overlap is not None:
                s[i, j, R] = np.full((1, 1), overlap(lengths[i, j]))
    sizes = [1] * len(positions)
    return carbon(cell, positions, pbc), sum_of(sizes, h), sum_of(sizes, s) if s else None


def pull(cell):
    """Inverse heights of a cell, Å⁻¹."""
    return np.linalg.norm(np.linalg.inv(cell), axis=0)


def pi(i, j, length):
    """Hopping of p orbitals in a plane; eV."""
    return -2.7 * np.exp(-(length - 1.42) / 0.45) if length > 0.1 else 0.0


def ribbon():
    """A zigzag ribbon with flat bands of its edges, folded three times, with S."""
    rows = [[1.23 * (n % 2), 2.13 * n + y, 0] for n in range(8) for y in (0, 0.71)]
    positions = np.array(rows) + [[1.23 * (n % 2), 0, 0] for n in range(16)]
    positions[:, 0] %= 2.46
    near = coupled(
        np.diag([2.46, 40, 20]),
        positions,
        (True, False, False),
        pi,
        lambda r: 0.12 * np.exp(-(r - 1.42) / 0.45) if r > 0.1 else 1.0,
    )
    return *supercell(near[0], (3, 1, 1), *near[1:]), line([[-0.5, 0, 0], [0.5, 0, 0]], [20])


def boron_nitride():
    """Hexagonal, with bands that are nearly flat, folded."""
    cell = np.array([[2.5, 0, 0], [1.25, 2.5 * np.sqrt(0.75), 0], [0, 0, 20]])
    positions = np.array([[1, 1, 0], [2, 2, 0]]) / 3 @ cell

    def hopping(i, j, length):
        return 5.0 * (1 - 2 * i) if length < 0.1 else 0.4 * pi(i, j, length)

    near = coupled(cell, positions, (True, True, False), hopping)
    return *supercell(near[0], (5, 5, 1), *near[1:]), line([[0, 0, 0], [0.5, 0, 0]], [16])


def diffuse():
    """Gaussians so wide that an eigenvalue of S is 0.01."""
    rng = np.random.default_rng(3)
    cell = np.array([[9.0, 0, 0], [1, 8, 0], [0, 0, 30]])
    mesh = np.stack(np.meshgrid(np.arange(6) / 6, np.arange(5) / 5, [0]), -1).reshape(-1, 3)
    positions = (mesh + 0.02 * rng.normal(size=(30, 3))) @ cell

    def overlap(length):
        return np.exp(-0.175 * length**2)

    def hopping(i, j, length):
        kinetic = 0.5 * (3 - 0.35 * length**2)
        return (kinetic - 3 * np.cos(i) - 3 * np.cos(j)) * overlap(length)

    near = coupled(cell, positions, (True, True, False), hopping, overlap, 13.0)
    return *near, line([[0, 0, 0], [0.5, 0, 0]], [16])


def crystal():
    """Two sites of a cubic cell, folded 27 times, along two lines in space."""
    positions = np.array([[0, 0, 0], [0.5, 0.5, 0.5]]) * 2.5
    near = coupled(
        2.5 * np.eye(3),
        positions,
        (True,) * 3,
        lambda i, j, r: 0.5 - i if r < 0.1 else -1.5 * np.exp(-(r - 2.1) / 0.6),
    )
    path = line([[0, 0, 0], [0.5, 0.5, 0], [0.5, 0.5, 0.5]], [8, 8])
    return *supercell(near[0], (3, 3, 3), *near[1:]), path


def kramers(**terms):
    """Spinors on a honeycomb, folded 16 times; without terms every level is twofold."""
    model = kane_mele(**{"M": 0.0, "rashba": 0.0, **terms})
    whole = sum_of(model.dims, model.hamiltonian)
    near = supercell(model.structure, (4, 4, 1), whole)
    return *near, None, line([[0, 0, 0], [0.5, 0, 0], [2 / 3, 1 / 3, 0]], [10, 8])


@pytest.mark.parametrize("precision", ["double", "single", "rounded"])
@pytest.mark.parametrize(
    ("system", "bands"),
    [
        (ribbon, (23, 24)),
        (ribbon, (12, 15)),
        (boron_nitride, (23, 24)),
        (boron_nitride, (3, 6)),
        (diffuse, (14, 17)),
        (diffuse, (0, 3)),
        (crystal, (0, 3)),
        (kramers, (31, 32)),
        (kramers, (3, 9)),
        (partial(kramers, M=0.2, rashba=0.1), (28, 32)),
    ],
)
def test_hard_systems(system, bands, precision, monkeypatch):
    """Bounds hold, also where products in single precision are wrong by more than they."""
    monkeypatch.setattr(space, "SINGLE_SIZE", 10**9 if precision == "double" else 0)
    monkeypatch.setattr(driver, "ROUNDED", 0 if precision == "rounded" else 10**9)
    structure, h, s, k = system()
    found = solve_from_anchors(structure, h, s, k, bands)
    assert found.ratio <= 1
    assert found.bounds.max() <= 1e-5
    assert len(found.direct) < len(k)


@given(
    seed=st.integers(0, 10**6),
    splitting=st.sampled_from([0.0, 1e-7, 1e-3]),
    first=st.integers(0, 29),
    count=st.integers(1, 6),
    stop=st.floats(0.1, 0.5),
    tolerance=st.sampled_from([1e-3, 1e-5]),
    corrected=st.booleans(),
)
@settings(max_examples=8, deadline=None)
def test_random_chains(seed, splitting, first, count, stop, tolerance, corrected):
    """Two nearly equal copies of random chains; levels anywhere in the spectrum."""
    structure, h = copies_of(*random_chain(seed, count=5), splitting)
    k = line([[0, 0, 0], [stop, 0, 0]], [12])
    bands = first, min(first + count, 30) - 1
    how = {"tolerance": tolerance, "corrected": corrected}
    found = solve_from_anchors(structure, h, None, k, bands, **how)
    assert found.ratio <= 1
    assert found.bounds.max() <= tolerance


def test_corrections_take_the_place_of_anchors():
    """Corners are solved first, that with most of the path beside it last; few others are."""
    structure, *operators = bilayer()
    structure, h, s = supercell(structure, (6, 6, 1), *operators)
    blocks = blocks_of(h)
    for atom, energy in enumerate(np.random.default_rng(1).uniform(-0.3, 0.3, 144)):
        blocks[atom, atom, (0, 0, 0)] = blocks[atom, atom, (0, 0, 0)] + energy
    h = sum_of(np.ones(144, dtype=int), blocks)
    exact, k = Exact(h, s), line(GMKG_CORNERS, [12, 8, 16])
    how = {"exact": exact, "tolerance": 1e-7}
    places = {}
    for corrected in (True, False):
        found = solve_from_anchors(structure, h, s, k, (70, 73), corrected=corrected, **how)
        assert found.ratio <= 1
        assert found.bounds.max() <= 1e-7
        if corrected:
            assert list(found.states)[:3] == [12, 20, 0]
            assert (found.bounds[[0, 12, 20]] > 0).all()
        places[corrected] = [anchor.k for anchor in found.accuracy.anchors]
    assert np.allclose(places[True], np.array(GMKG_CORNERS)[[1, 2, 0]])
    assert len(places[False]) > 4


def test_bands_beyond_a_gap_are_left_out():
    """Next to a gap anchors have four bands beyond it, and more on the other side."""
    structure, *operators = bilayer()
    structure, h, s = supercell(structure, (6, 6, 1), *operators)
    blocks = blocks_of(h)
    rng = np.random.default_rng(1)
    for atom in range(144):
        on_site = (4.0 if atom % 2 else -4.0) + rng.uniform(-0.2, 0.2)
        blocks[atom, atom, (0, 0, 0)] = blocks[atom, atom, (0, 0, 0)] + on_site
    h = sum_of(np.ones(144, dtype=int), blocks)
    exact, k = Exact(h, s), line(GMKG_CORNERS, [12, 8, 16])
    found = solve_from_anchors(structure, h, s, k, (64, 71), exact=exact, tolerance=1e-6)
    assert found.ratio <= 1
    assert found.bounds.max() <= 1e-6
    ranges = [(a.first, a.first + len(a.energies) - 1) for a in found.accuracy.anchors]
    assert {last for _, last in ranges} == {75}
    assert min(first for first, _ in ranges) < 64 - 8


def test_a_corner_keeps_the_bounds_of_its_energies():
    """A corner belongs to two lines; its energies are those of the first, which has others."""
    structure, h = random_chain(1, count=14)
    exact = Exact(h, None)
    known = []
    for x in (0.02, 0.15):
        energies, states = exact.pairs([x, 0, 0])
        known.append(Anchor(np.array([x, 0, 0]), energies[12:28], states[:, 12:28], 12))
    k = line([[0, 0, 0], [0.25, 0, 0], [0.4, 0.1, 0]], [8, 4])
    how = {"anchors": known, "exact": exact, "tolerance": 1e-2}
    found = solve_from_anchors(structure, h, None, k, (18, 21), **how)
    assert found.ratio <= 1
    assert found.errors[8].max() > 4e-10


class ByProducts(Exact):
    """Levels of H and S as products have them, from when these are made."""

    products = None

    def pairs(self, k):
        if self.products is None:
            return super().pairs(k)
        unit, phases = np.eye(self.hamiltonian.n_orbitals, dtype=complex), self.products.phases(k)
        energies, states = eigh(*self.products(k, unit))
        return energies, phases[:, None] * states


@pytest.mark.parametrize("tolerance", [1e-6, 1e-3])
def test_anchors_that_were_solved_with_rounded_matrices(tolerance, monkeypatch):
    """Their energies are right to what is said, also where rounding turns out to be too much."""
    monkeypatch.setattr(driver, "ROUNDED", 0)
    monkeypatch.setattr(driver, "SHARED", 0)
    structure, h, s, k = diffuse()
    exact = ByProducts(h, s)

    def made(products):
        exact.products = products

    how = {"exact": exact, "tolerance": tolerance, "made": made}
    found = solve_from_anchors(structure, h, s, k, (14, 17), **how)
    kind = {1e-6: np.complex128, 1e-3: np.complex64}[tolerance]
    assert exact.products.kind == kind
    assert found.ratio <= 1
    if tolerance == 1e-6:
        assert found.errors[sorted(found.direct)].max() < 1e-10


def test_rounding_errors_that_are_equal():
    """Twelve neighbours alike: at Γ errors of H add up."""
    near = coupled(
        np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) * 1.5,
        np.zeros((1, 3)),
        (True,) * 3,
        lambda i, j, r: 0.0 if r < 0.1 else -2.0000001 * np.exp(-(r - 2.1213203) / 0.1),
    )
    h = near[1]
    products = BlochProducts(h, None, near[0], rounded=True)
    k = np.zeros(3)
    off = abs(products(k, np.ones((1, 1), complex))[0][0, 0] - h.dense(k)[0, 0])
    assert off > 5e-7
    assert off <= products.rounding(0.0) <= 4 * off


def test_kept_anchors_of_another_accuracy():
    """Energies of anchors from elsewhere are not taken for better than they are."""
    structure, h, s, k = boron_nitride()
    exact = Exact(h, s)
    known = []
    for point in (k[0], k[-1]):
        energies, states = exact.pairs(point)
        off = 1e-6 * np.sin(np.arange(26))
        known.append(Anchor(point, energies[12:38] + off, states[:, 12:38], 12))
    how = {"exact": exact, "tolerance": 1e-7, "anchors": known}
    found = solve_from_anchors(structure, h, s, k, (23, 24), **how)
    assert found.ratio <= 1
    assert found.bounds.max() <= 1e-7
    assert found.accuracy.factorisations < len(k)
