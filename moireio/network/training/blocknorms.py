"""Norms of blocks by shells as functions of distance, over all structures of a set.

The norm of the block between two shells does not change when a structure is turned. For S it is a
function of the distance alone, for H nearly so; deviations from the fit to all structures show
which structure is not like the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.operators.blocks import OperatorSource, by_shape, read_pairs, take_blocks
from moireio.system.basis import Basis
from moireio.system.structure import Structure

GAUSSIANS = 32
RIDGE = 1e-9
FloatArray = npt.NDArray[np.float64]
Kind = tuple[int, int, bool]  # atomic numbers of both atoms, and whether they are the same one


@dataclass(eq=False)
class NormTable:
    """Norms of the blocks of one operator of one structure.

    Parameters
    ----------
    structure : Structure
        The atoms.
    i, j : (n,) arrays of int
        Atoms of the pairs.
    R : (n, 3) array of int
        Their cells.
    rows : dict of (int, int, bool) to (array of int, array)
        By kind of pair: numbers of the pairs, and the norms of their blocks by shells.
    """

    structure: Structure
    i: npt.NDArray[np.integer]
    j: npt.NDArray[np.integer]
    R: npt.NDArray[np.integer]
    rows: dict[Kind, tuple[npt.NDArray[np.integer], FloatArray]]
    positions: FloatArray | None = None

    def distances(self, numbers: npt.NDArray[np.integer]) -> FloatArray:
        """Return the distances of some pairs, Å."""
        s = self.structure
        positions = s.positions if self.positions is None else self.positions
        vectors = positions[self.j[numbers]] + self.R[numbers] @ s.cell - positions[self.i[numbers]]
        return np.asarray(np.linalg.norm(vectors, axis=1))

    def moved(self, positions: FloatArray) -> "NormTable":
        """Return the same blocks between atoms at other positions."""
        return NormTable(self.structure, self.i, self.j, self.R, self.rows, positions)

    def residual_of_atoms(self, norms: "BlockNorms") -> FloatArray:
        """Return the mean deviation of every atom's blocks from a fit."""
        sums, counts = (np.zeros(len(self.structure)) for _ in range(2))
        for kind, (numbers, _) in self.rows.items():
            error = norms.deviations(self, kind).mean(axis=1)
            for atoms in (self.i[numbers], self.j[numbers]):
                np.add.at(sums, atoms, error)
                np.add.at(counts, atoms, 1)
        return sums / np.maximum(counts, 1)


@dataclass(eq=False)
class Norms:
    """Norms of the blocks of a structure.

    Parameters
    ----------
    overlap, hamiltonian : NormTable
        Norms of S, and of H − μS in eV.
    """

    overlap: NormTable
    hamiltonian: NormTable


def norms_of(
    structure: Structure,
    basis: Basis,
    hamiltonian: OperatorSource,
    overlap: OperatorSource | None,
    level: float | None,
) -> Norms:
    """Return the norms of the blocks of a structure.

    Parameters
    ----------
    structure : Structure
        The atoms.
    basis : Basis
        Their shells.
    hamiltonian, overlap : OperatorSource
        H and S; without S, H alone is looked at.
    level : float or None
        μ of the term μS that is subtracted, eV.

    Returns
    -------
    Norms
        One of each pair of partners counts.
    """
    H = hamiltonian
    if overlap is None:
        empty = NormTable(structure, *(np.zeros(0, int),) * 2, np.zeros((0, 3), int), {})
        return Norms(empty, _table(structure, basis, H, None, 0.0))
    energy = _table(structure, basis, H, overlap, level or 0.0)
    return Norms(_table(structure, basis, overlap, None, 0.0), energy)


