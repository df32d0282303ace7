"""Models of other packages: hoppings between orbitals at points, in one to three dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError, naming
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.elements import Partners, Spinor, source_from_matrices
from moireio.formats.assembly.sites import NO_CENTRES, sites
from moireio.results.electrons import Electrons
from moireio.system.structure import FARTHEST

#: Vacuum around what is not periodic, in the model's unit of length (Å); wider than the limit
#: above which a structure without a basis counts as not periodic.
GAP = 10.0
#: Further cells do not fit into the sorted lists of pairs.
FARTHEST_CELL = 1 << 20


class Hoppings:
    """Elements ⟨a,0|H|b,R⟩, gathered by R.

    Parameters
    ----------
    rows : int
        Rows of the matrices, spin included.
    label : str
        The object, for messages.
    """

    def __init__(self, rows: int, label: str) -> None:
        self._rows, self._label = rows, label
        self._parts: dict[tuple[int, ...], list[Any]] = {}

    def add(self, row: int, column: int, R: Iterable[int], block: npt.ArrayLike) -> None:
        """Add a block; elements that are there already are added to.

        Parameters
        ----------
        row, column : int
            Where it begins.
        R : sequence of int
            Cell of the second orbital, up to three integers.
        block : (m, n) array or number
            Its elements, eV.

        Raises
        ------
        MoireioError
            If it does not fit, or a number is not finite.
        """
        cell = tuple(int(n) for n in R)
        values = np.atleast_2d(np.asarray(block, dtype=np.complex128))
        if values.ndim != 2 or not np.isfinite(values).all():
            raise MoireioError(
                f"the hopping between the orbitals {row} and {column}, R = {list(cell)}, is not a "
                "finite number or matrix",
                path=self._label,
            )
        ends = (row + values.shape[0], column + values.shape[1])
        if len(cell) > 3 or min(row, column) < 0 or max(ends) > self._rows:
            raise MoireioError(
                f"a hopping between the orbitals {row} and {column}, R = {list(cell)}, does not "
                f"fit a model of {self._rows} orbitals",
                path=self._label,
            )
        places = np.indices(values.shape)
        self._parts.setdefault(cell, []).append((row + places[0], column + places[1], values))

    def matrices(self) -> tuple[npt.NDArray[np.int64], list[Any]]:
        """Return the cells and one sparse matrix for each.

        Returns
        -------
        cells : (n, 3) array of int64
            In the order in which they were first named.
        matrices : list of csr_array
            Real where no element is complex.
        """
        from scipy.sparse import coo_array

        cells = np.zeros((len(self._parts), 3), dtype=np.int64)
        is_real = not any(v.imag.any() for p in self._parts.values() for _, _, v in p)
        matrices = []
        for number, (cell, parts) in enumerate(self._parts.items()):
            cells[number, : len(cell)] = cell
            row, column, value = (
                np.concatenate([part[n].ravel() for part in parts]) for n in range(3)
            )
            value = value.real if is_real else value
            shape = (self._rows, self._rows)
            matrices.append(coo_array((value, (row, column)), shape=shape).tocsr())
        return cells, matrices


def three_vectors(
    vectors: npt.ArrayLike,
    points: npt.ArrayLike,
    pbc: Sequence[bool],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[bool]]:
    """Return the cell of a model that may have fewer than three dimensions.

    Parameters
    ----------
    vectors : (p, d) array
        Lattice vectors as rows, with d ≤ 3 Cartesian components.
    points : (n, d) array
        Cartesian positions.
    pbc : sequence of p bool
        Whether the model is periodic along each vector.

    Returns
    -------
    cell : (3, 3) array
        Further vectors are normal to the given ones. What is not periodic is so long that the
        points and a vacuum of `GAP` have room.
    points : (n, 3) array
        With zeros for the components that there are not.
    pbc : list of three bool
        False along further vectors.
    """
    given = np.zeros((len(np.atleast_2d(vectors)) if np.size(vectors) else 0, 3))
    if given.size:
        rows = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
        given[:, : rows.shape[1]] = rows
    at = np.asarray(points, dtype=np.float64)
    whole = np.zeros((len(at), 3))
    if at.size:
        whole[:, : at.shape[1]] = at
    cell = list(given)
    while len(cell) < 3:
        normal = np.eye(3)
        if cell:
            across = np.linalg.qr(np.array(cell).T)[0]
            normal = normal - normal @ across @ across.T
        lengths = np.linalg.norm(normal, axis=1)
        best = int(np.argmax(lengths > lengths.max() - 1e-9))
        cell.append(normal[best] / lengths[best])
    full, periodic = np.array(cell), [*map(bool, pbc), *[False] * (3 - len(given))]
    if abs(np.linalg.det(full)) < 1e-8:
        raise MoireioError("the lattice vectors are not independent")
    for axis in range(3):
        if not periodic[axis]:
            height = 1 / float(np.linalg.norm(np.linalg.inv(full)[:, axis]))
            span = float(np.ptp(whole @ np.linalg.inv(full)[:, axis])) * height if at.size else 0.0
            full[axis] *= max(1.0, (span + GAP) / height)
    return full, whole, periodic


def calculation_of_model(
    label: str,
    vectors: npt.ArrayLike,
    pbc: Sequence[bool] | None,
    centres: npt.ArrayLike | None,
    cells: npt.ArrayLike,
    matrices: Sequence[Any],
    *,
    partners: Partners = "given",
    spinor: Spinor | None = None,
    electrons: Electrons | None = None,
    notes: Iterable[str] = (),
    files: Sequence[str] = (),
    limit: float = 1e-6,
) -> Calculation:
    """Return a model as a calculation: a site for each distinct centre, S = 1.

    Parameters
    ----------
    label : str
        The object or file, for messages.
    vectors : (p, d) array
        Lattice vectors as rows, Å.
    pbc : sequence of p bool or None
        Whether it is periodic along each; None: where hoppings cross it.
    centres : (n, d) array or None
        Cartesian position of each orbital, Å; None where they are not known.
    cells : (m, 3) array of int
        The R of the matrices.
    matrices : sequence of m matrices
        ⟨a,0|H|b,R⟩, eV.
    partners : {"given", "missing", "half"}
        As in `source_from_matrices`.
    spinor : {"blocks", "interleaved"}, optional
        How rows are arranged where orbitals have spin.
    electrons : Electrons, optional
        What is known of them.
    notes : iterable of str
        For the user.
    files : sequence of str
        Files that were read.
    limit : float
        Deviation from Hermitian that counts as damage, eV.

    Returns
    -------
    Calculation
        With structure, basis and Hamiltonian.

    Raises
    ------
    MoireioError
        If the numbers do not fit each other.
    """
    cells = np.asarray(cells, dtype=np.int64).reshape(-1, 3)
    rows = matrices[0].shape[0] // (2 if spinor else 1) if len(cells) else 0
    at = np.zeros((rows, 3)) if centres is None else np.asarray(centres, dtype=np.float64)
    count = len(np.atleast_2d(vectors)) if np.size(vectors) else 0
    notes = list(notes)
    if centres is None:
        notes.append(NO_CENTRES)
    with naming(label):
        if len(cells) == 0:
            raise MoireioError("has no hoppings and no energies")
        if not (np.abs(at) <= FARTHEST).all():
            raise MoireioError(f"has a position beyond {FARTHEST:g} Å, or one that is not finite")
        if np.abs(cells).max() > FARTHEST_CELL:
            raise MoireioError(f"has a hopping to a cell beyond {FARTHEST_CELL}")
        cell, points, periodic = three_vectors(vectors, at, [True] * count if pbc is None else pbc)
        structure, basis, orbitals = sites(
            cell, None if centres is None else points, rows, spinor=spinor
        )
        hamiltonian = source_from_matrices(
            "hamiltonian",
            cells,
            matrices,
            orbitals,
            label=label,
            spin="spinor" if spinor else "none",
            source="tight-binding",
            partners=partners,
            limit=limit,
        )
    return assemble(
        label,
        structure,
        basis,
        {"hamiltonian": hamiltonian},
        electrons=electrons,
        notes=notes,
        files=files,
        pbc=None if pbc is None and count == 3 else periodic,
    )
