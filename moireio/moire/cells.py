"""Common cells of two plane lattices: exact families and the coincidence search."""

from dataclasses import dataclass, field
from itertools import pairwise
from math import gcd

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.moire import plane
from moireio.moire.plane import FloatArray, IntArray

EXACT = 1e-10
CHUNK = 1_000_000
MOST_POINTS = 4_000_000  # of a lattice, in a search
MOST_CELLS = 2_000_000  # that are candidates in a search
LARGEST_INDEX = 10_000
# The coincidence cell in the cell (m, n) that holds three or two of it, times three or two.
SIXTH = np.array([[2, -1], [1, 1]])
QUARTER = np.array([[1, -1], [1, 1]])


@dataclass(frozen=True, eq=False)
class Cell:
    """A cell that two layers share.

    The mismatch is the strain of the second layer if the first has none: the gradient
    F = (1 + mismatch) R(angle) maps the second lattice onto the cell of the first.

    Parameters
    ----------
    matrices : (2, 2, 2) array of int
        Rows of the cell in the lattice of the first and of the second layer.
    angle : float
        Twist of the second layer, degrees, counter-clockwise.
    mismatch : (2, 2) array
        Symmetric tensor in the axes of the first layer.
    """

    matrices: IntArray
    angle: float
    mismatch: FloatArray = field(default_factory=lambda: np.zeros((2, 2)))

    @property
    def multiples(self) -> tuple[int, int]:
        """Numbers of unit cells of the first and of the second layer in this cell."""
        (a, b), (c, d) = np.moveaxis(np.asarray(self.matrices, dtype=np.int64), 0, -1)
        first, second = a * d - b * c
        return int(first), int(second)


def match(first: FloatArray, second: FloatArray, matrices: npt.ArrayLike) -> Cell:
    """Return the common cell of two lattices for two integer matrices.

    Parameters
    ----------
    first, second : (2, 2) array
        Lattice vectors as rows, Å.
    matrices : (2, 2, 2) array of int
        Rows of the cell in each.

    Returns
    -------
    Cell
        With angle and mismatch computed from the lattices.
    """
    rows = np.asarray(matrices, dtype=np.int64)
    gradient = np.linalg.solve(rows[1] @ second, rows[0] @ first).T
    strain, angle = plane.polar(gradient)
    if np.abs(strain).max() < EXACT:
        strain = np.zeros((2, 2))
    return Cell(rows, float(angle), strain)


def from_index(first: FloatArray, second: FloatArray, m: int, n: int) -> Cell:
    """Return the exact cell (m, n) of two equal hexagonal or square lattices.

    Parameters
    ----------
    first, second : (2, 2) array
        Lattice vectors as rows, Å; hexagonal ones at 60 degrees.
    m, n : int
        Hexagonal: rows (m, n), (−n, m+n) below and (n, m), (−m, m+n) above, so that
        cos θ = (m² + 4mn + n²) / 2(m² + mn + n²), clockwise for m > n. Square: (m, n), (−n, m)
        and (n, m), (−m, n), so that cos θ = 2mn / (m² + n²).

    Returns
    -------
    Cell
        Strained if the two lattices differ.

    Raises
    ------
    MoireioError
        If the lattices belong to other classes, or m and n make no twist.
    """
    lower, upper = plane.bravais_class(first), plane.bravais_class(second)
    if lower != upper or lower not in ("hexagonal", "square"):
        raise MoireioError(
            f"`index` needs two hexagonal or two square lattices, not {lower} and {upper}",
            remedy="use `angle`",
        )
    if max(m, n) > LARGEST_INDEX:
        raise MoireioError(f"indices {m} {n}: the largest is {LARGEST_INDEX}")
    if min(m, n) < 0 or m == n or gcd(m, n) != 1:
        raise MoireioError(
            f"indices {m} {n} make no new twisted cell",
            remedy="use two different numbers without a common factor, none negative",
        )
    if lower == "hexagonal":
        rows = [[[m, n], [-n, m + n]], [[n, m], [-m, m + n]]]
    else:
        rows = [[[m, n], [-n, m]], [[n, m], [-m, n]]]
    return match(first, second, rows)


