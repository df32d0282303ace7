"""The space of anchors: states, and how they change with k."""

from dataclasses import replace

import numpy as np
import pytest
from anchored_systems import Exact, bilayer, blocks_of, sum_of, supercell
from scipy.linalg import eigh

from moireio.spectrum.anchors import space as space_module
from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.factors import AnchorFactors
from moireio.spectrum.anchors.interpolation import Patch
from moireio.spectrum.anchors.products import BlochProducts
from moireio.spectrum.anchors.regions import Scales
from moireio.spectrum.anchors.space import AnchorSpace

K0, LEVELS, WANTED = np.array([0.1, 0.05, 0.0]), slice(28, 52), (38, 41)
ALONG, ACROSS = np.array([0.1, 0.02, 0.0]), np.array([-0.03, 0.1, 0.0])


@pytest.fixture(scope="module")
def system():
    structure, *operators = bilayer()
    structure, h, s = supercell(structure, (4, 4, 1), *operators)
    # on-site energies at random: no symmetry, no bands that do not couple
    energies, blocks = np.random.default_rng(1).uniform(-0.5, 0.5, 64), blocks_of(h)
    for atom, energy in enumerate(energies):
        blocks[atom, atom, (0, 0, 0)] = blocks[atom, atom, (0, 0, 0)] + energy
    h = sum_of(np.ones(64, dtype=int), blocks)
    return structure, h, s, Exact(h, s), BlochProducts(h, s, structure)


def patch(*axes):
    return Patch(K0, np.array(axes), np.zeros(0, dtype=int))


def space(system, patches, respond=True, kept=True, **options):
    structure, h, s, exact, products = system
    energy = exact.pairs(K0)[0][WANTED[0]] + 0.01
    inverse = np.linalg.inv(h.dense(K0) - energy * s.dense(K0))
    factors = AnchorFactors(
        (lambda b: inverse @ b) if respond else None, lambda: ((lambda b: inverse @ b), 0.0)
    )
    factors.are_kept = kept
    return AnchorSpace(
        products,
        structure.reciprocal,
        WANTED,
        patches,
        np.eye(3)[:2],
        factors=factors,
        **options,
    )


def anchor_at(system, k):
    energies, states = system[3].pairs(k)
    return Anchor(k, energies[LEVELS], states[:, LEVELS], LEVELS.start)


def missing(system, own, k):
    """Return what is missing in a space of the wanted states at a k point."""
    states = system[3].pairs(k)[1][:, WANTED[0] : WANTED[1] + 1]
    u = system[4].phases(k).conj()[:, None] * states
    return np.linalg.norm(u - own.basis @ (own.basis.conj().T @ u)) / np.linalg.norm(u)


def with_changes(system, own, k=K0):
    anchor = anchor_at(system, k)
    changes, axes = own.responses(anchor)
    return replace(anchor, responses=changes, axes=axes)


def test_states_near_an_anchor_are_in_its_space(system, monkeypatch):
    """What is missing is of second order in the distance with changes, of first without them."""
    monkeypatch.setattr(space_module, "OUTER", 2)
    plain, better = space(system, [patch(ALONG)]), space(system, [patch(ALONG)])
    plain.take([anchor_at(system, K0)])
    better.take([with_changes(system, better)])
    assert missing(system, better, K0) < 1e-9
    orders = []
    for own in (plain, better):
        far, near = (missing(system, own, K0 + step * ALONG) for step in (0.4, 0.2))
        orders.append(np.log2(far / near))
    assert orders[0] == pytest.approx(1, abs=0.25)
    assert orders[1] > 1.6
    gram = better.basis.conj().T @ better.basis
    assert np.abs(gram - np.eye(len(gram))).max() < 1e-12


def test_changes_along_other_lines_are_left_out(system, monkeypatch):
    """An anchor at a corner has changes along both lines; the space of one takes its own."""
    monkeypatch.setattr(space_module, "OUTER", 0)
    corner = space(system, [patch(ALONG)], lines=[patch(ACROSS)])
    anchor = with_changes(system, corner)
    half = anchor.responses.shape[1] // 2
    assert len(np.unique(anchor.axes, axis=0)) == 2
    sizes = {}
    for name, patches in (
        ("one", [patch(ALONG)]),
        ("other", [patch(ACROSS)]),
        ("plane", [patch(ALONG, ACROSS)]),
    ):
        own = space(system, patches)
        own.take([anchor])
        sizes[name] = own.basis.shape[1] - len(anchor.energies)
    assert sizes == {"one": half, "other": half, "plane": 2 * half}
    own = space(system, [patch(ALONG)])
    own.take([replace(anchor, axes=None)])  # as read from a file
    assert own.basis.shape[1] - len(anchor.energies) == 2 * half


def test_each_change_has_two_vectors_on_a_line(system, monkeypatch):
    """The second is (H − σS)⁻¹ S times the first; with it, less is missing far away."""
    monkeypatch.setattr(space_module, "OUTER", 4)
    tight = space(system, [patch(ALONG)], kept=False)  # no corrections later
    anchor = with_changes(system, tight)
    count = anchor.responses.shape[1] // 2
    assert count == min(WANTED[1] + 1 - WANTED[0] + 2 * space_module.OUTER, len(anchor.energies))
    monkeypatch.setattr(space_module, "OUTER_OF_PLANE", 4)
    first = replace(anchor, responses=anchor.responses[:, :count], axes=anchor.axes[:count])
    shares = []
    for one in (first, anchor):
        taken = space(system, [patch(ALONG)])
        taken.take([one])
        shares.append(missing(system, taken, K0 + 0.5 * ALONG))
    assert shares[1] < 0.7 * shares[0]
    _, h, s, exact, _ = system
    energy = exact.pairs(K0)[0][WANTED[0]] + 0.01
    second = anchor.responses[:, count:]
    back = (h.dense(K0) - energy * s.dense(K0)) @ second
    right = s.dense(K0) @ first.responses
    right -= s.dense(K0) @ anchor.states @ (anchor.states.conj().T @ right)
    cosines = np.abs(np.einsum("ij,ij->j", back.conj(), right))
    cosines /= np.linalg.norm(back, axis=0) * np.linalg.norm(right, axis=0)
    assert cosines.min() > 1 - 1e-9
    plane = space(system, [patch(ALONG, ACROSS)])
    assert with_changes(system, plane).responses.shape[1] == 2 * count
    assert with_changes(system, space(system, [patch(ALONG)])).responses.shape[1] == count


