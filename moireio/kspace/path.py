"""Paths through the Brillouin zone: points between corners, and places on a path."""

import contextlib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.kspace.corners import continued_corners, seekpath_points, special_points
from moireio.results.kpath import KPath
from moireio.system.structure import Structure

Corner = tuple[str, npt.NDArray[np.float64]]
Segment = tuple[int, npt.ArrayLike, npt.ArrayLike, tuple[str, str]]
MOST_POINTS = 1_000_000
_LABEL = re.compile(r"[A-Z]\d*'?")
_POINT = re.compile(r"^(?:(?P<label>[^=,]+)=)?(?P<k>[^=]+)$")


def parse_path(text: str, points: Mapping[str, npt.ArrayLike]) -> list[list[Corner]]:
    """Read a path given as letters or as points.

    Parameters
    ----------
    text : str
        Letters as ``GMKG`` or ``GMK,KG`` (a comma jumps), or points separated by blanks, each
        ``k1,k2,k3`` or ``LABEL=k1,k2,k3``; a lone ``|`` jumps.
    points : dict of str to (3,) array
        Corners by label, fractional.

    Returns
    -------
    list of list of (str, array)
        Connected pieces of the path, each a list of corners.

    Raises
    ------
    MoireioError
        If a label is unknown or the text is neither letters nor points.
    """
    pieces = _parse_letters(text, points) if _has_letters(text) else _parse_points(text)
    pieces = [piece for piece in pieces if piece]
    if not pieces:
        raise MoireioError(f"the path {text!r} has no points")
    return pieces


def _has_letters(text: str) -> bool:
    """Return whether a path is given by letters, not by points."""
    return re.search(r"\d\s*,|=", text) is None


def _parse_letters(
    text: str, points: Mapping[str, npt.ArrayLike]
) -> list[list[tuple[str, npt.NDArray[np.float64]]]]:
    pieces = []
    for part in text.replace("Γ", "G").replace("′", "'").split(","):
        part = part.replace("-", "").replace(" ", "")
        labels = _LABEL.findall(part)
        if "".join(labels) != part:
            raise MoireioError(
                f"the path {text!r} is neither letters nor points",
                remedy="as GMKG, or '0,0,0 0.5,0,0'",
            )
        for label in labels:
            if label not in points:
                raise MoireioError(
                    f"the cell has no point {label}", remedy="it has " + ", ".join(points)
                )
        pieces.append([(label, np.asarray(points[label], dtype=float)) for label in labels])
    return pieces


def _parse_points(text: str) -> list[list[tuple[str, npt.NDArray[np.float64]]]]:
    pieces: list[list[tuple[str, npt.NDArray[np.float64]]]] = [[]]
    for word in text.split():
        if word == "|":
            pieces.append([])
            continue
        match = _POINT.match(word)
        k = np.empty(0)
        if match is not None:
            with contextlib.suppress(ValueError):
                k = np.array([float(v) for v in match["k"].split(",")])
        if match is None or k.shape != (3,) or not (np.abs(k) < 1e3).all():
            raise MoireioError(
                f"{word!r} is not a k point", remedy="expected k1,k2,k3 or LABEL=k1,k2,k3"
            )
        pieces[-1].append((match["label"] or "", k))
    return pieces


def make_path(
    structure: Structure,
    path: str | None = None,
    points: int = 200,
    *,
    convention: Literal["ase", "seekpath"] = "ase",
    note: Callable[[str], object] | None = None,
) -> KPath:
    """Return a path with points spread evenly over its length.

    Parameters
    ----------
    structure : Structure
        The cell and its periodic axes.
    path : str, optional
        Corners, see `parse_path`; by default the usual path of the lattice.
    points : int
        Approximate number of points in all; every corner is one.
    convention : {"ase", "seekpath"}
        Source of the letters in three-dimensional crystals.
    note : callable, optional
        Takes a remark on what the letters mean, where it is not obvious.

    Returns
    -------
    KPath
        The points.

    Raises
    ------
    MoireioError
        If a label is unknown, or the points are too many.
    """
    if points > MOST_POINTS:
        raise MoireioError(f"{points} `points` on a path are more than {MOST_POINTS:,}")
    if convention == "seekpath" and structure.pbc.all():
        corners, default = seekpath_points(structure)
    else:
        corners, default = special_points(structure)
    pieces = parse_path(path or default, corners)
    remark = continued_corners(structure) if _has_letters(path or default) else None
    if note is not None and remark and any(label != "G" for piece in pieces for label, _ in piece):
        note(remark)
    reciprocal = structure.reciprocal
    lengths = [
        np.linalg.norm(np.diff([k for _, k in piece], axis=0) @ reciprocal, axis=1)
        if len(piece) > 1
        else np.zeros(0)
        for piece in pieces
    ]
    total = sum(float(steps.sum()) for steps in lengths)
    k: list[npt.NDArray[np.float64]] = []
    distance: list[float] = []
    label_index: list[int] = []
    labels: list[str] = []
    travelled = 0.0
    for piece, steps in zip(pieces, lengths, strict=True):
        label_index.append(len(k))
        labels.append(piece[0][0])
        k.append(piece[0][1])
        distance.append(travelled)
        for (_, start), (label, end), step in zip(piece[:-1], piece[1:], steps, strict=True):
            count = max(1, round((points - 1) * step / total)) if total else 1
            for t in np.arange(1, count + 1) / count:
                k.append(start + t * (end - start) if t < 1 else end)
                distance.append(travelled + t * step)
            travelled += float(step)
            label_index.append(len(k) - 1)
            labels.append(label)
    return KPath(np.array(k), np.array(distance), np.array(label_index), tuple(labels))


