"""Real spherical harmonics without Condon–Shortley phase, m = −l … l, and their Gaunt integrals."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import factorial

import numpy as np
import numpy.typing as npt

Elements = dict[tuple[int, int], npt.NDArray[np.float64]]


def unit_vectors(
    vectors: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return lengths and directions of vectors.

    Parameters
    ----------
    vectors : (3, n) array
        x, y and z of each, in any unit.

    Returns
    -------
    length : (n,) array
        Lengths, in the same unit.
    unit : (3, n) array
        Directions; z for a vector of length 0.
    """
    x, y, z = vectors
    length = np.sqrt(x * x + y * y + z * z)
    zero = length == 0
    safe = np.where(zero, 1.0, length)
    return length, np.stack([x / safe, y / safe, np.where(zero, 1.0, z / safe)])


def harmonics(lmax: int, vectors: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return real spherical harmonics of all l ≤ lmax.

    Parameters
    ----------
    lmax : int
        Highest angular momentum.
    vectors : (3, n) array
        Unit vectors x, y, z.

    Returns
    -------
    ((lmax + 1)², n) array
        Row l² + l + m; l = 1 is √(3/4π) (y, z, x). Reversing a vector changes the sign of odd l
        and no other digit.
    """
    x, y, z = vectors
    out = np.empty(((lmax + 1) ** 2, len(x)))
    cosine, sine = np.ones_like(x), np.zeros_like(x)  # Re and Im of (x + iy)^m
    for m in range(lmax + 1):
        if m:
            cosine, sine = x * cosine - y * sine, x * sine + y * cosine
        # Q = P_l^m / sin^m, by the recurrence in l (DLMF 14.10.3 divided by sin^m).
        below, here = np.zeros_like(x), np.full_like(x, _odd_factorial(m))
        for l in range(m, lmax + 1):  # noqa: E741
            if l > m:
                below, here = here, ((2 * l - 1) * z * here - (l + m - 1) * below) / (l - m)
            norm = (2 * l + 1) / (4 * np.pi) * factorial(l - m) / factorial(l + m)
            radial = np.sqrt(norm * (2 if m else 1)) * here
            out[l * l + l + m] = radial * cosine
            if m:
                out[l * l + l - m] = radial * sine
    return out


def _odd_factorial(m: int) -> float:
    """Return (2m − 1)!!."""
    return float(np.prod(np.arange(1, 2 * m, 2))) if m else 1.0


@lru_cache(maxsize=256)
def gaunt(l1: int, l2: int, l3: int) -> npt.NDArray[np.float64]:
    """Return the integrals of products of three real spherical harmonics.

    Parameters
    ----------
    l1, l2, l3 : int
        Angular momenta.

    Returns
    -------
    (2·l1+1, 2·l2+1, 2·l3+1) array
        ∫ Y_l1m1 Y_l2m2 Y_l3m3 dΩ, by a quadrature that is exact for these polynomials.
    """
    top = max(l1, l2, l3)
    degree = l1 + l2 + l3
    z, weight = np.polynomial.legendre.leggauss(degree // 2 + 1)
    angle = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    s = np.sqrt(1 - z * z)
    vectors = np.stack(
        [
            np.outer(s, np.cos(angle)).ravel(),
            np.outer(s, np.sin(angle)).ravel(),
            np.repeat(z, len(angle)),
        ]
    )
    values = harmonics(top, vectors)
    factors = (values[n * n : (n + 1) ** 2] for n in (l1, l2, l3))
    weights = np.repeat(weight, len(angle)) * 2 * np.pi / len(angle)
    integrals = np.einsum("ap,bp,cp,p->abc", *factors, weights)
    integrals[np.abs(integrals) < 1e-14] = 0.0
    return integrals


def coupled(
    l1: int,
    l2: int,
    momentum: int,
    values: npt.NDArray[np.float64],
    rows: Sequence[int] | slice = slice(None),
    columns: Sequence[int] | slice = slice(None),
) -> Elements:
    """Return Σ_M G(l1 m1, l2 m2, L M) Y_LM, the angular part of two-centre integrals.

    Parameters
    ----------
    l1, l2, momentum : int
        Angular momenta; the last is L.
    values : (≥ (L + 1)², n) array
        Y_LM from `harmonics`.
    rows, columns : sequence of int, optional
        The wanted m1 + l1 and m2 + l2; by default all.

    Returns
    -------
    dict of (int, int) to (n,) array
        Elements by row and column, without those that vanish in every direction.
    """
    coefficients = gaunt(l1, l2, momentum)[rows][:, columns]
    start = momentum * momentum
    elements: Elements = {}
    for i, j, m in np.argwhere(coefficients):
        term = coefficients[i, j, m] * values[start + m]
        key = (int(i), int(j))
        elements[key] = elements[key] + term if key in elements else term
    return elements


def fill_block(
    block: npt.NDArray[np.float64],
    terms: Iterable[
        tuple[npt.NDArray[np.float64], Mapping[tuple[int, int], npt.NDArray[np.float64]]]
    ],
) -> None:
    """Sum products of a radial and an angular part into a block.

    Parameters
    ----------
    block : (rows, columns, n) array
        Changed in place; elements without a term keep their values.
    terms : iterable of (array, dict)
        For every L the radial part (n,) and the angular part from `coupled`.
    """
    begun = set()
    for radial, angular in terms:
        for element, factor in angular.items():
            if element in begun:
                block[element] += radial * factor
            else:
                np.multiply(radial, factor, out=block[element])
                begun.add(element)