def coincidence_cells(bravais_class: str, m: int, n: int) -> int:
    """Return how many coincidence cells, the smallest with the same twist, fill the cell (m, n).

    Parameters
    ----------
    bravais_class : {"hexagonal", "square"}
        Class of both lattices.
    m, n : int
        Indices of the cell.

    Returns
    -------
    int
        1 if the cell (m, n) is the smallest itself.
    """
    if bravais_class == "hexagonal":
        return 3 if (m - n) % 3 == 0 else 1
    return 2 if (m - n) % 2 == 0 else 1


def find(
    first: FloatArray,
    second: FloatArray,
    angles: tuple[float, float],
    max_area: float,
    max_strain: float,
    *,
    target: FloatArray | None = None,
    max_aspect: float = 4.0,
) -> list[Cell]:
    """Search common cells of two lattices.

    Vectors of the first lattice are paired with vectors of the second that are nearly as long;
    such a pair fixes the rotation up to the strain, and only the few lattice points near the image
    of a second vector remain (after Zur and McGill, J. Appl. Phys. 55, 378 (1984)). All reduced
    cells within the limits are found.

    Parameters
    ----------
    first, second : (2, 2) array
        Lattice vectors as rows, Å, right-handed.
    angles : (float, float)
        Lowest and highest twist angle, degrees.
    max_area : float
        Largest area of the cell, Å².
    max_strain : float
        Largest principal value of the mismatch (or of its difference from `target`).
    target : (2, 2) array, optional
        Wanted strain of the second layer.
    max_aspect : float
        Largest ratio of the longer to the shorter side of the reduced cell.

    Returns
    -------
    list of Cell
        Each once (cells that differ by a common rotation of two equally symmetric lattices count
        as one), without multiples of smaller ones.
    """
    low, high = (float(v) for v in angles)
    limit = max(float(max_strain), EXACT)
    stretch = np.eye(2) if target is None else np.eye(2) + target
    # Steps of the angle no wider than what the strain smears anyway keep the candidates few.
    steps = max(1, int(np.ceil((high - low) / max(0.25, np.degrees(limit)))))
    edges = np.linspace(low, high, steps + 1)
    reach = np.sqrt(max_area * 2 / np.sqrt(3)) * (1 + limit)
    sector = _common_symmetry(first, second) if target is None else 180.0
    if np.pi * (reach * max_aspect) ** 2 > MOST_POINTS * np.linalg.det(first):
        raise _too_wide()
    a_points = _points(first, reach * max_aspect)
    batches: list[IntArray] = []
    for lower, upper in pairwise(edges.tolist()):
        middle, half = (lower + upper) / 2, np.radians((upper - lower) / 2)
        turned = second @ plane.rotation(middle).T @ stretch.T
        for v, w in _pairs(first, turned, a_points, reach, sector, half + limit, limit):
            batches += _complete(first, turned, a_points, v, w, max_area, max_aspect, half, limit)
            if sum(map(len, batches)) > MOST_CELLS:
                raise _too_wide()
    if not batches:
        return []
    matrices = np.concatenate(batches)
    return _select(first, second, matrices, low, high, limit, stretch)


