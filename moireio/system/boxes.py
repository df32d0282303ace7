"""Cells for molecules, chains and layers, whose files give fewer than three lattice vectors."""

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError

VACUUM = 20.0  # Å; no orbital reaches across


def complete_cell(
    vectors: npt.ArrayLike, positions: npt.ArrayLike, vacuum: float = VACUUM
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return three lattice vectors where a file gives none, one or two.

    The added vectors are perpendicular to the given ones and to each other. They are as long as
    the atoms extend along them, and `vacuum` more. Positions keep their values.

    Parameters
    ----------
    vectors : (3, 3) array_like
        Lattice vectors as rows, Å; rows of zeros stand for those that are missing.
    positions : (N, 3) array_like
        Cartesian, Å.
    vacuum : float
        Empty space along the added vectors, Å.

    Returns
    -------
    cell : (3, 3) array of float64
        Rows, Å. What was given is unchanged; without any vector the box is along x, y and z.
    pbc : (3,) array of bool
        True along the vectors that were given.

    Raises
    ------
    MoireioError
        If the given vectors are not independent, there are no atoms, or a number is not finite.

    Examples
    --------
    >>> cell, pbc = complete_cell(np.zeros((3, 3)), [[0.0, 0.0, 0.0], [0.74, 0.0, 0.0]])
    >>> cell.diagonal().tolist(), pbc.tolist()
    ([20.74, 20.0, 20.0], [False, False, False])
    """
    cell = np.array(vectors, dtype=np.float64).reshape(3, 3)
    places = np.asarray(positions, dtype=np.float64).reshape(-1, 3)
    if len(places) == 0:
        raise MoireioError("holds no atoms")
    if not (np.isfinite(cell).all() and np.isfinite(places).all()):
        raise MoireioError("a lattice vector or a position is not a finite number")
    pbc: npt.NDArray[np.bool_] = np.abs(cell).max(axis=1) > 0
    axes = cell[pbc]
    lengths = np.linalg.norm(axes, axis=1, keepdims=True)
    if np.linalg.matrix_rank(axes / lengths, tol=1e-6) < len(axes):
        raise MoireioError("its lattice vectors are not independent")
    if pbc.all():
        return cell, pbc
    for row in np.flatnonzero(~pbc):
        direction = _perpendicular(axes, int(row))
        axes = np.vstack([axes, direction])
        cell[row] = (float(np.ptp(places @ direction)) + vacuum) * direction
    if np.linalg.det(cell) < 0:
        cell[np.flatnonzero(~pbc)[0]] *= -1
    return cell, pbc


def _perpendicular(axes: npt.NDArray[np.float64], row: int) -> npt.NDArray[np.float64]:
    """Return a unit vector perpendicular to some axes, made from that of x, y, z which fits best.

    The one with the number of the row is preferred.
    """
    basis = np.linalg.qr(axes.T)[0] if len(axes) else np.zeros((3, 0))
    candidates = np.eye(3) - basis @ basis.T  # row i: x, y or z without its part in the span
    lengths = np.linalg.norm(candidates, axis=1)
    preferred = row if lengths[row] > 0.5 else int(lengths.argmax())
    return np.asarray(candidates[preferred] / lengths[preferred])
