"""Whose orbitals an overlap is of: S between two atoms against their direction.

The overlap of orbitals of two atoms is a two-centre integral: along the axis that joins them it
couples orbitals of equal m only, equally for m and −m. With another program's order or signs of
the orbitals this is violated by as much as the elements themselves. The eigenvalues would show
nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from moireio.symmetry.rotations import rotated_harmonics

NEAR = 1e-6  # Å: the same place
MOST_PAIRS = 150


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
