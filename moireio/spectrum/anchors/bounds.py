"""Bounds on errors of energies from residuals."""

import numpy as np
import numpy.typing as npt

SMALL = 4  # levels of the groups that are tried around every level
STEPS = 10  # groups around all levels that are wanted


def quadratic_bounds(
    energies: npt.NDArray[np.float64],
    products: npt.NDArray[np.complex128],
    wanted: slice = slice(None),
) -> npt.NDArray[np.float64]:
    """Return bounds on the errors of Ritz values: the least that any group of levels gives.

    A group of neighbouring levels, whose residuals have the norm R as a matrix, and a level of it
    with the distance η from all levels outside the group: its error is at most
    2R²/(η + √(η² + 4R²)), which is near R²/η for small residuals, and never more than R (C.-K. Li
    and R.-C. Li, Linear Algebra Appl. 395, 183 (2005)). Distances are those to the neighbouring
    Ritz values, less their residuals, so that the bounds hold where no level is missing.

    Parameters
    ----------
    energies : (c,) array
        eV, ascending.
    products : (c, c) array
        Products r_i†S⁻¹r_j of the residuals, eV².
    wanted : slice
        Levels whose bounds matter; larger groups are formed around them.

    Returns
    -------
    (c,) array
        eV.
    """
    count = len(energies)
    squares = np.maximum(np.diagonal(products).real, 0)
    residuals = np.sqrt(squares)
    bounds = residuals.copy()
    # nothing is known of what lies beyond the first and the last level
    lower = np.concatenate([[np.inf], energies + residuals])
    upper = np.concatenate([energies - residuals, [-np.inf]])

    def use(first: int, last: int, norm2: float) -> None:
        part = slice(first, last + 1)
        eta = np.minimum(energies[part] - lower[first], upper[last + 1] - energies[part])
        eta = np.maximum(eta, 0)
        bound = 2 * norm2 / np.maximum(eta + np.sqrt(eta**2 + 4 * norm2), 1e-300)
        np.minimum(bounds[part], bound, out=bounds[part])

    sums = np.concatenate([[0.0], np.cumsum(squares)])
    for size in range(1, SMALL + 1):
        for first in range(1, count - size):
            use(first, first + size - 1, float(sums[first + size] - sums[first]))
    start, stop, _ = wanted.indices(count)
    for step in np.unique(np.linspace(0, max(start - 1, count - 1 - stop), STEPS).astype(int)):
        first, last = max(start - int(step), 1), min(stop - 1 + int(step), count - 2)
        if first <= last:
            part = products[first : last + 1, first : last + 1]
            use(first, last, float(np.linalg.eigvalsh(part)[-1]))
    return bounds
