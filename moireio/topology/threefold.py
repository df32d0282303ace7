"""The threefold axes of a layer, and the eigenvalues of C3 as roots of ±1."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.symmetry.finder import operations_of_rotation, threefold_lattice
from moireio.symmetry.operations import Operation
from moireio.system.neighbours import reduced
from moireio.system.structure import Structure

TOLERANCE = 0.05  # Å


@dataclass(frozen=True, eq=False)
class ThreefoldAxes:
    """The three threefold axes of a hexagonal layer.

    Parameters
    ----------
    operation : Operation
        C3 about the first axis.
    centres : (3, 2) array
        Where the axes cross the plane, Å; the first is nearest to the origin, the others follow
        after a third and two thirds of the longer diagonal of the cell.
    cells : (3, 3) array of int
        C3 about each axis is `operation`, then this lattice translation.
    """

    operation: Operation
    centres: npt.NDArray[np.float64]
    cells: npt.NDArray[np.int64]


def threefold_axes(structure: Structure, tolerance: float = TOLERANCE) -> ThreefoldAxes:
    """Find the threefold axes of a layer.

    Parameters
    ----------
    structure : Structure
        The crystal; its positions stay as they are.
    tolerance : float
        How far a turned atom may lie from the one that it replaces, Å.

    Returns
    -------
    ThreefoldAxes
        Along z.

    Raises
    ------
    MoireioError
        If there are none.
    """
    if structure.pbc.sum() != 2:
        raise MoireioError(
            f"is periodic along {structure.pbc.sum()} vectors, not a layer",
            remedy="C modulo 3 is a number of layers",
        )
    plane = np.flatnonzero(structure.pbc)
    normal = np.cross(*structure.cell[plane])
    if abs(normal[2]) < 0.99 * np.linalg.norm(normal):
        raise MoireioError(
            "is a layer whose plane is not the xy plane; C3 is sought about z",
            remedy="turn structure and orbitals, or use the command chern",
        )
    lattice = threefold_lattice(structure)
    if lattice is None:
        raise MoireioError(
            "has no threefold axis: its lattice is not hexagonal in the plane",
            remedy="the command chern needs no symmetry",
        )
    found = operations_of_rotation(structure, lattice, tolerance)
    if not found:
        raise MoireioError(
            "has no threefold axis: no turn by 120° takes all atoms to within "
            f"{tolerance:g} Å of atoms of their species",
            remedy="the command chern needs no symmetry",
        )
    turn = found[0].rotation[:2, :2]
    to_centre = np.linalg.inv(np.eye(2) - turn)
    best: tuple[float, Operation] | None = None
    for operation in found:
        if operation.error > found[0].error + 1e-3:
            continue
        for a, b in np.ndindex(9, 9):
            cell = np.zeros(3, dtype=np.int64)
            cell[plane] = a - 4, b - 4
            moved = operation.shifted(cell, structure)
            distance = float(np.linalg.norm(to_centre @ moved.translation[:2]))
            if best is None or distance < best[0] - 1e-6:
                best = (distance, moved)
    assert best is not None
    operation = best[1]
    change = reduced(structure.cell[plane])
    vectors = change @ structure.cell[plane]
    third = np.zeros(3)
    third[plane] = np.array((1, 1) if vectors[0] @ vectors[1] > 0 else (2, 1)) / 3 @ change
    cells = np.rint([(third - lattice @ third) * m for m in range(3)]).astype(np.int64)
    shifts = operation.translation + cells @ structure.cell
    centres = shifts[:, :2] @ to_centre.T
    return ThreefoldAxes(operation, np.where(np.abs(centres) < 1e-9, 0.0, centres), cells)


def nearest_root(xi: npt.ArrayLike, fermion: bool) -> npt.NDArray[np.int64]:
    """Return the n of the cube roots e^{iπn/3} of ±1 that are nearest to numbers.

    Parameters
    ----------
    xi : array of complex
        Any.
    fermion : bool
        Roots of −1, n = −1, 1, 3; else of 1, n = −2, 0, 2.

    Returns
    -------
    array of int
        −2 … 3.
    """
    turns = np.angle(np.asarray(xi)) * 3 / np.pi
    shift = 1 if fermion else 0
    n = 2 * np.rint((turns - shift) / 2).astype(np.int64) + shift
    return np.asarray((n + 2) % 6 - 2)


def chern_mod3(n: npt.ArrayLike, fermion: bool) -> int:
    """Return C modulo 3 of some bands.

    Parameters
    ----------
    n : (3, nb) array of int
        ξ = e^{iπn/3} at Γ, K and K′.
    fermion : bool
        Whether ξ³ = −1.

    Returns
    -------
    int
        −1, 0 or 1.
    """
    n = np.asarray(n)
    total = int(n.sum()) + (3 * n.shape[1] if fermion else 0)
    return (total // 2 + 1) % 3 - 1
