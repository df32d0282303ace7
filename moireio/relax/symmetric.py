"""Positions, forces and stress averaged over the operations of a crystal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from moireio.symmetry.operations import Operation


def averaged_vectors(
    group: Sequence[Operation], vectors: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Average one vector an atom, such as forces, over a group.

    Parameters
    ----------
    group : sequence of Operation
        A group up to lattice translations.
    vectors : (N, 3) array
        Cartesian.

    Returns
    -------
    (N, 3) array
        Invariant under the group.
    """
    total = np.zeros_like(vectors)
    for operation in group:
        total[operation.atoms] += vectors @ operation.rotation.T
    return total / len(group)


def averaged_tensor(
    group: Sequence[Operation], tensor: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Average a tensor, such as the stress, over a group.

    Parameters
    ----------
    group : sequence of Operation
        A group up to lattice translations.
    tensor : (3, 3) array
        Cartesian.

    Returns
    -------
    (3, 3) array
        Invariant under the group.
    """
    turned = [o.rotation @ tensor @ o.rotation.T for o in group]
    return np.asarray(np.mean(turned, axis=0))


def symmetric_positions(
    group: Sequence[Operation],
    cell: npt.NDArray[np.float64],
    positions: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Move atoms to where the operations take them exactly.

    Parameters
    ----------
    group : sequence of Operation
        Operations of the positions within a tolerance.
    cell : (3, 3) array
        Lattice vectors as rows, Å.
    positions : (N, 3) array
        Å.

    Returns
    -------
    (N, 3) array
        Each the mean of its images under the group, Å.
    """
    total = np.zeros_like(positions)
    for operation in group:
        image = positions @ operation.rotation.T + operation.translation
        total[operation.atoms] += image - operation.cells @ cell
    return total / len(group)
