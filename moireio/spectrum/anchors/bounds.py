"""Bounds on errors of energies from residuals."""

import numpy as np
import numpy.typing as npt

SMALL = 4  # levels of the groups that are tried around every level
STEPS = 10  # groups around all levels that are wanted


def quadratic_bounds(
    energies: npt.NDArray[np.float64],
    products: npt.NDArray[np.complex128],
    wanted: slice = slice(None),
    known: tuple[float, float] = (-np.inf, np.inf),
) -> npt.NDArray[np.float64]:
    """Return bounds on the errors of Ritz values: the least that any group of levels gives.

    A group of neighbouring levels, whose residuals have the norm R as a matrix, and a level of it
    with the distance η from all levels outside the group: its error is at most
    2R²/(η + √(η² + 4R²)), which is near R²/η for small residuals, and never more than R (C.-K. Li
    and R.-C. Li, Linear Algebra Appl. 395, 183 (2005)). Distances are those to the neighbouring
    Ritz values, less their residuals, so that the bounds hold where no level is missing. A level
    that one outside the group may pass gets no bound from that group: its number is not sure.

    Parameters
    ----------
    energies : (c,) array
        eV, ascending.
    products : (c, c) array
        Products r_i†S⁻¹r_j of the residuals, eV².
    wanted : slice
        Levels whose bounds matter; larger groups are formed around them.
    known : tuple of two float
        Energies between which there are no levels but these, eV.

    Returns
    -------
    (c,) array
        eV; ∞ where there is none.
    """
    count = len(energies)
    squares = np.maximum(np.diagonal(products).real, 0)
    residuals = np.sqrt(squares)
    bounds = np.full(count, np.inf)
    below = np.concatenate([[known[0]], energies + residuals])
    above = np.concatenate([energies - residuals, [known[1]]])
    lower = np.maximum.accumulate(below)
    upper = np.minimum.accumulate(above[::-1])[::-1]

    def use(first: int, last: int, norm2: float) -> None:
        part = slice(first, last + 1)
        eta = np.minimum(energies[part] - lower[first], upper[last + 1] - energies[part])
        root = np.sqrt(np.minimum(eta, 1e100) ** 2 + 4 * norm2)
        bound = np.where(eta > 0, 2 * norm2 / np.maximum(eta + root, 1e-300), np.inf)
        np.minimum(bounds[part], bound, out=bounds[part])

    sums = np.concatenate([[0.0], np.cumsum(squares)])
    for size in range(1, SMALL + 1):
        for first in range(count - size + 1):
            use(first, first + size - 1, float(sums[first + size] - sums[first]))
    start, stop, _ = wanted.indices(count)
    for step in np.unique(np.linspace(0, max(start, count - stop), STEPS).astype(int)):
        first, last = max(start - int(step), 0), min(stop - 1 + int(step), count - 1)
        if first <= last:
            part = products[first : last + 1, first : last + 1]
            use(first, last, max(float(np.linalg.eigvalsh(part)[-1]), 0.0))
    return bounds
