"""Neighbour lists, by matscipy, of any cell that can be handled."""

from itertools import product

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure

TOO_CLOSE = 0.3  # Å
# What matscipy is trusted with as it is. It divides the cell into bins as wide as the radius, whose
# number has 32 bits, and walks from an atom to the cell, and from there to images, step by step.
MOST_BINS = 10**8
MOST_PAIRS = 2**31
FAR_CELLS = 100
SKEW = 10
CROWDED = 8

FloatArray = npt.NDArray[np.float64]


def neighbour_list(
    structure: Structure, radius: float | FloatArray, quantities: str
) -> list[npt.NDArray]:
    """Find all pairs of atoms closer than a radius, both partners of each.

    Parameters
    ----------
    structure : Structure
        The atoms.
    radius : float or (species, species) array
        Å; for each pair of species, in the order of `Structure.species_names`, or for all.
    quantities : str
        Letters of the arrays to return, as matscipy has them: i, j, S (cell of j), d (distance, Å),
        D (vector from i to j, Å).

    Returns
    -------
    list of arrays
        In the order of the letters, ascending in i; on-site pairs are not among them.

    Raises
    ------
    MoireioError
        If there would be more pairs, or a wider cell, than can be handled.
    """
    reach = float(np.max(radius))
    cell, steps = structure.cell, np.zeros((len(structure), 3), dtype=np.int64)
    change, positions = np.eye(3, dtype=np.int64), structure.positions
    if not _is_plain(structure, reach):
        cell, change, positions, steps = _plain(structure, reach)
    _check_size(cell, structure.pbc, len(structure), reach)
    from matscipy.neighbours import neighbour_list as search

    moved, turned = bool(steps.any()), bool((change != np.eye(3)).any())
    names = "".join(sorted({*quantities, *("ijS" if moved else "S" if turned else "")}))
    found = search(
        names,
        cutoff=radius,
        positions=positions,
        cell=cell,
        pbc=structure.pbc,
        numbers=structure.species,
    )
    arrays = dict(zip(names, found if len(names) > 1 else [found], strict=True))
    if moved:
        arrays["S"] = arrays["S"] + steps[arrays["i"]] - steps[arrays["j"]]
    if turned:
        arrays["S"] = arrays["S"].astype(np.int64) @ change
    return [arrays[name] for name in quantities]


def _is_plain(structure: Structure, reach: float) -> bool:
    """Return whether the atoms lie in or near a cell that is neither skewed nor huge."""
    inverse = np.linalg.inv(structure.cell)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    if np.prod(np.maximum(heights / max(reach, TOO_CLOSE), 1)) > MOST_BINS:
        return False
    if (np.linalg.norm(structure.cell, axis=1) > SKEW * heights).any():
        return False
    cells = structure.positions @ inverse
    return len(cells) == 0 or bool(np.abs(cells).max() < FAR_CELLS)


def _plain(
    structure: Structure, reach: float
) -> tuple[FloatArray, npt.NDArray[np.int64], FloatArray, npt.NDArray[np.int64]]:
    """Return an equal structure in a compact cell, the atoms inside.

    Returns
    -------
    cell : (3, 3) array
        Reduced along the periodic vectors, as wide as the atoms along the others.
    change : (3, 3) array of int
        Cells of the reduced lattice @ change are cells of the original one.
    positions : (N, 3) array
        Gaps wider than the reach are closed along directions that are not periodic.
    steps : (N, 3) array of int
        Cells of the reduced lattice by which each atom was moved back.
    """
    pbc = structure.pbc
    periodic, open_ = np.flatnonzero(pbc), np.flatnonzero(~pbc)
    change = np.eye(3, dtype=np.int64)
    combination = reduced(structure.cell[periodic])
    change[np.ix_(periodic, periodic)] = combination
    cell = np.zeros((3, 3))
    cell[periodic] = combination @ structure.cell[periodic]
    across = np.linalg.svd(np.vstack([cell[periodic], np.zeros((1, 3))]))[2][len(periodic) :]
    cell[open_] = across
    coordinates = structure.positions @ np.linalg.inv(cell)
    for axis in open_:
        order = np.argsort(coordinates[:, axis], kind="stable")
        gaps = np.diff(coordinates[order, axis], prepend=coordinates[order[:1], axis])
        closed = np.cumsum(np.minimum(gaps, 2 * reach + 1))
        coordinates[order, axis] = closed + 0.5
        length = closed[-1] + 1
        cell[axis] *= length
        coordinates[:, axis] /= length
    steps = np.zeros(coordinates.shape, dtype=np.int64)
    steps[:, periodic] = np.floor(coordinates[:, periodic]).astype(np.int64)
    return cell, change, (coordinates - steps) @ cell, steps


