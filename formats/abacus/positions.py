"""ABACUS's position matrices as ⟨i,0|r − τ_i|j,R⟩, and back.

The files (``out_mat_r 1``; ``data-rR-sparse.csr``, now ``rr.csr``) hold X = ⟨a,0|r|b,R⟩ in Bohr, r
from the origin of the cell and atoms inside it. So X depends on the origin: moving all atoms by t
adds t S. Around the middle of its two atoms, Y_ij(R) = X_ij(R) − ½ (τ_i + τ_j + R) S_ij(R) is
symmetric, Y_ji(−R) = Y_ij(R)ᵀ, and ⟨i,0|r − τ_i|j,R⟩ = Y_ij(R) + ½ (τ_j + R − τ_i) S_ij(R). With
nspin 4 X has the rows of both spins; it is the same for each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.formats.abacus.csr import read_positions
from moireio.formats.abacus.stru import BOHR
from moireio.formats.assembly.elements import (
    OrbitalMap,
    matrices_from_source,
    source_from_matrices,
    with_zeros,
)
from moireio.operators.blocks import block_offsets
from moireio.operators.catalogue import operator_type
from moireio.operators.views import ArraySource
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure

LIMIT = 1e-3  # Å; a larger deviation from the rules is damage, or of other atoms


def position(
    path: str,
    structure: Structure,
    orbitals: OrbitalMap,
    overlap: ArraySource,
    *,
    spinor: bool,
) -> ArraySource:
    """Read the position matrices of a calculation.

    Parameters
    ----------
    path : str
        The file.
    structure : Structure
        The atoms where ABACUS has them.
    orbitals : OrbitalMap
        Where the rows without spin stand.
    overlap : ArraySource
        S, between the atoms of `structure`.
    spinor : bool
        Whether the file has the rows of both spins.

    Returns
    -------
    ArraySource
        ⟨i,0|r − τ_i|j,R⟩, Å, exactly of its partner rule; its pairs contain those of S.

    Raises
    ------
    MoireioError
        If it is no such file.
    DamagedError
        If it is damaged, or of other atoms.
    """
    found, rows = read_positions(path), len(orbitals)
    expected = rows * (2 if spinor else 1)
    if found.axes[0].orbitals != expected:
        raise DamagedError(
            f"has {found.axes[0].orbitals} rows, H has {expected}",
            path=path,
            remedy="it is of another calculation: move it away",
        )
    cells, (overlaps,) = matrices_from_source(overlap, orbitals)
    places = structure.positions[_atoms(orbitals)]
    axes = []
    for axis, matrices in enumerate(found.axes):
        step = 2 if spinor else 1
        absolute = [BOHR * matrix[::step, ::step] for matrix in matrices.matrices]
        shifts = _from_middle(cells, overlaps, structure.cell[:, axis], places[:, axis])
        every, centred = _sum(matrices.cells, absolute, cells.tolist(), shifts, rows)
        axes.append(
            source_from_matrices("overlap", every, centred, orbitals, label=path, limit=LIMIT)
        )
    pairs = _union([overlap, *axes])
    s = with_zeros(overlap, pairs)
    data = np.stack([with_zeros(one, pairs).data for one in axes])
    i, j = pairs.i, pairs.j
    apart = structure.positions[j] + pairs.R @ structure.cell - structure.positions[i]
    lengths = pairs.block_elements(overlap.sizes)
    for axis in range(3):
        data[axis] += np.repeat(0.5 * apart[:, axis], lengths) * s.data
    residual = max(one.meta.residual for one in axes)
    meta = operator_type("position").meta(residual=residual)
    result = ArraySource(meta, overlap.sizes, pairs, data)
    _require_origin(result, structure, path)
    return result


def absolute(
    source: ArraySource, overlap: ArraySource, structure: Structure, orbitals: OrbitalMap
) -> tuple[npt.NDArray[np.int64], list[list[Any]]]:
    """Return position matrices as ABACUS has them.

    Parameters
    ----------
    source : ArraySource
        ⟨i,0|r − τ_i|j,R⟩, Å.
    overlap : ArraySource
        S.
    structure : Structure
        The atoms where ABACUS has them, to which R of both refers.
    orbitals : OrbitalMap
        Where ABACUS's rows without spin stand.

    Returns
    -------
    cells : (n, 3) array of int64
        The lattice vectors R.
    matrices : list of three lists of csr_array
        ⟨a,0|r|b,R⟩ along x, y and z, Bohr.
    """
    from scipy.sparse import diags_array

    cells, axes = matrices_from_source(source, orbitals)
    of_overlap, (overlaps,) = matrices_from_source(overlap, orbitals)
    places = structure.positions[_atoms(orbitals)]
    out, every = [], cells
    for axis, matrices in enumerate(axes):
        left = diags_array(places[:, axis])
        moved = [left @ matrix for matrix in overlaps]
        listed, summed = _sum(cells.tolist(), matrices, of_overlap.tolist(), moved, len(orbitals))
        every = np.asarray(listed, dtype=np.int64)
        out.append([matrix / BOHR for matrix in summed])
    return every, out


def _atoms(orbitals: OrbitalMap) -> npt.NDArray[np.int64]:
    """Return the atom of every row of a file."""
    return np.repeat(np.arange(len(orbitals.sizes)), orbitals.sizes)[orbitals.rows]


def _from_middle(
    cells: npt.NDArray[np.int64],
    overlaps: Sequence[Any],
    lattice: npt.NDArray[np.float64],
    places: npt.NDArray[np.float64],
) -> Iterator[Any]:
    """Yield −½ (τ_i + τ_j + R) S_ij(R) along one axis, for every R."""
    from scipy.sparse import diags_array

    here = diags_array(places)
    for cell, matrix in zip(cells, overlaps, strict=True):
        yield -0.5 * (here @ matrix + matrix @ here + float(cell @ lattice) * matrix)


def _sum(
    cells: Sequence[Any],
    matrices: Sequence[Any],
    others: Sequence[Any],
    added: Any,
    rows: int,
) -> tuple[list[tuple[int, ...]], list[Any]]:
    """Return the sum of two operators, each with its own R."""
    from scipy.sparse import csr_array

    found: dict[tuple[int, ...], Any] = {}
    for listed, every in ((cells, matrices), (others, added)):
        mine = set()
        for cell, matrix in zip(map(tuple, listed), every, strict=True):
            if cell in mine:
                raise DamagedError(f"lists R = {' '.join(map(str, cell))} twice")
            mine.add(cell)
            found[cell] = found.get(cell, csr_array((rows, rows))) + matrix
    for cell in list(found):
        found.setdefault(tuple(-number for number in cell), csr_array((rows, rows)))
    return list(found), list(found.values())


def _union(sources: Sequence[ArraySource]) -> Pairs:
    """Return all pairs of several operators."""
    rows = [np.column_stack([one.pairs.i, one.pairs.j, one.pairs.R]) for one in sources]
    every = np.unique(np.concatenate(rows), axis=0)
    return Pairs.sort(sources[0].pairs.n_atoms, every[:, 0], every[:, 1], every[:, 2:])[0]


def _require_origin(source: ArraySource, structure: Structure, path: str) -> None:
    """Raise if orbitals are centred elsewhere than at their atoms.

    ⟨φ|r − τ|φ⟩ is zero for every orbital of an atom, by parity.
    """
    pairs, sizes = source.pairs, source.sizes
    starts = block_offsets(pairs.block_elements(sizes))
    for atom, (place, n) in enumerate(zip(pairs.onsite(), sizes.tolist(), strict=True)):
        begin = int(starts[place])
        centres = source.data[:, begin : begin + n * n : n + 1].T
        away = np.linalg.norm(centres, axis=1).max(initial=0.0)
        if away > LIMIT:
            name = structure.species_of_atoms[atom]
            raise DamagedError(
                f"has orbitals of atom {atom + 1} ({name}) {away:.3g} Å away from it",
                path=path,
                remedy="it is of other atoms than STRU: move it away to go on without positions",
            )
