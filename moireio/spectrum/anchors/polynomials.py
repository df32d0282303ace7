"""Polynomials through matrices at Chebyshev nodes."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from numpy.polynomial.chebyshev import cheb2poly


def chebyshev_nodes(count: int) -> npt.NDArray[np.float64]:
    """Return the nodes between −1 and 1.

    Parameters
    ----------
    count : int
        Their number.

    Returns
    -------
    (count,) array
        Zeros of the Chebyshev polynomial of that degree.
    """
    return np.asarray(np.cos(np.pi * (np.arange(count) + 0.5) / count))


def _coefficients(values: npt.NDArray, axis: int) -> npt.NDArray:
    """Return the coefficients of Chebyshev polynomials along an axis of values at nodes."""
    count = values.shape[axis]
    degree = np.arange(count)[:, None]
    transform = 2 / count * np.cos(np.pi * degree * (np.arange(count) + 0.5) / count)
    transform[0] /= 2
    return np.moveaxis(np.tensordot(transform, values, axes=(1, axis)), 0, axis)


def _sizes(coefficients: npt.NDArray) -> npt.NDArray[np.float64]:
    """Return the 2-norms of matrices, the last two axes."""
    return np.asarray(np.linalg.norm(coefficients, ord=2, axis=(-2, -1)))


def line_tail(values: npt.NDArray) -> float:
    """Return about what a Chebyshev series through matrices at nodes of a line leaves out.

    Parameters
    ----------
    values : (q, m, m) array
        At `chebyshev_nodes`.

    Returns
    -------
    float
        Norm of the last two terms.
    """
    return float(_sizes(_coefficients(values, 0)[-2:]).max())


def power_series(
    values: Sequence[npt.NDArray], allowed: Sequence[float]
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray]]:
    """Return polynomials through matrices at a mesh of nodes, as powers.

    Parameters
    ----------
    values : sequence of (q, …, q, m, m) arrays
        Functions at `chebyshev_nodes` along each of d axes.
    allowed : sequence of float
        Norm of what may be left out of each.

    Returns
    -------
    powers : (t, d) array
        The same for all functions.
    coefficients : list of (t, m, m) arrays
        For coordinates from −1 to 1.
    """
    series = []
    for function, most in zip(values, allowed, strict=True):
        d = function.ndim - 2
        for axis in range(d):
            function = _coefficients(function, axis)
        sizes = _sizes(function)
        order = np.argsort(sizes, axis=None)
        small = order[np.cumsum(sizes.ravel()[order]) <= most]
        kept = np.ones(sizes.size, dtype=bool)
        kept[small] = False
        function = np.where(kept.reshape(sizes.shape)[..., None, None], function, 0)
        for axis in range(d):
            function = _as_powers(function, axis)
        series.append(function)
    used = np.any([np.abs(function).max(axis=(-2, -1)) > 0 for function in series], axis=0)
    return np.argwhere(used), [function[used] for function in series]


def _as_powers(coefficients: npt.NDArray, axis: int) -> npt.NDArray:
    """Turn coefficients of Chebyshev polynomials to those of powers along an axis."""
    count = coefficients.shape[axis]
    matrix = np.zeros((count, count))
    for degree in range(count):
        row = cheb2poly(np.eye(count)[degree])
        matrix[: len(row), degree] = row
    return np.moveaxis(np.tensordot(matrix, coefficients, axes=(1, axis)), 0, axis)
