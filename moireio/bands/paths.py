"""The k points along which bands are wanted."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, naming, unreadable
from moireio.kspace.path import make_path, path_of_points, path_of_segments
from moireio.results.kpath import KPath

LONGEST_LINE = 10_000  # characters
MOST_POINTS = 1_000_000

if TYPE_CHECKING:
    from moireio.blockfile.reader import BlockFile
    from moireio.system.structure import Structure


def choose_path(
    file: "BlockFile",
    path: str | KPath | list | None = None,
    points: int = 200,
    kpoints: npt.NDArray[np.float64] | None = None,
    convention: str = "ase",
    note: Callable[[str], object] | None = None,
) -> KPath:
    """Return the k points that were asked for, in any of the ways to give them.

    Parameters
    ----------
    file : BlockFile
        With the cell, and perhaps a path.
    path : str, KPath or list, optional
        Corners or points (see `moireio.kspace.path.parse_path`), "input" for the path in the file,
        a path from another file, or OpenMX's segments; by default the usual path of the lattice.
    points : int
        k points along a path of corners.
    kpoints : (nk, 3) array, optional
        Fractional coordinates of points, instead.
    convention : {"ase", "seekpath"}
        Names of the corners of three-dimensional crystals.
    note : callable, optional
        Takes a remark on what the letters mean, where it is not obvious.

    Returns
    -------
    KPath
        With distances in this cell.

    Raises
    ------
    MoireioError
        If a label is unknown, or no path is stored.
    """
    structure = file.structure
    if kpoints is not None:
        return path_of_points(structure, kpoints)
    if isinstance(path, KPath):
        return path_of_points(structure, path.k, path.label_index, path.labels)
    if isinstance(path, list):
        if not path:
            raise MoireioError("the path has no segments", remedy="give another `path`")
        return path_of_segments(structure, path)
    if path == "input":
        stored = file.kpath
        if stored is None:
            raise MoireioError(
                "no path came with this file", path=file.label, remedy="give `path`, as GMKG"
            )
        starts, ends = stored.points[:, 0], stored.points[:, 1]
        segments = zip(stored.counts.tolist(), starts, ends, stored.labels, strict=True)
        return path_of_segments(structure, segments)
    with naming(file.label):
        return make_path(structure, path, points, convention=convention, note=note)


def other_cell(structure: "Structure", cell: npt.NDArray[np.float64]) -> str | None:
    """Return a remark if the k points of another file are fractions of another cell.

    Parameters
    ----------
    structure : Structure
        The structure whose bands are wanted.
    cell : (3, 3) array
        The cell of the file with the path, rows, Å.

    Returns
    -------
    str or None
        None if lengths and angles along the periodic vectors agree within 0.1 %.
    """
    own, other = (vectors[structure.pbc] for vectors in (structure.cell, cell))
    metrics = own @ own.T, other @ other.T
    if np.abs(metrics[0] - metrics[1]).max(initial=0) <= 2e-3 * np.abs(metrics[0]).max(initial=0):
        return None
    lengths = (" x ".join(f"{v:.3f}" for v in np.sqrt(np.diag(m))) for m in metrics[::-1])
    theirs, ours = lengths
    return (
        f"its cell ({theirs} Å along periodic vectors) is not that of the bands ({ours} Å): its k "
        "points are taken as fractions of the latter"
    )


def read_kpoints(path: str) -> npt.NDArray[np.float64]:
    """Read a text file of k points.

    Parameters
    ----------
    path : str
        File with three fractional coordinates a line; further columns and ``#`` comments are
        ignored.

    Returns
    -------
    (nk, 3) array
        Fractional coordinates.

    Raises
    ------
    MoireioError
        If a line has no three numbers, or there is none.
    """
    points = []
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            lines = iter(partial(stream.readline, LONGEST_LINE), "")
            for number, line in enumerate(lines, 1):
                words = line.split("#")[0].split()
                if not words:
                    continue
                try:
                    point = [float(v) for v in words[:3]]
                except ValueError:
                    point = []
                if len(points) == MOST_POINTS:
                    raise MoireioError(f"has more than {MOST_POINTS:,} k points", path=path)
                if len(point) != 3 or not (np.abs(point) < 1e3).all():
                    raise MoireioError(
                        f"line {number} has no three coordinates",
                        path=path,
                        remedy="one k point a line: k1 k2 k3, fractional",
                    )
                points.append(point)
    except OSError as error:
        raise unreadable(error, path) from error
    if not points:
        raise MoireioError("has no k points", path=path)
    return np.array(points)
