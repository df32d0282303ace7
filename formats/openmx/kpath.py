"""The band path of OpenMX's input: tables ``Band.kpath`` and ``Band.KPath.UnitCell``.

Layout: a line per segment, ``count k1 k2 k3 k1 k2 k3 label label``. The k points are fractional in
the reciprocal cell of ``Band.KPath.UnitCell`` where that table is there (rows in the unit of
``Atoms.UnitVectors``; conventional cells of fcc, bcc and so on), else in that of
``Atoms.UnitVectors``. What is returned is always fractional in the latter, as in ``.Band`` files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

MOST_POINTS = 100_000
FARTHEST = 1e3


class BandSegment(NamedTuple):
    """A segment of OpenMX's ``Band.kpath``.

    Parameters
    ----------
    count : int
        Points.
    start, end : list of float
        Ends, fractional in the reciprocal cell of the calculation.
    labels : (str, str)
        Their labels.
    """

    count: int
    start: list[float]
    end: list[float]
    labels: tuple[str, str]


def read_segments(
    rows: Sequence[Sequence[str]],
    unit_cell: npt.NDArray[np.float64] | None,
    cell: npt.NDArray[np.float64] | None,
) -> list[BandSegment]:
    """Return the segments of a path.

    Parameters
    ----------
    rows : sequence of sequences of str
        The words of the lines of ``Band.kpath``.
    unit_cell : (3, 3) array or None
        ``Band.KPath.UnitCell``, rows, Å.
    cell : (3, 3) array or None
        ``Atoms.UnitVectors``, rows, Å.

    Returns
    -------
    list of BandSegment
        Fractional in the reciprocal cell of `cell`.

    Raises
    ------
    ValueError
        If a line is malformed, a number is out of range, or the cells do not fit.
    """
    change = None
    if rows and unit_cell is not None:
        if cell is None:
            raise ValueError("Band.KPath.UnitCell without Atoms.UnitVectors")
        if abs(np.linalg.det(unit_cell)) < 1e-8:
            raise ValueError("the rows of Band.KPath.UnitCell are not independent")
        change = (cell @ np.linalg.inv(unit_cell)).T  # k·a of a vector of the calculation's cell
    return [_segment(row, number, change) for number, row in enumerate(rows, 1)]


def _segment(row, number, change):
    place = f"line {number} of Band.kpath"
    if len(row) < 7:
        raise ValueError(f"{place} is cut short: {len(row)} of 7 numbers")
    try:
        count = int(row[0])
        ends = np.array([float(word) for word in row[1:7]]).reshape(2, 3)
    except ValueError:
        raise ValueError(
            f"{place} is not a number of points and six coordinates: {' '.join(row[:7])[:80]}"
        ) from None
    if not 1 <= count <= MOST_POINTS:
        raise ValueError(f"{place} asks for {count} points, expected 1 to {MOST_POINTS}")
    if not (np.abs(ends) < FARTHEST).all():
        wrong = next(word for word in row[1:7] if not abs(float(word)) < FARTHEST)
        raise ValueError(
            f"{place} has the coordinate {wrong[:30]}, expected one below {FARTHEST:g}"
        )
    if change is not None:
        ends = np.round(ends @ change, 14) + 0.0  # no -0
    start, end = ends
    labels = (row[7], row[8]) if len(row) > 8 else ("", "")
    return BandSegment(count, start.tolist(), end.tolist(), labels)
