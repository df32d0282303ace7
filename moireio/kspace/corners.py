"""Corners of the Brillouin zone by letter, and the usual path between them."""

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.symmetry.finder import HEXAGONAL_TOLERANCE
from moireio.system.neighbours import reduced
from moireio.system.structure import Structure

Corners = dict[str, npt.NDArray[np.float64]]
MOST_STRAIN = 0.05  # anisotropic; up to here a layer counts as a strained hexagonal one


def special_points(structure: Structure) -> tuple[Corners, str]:
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

    Raises
    ------
    MoireioError
        If ASE does not recognise the lattice.

    Notes
    -----
    In hexagonal layers K lies along the first lattice vector: (2/3, 1/3) for a cell of 60°,
    (2/3, −1/3) for one of 120°, for any direction and handedness of the vectors; K' = −K,
    M = (1/2, 0). A layer that is strained by up to 5 % keeps these fractional coordinates (see
    `continued_corners`). Where the vectors of a hexagonal lattice are no such pair, K lies along
    the first of a pair of the shortest. All other lattices follow ASE.
    """
    periodic = np.flatnonzero(structure.pbc)
    if len(periodic) == 0:
        return {"G": np.zeros(3)}, "G"
    if len(periodic) == 2:
        corners = _hexagonal_layer(structure.cell, periodic)
        if corners is not None:
            return corners, "GMKG"
    return _ase_points(structure)


def continued_corners(structure: Structure) -> str | None:
    """Return a remark on the letters K, K' and M in a layer without a threefold axis.

    Parameters
    ----------
    structure : Structure
        The cell and its periodic axes.

    Returns
    -------
    str or None
        A remark on strained hexagonal layers; None for all other cells.
    """
    periodic = np.flatnonzero(structure.pbc)
    if len(periodic) != 2:
        return None
    strain, _ = _hexagonal_strain(structure.cell, periodic)
    if not HEXAGONAL_TOLERANCE < strain <= MOST_STRAIN:
        return None
    return (
        f"the lattice is hexagonal but for a strain of {100 * strain:.2g} %, and has no threefold "
        "axis: K, K' and M keep the fractional coordinates that they have without strain"
    )


def _hexagonal_strain(
    cell: npt.NDArray[np.float64], axes: npt.NDArray[np.intp]
) -> tuple[float, int]:
    """Return the difference of the principal strains of a hexagonal lattice, and its setting.

    The setting is 1 for cells of about 60°, −1 for cells of about 120°.
    """
    vectors = cell[axes]
    metric = vectors @ vectors.T
    setting = 1 if metric[0, 1] > 0 else -1
    hexagonal = np.array([[1, setting / 2], [setting / 2, 1]])
    stretches = np.sqrt(np.linalg.eigvals(np.linalg.solve(hexagonal, metric)).real)
    return float(2 * np.ptp(stretches) / stretches.sum()), setting


def _hexagonal_layer(
    cell: npt.NDArray[np.float64], axes: npt.NDArray[np.intp]
) -> dict[str, npt.NDArray[np.float64]] | None:
    """Return the corners of a hexagonal layer, strained or not; None for another lattice."""
    strain, sign = _hexagonal_strain(cell, axes)
    change = np.eye(2, dtype=np.int64)
    if strain > MOST_STRAIN:
        change = reduced(cell[axes])
        shortest = np.zeros((3, 3))
        shortest[axes] = change @ cell[axes]
        strain, sign = _hexagonal_strain(shortest, axes)
        if strain > HEXAGONAL_TOLERANCE:
            return None
    in_plane = {"G": (0, 0), "M": (1 / 2, 0), "K": (2 / 3, sign / 3), "K'": (-2 / 3, -sign / 3)}
    points = {}
    for label, pair in in_plane.items():
        points[label] = np.zeros(3)
        points[label][axes] = np.linalg.solve(change, pair)
    return points


def _ase_points(structure: Structure) -> tuple[dict[str, npt.NDArray[np.float64]], str]:
    from ase.cell import Cell

    # ASE wants the plane of a layer in the first two vectors.
    periodic = np.flatnonzero(structure.pbc)
    order = [*periodic, *(axis for axis in range(3) if axis not in periodic)]
    cell = Cell(structure.cell[order])
    pbc = structure.pbc[order]
    if len(periodic) < 3:
        cell = Cell(np.where(pbc[:, None], cell, 0.0)).complete()
    try:
        path = cell.bandpath(npoints=0, pbc=pbc.tolist())
    except Exception as error:
        raise MoireioError(
            f"ASE finds no Bravais lattice of this cell: {error}",
            remedy="give `path` as points: 0,0,0 …",
        ) from error
    points = {}
    for label, k in path.special_points.items():
        points[label] = np.zeros(3)
        points[label][order] = k
    return points, path.path


def seekpath_points(structure: Structure) -> tuple[Corners, str]:
    """Return corners and the suggested path of SeeK-path (Hinuma et al., 2017), for 3D crystals.

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
        suggestion = seekpath.get_path_orig_cell(
            (structure.cell, fractional, structure.species + 1), with_time_reversal=True
        )
    except Exception as error:
        raise MoireioError(f"SeeK-path fails on this structure: {error}") from error

    def short(label: str) -> str:
        return "G" if label == "GAMMA" else label.replace("_", "")

    points = {short(label): np.array(k) for label, k in suggestion["point_coords"].items()}
    text, last = "", None
    for start, end in suggestion["path"]:
        text += short(end) if short(start) == last else f",{short(start)}{short(end)}"
        last = short(end)
    return points, text.lstrip(",")
