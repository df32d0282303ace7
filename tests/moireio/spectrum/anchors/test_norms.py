"""The norm of residuals in S⁻¹."""

import numpy as np
import pytest
from anchored_systems import bilayer

from moireio.spectrum.anchors.norms import ACCURACY, norm_ratio
from moireio.spectrum.anchors.products import BlochProducts

K = np.array([0.1, 0.27, 0])


def test_the_largest_ratio_of_some_residuals():
    """Against a solution with the dense S."""
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


class Diagonal:
    """Products with S whose eigenvalues are given."""

    orthogonal = False

    def __init__(self, values):
        self.values = np.asarray(values)

    def overlap(self, k, vectors):
        return (self.values[:, None] * vectors).astype(vectors.dtype)


@pytest.mark.parametrize("smallest", [1e-2, 1e-4])
def test_a_small_eigenvalue_that_hardly_shows(smallest):
    """Steps gain nothing for a while before it is found."""
    values = np.append(np.linspace(0.5, 2, 299), smallest)
    r = np.random.default_rng(3).normal(size=(300, 8)).astype(complex)
    r[-1] = 0.02 * np.linalg.norm(r[:-1], axis=0)
    exact = np.sqrt((r**2 / values[:, None]).sum(axis=0) / (r**2).sum(axis=0)).max().real
    assert abs(norm_ratio(Diagonal(values), K, r) / exact - 1) < ACCURACY


def test_a_nearly_singular_overlap():
    """Its products are not positive in single precision; double precision finds the norm."""

    class Single(Diagonal):
        def overlap(self, k, vectors):
            single = vectors.dtype == np.complex64
            return super().overlap(k, vectors) * (-1 if single else 1)

    values = np.linspace(0.5, 2, 40)
    r = np.ones((40, 1), complex)
    exact = np.sqrt((1 / values).mean())
    assert abs(norm_ratio(Single(values), K, r) / exact - 1) < ACCURACY