def reduced(rows: FloatArray) -> npt.NDArray[np.int64]:
    """Reduce a lattice: no vector becomes shorter by adding others to it.

    Parameters
    ----------
    rows : (n, m) array
        Up to three independent vectors.

    Returns
    -------
    (n, n) array of int64
        ``matrix @ rows`` is reduced (Minkowski's conditions); the determinant is ±1.
    """
    count = len(rows)
    matrix = np.eye(count, dtype=np.int64)
    near = np.array(list(product((-1, 0, 1), repeat=max(count - 1, 0))), dtype=np.int64)
    changed = count > 1
    while changed:
        changed = False
        for n in np.argsort(-np.linalg.norm(matrix @ rows, axis=1)):
            others = [k for k in range(count) if k != n]
            vectors = matrix @ rows
            steps = np.linalg.lstsq(vectors[others].T, vectors[n], rcond=None)[0]
            steps = np.round(steps).astype(np.int64) + near
            trials = matrix[n] - steps @ matrix[others]
            lengths = np.linalg.norm(trials @ rows, axis=1)
            best = int(lengths.argmin())
            if lengths[best] < np.linalg.norm(vectors[n]) * (1 - 1e-9):
                matrix[n] = trials[best]
                changed = True
    return matrix


def _check_size(cell: FloatArray, pbc: npt.NDArray[np.bool_], count: int, reach: float) -> None:
    """Refuse cells that would have too many bins, or atoms with too many images within reach."""
    heights = 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    if np.prod(np.maximum(heights / max(reach, TOO_CLOSE), 1)) > MOST_BINS:
        lengths = " × ".join(f"{v:.3g}" for v in np.linalg.norm(cell, axis=1))
        raise MoireioError(
            f"structure: a cell of {lengths} Å is too large for a search of neighbours within "
            f"{reach:.3g} Å",
            remedy="are the lattice vectors and coordinates in Å?",
        )
    rows = cell[pbc]
    ball = {0: 1.0, 1: 2 * reach, 2: np.pi * reach**2, 3: 4 / 3 * np.pi * reach**3}[len(rows)]
    measure = np.sqrt(max(np.linalg.det(rows @ rows.T), 0.0)) if len(rows) else 1.0
    if count * ball > MOST_PAIRS * measure:
        shortest = np.linalg.norm(rows, axis=1).min()
        raise MoireioError(
            f"structure: the shortest lattice vector is {shortest:.3g} Å long, so that atoms have "
            f"too many images within {reach:.3g} Å",
            remedy="are the lattice vectors in Å?",
        )


def crowded_pair(structure: Structure) -> tuple[float, int, int] | None:
    """Find two atoms in one place, where many are.

    Parameters
    ----------
    structure : Structure
        The atoms, as the file has them; images are not looked at.

    Returns
    -------
    (float, int, int) or None
        Distance in Å and indices of the two, where more than a few atoms lie within 0.1 Å; else
        None.
    """
    boxes = np.floor(structure.positions * 10).astype(np.int64)
    keys = boxes @ np.array([1, 0x9E3779B1, 0x7F4A7C159E37], dtype=np.int64)  # a hash, may wrap
    found, counts = np.unique(keys, return_counts=True)
    if counts.max() <= CROWDED:
        return None
    members = np.flatnonzero(keys == found[counts.argmax()])
    distances = np.linalg.norm(
        structure.positions[members[1:]] - structure.positions[members[0]], axis=1
    )
    return float(distances.min()), int(members[0]), int(members[1 + int(distances.argmin())])


def close_pairs(structure: Structure, reach: npt.NDArray[np.float64]) -> Pairs:
    """Return all pairs of atoms closer than the reach of their species.

    Parameters
    ----------
    structure : Structure
        The atoms.
    reach : (species, species) array
        Å, symmetric, in the order of `Structure.species_names`.

    Returns
    -------
    Pairs
        Sorted, on-site pairs included, both partners of each.

    Raises
    ------
    MoireioError
        If two atoms lie on top of each other, or the cell is too large.
    """
    close = structure.closest_pair(TOO_CLOSE)
    if close is not None:
        raise MoireioError(
            f"atoms {close[1]} and {close[2]} are {close[0]:.3f} Å apart, as good as in one place"
        )
    atoms = np.arange(len(structure), dtype=np.int32)
    i, j, R = atoms, atoms, np.zeros((len(atoms), 3), np.int32)
    if len(atoms) and reach.max() > 0:
        first, second, cells = neighbour_list(structure, reach, "ijS")
        i = np.concatenate([i, first.astype(np.int32)])
        j = np.concatenate([j, second.astype(np.int32)])
        R = np.concatenate([R, cells.astype(np.int32)])
    return Pairs.sort(len(structure), i, j, R)[0]