def test_without_factors_there_are_no_changes(system):
    own = space(system, [patch(ALONG)], respond=False)
    assert own.responses(anchor_at(system, K0)) is None


def test_products_are_those_of_h_and_s(system):
    """Anchors are added once; the velocity is that of the fastest."""
    own = space(system, [patch(ALONG)])
    first, second = anchor_at(system, K0), anchor_at(system, K0 + 0.5 * ALONG)
    own.take([first])
    before, slow = own.basis.shape[1], own.velocity
    own.take([first, second])
    assert before < own.basis.shape[1] <= before + len(second.energies)
    assert own.velocity >= slow > 0
    k = K0 + 0.3 * ALONG
    grams = own.project(k, 0.5)
    v = system[4].phases(k)[:, None] * own.basis
    s = system[2].dense(k)
    w, y = (system[1].dense(k) - 0.5 * s) @ v, s @ v
    exact = [v.conj().T @ w, v.conj().T @ y, w.conj().T @ w, w.conj().T @ y, y.conj().T @ y]
    for found, right in zip(grams.matrices, exact, strict=True):
        assert np.abs(found - right).max() < 1e-10 * np.abs(right).max()
    assert own.project(k, 0.5) is grams
    own.take([first, second, anchor_at(system, K0 + ALONG)])
    assert own.project(k, 0.5).matrices.shape[1] == own.basis.shape[1] > grams.matrices.shape[1]
    assert own.projections.count == 1


def test_corrections_lessen_residuals(system):
    """By the factors of an anchor nearby, where they are; k points of a neighbouring zone too."""
    k = K0 + 0.4 * ALONG
    own = space(system, [patch(ALONG)])
    own.take([with_changes(system, own)])
    scales = Scales.of([anchor_at(system, K0)], WANTED, len(own.basis), False)
    wide = replace(scales, width=0.5)

    def levels(own):
        found = own.levels(k, wide)
        exact = system[3].pairs(k)[0][slice(*WANTED)]
        start = int(np.argmin(np.abs(found.energies - exact[0])))
        return found, slice(start, start + 4)

    found, part = levels(own)
    before, size = found.residuals[part].max(), own.basis.shape[1]
    assert own.correct([(k, found, part)])
    assert size < own.basis.shape[1] <= size + len(found)
    found, part = levels(own)
    assert found.residuals[part].max() < before / 3
    without = space(system, [patch(ALONG)], respond=False)
    without.take([anchor_at(system, K0)])
    assert not without.correct([(k, *levels(without))])
    assert without.basis.shape[1] == len(anchor_at(system, K0).energies)


def test_factors_are_freed_where_memory_is_tight(system):
    """The older ones first. The last one serves a k unless another is much nearer."""
    numbers, freed = iter(range(9)), []

    def keep():
        number = next(numbers)
        return lambda b: number * b, 5.0

    factors = AnchorFactors(lambda b: b, keep, lambda: freed.append(True))
    places = [K0, K0 + 0.5 * ALONG, K0 + ALONG]

    def serving():
        near = [factors.nearest(k + np.eye(3)[0], np.eye(3)) for k in places]
        return [one and (one[1](1), np.abs(one[0] - [1, 0, 0]).round(6).tolist()) for one in near]

    rooms = []
    factors.has_room = lambda more, count: rooms.append((more, count)) or count < 3
    assert serving() == [None] * 3
    for k in places:
        factors.keep_or_free(k)
    _, second, third = (np.abs(k).round(6).tolist() for k in places)
    assert rooms == [(5, 1), (5, 2), (5, 3), (5, 2)]
    assert serving() == [(2, third), (1, second), (2, third)]
    factors.has_room = lambda more, count: False
    factors.keep_or_free(K0)
    assert serving() == [None] * 3
    factors.are_kept = False
    factors.has_room = lambda more, count: True
    factors.keep_or_free(K0)
    assert freed == [True]
    assert serving() == [None] * 3


@pytest.mark.parametrize("mixed", [0.0, 1e-6, 1e-3])
def test_error_of_an_anchor(system, mixed):
    """Energies are wrong by no more than the bound, whether they or the states are wrong."""
    _, h, s, *_ = system
    anchor = anchor_at(system, K0)
    other = np.random.default_rng(3).normal(size=anchor.states.shape)
    near = anchor.states + mixed * other / np.sqrt(len(other))
    energies = eigh(*(near.conj().T @ m.dense(K0) @ near for m in (h, s)), eigvals_only=True)
    own, part = space(system, [patch(ALONG)]), slice(WANTED[0] - LEVELS.start, None)
    off = np.abs(energies - anchor.energies)[part][: WANTED[1] - WANTED[0] + 1].max()
    found = own.error(replace(anchor, states=near, energies=energies))
    assert off <= found + 1e-12
    assert found < max(1e-9, 100 * mixed**2)
    shift = np.where(np.arange(len(energies)) == part.start, 1e-4, 0.0)
    assert own.error(replace(anchor, states=near, energies=energies + shift)) > 9e-5