def path_of_points(
    structure: Structure,
    k: npt.ArrayLike,
    label_index: Sequence[int] = (),
    labels: Sequence[str] = (),
) -> KPath:
    """Return given k points as a path, distances summed from one to the next.

    Parameters
    ----------
    structure : Structure
        The cell.
    k : (nk, 3) array
        Fractional coordinates.
    label_index : sequence of int
        Points that carry a label.
    labels : sequence of str
        Their labels.

    Returns
    -------
    KPath
        The points in the order given.
    """
    points = np.asarray(k, dtype=float).reshape(-1, 3)
    steps = np.linalg.norm(np.diff(points, axis=0) @ structure.reciprocal, axis=1)
    distance = np.concatenate([[0.0], np.cumsum(steps)])[: len(points)]
    return KPath(points, distance, np.asarray(label_index, dtype=int), tuple(labels))


def path_of_segments(structure: Structure, segments: Iterable[Segment]) -> KPath:
    """Return the path of segments with their own numbers of points, as in OpenMX's input.

    Parameters
    ----------
    structure : Structure
        The cell.
    segments : iterable of (int, start, end, (str, str))
        Number of points, fractional ends and labels; both ends of every segment are points.

    Returns
    -------
    KPath
        The points; an end shared by two segments is there twice, as in OpenMX's ``.Band``.
    """
    k: list[npt.NDArray[np.float64]] = []
    distance: list[float] = []
    label_index: list[int] = []
    labels: list[str] = []
    travelled, last = 0.0, None
    for count, start_k, end_k, ends in segments:
        start, end = np.asarray(start_k, dtype=float), np.asarray(end_k, dtype=float)
        length = float(np.linalg.norm((end - start) @ structure.reciprocal))
        first = len(k)
        for t in np.linspace(0, 1, count):
            k.append(start + t * (end - start))
            distance.append(travelled + t * length)
        travelled += length
        if last is None or not (np.allclose(last, start) and labels[-1] == ends[0]):
            label_index.append(first)
            labels.append(ends[0])
        label_index.append(len(k) - 1)
        labels.append(ends[1])
        last = end
    return KPath(
        np.array(k).reshape(-1, 3), np.array(distance), np.array(label_index), tuple(labels)
    )


def place_on_path(
    path: KPath, k: npt.ArrayLike, structure: Structure, tolerance: float = 1e-5
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Find where k points lie on a path, to draw other data over a band structure.

    Parameters
    ----------
    path : KPath
        The path that is drawn.
    k : (m, 3) array
        Fractional coordinates.
    structure : Structure
        The cell.
    tolerance : float
        Largest distance of a point from a segment, Å⁻¹.

    Returns
    -------
    distance : (p,) array
        Places on the path, Å⁻¹, ascending.
    index : (p,) array of int
        Index of the k point at each place; a point that the path visits twice appears twice.
    piece : (p,) array of int
        Number of the connected piece of the path on which each place lies.
    """
    reciprocal = structure.reciprocal
    periodic = np.asarray(structure.pbc)
    on_path = np.asarray(path.k) @ reciprocal
    breaks = set(path.breaks.tolist())
    steps = np.diff(on_path, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    moves = np.flatnonzero(lengths > 1e-9)  # corners without a label are corners too
    along = steps[moves] / lengths[moves, None]
    bends = moves[1:][np.linalg.norm(np.diff(along, axis=0), axis=1) > 1e-6]
    targets = np.asarray(k, dtype=float)[:, periodic] @ reciprocal[periodic]
    corners = sorted(
        {0, len(path) - 1, *path.label_index.tolist(), *bends.tolist()}
        | {*breaks, *(b - 1 for b in breaks)}
    )
    visits = set()
    for first, last in itertools.pairwise(corners):
        if last in breaks:
            continue
        start, step = on_path[first], on_path[last] - on_path[first]
        length = float(np.linalg.norm(step))
        if length < 1e-12:
            continue
        along = (targets - start) @ step / length
        aside = np.linalg.norm(targets - start - along[:, None] * step / length, axis=1)
        near = (aside < tolerance) & (along > -tolerance) & (along < length + tolerance)
        for index in np.flatnonzero(near):
            distance = float(path.distance[first] + np.clip(along[index], 0, length))
            piece = sum(b <= first for b in breaks)
            visits.add((piece, round(distance, 7), int(index)))
    rows = np.array(sorted(visits), dtype=float).reshape(-1, 3)
    return rows[:, 1], rows[:, 2].astype(np.int64), rows[:, 0].astype(np.int64)
