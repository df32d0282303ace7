"""The norm of residuals in S⁻¹."""

import numpy as np
from anchored_systems import bilayer

from moireio.spectrum.anchors.norms import ACCURACY, norm_ratio
from moireio.spectrum.anchors.products import BlochProducts

K = np.array([0.1, 0.27, 0])


def test_the_largest_ratio_of_some_residuals():
    """Against a solution with the dense S, to a percent."""
    structure, h, s = bilayer()
    products = BlochProducts(h, s, structure)
    rng = np.random.default_rng(0)
    r = rng.normal(size=(4, 3)) + 1j * rng.normal(size=(4, 3))
    turned = products.phases(K)[:, None] * r  # into the phases of S(k)
    squares = np.einsum("ij,ij->j", turned.conj(), np.linalg.solve(s.dense(K), turned)).real
    exact = np.sqrt(squares / np.einsum("ij,ij->j", r.conj(), r).real).max()
    assert abs(norm_ratio(products, K, r) / exact - 1) < ACCURACY
    assert abs(norm_ratio(products, K, 1e-9 * r) / exact - 1) < ACCURACY


def test_no_residuals_have_the_plain_norm():
    structure, h, s = bilayer()
    assert norm_ratio(BlochProducts(h, s, structure), K, np.zeros((4, 2), complex)) == 1
    assert norm_ratio(BlochProducts(h, None, structure), K, np.ones((4, 2), complex)) == 1
