"""Bounds on errors of energies from residuals."""

import numpy as np
import numpy.typing as npt

SMALL = 4  # levels of the groups that are tried around every level
STEPS = 12  # groups around all levels that are wanted
FACTOR, FACTORS = 3.0, 4  # between the distances for which a group's levels are found


def quadratic_bounds(
    energies: npt.NDArray[np.float64],
    products: npt.NDArray[np.complex128],
    wanted: slice = slice(None),
    known: tuple[float, float] = (-np.inf, np.inf),
    enough: float = 0.0,
) -> npt.NDArray[np.float64]:
    """Return bounds on the errors of Ritz values: the least that any group of levels gives.

    A group of neighbouring levels, whose residuals have the norm R as a matrix, and a level of it
    with the distance η from all levels outside the group: its error is at most
    2R²/(η + √(η² + 4R²)), which is near R²/η for small residuals, and never more than R (C.-K. Li
    and R.-C. Li, Linear Algebra Appl. 395, 183 (2005)). The level's own residual counts for more:
    with the energies E and products G = R†R of a group, the level lies between those of
    diag(E) − G/η and diag(E) + G/η with the same number. For what is left out of the group acts
    on it as −R†(C − λ)⁻¹R, which is never beyond ±G/η where C, the Hamiltonian of the rest, has no
    level within η of λ; this is monotonic in λ, as levels are in the matrix (Weyl).

    Distances are those to the neighbouring Ritz values, less their residuals, so that the bounds
    hold where no level is missing; those of C are closer by R² over the distance. A level that one
    outside the group may pass gets no bound from that group: its number is not sure.

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
    enough : float
        Bound below which no smaller one is looked for, eV.

    Returns
    -------
    (c,) array
        eV; ∞ where there is none.
    """
    count = len(energies)
    squares = np.maximum(np.diagonal(products).real, 0)
    residuals = np.sqrt(squares)
    bounds = np.full(count, np.inf)
    lower = np.maximum.accumulate(np.concatenate([[known[0]], energies + residuals]))
    above = np.concatenate([energies - residuals, [known[1]]])
    upper = np.minimum.accumulate(above[::-1])[::-1]
    sums = np.concatenate([[0.0], np.cumsum(squares)])
    for size in range(1, min(SMALL, count) + 1):
        first = np.arange(count - size + 1)
        norm2 = sums[size:] - sums[:-size]
        low = _nearest_level(lower[first] - energies[first], norm2)
        high = _nearest_level(energies[size - 1 :] - upper[size:], norm2)
        for offset in range(size):
            part = slice(offset, offset + len(first))
            eta = np.minimum(
                low + energies[part] - energies[first],
                high + energies[size - 1 :] - energies[part],
            )
            np.minimum(bounds[part], _of_norm(norm2, eta), out=bounds[part])
    start, stop, _ = wanted.indices(count)
    for step in np.unique(np.linspace(0, max(start, count - stop), STEPS).astype(int)):
        if bounds[wanted].max(initial=0) <= enough:
            break
        begin, end = max(start - int(step), 0), min(stop + int(step), count)
        if begin >= end:
            continue
        part = slice(begin, end)
        own, inner = energies[part], products[part, part]
        norm2 = np.array([max(float(np.linalg.eigvalsh(inner)[-1]), 0.0)])
        low = _nearest_level(lower[begin] - own[:1], norm2) + own - own[0]
        high = _nearest_level(own[-1:] - upper[end], norm2) + own[-1] - own
        bound = _of_norm(norm2, np.minimum(low, high))
        if low[0] > 0 and high[-1] > 0:
            bound = np.minimum(bound, np.maximum(*_of_matrix(own, inner, low, high)))
        np.minimum(bounds[part], bound, out=bounds[part])
    return bounds


def _nearest_level(
    overshoot: npt.NDArray[np.float64], norm2: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return how far the rest's levels are from the end of a group, given how far the true ones.

    Distances enter with a minus sign, and come out positive; negative where one may lie inside.
    """
    distance, root = -overshoot, np.sqrt(norm2)
    return distance - root * np.minimum(root / np.maximum(distance, 1e-300), 1)


def _of_norm(
    norm2: npt.NDArray[np.float64], eta: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return the bounds of levels with the distances η."""
    eta = np.minimum(eta, 1e100)
    root = np.sqrt(eta**2 + 4 * norm2)
    return np.where(eta > 0, 2 * norm2 / np.maximum(eta + root, 1e-300), np.inf)


def _of_matrix(
    energies: npt.NDArray[np.float64],
    products: npt.NDArray[np.complex128],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return how far levels may lie above and below, from their distances to both sides."""
    ends = []
    for sign, eta in ((1, low), (-1, high)):
        steps = eta.min() * FACTOR ** np.arange(FACTORS)
        moved = np.diag(energies) + sign * products / np.minimum(steps, 1e100)[:, None, None]
        shifts = sign * (np.linalg.eigvalsh(moved) - energies)
        # a smaller distance than the level's own is safe
        which = np.searchsorted(steps, eta * (1 + 1e-12), side="right") - 1
        ends.append(np.maximum(shifts[np.maximum(which, 0), np.arange(len(energies))], 0))
    return ends[0], ends[1]
