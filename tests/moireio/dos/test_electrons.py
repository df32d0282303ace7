"""Fermi levels and gaps from moments against exact levels."""

import numpy as np
import pytest
from scipy.linalg import eigh
from scipy.sparse import coo_array, csr_array, eye_array, kron

from moireio.dos import kpm
from moireio.dos.electrons import level_from_counts, level_from_moments
from moireio.errors import MoireioError
from moireio.solvers.base import EigenProblem

LENGTH = 14  # cells along each axis: 392 sites
SEEDS = range(8)
HALF = LENGTH * LENGTH  # electrons of one spin that fill the lower band


class Matrix:
    """A matrix that is the same at every k."""

    def __init__(self, matrix):
        self.matrix, self.n_orbitals = matrix, matrix.shape[0]

    def csr(self, k):
        """Return a copy."""
        return csr_array(self.matrix, copy=True)


def hoppings(phase=0.2):
    """Return hoppings from A to B sites of a honeycomb on a torus with a flux."""
    cells = np.arange(LENGTH * LENGTH).reshape(LENGTH, LENGTH)
    rows, columns, values = [], [], []
    for da, db in ((0, 0), (-1, 0), (0, -1)):
        rows.append(cells.ravel())
        columns.append(np.roll(cells, (da, db), axis=(0, 1)).ravel())
        values.append(np.full(cells.size, np.exp(2j * np.pi * phase * (da + db) / LENGTH)))
    parts = [np.concatenate(p) for p in (values, rows, columns)]
    return coo_array((parts[0], (parts[1], parts[2])), shape=(cells.size,) * 2).tocsr()


def honeycomb(hopping=-1.0, onsite=0.0, phase=0.2):
    """Return a honeycomb whose sublattices lie at ± an energy."""
    a = hopping * hoppings(phase)
    ones = eye_array(a.shape[0])
    matrix = kron([[0, 1], [0, 0]], a) + kron([[0, 0], [1, 0]], a.conj().T)
    matrix = csr_array(matrix + onsite * kron([[1, 0], [0, -1]], ones))
    return matrix if phase else matrix.real


def overlap():
    return csr_array(eye_array(2 * HALF) + honeycomb(0.12))


def spinor():
    """Return two spins, mixed on every site, of which one band is filled; its gap is small."""
    mixed = np.array([[0.3, 0.5 - 0.2j], [0.5 + 0.2j, -0.3]])
    h = kron(np.eye(2), honeycomb(onsite=1.2)) + 0.2 * kron(mixed, eye_array(2 * HALF))
    return csr_array(h)


SYSTEMS = {
    "insulator": (honeycomb(onsite=1.0, phase=0), None, HALF, True),
    "complex insulator": (honeycomb(onsite=1.0), None, HALF, True),
    "semimetal": (honeycomb(), None, HALF, False),
    "doped": (honeycomb(phase=0), None, HALF + 83, False),
    "overlap, insulator": (honeycomb(onsite=1.0), overlap(), HALF, True),
    "overlap, metal": (honeycomb(), overlap(), HALF - 60.5, False),
    "spinor": (spinor(), None, 2 * HALF, True),
}


def moments_of(h, s, seed, **more):
    problem = EigenProblem(Matrix(h), None if s is None else Matrix(s), [0, 0, 0])
    return kpm.moments(problem, width=0.1, seed=seed, **more)


@pytest.mark.parametrize("system", SYSTEMS)
def test_against_exact_levels(system):
    """Within the errors that come with them."""
    h, s, states, has_gap = SYSTEMS[system]
    levels = eigh(h.toarray(), None if s is None else s.toarray(), eigvals_only=True)
    vbm, above = levels[[int(np.ceil(states)) - 1, int(np.ceil(states))]]
    distances = []
    for seed in SEEDS:
        found = level_from_moments([(1.0, moments_of(h, s, seed))], 2.0 * states, 2.0)
        assert 0.05 < found.resolution < 0.11
        if has_gap:
            assert vbm < found.fermi < above
            assert found.error is None
            assert found.fermi == pytest.approx(0.5 * (vbm + above), abs=found.resolution)
            assert found.vbm == pytest.approx(vbm, abs=1.5 * found.resolution)
            assert found.gap == pytest.approx(above - vbm, abs=3 * found.resolution)
        else:
            assert found.gap is None
            assert found.vbm is None
            exact = 0.5 * (vbm + above)
            distances.append((found.fermi - exact) / np.hypot(found.error, found.resolution))
    if not has_gap:
        assert np.sqrt(np.mean(np.square(distances))) < 1.3
        assert np.abs(distances).max() < 3


