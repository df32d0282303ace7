"""Whose orbitals an overlap is of: S between two atoms against their direction.

The overlap of orbitals of two atoms is a two-centre integral: along the axis that joins them it
couples orbitals of equal m only, equally for m and −m. With another program's order or signs of
the orbitals this is violated by as much as the elements themselves. The eigenvalues would show
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moireio.operators.blocks import OperatorSource, block_offsets
from moireio.symmetry.rotations import rotated_harmonics
from moireio.system.basis import Basis
from moireio.system.structure import Structure

NEAR = 1e-6  # Å: the same place
MOST_PAIRS = 150
MOST_LOOKED_AT = 4000
#: Overlaps of an orbital with itself are nearer to 1; integrated on grids they are not exactly 1.
NORMALISED = 0.1
#: Violations by overlaps of the right atoms stay below, with the few digits that files have; atoms
#: that are off by 0.01 Å give more.
FITTING = 3e-3


@dataclass(frozen=True, eq=False)
class Bonds:
    """The strongest overlaps between different places.

    Parameters
    ----------
    blocks : list of (rows, columns) arrays
        Real parts.
    apart, steps : (n, 3) arrays
        From the first atom to the second inside the cell, and R, Å.
    momenta : list of two tuples of int
        Angular momenta of the shells of both atoms.
    """

    blocks: list[npt.NDArray[np.float64]]
    apart: npt.NDArray[np.float64]
    steps: npt.NDArray[np.float64]
    momenta: list[tuple[tuple[int, ...], tuple[int, ...]]]

    def violation(self, sign: int = 1) -> float:
        """Return `violation` of these, with R as they are or reversed."""
        return violation(self.blocks, self.apart + sign * self.steps, self.momenta)


def strongest(
    structure: Structure, basis: Basis, overlap: OperatorSource
) -> tuple[Bonds | None, Bonds | None]:
    """Find the strongest overlaps, among those of the first atoms where there are many.

    Parameters
    ----------
    structure : Structure
        The atoms.
    basis : Basis
        Their orbitals.
    overlap : OperatorSource
        S, both partners stored.

    Returns
    -------
    bonds : Bonds or None
        All pairs; None where there are none.
    between : Bonds or None
        Those of different atoms in different cells.
    """
    pairs, sizes = overlap.pairs, np.asarray(overlap.sizes)
    end = int(np.searchsorted(pairs.indptr, MOST_LOOKED_AT, "right"))
    end = max(1, min(end, pairs.n_atoms))
    span = pairs.rows(0, end)
    i, j, R = pairs.i[span], pairs.j[span], pairs.R[span].astype(np.int64)
    other, far = i != j, R.any(axis=1)
    if not (other | far).any():
        return None, None
    data = overlap.rows(0, end)
    starts = block_offsets(sizes[i] * sizes[j])
    names = structure.species_of_atoms

    def of(wanted: npt.NDArray[np.bool_]) -> Bonds | None:
        listed = np.flatnonzero(wanted)
        if len(listed) == 0:
            return None
        norms = np.array([np.abs(data[starts[p] : starts[p + 1]]).max(initial=0) for p in listed])
        chosen = listed[np.argsort(-norms, kind="stable")][:MOST_PAIRS]
        return Bonds(
            [data[starts[p] : starts[p + 1]].reshape(sizes[i[p]], -1).real for p in chosen],
            structure.positions[j[chosen]] - structure.positions[i[chosen]],
            R[chosen] @ structure.cell,
            [(basis[names[i[p]]].l, basis[names[j[p]]].l) for p in chosen],
        )

    return of(other | far), of(other & far)


def misfit(
    structure: Structure, basis: Basis, overlap: OperatorSource, described: str
) -> str | None:
    """Return a note where the overlap is not that of the atoms and their orbitals.

    Parameters
    ----------
    structure : Structure
        The atoms.
    basis : Basis
        Their orbitals.
    overlap : OperatorSource
        S, both partners stored.
    described : str
        The files that structure and basis are from.

    Returns
    -------
    str or None
        None also where S does not show it: all orbitals are s, or all R are 0, since then programs
        may have summed images.
    """
    if not overlap.pairs.R.any():
        return None
    remark = not_normalised(structure, overlap)
    if remark is not None or any(basis[name].m is not None for name in structure.species_names):
        return remark
    bonds, _ = strongest(structure, basis, overlap)
    return None if bonds is None else misfit_of(bonds, described)


def not_normalised(structure: Structure, overlap: OperatorSource) -> str | None:
    """Return a note where an orbital's overlap with itself is far from 1.

    Parameters
    ----------
    structure : Structure
        The atoms.
    overlap : OperatorSource
        S, both partners stored, of programs whose orbitals are normalised.

    Returns
    -------
    str or None
        Only the first atoms are looked at where there are many.
    """
    pairs, sizes = overlap.pairs, np.asarray(overlap.sizes)
    end = max(1, min(int(np.searchsorted(pairs.indptr, MOST_LOOKED_AT, "right")), pairs.n_atoms))
    span = pairs.rows(0, end)
    i, j = pairs.i[span], pairs.j[span]
    data = overlap.rows(0, end)
    starts = block_offsets(sizes[i] * sizes[j])
    for pair in np.flatnonzero((i == j) & ~pairs.R[span].any(axis=1)):
        own = data[starts[pair] : starts[pair + 1] : sizes[i[pair]] + 1]
        far = np.flatnonzero(np.abs(own - 1) > NORMALISED)
        if len(far):
            atom = int(i[pair])
            return (
                f"the overlap of orbital {far[0] + 1} of atom {atom + 1} "
                f"({structure.species_of_atoms[atom]}) with itself is {own[far[0]].real:.4g}, "
                "not 1: is the file intact?"
            )
    return None


def misfit_of(bonds: Bonds, described: str) -> str | None:
    """Return a note where overlaps are not those of the atoms and their orbitals.

    Parameters
    ----------
    bonds : Bonds
        The strongest overlaps.
    described : str
        The files that structure and basis are from.

    Returns
    -------
    str or None
        As `misfit`.
    """
    broken = bonds.violation()
    if broken < FITTING:
        return None
    return (
        f"the overlap is not that of these atoms and orbitals: {100 * broken:.2g} % of it break "
        f"the rule of two-centre integrals (is {described} of another calculation or step?)"
    )


def violation(
    blocks: Sequence[npt.NDArray[np.float64]],
    vectors: npt.NDArray[np.float64],
    momenta: Sequence[tuple[tuple[int, ...], tuple[int, ...]]],
) -> float:
    """Return how far overlaps are from two-centre integrals.

    Parameters
    ----------
    blocks : sequence of (rows, columns) arrays
        Overlaps of pairs of atoms, in moireio's order of orbitals.
    vectors : (n, 3) array
        From the first to the second atom.
    momenta : sequence of two tuples of int
        Angular momenta of the shells of both atoms.

    Returns
    -------
    float
        Norm of what breaks the rule, over that of all elements of shells that are not s with s;
        0 without any.
    """
    broken = total = 0.0
    lengths = np.linalg.norm(vectors, axis=1)
    chosen = np.flatnonzero(lengths > NEAR)
    chosen = chosen[np.argsort(lengths[chosen], kind="stable")][:MOST_PAIRS]
    frames = np.array([_frame(v) for v in vectors[chosen] / lengths[chosen, None]])
    shells = {v for pair in chosen for part in momenta[pair] for v in part}
    turned = {v: rotated_harmonics(v, frames) for v in shells} if len(chosen) else {}
    for place, pair in enumerate(chosen.tolist()):
        first, second = momenta[pair]
        row = 0
        for a in first:
            column = 0
            for b in second:
                part = blocks[pair][row : row + 2 * a + 1, column : column + 2 * b + 1]
                column += 2 * b + 1
                if a == b == 0:
                    continue
                local = turned[a][place].T @ part @ turned[b][place]
                total += float((local**2).sum())
                least = min(a, b)
                m = np.arange(-least, least + 1)
                diagonal = local[m + a, m + b]
                even = (diagonal + diagonal[::-1]) / 2
                broken += float((local**2).sum() - (even**2).sum())
            row += 2 * a + 1
    return float(np.sqrt(max(broken, 0.0) / total)) if total > 0 else 0.0


def _frame(axis):
    """Return a rotation whose third column is a unit vector."""
    other = np.eye(3)[int(np.argmin(np.abs(axis)))]
    x = np.cross(other, axis)
    x /= np.linalg.norm(x)
    return np.column_stack([x, np.cross(axis, x), axis])