def _table(
    structure: Structure,
    basis: Basis,
    source: OperatorSource,
    overlap: OperatorSource | None,
    mu: float,
) -> NormTable:
    """Return the norms of the blocks of an operator, less μS."""
    chosen = np.flatnonzero(source.pairs.upper())
    pairs = source.pairs
    i, j, R = pairs.i[chosen], pairs.j[chosen], pairs.R[chosen]
    data, offsets = read_pairs(source, chosen)
    data = data[0] if data.ndim > 1 else data
    spins = 2 if source.meta.spin == "spinor" else 1
    places = np.zeros(0, dtype=np.int64)
    s_data = s_offsets = None
    if overlap is not None and mu:
        places = overlap.pairs.find(i, j, R)
        there = np.maximum(places, 0)
        s_data, s_offsets = read_pairs(overlap, there)
    shells = {
        name: np.repeat(np.arange(len(one.l)), [2 * n + 1 for n in one.l])
        for name, one in basis.species.items()
        if one.m is None
    }
    names = structure.species_of_atoms
    onsite = (i == j) & ~R.any(axis=1)
    codes = structure.numbers[i].astype(np.int64) * 1000 + structure.numbers[j]
    kinds = codes * 2 + onsite
    rows: dict[Kind, tuple[npt.NDArray[np.integer], FloatArray]] = {}
    for value in np.unique(kinds):
        group = np.flatnonzero(kinds == value)
        first = group[0]
        one, two = shells.get(names[i[first]]), shells.get(names[j[first]])
        if one is None or two is None:
            continue
        shape = spins * len(one), spins * len(two)
        sizes = source.sizes[i[group]], source.sizes[j[group]]
        if len(list(by_shape(*sizes))) > 1 or (sizes[0][0], sizes[1][0]) != shape:
            continue
        blocks = take_blocks(data, offsets[group], shape)
        blocks = blocks.reshape(len(group), spins, len(one), spins, len(two))
        if s_data is not None and s_offsets is not None:
            s = take_blocks(s_data, s_offsets[group], (len(one), len(two)))
            s = np.where((places[group] >= 0)[:, None, None], s, 0.0)
            blocks = blocks - mu * np.einsum("st,nab->nsatb", np.eye(spins), s)
        square = (np.abs(blocks) ** 2).sum(axis=(1, 3)) / spins
        starts = [np.flatnonzero(np.diff(v, prepend=-1)) for v in (one, two)]
        square = np.add.reduceat(np.add.reduceat(square, starts[0], axis=1), starts[1], axis=2)
        code, site = divmod(int(value), 2)
        rows[(*divmod(code, 1000), bool(site))] = group, np.sqrt(square.reshape(len(group), -1))
    return NormTable(structure, i, j, R, rows)


class BlockNorms:
    """Fits of norms by distance to all structures of a set.

    Parameters
    ----------
    tables : sequence of NormTable
        One for each structure.
    """

    def __init__(self, tables: Sequence[NormTable]) -> None:
        self._tables = list(tables)
        self._fits: dict[tuple[Kind, int], tuple[FloatArray, FloatArray]] = {}
        self.fit(range(len(self._tables)))

    def fit(self, members: Any) -> None:
        """Fit to some of the structures, given by their numbers."""
        self._fits = {}
        keys = {(k, v.shape[1]) for n in members for k, (_, v) in self._tables[n].rows.items()}
        for kind, width in keys:
            chosen = [
                (table, table.rows[kind])
                for table in (self._tables[n] for n in members)
                if kind in table.rows and table.rows[kind][1].shape[1] == width
            ]
            values = np.concatenate([rows[1] for _, rows in chosen])
            if kind[2]:
                self._fits[kind, width] = np.zeros(0), np.median(values, axis=0)
                continue
            d = np.concatenate([table.distances(rows[0]) for table, rows in chosen])
            centres = np.linspace(d.min(), d.max() + 1e-3, GAUSSIANS)
            G = _gaussians(d, centres)
            normal = G.T @ G + RIDGE * len(d) * np.eye(GAUSSIANS)
            self._fits[kind, width] = centres, np.linalg.solve(normal, G.T @ values)

    def deviations(self, table: NormTable, kind: Kind) -> FloatArray:
        """Return |norm − fit| of the pairs of a kind, by shells; shape (n, shells²)."""
        numbers, values = table.rows[kind]
        fit = self._fits.get((kind, values.shape[1]))
        if fit is None:
            return np.zeros_like(values)
        centres, weights = fit
        if kind[2]:
            return np.abs(values - weights)
        d = np.clip(table.distances(numbers), centres[0], centres[-1])
        return np.abs(values - _gaussians(d, centres) @ weights)

    def mean(self, table: NormTable) -> float:
        """Return the mean deviation of a structure's blocks."""
        parts = [self.deviations(table, kind).ravel() for kind in table.rows]
        return float(np.concatenate(parts).mean()) if parts else 0.0

    def residual(self, number: int) -> float:
        """Return the mean deviation of a structure of the set."""
        return self.mean(self._tables[number])


def _gaussians(d: FloatArray, centres: FloatArray) -> FloatArray:
    width = centres[1] - centres[0]
    return np.asarray(np.exp(-0.5 * ((d[:, None] - centres) / width) ** 2))
