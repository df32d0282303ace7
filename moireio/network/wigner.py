"""Clebsch–Gordan coefficients and rotation matrices of real spherical harmonics."""

from functools import lru_cache
from math import factorial

import numpy as np
import numpy.typing as npt

from moireio.system.harmonics import harmonics


def _complex_coefficient(l1: int, m1: int, l2: int, m2: int, l3: int, m3: int) -> float:
    """Return ⟨l1 m1 l2 m2 | l3 m3⟩ (Racah; Varshalovich et al. 1988, 8.2.1(3))."""
    if m1 + m2 != m3:
        return 0.0
    f = factorial
    triangle = f(l1 + l2 - l3) * f(l1 - l2 + l3) * f(-l1 + l2 + l3) / f(l1 + l2 + l3 + 1)
    norm = (2 * l3 + 1) * f(l1 + m1) * f(l1 - m1) * f(l2 + m2) * f(l2 - m2) * f(l3 + m3)
    norm *= f(l3 - m3)
    total = 0.0
    for k in range(l1 + l2 - l3 + 1):
        parts = (l1 + l2 - l3 - k, l1 - m1 - k, l2 + m2 - k, l3 - l2 + m1 + k, l3 - l1 - m2 + k)
        if min(parts) >= 0:
            total += (-1) ** k / np.prod([float(f(n)) for n in (k, *parts)])
    return float(np.sqrt(triangle * norm) * total)


def _to_real(l: int) -> npt.NDArray[np.complex128]:  # noqa: E741
    """Return the matrix from real (columns) to complex (rows) components, times (−i)^l."""
    q = np.zeros((2 * l + 1, 2 * l + 1), dtype=complex)
    q[l, l] = 1
    for m in range(1, l + 1):
        q[l - m, l + m] = 1 / np.sqrt(2)
        q[l - m, l - m] = -1j / np.sqrt(2)
        q[l + m, l + m] = (-1) ** m / np.sqrt(2)
        q[l + m, l - m] = 1j * (-1) ** m / np.sqrt(2)
    return (-1j) ** l * q


@lru_cache(maxsize=1024)
def coupling(l1: int, l2: int, l3: int, old_signs: bool = False) -> npt.NDArray[np.float64]:
    """Return the real coupling coefficients of three degrees.

    Parameters
    ----------
    l1, l2, l3 : int
        Degrees that obey the triangle rule.
    old_signs : bool
        Use the signs that e3nn had before 0.5: for sorted degrees the central coefficient, or else
        the first one that is not zero, is positive.

    Returns
    -------
    (2·l1+1, 2·l2+1, 2·l3+1) array
        Coefficients of norm 1, for components −l … l of real spherical harmonics; without
        `old_signs`, e3nn's signs.
    """
    if old_signs:
        order = sorted(range(3), key=(l1, l2, l3).__getitem__)
        degrees = [(l1, l2, l3)[n] for n in order]
        value = coupling(*degrees)
        centre = value[tuple(degrees)]
        first = centre if abs(centre) > 1e-10 else value[np.abs(value) > 1e-10][0]
        back = np.argsort(order)
        odd = order in ([0, 2, 1], [1, 0, 2], [2, 1, 0])
        sign = np.sign(first) * ((-1) ** sum(degrees) if odd else 1)
        return sign * value.transpose(back)
    complex_ = np.zeros((2 * l1 + 1, 2 * l2 + 1, 2 * l3 + 1))
    for m1 in range(-l1, l1 + 1):
        for m2 in range(max(-l2, -l3 - m1), min(l2, l3 - m1) + 1):
            value = _complex_coefficient(l1, m1, l2, m2, l3, m1 + m2)
            complex_[m1 + l1, m2 + l2, m1 + m2 + l3] = value
    q1, q2, q3 = _to_real(l1), _to_real(l2), _to_real(l3)
    real = np.einsum("xyz,xa,yb,zc->abc", complex_, q1, q2, q3.conj()).real
    real[np.abs(real) < 1e-12] = 0.0
    return real / np.linalg.norm(real)


@lru_cache(maxsize=32)
def about_y(l: int) -> npt.NDArray[np.float64]:  # noqa: E741
    """Return the rotation about y as a trigonometric sum.

    Parameters
    ----------
    l : int
        Degree.

    Returns
    -------
    (2l + 1, (2l + 1)²) array
        Row 0 multiplies 1, row 2k − 1 cos kθ and row 2k sin kθ; their sum is D(θ), row by row.
    """
    # θ about y is θ about z, between the rotation that takes z to y and its inverse.
    n = 2 * l + 1
    rng = np.random.default_rng(l)
    points = rng.normal(size=(3, 4 * n + 8))
    points /= np.linalg.norm(points, axis=0)
    x, y, z = points
    part = slice(l * l, (l + 1) ** 2)
    before, after = harmonics(l, points)[part], harmonics(l, np.stack([x, z, -y]))[part]
    K = np.linalg.lstsq(before.T, after.T, rcond=None)[0].T
    K[np.abs(K) < 1e-13] = 0.0
    out = np.zeros((n, n, n))
    out[0] = np.outer(K[:, l], K[:, l])
    for k in range(1, l + 1):
        up, down = K[:, l + k], K[:, l - k]
        out[2 * k - 1] = np.outer(up, up) + np.outer(down, down)
        out[2 * k] = np.outer(down, up) - np.outer(up, down)
    return out.reshape(n, n * n)
