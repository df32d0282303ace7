"""From levels on a mesh of k points to a density of states on a grid of energies.

Both methods give the mean over each interval of the grid, from differences of the number of
states below its ends. So the integral over a grid that covers all states is their number exactly,
however coarse it is.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

CHUNK = 2_000_000  # numbers in a temporary array
REACH = 6.0  # standard deviations


def edges(grid: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the ends of the intervals around the points of a regular grid; shape (ne + 1,)."""
    step = grid[1] - grid[0]
    return np.append(grid - step / 2, grid[-1] + step / 2)


def gaussian_dos(
    energies: npt.NDArray[np.float64],
    shares: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    grid: npt.NDArray[np.float64],
    width: float,
) -> npt.NDArray[np.float64]:
    """Return the sum of Gaussians at all levels.

    Parameters
    ----------
    energies : (nk, nb) array
        Levels, eV.
    shares : (nk,) array
        Share of every k point in the mesh.
    weights : (nk, nb, ng) array
        Populations of the groups in every level.
    grid : (ne,) array
        Regular energies, eV, ascending.
    width : float
        Standard deviation, eV.

    Returns
    -------
    (1 + ng, ne) array
        Density of states in 1/eV: total, then of every group.
    """
    from scipy.special import ndtr

    step, count = grid[1] - grid[0], len(grid)
    ng = weights.shape[2]
    bound = edges(grid)
    half = int(np.ceil(REACH * width / step)) + 1
    stencil = np.arange(-half, half + 2)
    centre = np.rint((energies - bound[0]) / step).astype(np.int64).ravel()
    inside = np.flatnonzero((centre + half >= 0) & (centre - half <= count))
    levels = energies.ravel()
    held = np.repeat(shares, energies.shape[1])
    populations = weights.reshape(energies.size, ng)
    # one interval more on either side catches what lies outside
    out = np.zeros((1 + ng, count))
    for part in _chunks(inside, len(stencil)):
        places = centre[part][:, None] + stencil
        below = ndtr((bound[0] + places * step - levels[part][:, None]) / width)
        inner = np.diff(below, axis=1) * held[part][:, None] / step
        intervals = places[:, :-1]
        kept = (intervals >= 0) & (intervals < count)
        target = intervals[kept]
        out[0] += np.bincount(target, inner[kept], count)
        for g in range(ng):
            share = inner * populations[part, g][:, None]
            out[1 + g] += np.bincount(target, share[kept], count)
    return out


def simplex_dos(
    energies: npt.NDArray[np.float64],
    simplices: npt.NDArray[np.integer],
    grid: npt.NDArray[np.float64],
    point: npt.NDArray[np.integer] | None = None,
    populations: Callable[[int], npt.NDArray[np.float64]] | None = None,
    groups: int = 0,
) -> npt.NDArray[np.float64]:
    """Return the density of levels interpolated linearly in segments, triangles or tetrahedra.

    In each, the part of λ_i (the barycentric coordinate of corner i) below an energy is 1/(d+1)
    times the volume below it in a simplex with corner i twice: both are distribution functions of
    Dirichlet variables. In three dimensions this is the linear tetrahedron method of Blöchl,
    Jepsen and Andersen (Phys. Rev. B 49, 16223 (1994)) without their correction.

    Parameters
    ----------
    energies : (nk, nb) array
        Levels, eV; band n at one corner belongs to band n at the others.
    simplices : (m, d + 1) array of int
        Points of the mesh that are corners; all simplices have the same volume.
    grid : (ne,) array
        Regular energies, eV, ascending.
    point : (mesh points,) array of int, optional
        Row of `energies` for every point of the mesh, where only some were computed.
    populations : callable, optional
        Returns the populations of the groups in a band at every point of the mesh, shape
        (mesh points, ng). They are interpolated as the energies are.
    groups : int
        Number of groups, ng.

    Returns
    -------
    (1 + ng, ne) array
        Density of states in 1/eV: total, then of every group.
    """
    rows = simplices if point is None else point[simplices]
    share = np.full(len(rows), 1 / len(rows))
    if populations is None:  # equivalent simplices need to be done once
        rows, copies = np.unique(np.sort(rows, axis=1), axis=0, return_counts=True)
        share = copies / len(simplices)
    bound = edges(grid)
    below = np.zeros((1 + groups, len(bound)))
    for band in range(energies.shape[1]):
        levels = energies[rows, band]
        in_groups = None if populations is None else populations(band)
        for part in _chunks(np.arange(len(rows)), (groups + 1) * rows.shape[1]):
            order = np.argsort(levels[part], axis=1, kind="stable")
            ascending = np.take_along_axis(levels[part], order, axis=1)
            held = None
            if in_groups is not None:
                held = in_groups[np.take_along_axis(simplices[part], order, axis=1)]
            _add(below, bound, ascending, share[part], held)
    return np.diff(below, axis=1) / (grid[1] - grid[0])


def _add(below, bound, levels, share, populations):
    """Add the number of states of a band below the bounds; levels (m, d + 1) ascending."""
    size, count = levels.shape[1], len(bound)
    first = np.searchsorted(bound, levels[:, 0], side="right")
    last = np.searchsorted(bound, levels[:, -1], side="left")
    last = np.maximum(first, last)
    held = [share]
    if populations is not None:
        held += list((populations.mean(axis=1) * share[:, None]).T)
    for row, amount in zip(below, held, strict=True):
        row += np.cumsum(np.bincount(last, amount, count + 1)[:count])
    spans = last - first
    busy = np.flatnonzero(spans)
    for part in _chunks(busy, int(spans.max(initial=1)) * (size + 1)):
        which = np.repeat(part, spans[part])
        begin = np.cumsum(spans[part]) - spans[part]
        at = first[which] + np.arange(len(which)) - np.repeat(begin, spans[part])
        offset = levels[which] - bound[at][:, None]
        below[0] += np.bincount(at, share[which] * volume_below(offset), count)
        if populations is None:
            continue
        for corner in range(size):
            twice = np.insert(offset, corner, offset[:, corner], axis=1)
            part_below = share[which] * volume_below(twice) / size
            for g in range(populations.shape[2]):
                in_group = part_below * populations[which, corner, g]
                below[1 + g] += np.bincount(at, in_group, count)


def volume_below(offset: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the part of a simplex in which a linear function is negative.

    Parameters
    ----------
    offset : (m, d + 1) array
        Values at the corners, ascending.

    Returns
    -------
    (m,) array
        Between 0 and 1.

    Notes
    -----
    Varsi's recursion (Pac. J. Math. 45, 315 (1973)), which divides by differences of values of
    unlike sign only.
    """
    out = np.zeros(len(offset))
    negative = (offset < 0).sum(axis=1)
    size = offset.shape[1]
    out[negative == size] = 1.0
    for number in range(1, size):
        rows = np.flatnonzero(negative == number)
        if not len(rows):
            continue
        low, high = offset[rows, :number], offset[rows, number:]
        table = [np.ones(len(rows))] + [np.zeros(len(rows))] * (size - number)
        for y in low.T:
            for n, x in enumerate(high.T, 1):
                table[n] = (x * table[n] - y * table[n - 1]) / (x - y)
        out[rows] = table[-1]
    return out


def _chunks(items, width):
    """Cut a list into runs whose temporary arrays stay small."""
    step = max(1, CHUNK // max(width, 1))
    for begin in range(0, len(items), step):
        yield items[begin : begin + step]