def find_exact(
    first: FloatArray, second: FloatArray, angles: tuple[float, float], max_area: float
) -> list[Cell]:
    """List common cells without strain, as `find` does, of two equal symmetric lattices.

    All coincidence lattices of two hexagonal or two square lattices come from pairs of coprime
    indices (m, n), see `from_index` and `coincidence_cells`; no search is needed.

    Parameters
    ----------
    first, second : (2, 2) array
        Lattice vectors as rows, Å.
    angles : (float, float)
        Lowest and highest twist angle, degrees.
    max_area : float
        Largest area of the cell, Å².

    Returns
    -------
    list of Cell
        Empty unless both lattices are hexagonal, or both square, with the same lattice constant:
        others fit exactly only by accident.
    """
    classes = {plane.bravais_class(first, 1e-9), plane.bravais_class(second, 1e-9)}
    if classes not in ({"hexagonal"}, {"square"}) or np.abs(first - second).max() > 1e-9:
        return []
    bravais_class = classes.pop()
    period, part = (60, SIXTH) if bravais_class == "hexagonal" else (90, QUARTER)
    largest = max_area / float(np.linalg.det(first)) * (1 + 1e-9)
    low, high = (float(v) for v in angles)
    found = [(0.0, np.stack([np.eye(2, dtype=np.int64)] * 2))] if largest >= 1 else []
    for m, n in _indices(first, bravais_class, period, largest, low, high):
        rows = from_index(first, second, m, n).matrices
        n_cells = coincidence_cells(bravais_class, m, n)
        if n_cells > 1:
            rows = (part @ rows) // n_cells
        if (rows[0, 0] @ first)[1] < -1e-9:  # begin within the first sixth or quarter of a turn
            last = rows[:, 1] - rows[:, 0] if bravais_class == "hexagonal" else -rows[:, 0]
            rows = np.stack([rows[:, 1], last], axis=1)
        found.append((match(first, second, rows).angle, rows))
    smallest: dict[float, Cell] = {}
    for angle, rows in sorted(found, key=lambda f: int(np.linalg.det(f[1][0]).round())):
        for turns in range(int((low - angle) // period), int((high - angle) // period) + 2):
            total = angle + period * turns
            if low - 1e-7 <= total <= high + 1e-7 and round(total, 6) not in smallest:
                back = _lattice_turn(second, -period * turns)
                smallest[round(total, 6)] = Cell(np.stack([rows[0], rows[1] @ back]), total)
    return [smallest[angle] for angle in sorted(smallest)]


def find_untwisted(
    first: FloatArray, second: FloatArray, angles: tuple[float, float]
) -> list[Cell]:
    """Return the unit cell itself, where two equal lattices are not twisted.

    Parameters
    ----------
    first, second : (2, 2) array
        Lattice vectors as rows, Å.
    angles : (float, float)
        Lowest and highest twist angle, degrees.

    Returns
    -------
    list of Cell
        One for every multiple of 180 degrees in the range; none of unlike lattices.
    """
    if np.abs(first - second).max() > 1e-9:
        return []
    turns = np.arange(np.ceil(angles[0] / 180 - 1e-9), np.floor(angles[1] / 180 + 1e-9) + 1)
    one = np.eye(2, dtype=np.int64)
    return [Cell(np.stack([one, one * (-1) ** int(n)]), 180.0 * n) for n in turns]


def _indices(first, bravais_class, period, largest, low, high):
    """Return indices (m, n) of coincidence cells up to a size, with angles in a range."""
    numbers = np.arange(int(np.sqrt(3 * largest)) + 1)
    m, n = np.meshgrid(numbers, numbers, indexing="ij")
    if bravais_class == "hexagonal":
        size, n_cells = m * m + m * n + n * n, np.where((m - n) % 3 == 0, 3, 1)
    else:
        size, n_cells = m * m + n * n, np.where((m - n) % 2 == 0, 2, 1)
    keep = (m != n) & (size <= largest * n_cells) & (np.gcd(m, n) == 1)
    m, n = m[keep], n[keep]
    below, above = (np.stack(pair, axis=1) @ first for pair in ((m, n), (n, m)))
    angle = np.degrees(np.arctan2(*below.T[::-1]) - np.arctan2(*above.T[::-1]))
    inside = low + (angle - low + 1e-6) % period <= high + 2e-6
    return zip(m[inside].tolist(), n[inside].tolist(), strict=True)


def _lattice_turn(lattice, angle):
    """Return a rotation that is a symmetry of a lattice as a matrix for rows of integers."""
    turned = lattice @ plane.rotation(angle).T @ np.linalg.inv(lattice)
    return np.round(turned).astype(np.int64)


def _too_wide():
    return MoireioError(
        "too many cells are within the limits of the search",
        remedy="lower `max_strain`, `max_aspect`, `max_atoms`, or the range of `angle`",
    )


def _points(rows, radius):
    """Return integer coordinates of the lattice points within a radius, the nearest first."""
    bound = np.ceil(radius * np.linalg.norm(np.linalg.inv(rows), axis=0)).astype(int)
    i, j = (np.arange(-b, b + 1) for b in bound)
    points = np.stack(np.meshgrid(i, j, indexing="ij"), -1).reshape(-1, 2)
    lengths = np.linalg.norm(points @ rows, axis=1)
    inside = np.flatnonzero((lengths > 1e-9) & (lengths <= radius))
    return points[inside[np.argsort(lengths[inside], kind="stable")]]


def _common_symmetry(first, second):
    """Return the angle over which directions repeat in both lattices, degrees."""
    classes = {plane.bravais_class(first, 1e-9), plane.bravais_class(second, 1e-9)}
    if classes == {"hexagonal"}:
        return 60.0
    return 90.0 if classes == {"square"} else 180.0


def _near(targets, radii, inverse):
    """List lattice points near given points.

    Parameters
    ----------
    targets : (n, 2) array
        Cartesian points, Å.
    radii : (n,) array
        Search radius around each, Å.
    inverse : (2, 2) array
        Inverse of the lattice vectors (rows).

    Returns
    -------
    index : (m,) array of int
        Index of the target.
    points : (m, 2) array of int
        Lattice points whose fractional coordinates lie within the box around the circle.
    """
    fractional = targets @ inverse
    half = radii[:, None] * np.linalg.norm(inverse, axis=0)
    low = np.ceil(fractional - half).astype(np.int64)
    count = np.maximum(np.floor(fractional + half).astype(np.int64) - low + 1, 0)
    total = count[:, 0] * count[:, 1]
    if total.sum() > MOST_CELLS:
        raise _too_wide()
    index = np.repeat(np.arange(len(targets)), total)
    within = np.arange(len(index)) - np.repeat(np.cumsum(total) - total, total)
    i, j = np.divmod(within, count[index, 1])
    return index, low[index] + np.stack([i, j], 1)


def _pairs(first, turned, a_points, reach, sector, spread, limit):
    """Yield vectors of both lattices that may be the same side of a cell, in batches."""
    vectors = a_points @ first
    lengths = np.linalg.norm(vectors, axis=1)
    direction = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0])) % 360
    keep = (lengths <= reach) & ((direction < sector - 1e-9) | (direction > 360 - 1e-9))
    v, vectors, lengths = a_points[keep], vectors[keep], lengths[keep]
    index, w = _near(vectors, lengths * (spread + 1e-9), np.linalg.inv(turned))
    image = np.linalg.norm(w @ turned, axis=1)
    near = np.abs(image - lengths[index]) <= (limit * 1.01 + 1e-12) * np.maximum(
        image, lengths[index]
    )
    index, w = index[near], w[near]
    for start in range(0, len(index), 4096):
        yield v[index[start : start + 4096]], w[start : start + 4096]


