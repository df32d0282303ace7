"""Radial functions of atomic orbitals, and their interpolation."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.basis import SpeciesBasis
from moireio.units import BOHR_ANGSTROM

# OpenMX integrates 0.5 Bohr past the cutoff. Tables are zero there, but the interpolation runs over
# in the first step: without it overlaps differ by 3e-6, with it by 2e-8.
OVERRUN = 0.5 * BOHR_ANGSTROM


@dataclass(frozen=True, eq=False)
class RadialFunction:
    """The radial part R(r) of the orbitals φ = R(r) Y_lm of one shell.

    Parameters
    ----------
    l : int
        Angular momentum of the orbitals.
    r : (n,) array
        Grid, Å.
    values : (n,) array
        R on the grid, Å^(−3/2).
    cutoff : float
        Nominal reach, which decides which atoms overlap, Å.
    """

    l: int  # noqa: E741
    r: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    cutoff: float

    @property
    def end(self) -> float:
        """Radius from which on R is zero, Å."""
        return min(self.cutoff + OVERRUN, float(self.r[-1]))

    def __call__(self, r: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return R(r).

        Parameters
        ----------
        r : array
            Distances, Å.

        Returns
        -------
        array
            The same shape as `r`, Å^(−3/2); zero beyond `end`.
        """
        out = interpolate(self.r, self.values, r)
        inside = r < self.r[0]
        if inside.any():  # R ~ r^l near the nucleus
            power = self.l
            out = np.where(inside, self.values[0] * (r / self.r[0]) ** power, out)
        return np.where(r < self.end, out, 0.0)


def interpolate(
    x: npt.NDArray[np.float64], f: npt.NDArray[np.float64], at: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Interpolate as OpenMX does: cubic Hermite pieces with three-point derivatives.

    Parameters
    ----------
    x : (n,) array
        Grid, rising.
    f : (n,) array
        Values on the grid.
    at : array
        Points at which values are wanted.

    Returns
    -------
    array
        The same shape as `at`. The slope at a grid point is that of the parabola through it and
        its two neighbours, on the grid as it is. (A spline in ln r differs from OpenMX's overlaps
        by 1e-6, this by 3e-8.)
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


def radial_functions(name: str, species: SpeciesBasis) -> list[RadialFunction]:
    """Return the radial functions of a species.

    Parameters
    ----------
    name : str
        Name of the species, for messages.
    species : SpeciesBasis
        Its orbitals, with `radial` and `cutoff`.

    Returns
    -------
    list of RadialFunction
        In the order of the orbitals.

    Raises
    ------
    MoireioError
        If there are no radial functions, or shells are incomplete.
    """
    if species.radial is None or species.cutoff is None:
        raise MoireioError(
            f"species {name} has no radial functions", remedy="give `pao` with the orbital files"
        )
    if species.m is not None:
        raise MoireioError(f"species {name} has incomplete shells, which have no integrals here")
    r, values = species.radial
    shells = zip(species.l, values, strict=True)
    return [RadialFunction(momentum, r, f, species.cutoff) for momentum, f in shells]
