"""Along which lattice vectors a structure is periodic, where its file does not determine it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.basis import Basis
from moireio.system.layers import with_layers
from moireio.system.pairs import pair_name
from moireio.system.structure import Structure

#: Width of a vacuum that separates repeated layers where no basis is known, Å.
USUAL_REACH = 8.0
ROUNDING = 1e-6
AXES = "abc"

PairList = tuple[npt.NDArray[np.integer], npt.NDArray[np.integer], npt.NDArray[np.integer]]


def reach_of(basis: Basis | None, structure: Structure) -> float | None:
    """Return the largest distance over which two orbitals of a structure overlap.

    Parameters
    ----------
    basis : Basis or None
        The orbitals.
    structure : Structure
        The atoms.

    Returns
    -------
    float or None
        Largest sum of two cutoffs, Å; None if a cutoff is not known.
    """
    names = set(structure.species_of_atoms)
    if basis is None or not names or not names <= set(basis.species):
        return None
    cutoffs = [basis[name].cutoff for name in names]
    known = [cutoff for cutoff in cutoffs if cutoff is not None]
    return 2 * max(known) if len(known) == len(cutoffs) else None


def vacuum(structure: Structure, axis: int) -> tuple[float, npt.NDArray[np.int64]]:
    """Return the widest gap between the atoms and their images along a lattice vector.

    Parameters
    ----------
    structure : Structure
        The atoms.
    axis : int
        Index of the lattice vector. The gap is measured along the normal of the other two.

    Returns
    -------
    gap : float
        Å.
    moves : (N,) array of int
        Lattice vectors by which each atom has to be moved so that the gap lies at the border:
        all 0 if it lies there already, else for as few atoms as possible.
    """
    normal = np.linalg.inv(structure.cell)[:, axis]
    period = 1 / float(np.linalg.norm(normal))
    stay = np.zeros(len(structure), dtype=np.int64)
    if len(structure) == 0:
        return period, stay
    height = structure.positions @ normal
    ascending = np.sort(height % 1)
    gaps = np.diff(ascending, append=ascending[0] + 1)
    widest = float(gaps.max())
    if 1 - np.ptp(height) > widest - ROUNDING / period:
        return widest * period, stay
    start = ascending[(int(gaps.argmax()) + 1) % len(ascending)]
    moves = -np.floor(height - start + ROUNDING / period).astype(np.int64)
    values, counts = np.unique(moves, return_counts=True)
    fewest = values[counts == counts.max()]
    middle = start + (1 - widest) / 2  # of the atoms; it comes to lie inside the cell if it can
    return widest * period, moves - fewest[np.abs(middle - fewest - 0.5).argmin()]


def settle_structure(
    structure: Structure, reach: float | None = None, pbc: Sequence[bool] | None = None
) -> tuple[Structure, str | None]:
    """Decide along which vectors a structure is periodic that was read without operators.

    Parameters
    ----------
    structure : Structure
        As its file has it.
    reach : float, optional
        Largest distance over which orbitals overlap, Å; by default `USUAL_REACH`.
    pbc : sequence of three bool, optional
        The answer, instead of the rule.

    Returns
    -------
    structure : Structure
        Not periodic along vectors with a vacuum wider than the reach. Atoms on the other side of
        such a vacuum are moved by lattice vectors. Slabs have layers.
    note : str or None
        What was decided; None if nothing changes.

    Notes
    -----
    What the file has as not periodic stays so.
    """
    if len(structure) == 0:
        return structure, None
    found = [vacuum(structure, axis) for axis in range(3)]
    gaps = np.array([gap for gap, _ in found])
    limit = USUAL_REACH if reach is None else reach
    before = structure.pbc
    decided = before & (gaps <= limit) if pbc is None else np.array(pbc, dtype=bool)
    if (decided == before).all():
        return with_layers(structure), None
    moves = np.stack([m for _, m in found], axis=1) * (before & ~decided)
    settled = with_layers(
        replace(structure, pbc=decided, positions=structure.positions + moves @ structure.cell)
    )
    if pbc is not None:
        return settled, _moved(moves) or None
    axes = np.flatnonzero(before & ~decided)
    widths = " and ".join(f"{gap:.1f}" for gap in gaps[axes])
    why = "the limit without a basis" if reach is None else "the reach of the orbitals"
    text = f"not periodic along {_names(axes)}: a vacuum of {widths} Å, above {limit:.1f} Å, {why}"
    return settled, "; ".join(filter(None, [text, _moved(moves)]))


def settle_blocks(
    structure: Structure, pairs: Iterable[PairList], pbc: Sequence[bool] | None = None
) -> tuple[Structure, npt.NDArray[np.int64], str | None]:
    """Decide along which vectors a structure is periodic that was read with its operators.

    Parameters
    ----------
    structure : Structure
        As its file has it.
    pairs : iterable of (i, j, R)
        The pairs of all operators: arrays (n,), (n,) and (n, 3).
    pbc : sequence of three bool, optional
        The answer, instead of the rule.

    Returns
    -------
    structure : Structure
        Not periodic along vectors where every pair has R = 0, if need be after atoms on the other
        side of the widest gap are moved by lattice vectors. Slabs have layers.
    moves : (N, 3) array of int
        Lattice vectors by which the atoms were moved; see `moved_cells`.
    note : str or None
        What was decided; None if nothing changes.

    Raises
    ------
    MoireioError
        If `pbc` is false along a vector that pairs cross.
    """
    lists = list(pairs)
    moves = np.zeros((len(structure), 3), dtype=np.int64)
    decided = np.ones(3, dtype=bool)
    for axis in range(3):
        if pbc is not None and pbc[axis]:
            continue
        across = _across(structure, lists, axis)
        if across is None:
            decided[axis] = False
            moves[:, axis] = _joining(structure, lists, axis)
        elif pbc is not None:
            raise MoireioError(
                f"is periodic along {AXES[axis]}: {across} crosses its cells",
                remedy="give another `pbc`",
            )
    settled = with_layers(
        replace(structure, pbc=decided, positions=structure.positions + moves @ structure.cell)
    )
    text = ""
    if pbc is None and (structure.pbc & ~decided).any():
        axes = np.flatnonzero(structure.pbc & ~decided)
        text = (
            f"not periodic along {_names(axes)}, where no pair of atoms has a cell R other than 0"
        )
    return settled, moves, "; ".join(filter(None, [text, _moved(moves)])) or None


def moved_cells(
    i: npt.NDArray[np.integer],
    j: npt.NDArray[np.integer],
    R: npt.NDArray[np.integer],
    moves: npt.NDArray[np.integer],
) -> npt.NDArray[np.integer]:
    """Return the cells of pairs after atoms were moved by lattice vectors.

    Parameters
    ----------
    i, j : (n,) arrays of int
        The two atoms.
    R : (n, 3) array of int
        Cell of the second atom.
    moves : (N, 3) array of int
        Lattice vectors by which the atoms were moved.

    Returns
    -------
    (n, 3) array of int
        R + moves of i − moves of j; the blocks, and the order of sorted pairs, stay.
    """
    return R + moves[i] - moves[j]


def _joining(structure: Structure, lists: list[PairList], axis: int) -> npt.NDArray[np.int64]:
    """Return the moves after which no pair crosses a vector: none, or those to the widest gap."""
    if not any(R[:, axis].any() for _, _, R in lists):
        return np.zeros(len(structure), dtype=np.int64)
    return vacuum(structure, axis)[1]


def _across(structure: Structure, lists: list[PairList], axis: int) -> str | None:
    """Return the name of a pair that crosses a lattice vector however atoms are moved, or None."""
    moves = _joining(structure, lists, axis)
    for i, j, R in lists:
        cells = R[:, axis] + moves[i] - moves[j] if moves.any() else R[:, axis]
        if cells.any():
            pair = int(np.flatnonzero(cells)[0])
            return pair_name(i[pair], j[pair], R[pair])
    return None


def _names(axes: npt.NDArray[np.integer]) -> str:
    letters = [AXES[axis] for axis in axes]
    return " and ".join([", ".join(letters[:-1]), letters[-1]]) if len(letters) > 1 else letters[0]


def _moved(moves: npt.NDArray[np.integer]) -> str:
    count = int(moves.any(axis=1).sum())
    if not count:
        return ""
    return (
        f"{count} of {len(moves)} atoms moved by lattice vectors, so that the rest is in one piece"
    )
