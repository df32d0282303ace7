"""Wannier90's ``X_wsvec.dat``: which images of a function are nearest to another.

With ``use_ws_distance`` (the default since Wannier90 3.0) the element of functions m and n in cell
R belongs to the N cells R + T in which n is nearest to m, a part 1/N to each. Without this file the
bands are those of another interpolation.

Layout: a comment, then for every R, m and n a line ``R1 R2 R3 m n``, a line with N, and N lines
``T1 T2 T3``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError
from moireio.formats.text.tables import NumberFile

MOST_IMAGES = 64  # of one function; at the corners of the cell there are 8
FARTHEST = 1000  # cells
OTHER_RUN = "it is cut short, or of another run than the Hamiltonian"


@dataclass(frozen=True, eq=False)
class Images:
    """Where each element of a Hamiltonian belongs.

    Parameters
    ----------
    element : (p,) array of int64
        The element (R, m, n): place of R · n_functions² + m · n_functions + n.
    cells : (p, 3) array of int64
        R + T.
    weights : (p,) array
        1/N.
    """

    element: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]
    weights: npt.NDArray[np.float64]


def read_wsvec(path: str, cells: npt.NDArray[np.int64], n: int) -> Images:
    """Read the file.

    Parameters
    ----------
    path : str
        The file.
    cells : (n_cells, 3) array of int64
        The R of the Hamiltonian.
    n : int
        Number of functions.

    Returns
    -------
    Images
        One entry for every image of every element.

    Raises
    ------
    MoireioError
        If it is of another Hamiltonian.
    DamagedError
        If it is cut short or contradicts itself.
    """
    elements = len(cells) * n * n
    with NumberFile(path) as file:
        file.line("a comment")
        most = elements * (6 + 3 * MOST_IMAGES)
        runs = list(file.words("R1 R2 R3 m n, the number of images, and each of them", most))
    words = np.concatenate(runs) if runs else np.zeros(0, dtype=np.int64)
    starts = _starts(words, path)
    if len(starts) != elements:
        raise DamagedError(
            f"has {len(starts)} elements, {elements} = {len(cells)} x {n} x {n} expected",
            path=path,
            remedy=OTHER_RUN,
        )
    heads = words[starts[:, None] + np.arange(5)]
    functions = heads[:, 3:] - 1
    if (functions < 0).any() or (functions >= n).any():
        raise DamagedError(f"names functions outside 1..{n}", path=path, remedy=OTHER_RUN)
    places = _places(heads[:, :3], cells, path)
    element = (places * n + functions[:, 0]) * n + functions[:, 1]
    if len(np.unique(element)) != elements:
        raise DamagedError("lists an element twice", path=path, remedy="make it again")
    counts = words[starts + 5]
    group = np.repeat(np.arange(elements), counts)
    within = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
    images = words[(starts[group] + 6 + 3 * within)[:, None] + np.arange(3)]
    if np.abs(images).max(initial=0) > FARTHEST:
        raise DamagedError(f"names cells beyond {FARTHEST}", path=path, remedy="make it again")
    return Images(element[group], heads[group, :3] + images, 1.0 / counts[group])


def _starts(words: npt.NDArray[np.int64], path: str) -> npt.NDArray[np.int64]:
    """Return where each element begins among the numbers."""
    starts: list[int] = []
    place, end = 0, len(words)
    numbers = words.data
    while place + 5 < end:
        count = numbers[place + 5]
        if not 0 < count <= MOST_IMAGES:
            raise DamagedError(
                f"element {len(starts) + 1} has {count} images", path=path, remedy="make it again"
            )
        starts.append(place)
        place += 6 + 3 * count
    if place != end:
        raise DamagedError(f"ends inside element {len(starts)}", path=path, remedy=OTHER_RUN)
    return np.array(starts, dtype=np.int64)


def _places(
    given: npt.NDArray[np.int64], cells: npt.NDArray[np.int64], path: str
) -> npt.NDArray[np.int64]:
    """Return where each R stands among the cells of the Hamiltonian."""
    bound = int(np.abs(cells).max(initial=0)) + 1
    inside = np.abs(given).max(axis=1, initial=0) < bound
    keys = cell_keys(cells, bound)
    order = np.argsort(keys)
    wanted = cell_keys(np.where(inside[:, None], given, 0), bound)
    place = np.minimum(np.searchsorted(keys[order], wanted), len(keys) - 1)
    found = np.logical_and(inside, keys[order][place] == wanted)
    if not found.all():
        cell = given[int(found.argmin())].tolist()
        raise MoireioError(
            f"names the cell {cell}, which the Hamiltonian has not", path=path, remedy=OTHER_RUN
        )
    return order[place]


def cell_keys(cells: npt.NDArray[np.int64], bound: int) -> npt.NDArray[np.int64]:
    """Return one integer for each cell, ordered as the cells.

    Parameters
    ----------
    cells : (n, 3) array of int64
        Cells.
    bound : int
        Largest magnitude of their components.

    Returns
    -------
    (n,) array of int64
        Different for different cells.
    """
    span = 2 * bound + 1
    shifted = cells + bound
    return (shifted[:, 0] * span + shifted[:, 1]) * span + shifted[:, 2]