def test_the_error_of_the_number_of_states():
    """The stated standard error is the scatter around the exact number, from other seeds."""
    h = SYSTEMS["doped"][0]
    levels = eigh(h.toarray(), eigvals_only=True)
    at = np.array([0.8])
    deviations, errors = [], []
    for seed in range(24):
        found = moments_of(h, None, seed)
        angles = np.arccos((levels - found.centre) / found.half)
        orders = np.arange(found.values.shape[1])
        exact = kpm.Moments(
            found.centre, found.half, np.cos(orders[:, None] * angles).sum(axis=1)[None]
        )
        each = found.below(at)[:, 0]
        deviations.append(each.mean() - exact.below(at)[0, 0])
        errors.append(each.std(ddof=1) / np.sqrt(len(each)))
    assert np.sqrt(np.mean(np.square(deviations))) == pytest.approx(np.mean(errors), rel=0.5)


@pytest.mark.parametrize("system", SYSTEMS)
def test_counts_take_the_noise_away(system):
    """The errors that are left are small, and still hold; few counts suffice."""
    h, s, states, has_gap = SYSTEMS[system]
    levels = eigh(h.toarray(), None if s is None else s.toarray(), eigvals_only=True)
    vbm, above = levels[[int(np.ceil(states)) - 1, int(np.ceil(states))]]
    for seed in SEEDS[:4]:
        asked = []

        def count(energy, asked=asked):
            asked.append(energy)
            return np.searchsorted(levels, energy)

        parts = [(1.0, moments_of(h, s, seed))]
        found = level_from_counts(parts, 2.0 * states, 2.0, count)
        assert 1 <= len(asked) <= 3
        assert (found.gap is not None) == has_gap
        assert found.counted == (np.searchsorted(levels, asked[-1]) == states)
        least = found.resolution + 2 * (found.error or 0)
        assert vbm - least < found.fermi < above + least
        if not has_gap:
            assert found.error < level_from_moments(parts, 2.0 * states, 2.0).error


def test_both_spins_share_the_electrons():
    """Collinear: the bands of one spin lie higher, and are emptied into the other's."""
    up, down = honeycomb(onsite=2.5, phase=0), honeycomb(onsite=2.5, phase=0)
    down = csr_array(down + 8 * eye_array(2 * HALF))
    parts = [(1.0, moments_of(h, None, 3)) for h in (up, down)]
    found = level_from_moments(parts, 2.0 * HALF, 1.0)
    levels = [eigh(h.toarray(), eigvals_only=True) for h in (up, down)]
    assert levels[0][-1] < found.fermi < levels[1][0]
    half = level_from_moments(parts, 1.0 * HALF, 1.0)
    assert levels[0][HALF - 1] < half.fermi < levels[0][HALF]


def test_a_gap_of_another_number_of_electrons():
    """Doped by more than the noise, or by part of an electron: no gap."""
    parts = [(1.0, moments_of(honeycomb(onsite=1.0, phase=0), None, 0))]
    for electrons in (2.0 * HALF + 60, 2.0 * HALF + 0.5):
        assert level_from_moments(parts, electrons, 2.0).gap is None


def test_gaps_between_the_levels_of_a_molecule():
    """Several could be the one: none is claimed, and the error is that of the number of states."""
    rng = np.random.default_rng(0)
    levels = np.array([-9.0, -6, -3, 0, 3, 6, 9])
    vectors = np.linalg.qr(rng.normal(size=(7, 7)))[0]
    h = csr_array(vectors @ np.diag(levels) @ vectors.T)
    for seed in range(4):
        found = level_from_moments([(1.0, moments_of(h, None, seed))], 6.0, 2.0)
        assert found.gap is None
        assert abs(found.fermi + 1.5) < 3 * found.error


def test_one_vector_has_the_error_of_a_bound():
    h = SYSTEMS["doped"][0]
    one = level_from_moments([(1.0, moments_of(h, None, 0, vectors=1))], 2.0 * HALF + 166, 2.0)
    eight = level_from_moments([(1.0, moments_of(h, None, 0))], 2.0 * HALF + 166, 2.0)
    assert one.error > 2 * eight.error


def test_exact_moments():
    """Without random vectors the middle of the widest gap."""
    h, s, states, _ = SYSTEMS["overlap, insulator"]
    found = moments_of(h, s, 0, noise=np.eye(2 * HALF))
    total = kpm.Moments(found.centre, found.half, found.values.sum(axis=0)[None])
    level = level_from_moments([(1.0, total)], 2.0 * states, 2.0)
    assert level.gap == pytest.approx(2.0, abs=0.3)
    with pytest.raises(MoireioError, match="do not fit"):
        level_from_moments([(1.0, total)], 4.0 * len(h.toarray()), 2.0)
