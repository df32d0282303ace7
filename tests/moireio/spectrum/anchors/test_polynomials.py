"""Polynomials through matrices at Chebyshev nodes."""

import numpy as np

from moireio.spectrum.anchors.polynomials import chebyshev_nodes, line_tail, power_series


def test_a_polynomial_is_found_again():
    """Two functions of x and y, one without the powers of the other."""
    rng = np.random.default_rng(1)
    a, b, c = rng.normal(size=(3, 2, 2))
    x, y = (v[..., None, None] for v in np.meshgrid(*[chebyshev_nodes(5)] * 2, indexing="ij"))
    powers, (first, second) = power_series([a + b * x**2 * y, c * y**3], [1e-12, 1e-12])
    assert {tuple(p) for p in powers.tolist()} >= {(0, 0), (2, 1), (0, 3)}
    point = np.array([0.3, -0.7])
    terms = np.prod(point**powers, axis=1)
    assert np.allclose(np.tensordot(terms, first, 1), a + b * 0.09 * -0.7, atol=1e-12)
    assert np.allclose(np.tensordot(terms, second, 1), c * (-0.7) ** 3, atol=1e-12)


def test_what_may_be_left_out_is():
    x = chebyshev_nodes(12)
    values = np.exp(x)[:, None, None] * np.eye(2)
    powers, (found,) = power_series([values], [1e-3])
    assert powers.max() == 4  # of eˣ; the Chebyshev coefficient of degree 5 is 5e-4
    point = np.linspace(-1, 1, 9)
    assert (
        1e-5 < np.abs(point[:, None] ** powers[:, 0] @ found[:, 0, 0] - np.exp(point)).max() < 1e-3
    )
    assert line_tail(values) < 1e-9
    assert line_tail(np.abs(x)[:, None, None] * np.eye(2)) > 1e-3
