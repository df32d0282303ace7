"""Lines and planes of k space on which k points lie."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.interpolation import Patch, node_count

STRAIGHT = 1e-7  # distance from a line, fractional coordinates
FEWEST = 4  # points of a line


def straight_lines(k: npt.NDArray[np.float64]) -> list[Patch]:
    """Return the lines that a sequence of k points follows.

    Parameters
    ----------
    k : (nk, 3) array
        Fractional coordinates, in the order of a path.

    Returns
    -------
    list of Patch
        Lines of at least four points each; corners belong to the line that ends there. Points on
        none are left out.
    """
    lines: list[Patch] = []
    begin = 0
    while begin < len(k) - 1:
        end = begin + 1
        direction = k[end] - k[begin]
        length = np.linalg.norm(direction)
        while length > 0 and end + 1 < len(k):
            step = k[end + 1] - k[end]
            along = step @ direction / length
            if along <= 0 or np.linalg.norm(step - along * direction / length) > STRAIGHT:
                break
            if np.linalg.norm(step) > 2.5 * length:  # a jump along the line
                break
            end += 1
        if length == 0:
            begin += 1
            continue
        taken = np.arange(
            begin if not lines or lines[-1].points[-1] != begin else begin + 1, end + 1
        )
        if end - begin + 1 >= FEWEST:
            half = (k[end] - k[begin]) / 2
            lines.append(Patch(k[begin] + half, half[None], taken))
        begin = end
    return lines


def plane(k: npt.NDArray[np.float64]) -> Patch | None:
    """Return the rectangle of k space, along two axes of the reciprocal cell, that holds k points.

    Parameters
    ----------
    k : (nk, 3) array
        Fractional coordinates.

    Returns
    -------
    Patch or None
        None if they vary along other than two axes.
    """
    low, high = k.min(axis=0), k.max(axis=0)
    axes = np.flatnonzero(high - low > STRAIGHT)
    if len(axes) != 2:
        return None
    half = np.zeros((2, 3))
    half[[0, 1], axes] = (high - low)[axes] / 2
    return Patch((low + high) / 2, half, np.arange(len(k)))


def folded(
    k: npt.NDArray[np.float64], reciprocal: npt.NDArray, pbc: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float64]:
    """Return the equivalent k points nearest to Γ.

    Parameters
    ----------
    k : (nk, 3) array
        Fractional coordinates.
    reciprocal : (3, 3) array
        Reciprocal cell, one vector a row.
    pbc : (3,) array of bool
        Periodic axes.

    Returns
    -------
    (nk, 3) array
        Fractional coordinates.
    """
    k = k - np.rint(k)
    steps = [(-1, 0, 1) if periodic else (0,) for periodic in pbc]
    moves = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    lengths = np.linalg.norm((k[:, None] + moves) @ reciprocal, axis=-1)
    # of equally short ones always the same, so that neighbours stay neighbours
    return k + moves[np.argmin(np.round(lengths, 9), axis=1)]


def chosen_patches(
    k: npt.NDArray[np.float64],
    reciprocal: npt.NDArray,
    pbc: npt.NDArray[np.bool_],
    reach: Callable[[npt.NDArray], float],
) -> tuple[npt.NDArray[np.float64], list[tuple[Patch, tuple[int, ...]]]]:
    """Return lines or a plane with their nodes, whichever needs fewer.

    Parameters
    ----------
    k : (nk, 3) array
        Fractional coordinates.
    reciprocal : (3, 3) array
        Reciprocal cell, one vector a row.
    pbc : (3,) array of bool
        Periodic axes.
    reach : callable
        Returns the largest phase, radians, along a line in k space (see `BlochProducts.reach`).

    Returns
    -------
    k : (nk, 3) array
        Those of a plane moved to the zone around Γ.
    patches : list of (Patch, tuple of int)
        With the number of nodes along each axis.
    """

    def counts(patch: Patch) -> tuple[int, ...]:
        # products of H V with itself have twice the phases
        return tuple(node_count(2 * reach(axis)) for axis in patch.axes)

    lines = [(line, counts(line)) for line in straight_lines(k)]
    inside = sum(len(line.points) for line, _ in lines)
    cost = sum(np.prod(count) for _, count in lines) + len(k) - inside
    moved = folded(k, reciprocal, pbc)
    whole = plane(moved)
    if whole is not None and np.prod(counts(whole)) < cost:
        return moved, [(whole, counts(whole))]
    return k, lines
