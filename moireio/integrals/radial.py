"""Spherical Bessel transforms of radial functions, and tables of integrals over the distance."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from moireio.units import BOHR_ANGSTROM

# OpenMX integrates to 60 Bohr⁻¹ (1DFFT.EnergyCutoff 3600 Ry); this matches its overlaps best.
Q_MAX = 60.0 / BOHR_ANGSTROM
R_PANELS, R_POINTS = 400, 4
STEP = 0.005 * BOHR_ANGSTROM


class Radial(Protocol):
    """A function of the distance that belongs to an angular momentum, as `RadialFunction`."""

    @property
    def l(self) -> int:  # noqa: E743
        """Angular momentum."""

    @property
    def end(self) -> float:
        """Radius from which on the function is zero, Å."""

    def __call__(self, r: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the function at distances in Å."""


def q_grid(reach: float) -> npt.NDArray[np.float64]:
    """Return the grid of momenta between 0 and `Q_MAX`.

    Parameters
    ----------
    reach : float
        Largest distance of two overlapping shells, end to end, Å.

    Returns
    -------
    (n,) array
        Multiples of π/(1.1 reach), Å⁻¹. The integrands are even functions of q, of exponential
        type 2·reach: with this step the sum over the grid is the integral.
    """
    step = np.pi / (1.1 * reach)
    return np.arange(1.0, int(np.ceil(Q_MAX / step)) + 1) * step


def bessel(lmax: int, x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return spherical Bessel functions of all orders to a highest one.

    Parameters
    ----------
    lmax : int
        Highest order.
    x : array
        Arguments, not negative.

    Returns
    -------
    (lmax + 1, ...) array
        j_0 … j_lmax, by the upward recurrence where it is stable, by SciPy below.
    """
    from scipy.special import spherical_jn

    out = np.empty((lmax + 1, *x.shape))
    small = x < max(lmax, 1)
    inverse = 1 / np.where(small, 1.0, x)
    sine = np.sin(x)
    out[0] = sine * inverse
    if lmax:
        out[1] = (out[0] - np.cos(x)) * inverse
    for l in range(1, lmax):  # noqa: E741
        np.multiply(inverse, 2 * l + 1, out=sine)
        out[l + 1] = sine * out[l] - out[l - 1]
    low = x[small]
    for l in range(lmax + 1):  # noqa: E741
        out[l][small] = spherical_jn(l, low)
    return out


def transforms(functions: Sequence[Radial], q: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the spherical Bessel transforms ∫ r² R(r) j_l(qr) dr.

    Parameters
    ----------
    functions : sequence of RadialFunction
        R and l of each.
    q : (n,) array
        Momenta, Å⁻¹.

    Returns
    -------
    (functions, n) array
        The transforms, Å^(3/2).
    """
    out = np.empty((len(functions), len(q)))
    nodes, weights = _panels()
    for end in sorted({f.end for f in functions}):
        members = [n for n, f in enumerate(functions) if f.end == end]
        r = end * nodes
        weighted = {n: end * weights * r * r * functions[n](r) for n in members}
        for start in range(0, len(q), 64):
            part = slice(start, start + 64)
            values = bessel(max(functions[n].l for n in members), np.outer(r, q[part]))
            for n in members:
                out[n, part] = weighted[n] @ values[functions[n].l]
    return out


def _panels():
    """Return nodes and weights of Gauss–Legendre panels between 0 and 1."""
    nodes, weights = np.polynomial.legendre.leggauss(R_POINTS)
    x = (np.arange(R_PANELS)[:, None] + (nodes + 1) / 2) / R_PANELS
    return x.ravel(), np.tile(weights / 2 / R_PANELS, R_PANELS)


def tables(
    products: Mapping[int, npt.NDArray[np.float64]], q: npt.NDArray[np.float64], reach: float
) -> dict[int, npt.NDArray[np.float64]]:
    """Tabulate ∫ q² F(q) G(q) j_L(qd) dq over the distance d.

    Parameters
    ----------
    products : dict of int to (n, nq) array
        For every L, products F G on the grid of momenta.
    q : (nq,) array
        From `q_grid`, Å⁻¹.
    reach : float
        Largest distance, Å.

    Returns
    -------
    dict of int to (n, 4, n_d) array
        Coefficients of cubic Hermite pieces: c[0] + x c[1] + x² c[2] + x³ c[3] with
        x = d/STEP − k in piece k.
    """
    count = int(np.ceil(reach / STEP)) + 2
    grid = np.arange(count) * STEP
    weighted = {L: values * (q[0] * q * q) for L, values in products.items()}
    integrals = {L: np.empty((len(values), 2, count)) for L, values in products.items()}
    for start in range(0, count, 128):
        part = slice(start, start + 128)
        x = np.outer(q, grid[part])
        values = bessel(max(products) + 1, x)
        inverse = 1 / np.where(x > 0, x, 1.0)
        for L, table in integrals.items():
            slope = L * inverse * values[L] - values[L + 1]
            if L == 1:
                slope[x == 0] = 1 / 3
            np.matmul(weighted[L], values[L], out=table[:, 0, part])
            np.matmul(weighted[L], STEP * q[:, None] * slope, out=table[:, 1, part])
    for L, table in integrals.items():
        if L:
            table[:, 0, 0] = 0.0
    return {L: _hermite(table[:, 0], table[:, 1]) for L, table in integrals.items()}


def _hermite(f, slope):
    """Return the coefficients of cubic pieces with given values and slopes at both ends."""
    rise = f[:, 1:] - f[:, :-1]
    left, right = slope[:, :-1], slope[:, 1:]
    pieces = [f[:, :-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise]
    return np.ascontiguousarray(np.stack(pieces, axis=1))
