"""The cells of pairs, checked on the overlap.

Programs count the cells R of a pair between atoms that they have moved by lattice vectors, each by
a rule of its own. Eigenvalues do not show a wrong rule, but the overlap does: it decays with the
distance of two atoms, so with the right positions the strong blocks belong to the short distances.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product
from typing import Self

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.operators.blocks import OperatorSource, block_offsets
from moireio.operators.views import ArraySource
from moireio.system.pairs import Pairs
from moireio.system.periodicity import moved_cells
from moireio.system.structure import Structure

#: A move counts where it shortens the mean square distance by this part of its own square.
SIGNIFICANT = 0.1
BORDER = 1e-6  # of a lattice vector: on which side of a face an atom is
FACE = 1e-5  # of a lattice vector: so near, rounding may decide differently
#: Part of a mean square distance that is clearly smaller than the whole.
CLEARLY = 0.8
MOST_SWEEPS = 20  # over the atoms on faces
MOST_CHOICES = 27  # lattice vectors by which all atoms may be moved


def wrapped(
    structure: Structure, low: float, *, low_included: bool, along: npt.ArrayLike = (1, 1, 1)
) -> tuple[Structure, npt.NDArray[np.int64]]:
    """Move atoms into one cell.

    Parameters
    ----------
    structure : Structure
        The atoms.
    low : float
        Lower face of the cell: 0, or −0.5 for a cell around the origin.
    low_included : bool
        Whether atoms on a face belong to the lower one.
    along : (3,) array of bool
        The lattice vectors along which atoms are moved.

    Returns
    -------
    structure : Structure
        With fractional coordinates between `low` and `low` + 1.
    moves : (N, 3) array of int64
        Lattice vectors by which atoms were moved.
    """
    fractional = structure.positions @ np.linalg.inv(structure.cell)
    if low_included:
        moves = -np.floor(fractional - low + BORDER)
    else:
        moves = 1 - np.ceil(fractional - low - BORDER)
    moves = moves.astype(np.int64) * np.asarray(along, dtype=np.int64)
    return replace(structure, positions=structure.positions + moves @ structure.cell), moves


def with_moves(source: OperatorSource, moves: npt.NDArray[np.int64]) -> ArraySource:
    """Return an operator after atoms were moved by lattice vectors.

    Parameters
    ----------
    source : OperatorSource
        The operator of the atoms where they were.
    moves : (N, 3) array of int64
        Lattice vectors by which they were moved.

    Returns
    -------
    ArraySource
        With R between the atoms where they are now.
    """
    pairs = source.pairs
    cells = moved_cells(pairs.i, pairs.j, pairs.R, moves)
    moved = Pairs(pairs.indptr, pairs.j, cells)
    return ArraySource(source.meta, source.sizes, moved, source.rows(0, pairs.n_atoms))


def on_faces(structure: Structure, low: float) -> npt.NDArray[np.bool_]:
    """Return where a rule for moving atoms into a cell is decided by rounding.

    Parameters
    ----------
    structure : Structure
        The atoms.
    low : float
        Lower face of the cell, fractional.

    Returns
    -------
    (N, 3) array of bool
        True for the coordinates on a face of the cell.
    """
    fractional = structure.positions @ np.linalg.inv(structure.cell) - low
    return np.abs(fractional - np.round(fractional)) < FACE


def settled_by_overlap(
    structure: Structure,
    overlap: OperatorSource,
    label: str,
    uncertain: npt.NDArray[np.bool_] | None = None,
) -> tuple[Structure, str | None]:
    """Check positions on the overlap.

    Parameters
    ----------
    structure : Structure
        The atoms, moved as the program's rule is.
    overlap : OperatorSource
        Its blocks with both partners; also a Hamiltonian, where there is no overlap.
    label : str
        The file, for messages.
    uncertain : (N, 3) array of bool, optional
        Coordinates that the rule leaves open; by default none.

    Returns
    -------
    structure : Structure
        Atoms on a face of the cell moved to that side with which the overlap decays with the
        distance.
    note : str or None
        Where the overlap contradicts the positions.

    Raises
    ------
    DamagedError
        If the overlap decays only with R reversed.
    """
    found = _Bonds.of(structure, overlap, 1)
    if found is None:
        return structure, None
    left = found
    if uncertain is not None and (moves := found.moves_of(uncertain)).any():
        structure = replace(structure, positions=structure.positions + moves @ structure.cell)
        left = _Bonds.of(structure, overlap, 1) or found
    turned = _Bonds.of(structure, overlap, -1)
    assert turned is not None
    if turned.spread(moved=False) < CLEARLY * left.spread(moved=False):
        raise DamagedError(
            "its blocks at R belong to -R: the overlap decays with the distance of the atoms only "
            "with the cells reversed",
            path=label,
            remedy="the program that converted it reversed them: convert it anew; or the atoms "
            "are those of another structure",
        )
    count = int(left.moves.any(axis=1).sum())
    if count and left.spread() < CLEARLY * left.spread(moved=False):
        return structure, (
            f"the overlap does not decay with the distance: {count} of {len(structure)} atoms "
            "seem to belong in other cells than the structure has them"
        )
    return structure, None


@dataclass(frozen=True, eq=False)
class _Bonds:
    """Mean distances of pairs of atoms, weighted with their blocks.

    Parameters
    ----------
    moves : (N, 3) array of int64
        Lattice vectors by which atoms would have to be moved so that strong blocks are short.
    distance : (n, 3) array
        Å, of every block between two different atoms.
    first, second : (n,) arrays of int64
        The atoms; `first` ascends.
    weight : (n,) array
        Square root of the norm of the block: the tails count, too.
    cell : (3, 3) array
        Å.
    """

    moves: npt.NDArray[np.int64]
    distance: npt.NDArray[np.float64]
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    weight: npt.NDArray[np.float64]
    cell: npt.NDArray[np.float64]

    def spread(self, moved: bool = True) -> float:
        """Return the mean square distance, Å², after the moves or before."""
        change = (self.moves[self.second] - self.moves[self.first]) @ self.cell * moved
        square = ((self.distance + change) ** 2).sum(axis=1)
        return float((self.weight * square).sum() / self.weight.sum())

    def moves_of(self, uncertain: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Return the moves along uncertain coordinates that make strong blocks short."""
        moves = self._allowed(uncertain)
        atoms = np.flatnonzero(uncertain.any(axis=1))
        bounds = np.searchsorted(self.first, np.stack([atoms, atoms + 1], axis=1))
        own = {atom: np.arange(*span) for atom, span in zip(atoms.tolist(), bounds, strict=True)}
        for _ in range(MOST_SWEEPS):
            before = moves.copy()
            for axis in range(3):  # a layer of atoms goes as a whole
                steps = np.outer(np.arange(-1, 2), np.eye(3, dtype=np.int64)[axis])
                together = uncertain[:, axis]
                crossing = np.flatnonzero(together[self.first] != together[self.second])
                sign = np.where(together[self.first[crossing]], -1, 1)
                moves[together] += self._best(moves, crossing, sign, steps)
            for atom, pairs in own.items():
                steps = np.array(
                    list(product(*[(-1, 0, 1) if u else (0,) for u in uncertain[atom]]))
                )
                moves[atom] += self._best(moves, pairs, -np.ones(len(pairs), dtype=int), steps)
            if np.array_equal(moves, before):
                break
        return moves

    def _best(
        self,
        moves: npt.NDArray[np.int64],
        pairs: npt.NDArray[np.intp],
        sign: npt.NDArray[np.integer],
        steps: npt.NDArray[np.int64],
    ) -> npt.NDArray[np.int64]:
        """Return the step that makes some pairs shortest; 0 unless another is better."""
        between = moves[self.second[pairs]] - moves[self.first[pairs]]
        weight = self.weight[pairs]
        spreads = [
            float(weight @ ((self.distance[pairs] + moved @ self.cell) ** 2).sum(axis=1))
            for moved in (between + sign[:, None] * step for step in steps)
        ]
        best, still = int(np.argmin(spreads)), int(np.flatnonzero(~steps.any(axis=1))[0])
        return np.asarray(steps[best if spreads[best] < (1 - 1e-6) * spreads[still] else still])

    def _allowed(self, uncertain: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Return `moves` of atoms that the rule leaves open, and no others.

        All atoms can be moved by one lattice vector more: which of two atoms is the one to move is
        not known from S. That choice is taken with which fewest atoms would have to be moved
        against the rule.
        """
        listed, counts = np.unique(self.moves, axis=0, return_counts=True)
        common = listed[np.argsort(-counts, kind="stable")[:MOST_CHOICES]]
        choices = self.moves - common[:, None]
        against = np.where(uncertain, 0, choices).any(axis=2)
        moved = choices.any(axis=2).sum(axis=1)
        best = np.lexsort((moved, against.sum(axis=1)))[0]
        return np.asarray(choices[best] * ~against[best][:, None])

    @classmethod
    def of(cls, structure: Structure, overlap: OperatorSource, sign: int) -> Self | None:
        """Return those of an operator, with the cells as they are or reversed."""
        pairs, n_atoms = overlap.pairs, len(structure)
        i, j = pairs.i.astype(np.int64), pairs.j.astype(np.int64)
        offsets = block_offsets(pairs.block_elements(np.asarray(overlap.sizes)))
        flat = np.abs(np.atleast_2d(overlap.rows(0, n_atoms))[0]) ** 2
        sums = np.concatenate([[0.0], np.cumsum(flat, dtype=np.float64)])
        square = np.maximum(np.diff(sums[offsets]), 0.0)
        other = (i != j) & (square > 1e-12 * square.max(initial=0.0))
        if not other.any():
            return None
        i, j, R, square = i[other], j[other], pairs.R[other].astype(np.int64), square[other]
        distance = structure.positions[j] + sign * R @ structure.cell - structure.positions[i]
        keys, which = np.unique(i * n_atoms + j, return_inverse=True)
        total = np.bincount(which, square)
        sums = np.stack([np.bincount(which, square * d) for d in distance.T], axis=1)
        shift = _shortening(sums / total[:, None], structure.cell)
        moves = _along_tree(keys, total, shift, n_atoms)
        return cls(moves, distance, i, j, square**0.25, structure.cell)


def _along_tree(
    keys: npt.NDArray[np.int64],
    total: npt.NDArray[np.float64],
    shift: npt.NDArray[np.int64],
    n_atoms: int,
) -> npt.NDArray[np.int64]:
    """Return the moves of atoms from those of pairs, along the strongest pairs."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order, minimum_spanning_tree

    first, second = np.divmod(keys, n_atoms)
    tree = minimum_spanning_tree(csr_array((-total, (first, second)), (n_atoms, n_atoms)))
    moves, seen = np.zeros((n_atoms, 3), dtype=np.int64), np.zeros(n_atoms, dtype=bool)
    for start in range(n_atoms):
        if seen[start]:
            continue
        order, before = breadth_first_order(tree, start, directed=False)
        seen[order] = True
        for atom in order[1:]:
            edge = np.searchsorted(keys, before[atom] * n_atoms + atom)
            moves[atom] = moves[before[atom]] + shift[edge]
    listed, counts = np.unique(moves, axis=0, return_counts=True)
    return moves - listed[counts.argmax()]


def _shortening(
    mean: npt.NDArray[np.float64], cell: npt.NDArray[np.float64]
) -> npt.NDArray[np.int64]:
    """Return for each mean distance the lattice vector that makes it clearly shorter, or 0."""
    grid = np.arange(-1, 2)
    steps = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    base = -np.round(mean @ np.linalg.inv(cell)).astype(np.int64)
    moves = base[:, None, :] + steps
    vectors = moves @ cell
    lengths = ((mean[:, None, :] + vectors) ** 2).sum(axis=-1)
    best = lengths.argmin(axis=1)
    chosen = np.arange(len(mean)), best
    gain = (mean**2).sum(axis=1) - lengths[chosen]
    enough = gain > SIGNIFICANT * (vectors[chosen] ** 2).sum(axis=1) + 1e-9
    return moves[chosen] * enough[:, None]
