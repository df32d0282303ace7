"""Paths through the Brillouin zone: corners by letter, points between them."""

import itertools
import re

import numpy as np

from moireio.errors import MoireioError
from moireio.results.kpath import KPath

_LABEL = re.compile(r"[A-Z]\d*'?")
_POINT = re.compile(r"^(?:(?P<label>[^=,]+)=)?(?P<k>[^=]+)$")
HEXAGONAL_TOLERANCE = 1e-3


def special_points(structure):
    """Return the labelled corners of the Brillouin zone of the cell as it is.

    Parameters
    ----------
    structure : Structure
        Its `pbc` decides the dimension: layers have a plane zone, ribbons a line.

    Returns
    -------
    points : dict of str to (3,) array
        Fractional coordinates in the reciprocal cell.
    default : str
        The usual path, segments separated by commas.

    Notes
    -----
    In hexagonal layers K lies along the first lattice vector: (2/3, 1/3) for a cell of 60°,
    (2/3, −1/3) for one of 120°; K' = −K, M = (1/2, 0). All other lattices follow ASE.
    """
    periodic = np.flatnonzero(structure.pbc)
    if len(periodic) == 0:
        return {"G": np.zeros(3)}, "G"
    if len(periodic) == 2:
        corners = _hexagonal_layer(structure.cell, periodic)
        if corners is not None:
            return corners, "GMKG"
    return _ase_points(structure)


def _hexagonal_layer(cell, axes):
    a, b = cell[axes]
    length, other = np.linalg.norm(a), np.linalg.norm(b)
    cosine = a @ b / (length * other)
    if abs(length - other) > HEXAGONAL_TOLERANCE * length:
        return None
    if abs(abs(cosine) - 0.5) > HEXAGONAL_TOLERANCE:
        return None
    sign = 1 if cosine > 0 else -1
    points = {"G": (0, 0), "M": (1 / 2, 0), "K": (2 / 3, sign / 3), "K'": (-2 / 3, -sign / 3)}
    out = {}
    for label, pair in points.items():
        out[label] = np.zeros(3)
        out[label][axes] = pair
    return out


def _ase_points(structure):
    from ase.cell import Cell

    # ASE wants the plane of a layer in the first two vectors.
    periodic = np.flatnonzero(structure.pbc)
    order = [*periodic, *(axis for axis in range(3) if axis not in periodic)]
    cell = Cell(structure.cell[order])
    pbc = structure.pbc[order]
    if len(periodic) < 3:
        cell = Cell(np.where(pbc[:, None], cell, 0.0)).complete()
    try:
        path = cell.bandpath(npoints=0, pbc=pbc)
    except Exception as error:
        raise MoireioError(
            f"ASE finds no Bravais lattice of this cell: {error}", remedy="give points: 0,0,0 …"
        ) from error
    points = {}
    for label, k in path.special_points.items():
        points[label] = np.zeros(3)
        points[label][order] = k
    return points, path.path


def seekpath_points(structure):
    """Return corners and the suggested path of SeeK-path (Hinuma et al., 2017), 3D crystals.

    Parameters
    ----------
    structure : Structure
        Periodic in three directions; its cell need not be primitive.

    Returns
    -------
    points : dict of str to (3,) array
        Fractional coordinates in the reciprocal cell of the structure as it is.
    default : str
        The suggested path.

    Raises
    ------
    MoireioError
        If SeeK-path is not installed or fails.
    """
    try:
        import seekpath
    except ImportError as error:
        raise MoireioError(
            "SeeK-path is not installed", remedy="pip install 'moireio[seekpath]'"
        ) from error
    fractional = structure.positions @ np.linalg.inv(structure.cell)
    try:
        found = seekpath.get_path_orig_cell(
            (structure.cell, fractional, structure.species + 1), with_time_reversal=True
        )
    except Exception as error:
        raise MoireioError(f"SeeK-path fails on this structure: {error}") from error

    def short(label):
        return "G" if label == "GAMMA" else label.replace("_", "")

    points = {short(label): np.array(k) for label, k in found["point_coords"].items()}
    text, last = "", None
    for start, end in found["path"]:
        text += short(end) if short(start) == last else f",{short(start)}{short(end)}"
        last = short(end)
    return points, text.lstrip(",")


def parse_path(text, points):
    """Read a path given as letters or as points.

    Parameters
    ----------
    text : str
        Letters as ``GMKG`` or ``GMK,KG`` (a comma jumps), or points separated by blanks, each
        ``k1,k2,k3`` or ``LABEL=k1,k2,k3``; a lone ``|`` jumps.
    points : dict of str to array
        Corners by label.

    Returns
    -------
    list of list of (str, array)
        Connected pieces of the path, each a list of corners.

    Raises
    ------
    MoireioError
        If a label is unknown or the text is neither.
    """
    pieces = _parse_points(text) if re.search(r"\d\s*,|=", text) else _parse_letters(text, points)
    pieces = [piece for piece in pieces if piece]
    if not pieces:
        raise MoireioError(f"the path {text!r} has no points")
    return pieces


def _parse_letters(text, points):
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


