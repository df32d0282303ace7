"""Products of a growing basis."""

import numpy as np
import pytest
from anchored_systems import bilayer

from moireio.spectrum.anchors.products import BlochProducts
from moireio.spectrum.anchors.projections import Projections
from moireio.spectrum.anchors.reduced import Grams

KS = np.array([[0.1, 0.05, 0.0], [0.3, 0.2, 0.0], [0.4, 0.0, 0.0]])


@pytest.mark.parametrize("room", [np.inf, 300.0, 0.0])
def test_only_new_vectors_are_multiplied(room):
    """Where there is room for what was multiplied before; the products are the same."""
    structure, h, s = bilayer()
    products = BlochProducts(h, s, structure)
    rng = np.random.default_rng(2)
    full = np.linalg.qr(rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4)))[0]
    own = Projections(products, room, threads=2)
    for size in (2, 3, 4):
        for k in KS:
            basis = full[:, :size]
            found = own.at(k, basis, 0.3 + size, False)
            assert found.energy == own.energy == 2.3  # that of the first call
            exact = Grams.of(basis, *products(k, basis, 2.3), 2.3)
            assert np.abs(found.matrices - exact.matrices).max() < 1e-12
            assert own.at(k, basis, 0.0, False) is found
        assert own.nbytes <= room
    assert own.count == {np.inf: 3, 300.0: 8, 0.0: 9}[room]
    own.drop_products()
    assert own.nbytes == 0
    assert own.at(KS[0], full, 0.0, False) is not None
    own.clear()
    own.at(KS[0], full, 0.0, False)
    assert own.count == {np.inf: 3, 300.0: 8, 0.0: 9}[room] + 1


def test_orthogonal_basis():
    structure, h, _ = bilayer()
    products = BlochProducts(h, None, structure)
    own, full = Projections(products), np.eye(4)[:, ::-1] + 0j
    own.at(KS[0], full[:, :1], 0.0, False)
    found = own.at(KS[0], full, 0.0, False)
    exact = Grams.of(full, *products(KS[0], full, 0.0), 0.0)
    assert np.abs(found.matrices - exact.matrices).max() < 1e-12
