"""Radial functions: interpolation, spherical Bessel transforms, tables over the distance."""

from dataclasses import dataclass

import numpy as np

from moireio.errors import MoireioError
from moireio.units import BOHR_ANGSTROM

# OpenMX integrates to 60 Bohr⁻¹ (1DFFT.EnergyCutoff 3600 Ry); its overlaps are matched best so.
Q_MAX = 60.0 / BOHR_ANGSTROM
R_PANELS, R_POINTS = 400, 4
STEP = 0.005 * BOHR_ANGSTROM
# OpenMX integrates 0.5 Bohr past the cutoff. Tables are zero there, but the interpolation runs over
# in the first step: without it overlaps differ by 3e-6, with it by 2e-8.
OVERRUN = 0.5 * BOHR_ANGSTROM


@dataclass(frozen=True, eq=False)
class Shell:
    """One radial function.

    Parameters
    ----------
    l : int
        Angular momentum of the orbitals that it belongs to.
    r : (n,) array
        Grid, Å.
    values : (n,) array
        R, Å^(−3/2).
    cutoff : float
        Nominal reach, which decides which atoms overlap, Å.
    """

    l: int  # noqa: E741
    r: np.ndarray
    values: np.ndarray
    cutoff: float

    @property
    def end(self):
        """Where R is zero from on, Å."""
        return min(self.cutoff + OVERRUN, float(self.r[-1]))

    def __call__(self, r):
        """Return R(r).

        Parameters
        ----------
        r : array
            Distances, Å.

        Returns
        -------
        array
            Of the same shape, Å^(−3/2); zero beyond `end`.
        """
        out = interpolate(self.r, self.values, r)
        small = r < self.r[0]
        if small.any():  # R ~ r^l near the nucleus
            own = self.l
            out = np.where(small, self.values[0] * (r / self.r[0]) ** own, out)
        return np.where(r < self.end, out, 0.0)


def interpolate(x, f, at):
    """Interpolate as OpenMX does: cubic Hermite pieces with three-point derivatives.

    Parameters
    ----------
    x : (n,) array
        Grid, rising.
    f : (n,) array
        Values on it.
    at : array
        Where values are wanted.

    Returns
    -------
    array
        The slope at a grid point is that of the parabola through it and its two neighbours, on the
        grid as it is. (A spline in ln r differs from OpenMX's overlaps by 1e-6, this by 3e-8.)
    """
    slope = np.gradient(f, x)
    m = np.clip(np.searchsorted(x, at, side="right"), 1, len(x) - 1)
    h = x[m] - x[m - 1]
    t = (at - x[m - 1]) / h
    u = 1 - t
    left, right = f[m - 1], f[m]
    return u * u * ((1 + 2 * t) * left + t * h * slope[m - 1]) + t * t * (
        (1 + 2 * u) * right - u * h * slope[m]
    )


def shells(name, species):
    """Return the radial functions of a species.

    Parameters
    ----------
    name : str
        Of the species, for messages.
    species : SpeciesBasis
        With `radial` and `cutoff`.

    Returns
    -------
    list of Shell
        In the order of the orbitals.

    Raises
    ------
    MoireioError
        If there are no radial functions.
    """
    if species.radial is None or species.cutoff is None:
        raise MoireioError(
            f"species {name} has no radial functions", remedy="give --pao with the orbital files"
        )
    if species.m is not None:
        raise MoireioError(f"species {name} has incomplete shells, which have no integrals here")
    r, values = species.radial
    functions = zip(species.l, values, strict=True)
    return [Shell(momentum, r, f, species.cutoff) for momentum, f in functions]


def q_grid(reach):
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
    return np.arange(1, int(np.ceil(Q_MAX / step)) + 1) * step


def bessel(top, x):
    """Return spherical Bessel functions of all orders to a highest one.

    Parameters
    ----------
    top : int
        Highest order.
    x : array
        Arguments, not negative.

    Returns
    -------
    (top + 1, ...) array
        j_0 … j_top: the recurrence upwards where it is stable, SciPy's functions below.
    """
    from scipy.special import spherical_jn

    out = np.empty((top + 1, *x.shape))
    small = x < max(top, 1)
    inverse = 1 / np.where(small, 1.0, x)
    sine = np.sin(x)
    out[0] = sine * inverse
    if top:
        out[1] = (out[0] - np.cos(x)) * inverse
    for l in range(1, top):  # noqa: E741
        np.multiply(inverse, 2 * l + 1, out=sine)
        out[l + 1] = sine * out[l] - out[l - 1]
    low = x[small]
    for l in range(top + 1):  # noqa: E741
        out[l][small] = spherical_jn(l, low)
    return out


def transforms(shells, q):
    """Return the spherical Bessel transforms ∫ r² R(r) j_l(qr) dr.

    Parameters
    ----------
    shells : list of Shell
        R and l of each.
    q : (n,) array
        Å⁻¹.

    Returns
    -------
    (shells, n) array
        The transforms, Å^(3/2).
    """
    out = np.empty((len(shells), len(q)))
    nodes, weights = _panels()
    for end in sorted({s.end for s in shells}):
        members = [n for n, s in enumerate(shells) if s.end == end]
        r = end * nodes
        weighted = {n: end * weights * r * r * shells[n](r) for n in members}
        for start in range(0, len(q), 64):
            part = slice(start, start + 64)
            values = bessel(max(shells[n].l for n in members), np.outer(r, q[part]))
            for n in members:
                out[n, part] = weighted[n] @ values[shells[n].l]
    return out


def _panels():
    """Return nodes and weights of Gauss–Legendre panels between 0 and 1."""
    nodes, weights = np.polynomial.legendre.leggauss(R_POINTS)
    x = (np.arange(R_PANELS)[:, None] + (nodes + 1) / 2) / R_PANELS
    return x.ravel(), np.tile(weights / 2 / R_PANELS, R_PANELS)


def tables(products, q, reach):
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
    made = {L: np.empty((len(values), 2, count)) for L, values in products.items()}
    for start in range(0, count, 128):
        part = slice(start, start + 128)
        x = np.outer(q, grid[part])
        values = bessel(max(products) + 1, x)
        inverse = 1 / np.where(x > 0, x, 1.0)
        for L, table in made.items():
            slope = L * inverse * values[L] - values[L + 1]
            if L == 1:
                slope[x == 0] = 1 / 3
            np.matmul(weighted[L], values[L], out=table[:, 0, part])
            np.matmul(weighted[L], STEP * q[:, None] * slope, out=table[:, 1, part])
    for L, table in made.items():
        if L:
            table[:, 0, 0] = 0.0
    return {L: _hermite(table[:, 0], table[:, 1]) for L, table in made.items()}


def _hermite(f, slope):
    """Return the coefficients of cubic pieces with given values and slopes at both ends."""
    rise = f[:, 1:] - f[:, :-1]
    left, right = slope[:, :-1], slope[:, 1:]
    pieces = [f[:, :-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise]
    return np.ascontiguousarray(np.stack(pieces, axis=1))