def _parse_points(text):
    pieces = [[]]
    for word in text.split():
        if word == "|":
            pieces.append([])
            continue
        match = _POINT.match(word)
        try:
            k = np.array([float(v) for v in match.group("k").split(",")])
        except (AttributeError, ValueError):
            k = np.empty(0)
        if k.shape != (3,) or not (np.abs(k) < 1e3).all():
            raise MoireioError(
                f"{word!r} is not a k point", remedy="expected k1,k2,k3 or LABEL=k1,k2,k3"
            )
        pieces[-1].append((match.group("label") or "", k))
    return pieces


def make_path(structure, path=None, points=200, *, convention="ase"):
    """Return a path with points spread evenly over its length.

    Parameters
    ----------
    structure : Structure
        The cell, and in which directions it is periodic.
    path : str, optional
        As `parse_path` takes it; by default the usual path of the lattice.
    points : int
        About how many points in all; every corner is one.
    convention : {"ase", "seekpath"}
        Whose letters a three-dimensional crystal has.

    Returns
    -------
    KPath
        The points.

    Raises
    ------
    MoireioError
        If a label is unknown.
    """
    if convention == "seekpath" and structure.pbc.all():
        corners, default = seekpath_points(structure)
    else:
        corners, default = special_points(structure)
    pieces = parse_path(path or default, corners)
    reciprocal = structure.reciprocal
    lengths = [
        np.linalg.norm(np.diff([k for _, k in piece], axis=0) @ reciprocal, axis=1)
        if len(piece) > 1
        else np.zeros(0)
        for piece in pieces
    ]
    total = sum(float(part.sum()) for part in lengths)
    k, distance, index, labels, at = [], [], [], [], 0.0
    for piece, steps in zip(pieces, lengths, strict=True):
        index.append(len(k))
        labels.append(piece[0][0])
        k.append(piece[0][1])
        distance.append(at)
        for (_, start), (label, end), step in zip(piece[:-1], piece[1:], steps, strict=True):
            count = max(1, round((points - 1) * step / total)) if total else 1
            for t in np.arange(1, count + 1) / count:
                k.append(start + t * (end - start) if t < 1 else end)
                distance.append(at + t * step)
            at += float(step)
            index.append(len(k) - 1)
            labels.append(label)
    return KPath(np.array(k), np.array(distance), np.array(index), tuple(labels))


def path_of_points(structure, k, label_index=(), labels=()):
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
    k = np.asarray(k, dtype=float).reshape(-1, 3)
    steps = np.linalg.norm(np.diff(k, axis=0) @ structure.reciprocal, axis=1)
    distance = np.concatenate([[0.0], np.cumsum(steps)])[: len(k)]
    return KPath(k, distance, np.asarray(label_index, dtype=int), tuple(labels))


def path_of_segments(structure, segments):
    """Return the path of segments with their own numbers of points, as OpenMX's input has.

    Parameters
    ----------
    structure : Structure
        The cell.
    segments : iterable of (int, start, end, (str, str))
        Points, fractional ends and labels; both ends of every segment are points.

    Returns
    -------
    KPath
        The points; an end shared by two segments is there twice, as in OpenMX's ``.Band``.
    """
    k, distance, index, labels, at, last = [], [], [], [], 0.0, None
    for count, start, end, ends in segments:
        start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
        length = float(np.linalg.norm((end - start) @ structure.reciprocal))
        first = len(k)
        for t in np.linspace(0, 1, count):
            k.append(start + t * (end - start))
            distance.append(at + t * length)
        at += length
        if last is None or not (np.allclose(last, start) and labels[-1] == ends[0]):
            index.append(first)
            labels.append(ends[0])
        index.append(len(k) - 1)
        labels.append(ends[1])
        last = end
    return KPath(np.array(k).reshape(-1, 3), np.array(distance), np.array(index), tuple(labels))


def place_on_path(path, k, structure, tolerance=1e-5):
    """Find where k points lie on a path, to draw other data over a band structure.

    Parameters
    ----------
    path : KPath
        The path that is drawn.
    k : (m, 3) array
        Fractional coordinates.
    structure : Structure
        Its cell.
    tolerance : float
        How far a point may lie beside a segment, Å⁻¹.

    Returns
    -------
    distance : (p,) array
        Where on the path, Å⁻¹.
    index : (p,) array of int
        Which of the k points; one that the path visits twice appears twice.
    """
    reciprocal = structure.reciprocal
    periodic = np.asarray(structure.pbc)
    points = np.asarray(path.k) @ reciprocal
    found = set()
    breaks = set(path.breaks.tolist())
    targets = np.asarray(k, dtype=float)[:, periodic] @ reciprocal[periodic]
    corners = sorted(
        {0, len(path) - 1, *path.label_index.tolist(), *breaks, *(b - 1 for b in breaks)}
    )
    for first, last in itertools.pairwise(corners):
        if last in breaks:
            continue
        start, step = points[first], points[last] - points[first]
        length = float(np.linalg.norm(step))
        if length < 1e-12:
            continue
        along = (targets - start) @ step / length
        aside = np.linalg.norm(targets - start - along[:, None] * step / length, axis=1)
        near = (aside < tolerance) & (along > -tolerance) & (along < length + tolerance)
        for entry in np.flatnonzero(near):
            place = float(path.distance[first] + np.clip(along[entry], 0, length))
            found.add((round(place, 7), int(entry)))
    if not found:
        return np.zeros(0), np.zeros(0, dtype=int)
    ordered = sorted(found)
    return np.array([d for d, _ in ordered]), np.array([n for _, n in ordered])
