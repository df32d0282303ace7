"""Hamiltonians of orthogonal orbitals, for the formats that know no overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.downfold.lowdin import orthogonalise, parse_mesh
from moireio.errors import MoireioError
from moireio.formats.assembly.elements import OrbitalMap, matrices_from_source
from moireio.operators.blocks import components, row_bytes, slab_bounds

UNIT = 1e-8  # deviation of S from 1 that does not count


@dataclass(frozen=True, eq=False)
class PlainHamiltonian:
    """H(R) of orthogonal orbitals, in a foreign order.

    Parameters
    ----------
    cells : (n_cells, 3) array of int64
        The lattice vectors R, with −R for every R.
    components : list of sequences of matrices
        One matrix for each R, SciPy sparse or dense, of every spin (collinear: up, down).
    """

    cells: npt.NDArray[np.int64]
    components: list[Sequence[Any]]

    def dense(self, component: int, place: int) -> npt.NDArray[Any]:
        """Return the matrix of one R as an array.

        Parameters
        ----------
        component : int
            The spin.
        place : int
            Place of R in `cells`.

        Returns
        -------
        (n, n) array
            ⟨a,0|H|b,R⟩, eV.
        """
        matrix = self.components[component][place]
        return np.asarray(matrix.toarray() if hasattr(matrix, "toarray") else matrix)


def plain_hamiltonian(
    calculation: Calculation, orbitals: OrbitalMap, mesh: str | None, program: str
) -> PlainHamiltonian:
    """Return H of orthogonal orbitals; Löwdin's where S is not 1.

    Parameters
    ----------
    calculation : Calculation
        With H. A note about the error of bands is added where orbitals are orthogonalised.
    orbitals : OrbitalMap
        Where the foreign rows stand.
    mesh : str or None
        Mesh for the orthogonalisation, as ``12x12x1``.
    program : str
        For messages.

    Returns
    -------
    PlainHamiltonian
        In the foreign order.

    Raises
    ------
    MoireioError
        If S is not 1, or not known to be, and no mesh is given.
    """
    if is_orthogonal(calculation):
        cells, listed = matrices_from_source(calculation.operator("hamiltonian"), orbitals)
        return PlainHamiltonian(cells, list(listed))
    if calculation.overlap is None:
        raise MoireioError(
            f"has no overlap, and its orbitals are not orthogonal: files of {program} have no S",
            path=calculation.label,
            remedy="compute S first",
        )
    if mesh is None:
        raise MoireioError(
            f"its overlap is not 1, and files of {program} have no S",
            path=calculation.label,
            remedy="`orthogonalise` takes a mesh of k points, as 12x12x1, for Löwdin's orbitals",
        )
    try:
        shape = parse_mesh(mesh)
    except ValueError as error:
        raise MoireioError(
            f"{mesh!r} is no mesh of k points", remedy="expected one like 12x12x1"
        ) from error
    found = orthogonalise(calculation, shape)
    calculation.notes.append(
        f"orbitals orthogonalised on a mesh of {' x '.join(str(c) for c in shape)} points: bands "
        f"are exact there, and differ by at most {found.error:.1e} eV between them "
        f"({found.lower_error:.1e} eV in the lower half of the bands)"
    )
    rows = orbitals.rows
    signs = orbitals.signs[:, None] * orbitals.signs
    turned = [matrices[:, rows][:, :, rows] * signs for matrices in found.components]
    return PlainHamiltonian(found.cells, list(turned))


def is_orthogonal(calculation: Calculation) -> bool:
    """Return whether S = 1, by the overlap or, without one, by the basis.

    Parameters
    ----------
    calculation : Calculation
        Any.

    Returns
    -------
    bool
        False also where S is not known.
    """
    overlap = calculation.overlap
    if overlap is None:
        return calculation.basis.orthogonal
    pairs, sizes = overlap.pairs, overlap.sizes
    own = np.zeros(len(pairs), dtype=bool)
    own[pairs.onsite()] = True
    for i0, i1 in slab_bounds(row_bytes(overlap)):
        span = pairs.rows(i0, i1)
        lengths = sizes[pairs.i[span]] * sizes[pairs.j[span]]
        (flat,) = components(overlap.rows(i0, i1))
        expected = [
            np.eye(sizes[i]).ravel() if mine else np.zeros(length)
            for i, mine, length in zip(pairs.i[span], own[span], lengths, strict=True)
        ]
        if np.abs(flat - np.concatenate([*expected, []])).max(initial=0.0) > UNIT:
            return False
    return True
