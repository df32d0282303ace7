"""Lines and planes of k space on which k points lie."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.completeness import directions
from moireio.spectrum.anchors.interpolation import Patch, term_count
from moireio.spectrum.anchors.nodes import ChebyshevNodes, Nodes, PlaneNodes
from moireio.spectrum.anchors.settings import TOLERANCE

STRAIGHT = 1e-7  # distance from a line, fractional coordinates
FEWEST = 4  # points of a line
LEFT_OUT = 1e-9  # of products of H V with itself, eV², for the usual tolerance or a larger one
ANCHOR = 10  # products with H and S that take as long as an anchor, about
OF_PLANE, OF_LINE = 6, 4  # anchors, about; a line that begins where another ended needs one
WIDER = 2  # the space of a plane is larger than that of a line, about


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


def plane(k: npt.NDArray[np.float64], reciprocal: npt.NDArray) -> Patch | None:
    """Return the convex part of a plane of k space that holds k points.

    Parameters
    ----------
    k : (nk, 3) array
        Fractional coordinates.
    reciprocal : (3, 3) array
        Reciprocal cell, one vector a row, Å⁻¹.

    Returns
    -------
    Patch or None
        None if they do not lie in a plane, or on a line in it.
    """
    from scipy.spatial import ConvexHull

    spread = k @ reciprocal
    axes = directions(spread)
    if len(axes) != 2:
        return None
    low, high = (end(spread @ axes.T, axis=0) for end in (np.min, np.max))
    half = 0.5 * (high - low)
    inverse = np.linalg.inv(reciprocal)
    middle = spread.mean(axis=0)
    middle = middle + (0.5 * (low + high) - middle @ axes.T) @ axes
    flat = (spread - middle) @ axes.T / half
    corners = flat[ConvexHull(flat).vertices]
    return Patch(middle @ inverse, half[:, None] * axes @ inverse, np.arange(len(k)), corners)


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


def left_out(tolerance: float) -> float:
    """Return the largest part of products of H V with itself that interpolation may leave out.

    Parameters
    ----------
    tolerance : float
        Largest bound on the error of an energy, eV.

    Returns
    -------
    float
        eV².
    """
    return LEFT_OUT * min(tolerance / TOLERANCE, 1.0)


def chosen_patches(
    k: npt.NDArray[np.float64],
    reciprocal: npt.NDArray,
    pbc: npt.NDArray[np.bool_],
    turns: Callable[[npt.NDArray], tuple[npt.NDArray, npt.NDArray]],
    tolerance: float = TOLERANCE,
) -> tuple[npt.NDArray[np.float64], list[tuple[Patch, Nodes]]]:
    """Return lines or a plane with their nodes, whichever takes less time.

    Parameters
    ----------
    k : (nk, 3) array
        Fractional coordinates.
    reciprocal : (3, 3) array
        Reciprocal cell, one vector a row.
    pbc : (3,) array of bool
        Periodic axes.
    turns : callable
        Returns the phases along a line in k space (see `BlochProducts.turns`).
    tolerance : float
        Largest bound on the error of an energy, eV.

    Returns
    -------
    k : (nk, 3) array
        Those of a plane moved to the zone around Γ.
    patches : list of (Patch, Nodes)
        With the nodes of each.
    """
    lines = straight_lines(k)

    def terms_of(half: npt.NDArray) -> int:
        return term_count(*turns(half), left_out(tolerance))

    counts = [terms_of(line.axes[0]) for line in lines]
    rest = len(k) - sum(len(line.points) for line in lines)
    anchors = sum(1 if _joined(k, line) else OF_LINE for line in lines)
    cost = sum(counts) + ANCHOR * (anchors + rest)
    moved = folded(k, reciprocal, pbc)
    if cost > ANCHOR * OF_PLANE and (whole := plane(moved, reciprocal)) is not None:
        assert whole.corners is not None
        terms = max(terms_of(corner @ whole.axes) for corner in whole.corners)
        nodes = terms * (terms + 1) // 2
        if WIDER * nodes + ANCHOR * OF_PLANE < cost:
            return moved, [(whole, PlaneNodes(whole.corners, terms - 1))]
    chebyshev = [ChebyshevNodes((count,)) for count in counts]
    return k, list(zip(lines, chebyshev, strict=True))


def nearest_node(
    patches: Sequence[tuple[Patch, Nodes]], k: npt.NDArray, reciprocal: npt.NDArray
) -> npt.NDArray[np.float64]:
    """Return the node nearest to a k point on a line, itself if it lies on none.

    Parameters
    ----------
    patches : sequence of (Patch, Nodes)
        Lines, or a plane.
    k : (3,) array
        Fractional coordinates.
    reciprocal : (3, 3) array
        Reciprocal cell, one vector a row.

    Returns
    -------
    (3,) array
        Where products will be needed, fractional coordinates.
    """
    for patch, nodes in patches:
        if len(patch.axes) == 1 and patch.holds(k):
            places = patch.nodes(nodes)
            away = np.linalg.norm((places - k) @ reciprocal, axis=1)
            return np.asarray(places[np.argmin(away)])
    return k


def _joined(k: npt.NDArray[np.float64], line: Patch) -> bool:
    """Return whether a line begins where the one before it ended."""
    before = int(line.points[0]) - 1
    return before >= 0 and line.holds(k[before])
