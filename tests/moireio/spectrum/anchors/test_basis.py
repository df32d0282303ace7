"""The space that the anchors' states span."""

import numpy as np

from moireio.spectrum.anchors.basis import combined, joined

RNG = np.random.default_rng(4)


def random(columns, n=30):
    return RNG.normal(size=(n, columns)) + 1j * RNG.normal(size=(n, columns))


def holds(basis, states):
    return np.abs(states - basis @ (basis.conj().T @ states)).max()


def test_states_are_joined_once():
    """Orthonormal columns, all states among them, and none that was there."""
    first, second = random(6), random(5)
    basis = joined(None, first)
    assert basis.shape == (30, 6)
    known = first @ RNG.normal(size=(6, 3))
    both = joined(basis, np.concatenate([second, known, second[:, :2]], axis=1))
    assert both.shape == (30, 11)
    assert np.abs(both.conj().T @ both - np.eye(11)).max() < 1e-12
    assert np.array_equal(both[:, :6], basis)
    assert holds(both, np.concatenate([first, second, known], axis=1)) < 1e-12
    assert joined(both, known).shape == (30, 11)


def test_what_is_new_to_one_part_in_a_million_is_dropped():
    basis = joined(None, random(4))
    new = random(1)
    for share, columns in ((1e-4, 5), (1e-8, 4)):
        near = basis[:, :1] + share * new / np.linalg.norm(new)
        assert joined(basis, near).shape[1] == columns


def test_a_basis_in_single_precision():
    """Columns are orthonormal to its rounding, with what is nearly in the basis too."""
    first = random(6, 20_000)
    basis = joined(None, first, np.complex64)
    near = basis[:, :1] + 1e-5 * random(1, 20_000) / 200
    both = joined(basis, np.concatenate([near, random(3, 20_000)], axis=1), np.complex64)
    assert both.dtype == np.complex64
    assert both.shape[1] == 10
    exact = both.astype(complex)
    assert np.abs(exact.conj().T @ exact - np.eye(10)).max() < 1e-6
    assert holds(exact, near) < 1e-6
    inner = random(2, 10)
    assert np.abs(combined(both, inner) - exact @ inner).max() < 1e-12
