"""A space that follows levels along a line, some of which leave the window."""

import numpy as np
import pytest

from moireio.spectrum.anchors.interpolation import GramSeries, Patch
from moireio.spectrum.anchors.moving import NODES, MovingSpace
from moireio.spectrum.anchors.nodes import ChebyshevNodes
from moireio.spectrum.anchors.reduced import Grams

SIZE, WINDOW = 30, 0.45
LINE = Patch(np.zeros(3), np.eye(3)[:1], np.arange(1))


def hamiltonian(x):
    rng = np.random.default_rng(2)
    slopes = np.diag(rng.uniform(-0.08, 0.08, SIZE))
    a = rng.normal(size=(SIZE, SIZE)) + 1j * rng.normal(size=(SIZE, SIZE))
    return np.diag(np.linspace(-1, 1, SIZE)) + x * (slopes + 0.002 * (a + a.conj().T))


def grams_at(k):
    h, one = hamiltonian(k[0]), np.eye(SIZE)
    return Grams(np.stack([h, one, h @ h, h, one]).astype(complex), 0.0)


def in_window(x):
    energies, states = np.linalg.eigh(hamiltonian(x))
    return states[:, np.abs(energies) < WINDOW]


@pytest.fixture(scope="module")
def space():
    series = GramSeries(LINE, ChebyshevNodes((3,)), grams_at)
    return MovingSpace(series, LINE, [in_window(x) for x in NODES], 3)


def test_it_holds_the_levels_at_the_nodes(space):
    """Those too that are in the window at one of them only."""
    counts = {in_window(x).shape[1] for x in NODES}
    assert len(counts) > 1
    for x in NODES:
        q = np.linalg.qr(space.at(np.array([x, 0, 0])))[0]
        states = in_window(x)
        assert np.abs(states - q @ (q.conj().T @ states)).max() < 2e-4
        inner = states[:, 3:-3]
        assert np.abs(inner - q @ (q.conj().T @ inner)).max() < 1e-5


def test_it_follows_the_levels_between_nodes(space):
    """Ritz values within it; fewer vectors than the levels at all nodes have."""
    for x in np.linspace(-1, 1, 23):
        vectors = space.at(np.array([x, 0, 0]))
        assert vectors.shape[1] < SIZE - 6
        q = np.linalg.qr(vectors)[0]
        found = np.linalg.eigvalsh(q.conj().T @ hamiltonian(x) @ q)
        exact = np.linalg.eigvalsh(hamiltonian(x))
        middle = exact[np.abs(exact) < WINDOW / 2]
        assert np.abs(found[:, None] - middle).min(axis=0).max() < 1e-6


def test_its_products_are_exact(space):
    k = np.array([0.37, 0, 0])
    true = grams_at(k).inside(space.at(k)).matrices
    assert np.abs(space.grams(k).matrices - true).max() < 1e-12