def _complete(first, turned, a_points, v, w, max_area, max_aspect, half, limit):
    """Find second sides for pairs of first sides; return arrays (n, 2, 2, 2) of matrices."""
    vectors, images = v @ first, w @ turned
    all_vectors = a_points @ first
    all_lengths = np.linalg.norm(all_vectors, axis=1)
    lengths = np.linalg.norm(vectors, axis=1)
    turn = np.arctan2(
        images[:, 1] * vectors[:, 0] - images[:, 0] * vectors[:, 1],
        (images * vectors).sum(1),
    )  # from the vector to its image
    inverse = np.linalg.inv(turned)
    out = []
    per_pair = max(1, CHUNK // max(1, len(a_points)))
    for start in range(0, len(v), per_pair):
        span = slice(start, start + per_pair)
        x, y = vectors[span, 0, None], vectors[span, 1, None]
        cross = x * all_vectors[:, 1] - y * all_vectors[:, 0]
        dot = x * all_vectors[:, 0] + y * all_vectors[:, 1]
        length = lengths[span, None]
        slack = 1 + 2 * limit + 1e-9
        good = (cross > 1e-9) & (cross <= max_area * slack)
        good &= np.abs(dot) <= length**2 / 2 * slack
        good &= (all_lengths * slack >= length) & (all_lengths <= max_aspect * length * slack)
        pair, second_side = np.nonzero(good)
        pair += start
        if not len(pair):
            continue
        sides = all_vectors[second_side]
        c, s = np.cos(turn[pair]), np.sin(turn[pair])
        expected = np.stack(
            [c * sides[:, 0] - s * sides[:, 1], s * sides[:, 0] + c * sides[:, 1]], 1
        )
        radii = all_lengths[second_side] * (2.1 * limit) + 1e-7
        index, points = _near(expected, radii, inverse)
        if not len(index):
            continue
        pair, second_side = pair[index], second_side[index]
        p = np.stack([v[pair], a_points[second_side]], 1)
        q = np.stack([w[pair], points], 1)
        keep = _fits(p @ first, q @ turned, half, limit)
        out.append(np.stack([p[keep], q[keep]], 1))
        if sum(map(len, out)) > MOST_CELLS:
            raise _too_wide()
    return out


def _fits(cell, image, half, limit):
    """Return a mask of the cells that agree with their images in strain and angle, coarsely."""
    det = image[:, 0, 0] * image[:, 1, 1] - image[:, 0, 1] * image[:, 1, 0]
    positive = det > 1e-9
    det = np.where(positive, det, 1.0)
    adjugate = np.stack(
        [
            np.stack([image[:, 1, 1], -image[:, 0, 1]], -1),
            np.stack([-image[:, 1, 0], image[:, 0, 0]], -1),
        ],
        -2,
    )
    gradient = np.swapaxes(adjugate @ cell / det[:, None, None], 1, 2)
    strain, angle = plane.polar(gradient)
    small = np.abs(plane.principal(strain)).max(-1) <= limit * 1.05 + 1e-9
    return positive & small & (np.abs(angle) <= np.degrees(half) + np.degrees(limit) + 1e-6)


def _select(first, second, matrices, low, high, limit, stretch):
    """Return the cells within the limits, each once."""
    cell, image = matrices[:, 0] @ first, matrices[:, 1] @ second
    gradient = np.swapaxes(np.linalg.solve(image, cell), 1, 2)
    strain, angle = plane.polar(gradient)
    excess = np.abs(plane.principal(strain - (stretch - np.eye(2)))).max(-1)
    # Angles are defined modulo a full turn; bring them next to the range.
    middle = (low + high) / 2
    angle = middle + (angle - middle + 180) % 360 - 180
    keep = (excess <= limit * (1 + 1e-9) + 1e-12) & (angle >= low - 1e-7) & (angle <= high + 1e-7)
    if not keep.any():
        return []
    matrices, strain, angle = matrices[keep], strain[keep], angle[keep]
    det = matrices[:, 0, 0, 0] * matrices[:, 0, 1, 1] - matrices[:, 0, 0, 1] * matrices[:, 0, 1, 0]
    values = plane.principal(strain)
    key = np.round(np.column_stack([angle / 1e-6, values / 1e-8])).astype(np.int64)
    order = np.lexsort((det, key[:, 2], key[:, 1], key[:, 0]))
    fresh = np.append(True, (np.abs(np.diff(key[order], axis=0)) > 1).any(axis=1))
    strain[np.abs(strain).max(axis=(1, 2)) < EXACT] = 0.0
    return [Cell(matrices[i], float(angle[i]), strain[i]) for i in order[fresh]]


def standard(first: FloatArray, cell: Cell) -> Cell:
    """Return the reduced form of a cell: its two shortest vectors, at 60 to 90 degrees.

    Parameters
    ----------
    first : (2, 2) array
        Lattice vectors of the first layer as rows, Å.
    cell : Cell
        The cell in any form.

    Returns
    -------
    Cell
        The same cell, at 60 degrees if it is hexagonal, its first vector pointing to the right.
    """
    rows, change = plane.reduce(cell.matrices[0] @ first)
    if rows[0, 0] < -1e-9 * abs(rows[0, 1]):
        change = -change
    return Cell(change @ cell.matrices, cell.angle, cell.mismatch)
