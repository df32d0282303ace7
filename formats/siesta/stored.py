"""What SIESTA's files of matrices hold, and the calculation that it makes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError
from moireio.formats.assembly.elements import OrbitalMap, source_from_matrices
from moireio.formats.assembly.orders import SIESTA, OrbitalOrder
from moireio.formats.siesta.records import Records
from moireio.operators.views import ArraySource
from moireio.system.basis import SHELL_LETTERS, Basis
from moireio.system.structure import Structure

#: CODATA 2018, to the last bit as sisl has them, so that files come back as they were.
RYDBERG_EV = 13.605693122993705
BOHR = 0.529177210903
COMPONENTS = (1, 2, 4, 8)  # without spin, collinear, non-collinear, spin-orbit
LARGEST = 1e7  # Ry
# Deviation from Hermitian beyond which a file counts as damaged, eV and 1.
LIMITS = {"hamiltonian": 1e-3, "overlap": 1e-5}


@dataclass(frozen=True)
class Species:
    """A species of SIESTA.

    Parameters
    ----------
    label : str
        Its name.
    shells : tuple of int
        Angular momentum of each radial function, in the order of the orbitals.
    number : int, optional
        Atomic number.
    valence : float, optional
        Electrons of the pseudo-atom.
    cutoff : float, optional
        Largest radius of its orbitals, Å.
    radial : tuple of two arrays, optional
        As a `SpeciesBasis` has it.
    """

    label: str
    shells: tuple[int, ...]
    number: int | None = None
    valence: float | None = None
    cutoff: float | None = None
    radial: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None = None


@dataclass(eq=False)
class Stored:
    """Contents of a file of matrices.

    Parameters
    ----------
    path : str
        The file.
    cell : (3, 3) array
        Rows, Å.
    positions : (N, 3) array
        Å.
    sizes : (N,) array of int
        Orbitals of each atom.
    cells : (n_s, 3) array of int
        Cells of the supercell, in the order in which columns count them.
    counts : (n,) array of int
        Elements of each row.
    columns : (nnz,) array of int
        Orbital in the supercell, from 0.
    overlap : (nnz,) array
        S; None where there is none.
    hamiltonian : (1, 2, 4 or 8, nnz) array
        Ry; None where there is none.
    fermi : float, optional
        eV.
    electrons : float, optional
        Valence electrons.
    species : list of Species
        None where the file does not say.
    kinds : (N,) array of int
        Index of each atom's species.
    notes : list of str
        What is lost or unknown.
    """

    path: str
    cell: npt.NDArray[np.float64]
    positions: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    columns: npt.NDArray[np.int64]
    overlap: npt.NDArray[np.floating] | None
    hamiltonian: npt.NDArray[np.floating] | None
    fermi: float | None = None
    electrons: float | None = None
    species: list[Species] | None = None
    kinds: npt.NDArray[np.int64] | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Check what the formats have in common."""
        orbitals = int(self.sizes.sum())
        fits = len(self.counts) == orbitals and len(self.columns) == self.counts.sum()
        if not fits or len(self.sizes) != len(self.positions) or (self.sizes < 1).any():
            raise DamagedError(
                "its numbers of atoms and orbitals contradict each other", path=self.path
            )
        if self.columns.size and not (
            self.columns.min() >= 0 and self.columns.max() < orbitals * len(self.cells)
        ):
            raise DamagedError(
                f"names an orbital outside 1..{orbitals * len(self.cells)}, those of its supercell",
                path=self.path,
            )
        for name in ("hamiltonian", "overlap"):
            self._require_finite(name, getattr(self, name))

    def _require_finite(self, name: str, values: npt.NDArray[np.floating] | None) -> None:
        """Refuse numbers that no calculation has, with the place of the first."""
        if values is None:
            return
        for component in np.atleast_2d(values):
            wrong = np.flatnonzero(~(np.abs(component) < LARGEST))
            if len(wrong):
                row = int(np.searchsorted(np.cumsum(self.counts), wrong[0], side="right")) + 1
                raise DamagedError(
                    f"the {name} has a number in row {row} that is not finite or beyond "
                    f"{LARGEST:g}",
                    path=self.path,
                )

    def sources(self, structure: Structure, basis: Basis) -> dict[str, ArraySource]:
        """Return the operators.

        Parameters
        ----------
        structure : Structure
            The atoms.
        basis : Basis
            Their orbitals.

        Returns
        -------
        dict of str to ArraySource
            Hamiltonian and overlap, as far as they are there.

        Notes
        -----
        Element (a, b in cell R) of the file is ⟨b,0|O|a,−R⟩: Fortran's rows are columns here. The
        spin components are H↑↑, H↓↓, Re H↑↓, −Im H↑↓ and, with spin-orbit coupling, Im H↑↑, Im H↓↓,
        Re H↓↑, Im H↓↑; without it H↓↑ of a pair is the conjugate of its H↑↓.
        """
        orbitals = len(self.counts)
        cell, row = np.divmod(self.columns, orbitals)
        column = np.repeat(np.arange(orbitals), self.counts)
        elements = Elements(row, column, cell, -self.cells, orbitals)
        parts = self.hamiltonian
        spins = None if parts is None else list(parts)
        if parts is not None and len(parts) == 4:
            mixed = parts[2] - 1j * parts[3]
            spins = [parts[0], parts[1], mixed, mixed.conj()]
        elif parts is not None and len(parts) == 8:
            spins = [
                parts[0] + 1j * parts[4],
                parts[1] + 1j * parts[5],
                parts[2] - 1j * parts[3],
                parts[6] + 1j * parts[7],
            ]
        return elements.sources(
            structure, basis, spins, self.overlap, label=self.path, scale=RYDBERG_EV
        )


class Elements:
    """Elements of operators that share their places.

    Parameters
    ----------
    row, column : (nnz,) arrays of int
        Orbitals of ⟨row,0|O|column,R⟩ in the cell.
    number : (nnz,) array of int
        Index of R.
    cells : (n_s, 3) array of int
        The lattice vectors R; several indices may stand for one.
    orbitals : int
        Orbitals of the cell, spin not counted.
    """

    def __init__(
        self,
        row: npt.NDArray[np.integer],
        column: npt.NDArray[np.integer],
        number: npt.NDArray[np.integer],
        cells: npt.NDArray[np.integer],
        orbitals: int,
    ) -> None:
        self._orbitals = orbitals
        self._row, self._column = row.astype(np.int32), column.astype(np.int32)
        listed, of = np.unique(cells, axis=0, return_inverse=True)
        place = of.ravel()[number]
        self._order = np.argsort(place, kind="stable")
        bounds = np.searchsorted(place[self._order], np.arange(len(listed) + 1))
        filled = np.flatnonzero(np.diff(bounds))
        self._cells = listed[filled]
        self._spans = [slice(bounds[c], bounds[c + 1]) for c in filled]

    def sources(
        self,
        structure: Structure,
        basis: Basis,
        spins: Sequence[npt.NDArray[Any]] | None,
        overlap: npt.NDArray[np.floating] | None,
        *,
        label: str,
        scale: float = 1.0,
        order: OrbitalOrder = SIESTA,
    ) -> dict[str, ArraySource]:
        """Return Hamiltonian and overlap, as far as they are there.

        Parameters
        ----------
        structure : Structure
            The atoms.
        basis : Basis
            Their orbitals.
        spins : sequence of 1, 2 or 4 (nnz,) arrays, optional
            H; or H↑, H↓; or H↑↑, H↓↓, H↑↓, H↓↑.
        overlap : (nnz,) array, optional
            S.
        label : str
            The file, for messages.
        scale : float
            eV over the unit of H.
        order : OrbitalOrder
            The orbitals inside a shell.

        Returns
        -------
        dict of str to ArraySource
            By name.
        """
        found = {}
        if spins is not None:
            spin = {1: "none", 2: "collinear", 4: "spinor"}[len(spins)]
            if spin == "spinor":
                quarters = list(zip((0, 1, 0, 1), (0, 1, 1, 0), spins, strict=True))
                matrices: Any = self._matrices(quarters, 2)
            else:
                matrices = [self._matrices([(0, 0, values)], 1) for values in spins]
            found["hamiltonian"] = source_from_matrices(
                "hamiltonian",
                self._cells,
                matrices[0] if spin == "none" else matrices,
                OrbitalMap.make(
                    structure, basis, order, spinor="blocks" if spin == "spinor" else None
                ),
                label=label,
                spin=spin,
                scale=scale,
                limit=LIMITS["hamiltonian"],
            )
        if overlap is not None:
            found["overlap"] = source_from_matrices(
                "overlap",
                self._cells,
                self._matrices([(0, 0, overlap)], 1),
                OrbitalMap.make(structure, basis, order),
                label=label,
                limit=LIMITS["overlap"],
            )
        return found

    def _matrices(self, blocks: list[tuple[int, int, npt.NDArray[Any]]], spins: int) -> _Late:
        """Return one matrix for each cell, all up orbitals before all down ones."""
        from scipy.sparse import coo_array

        n = self._orbitals

        def make(span: slice) -> Any:
            at = self._order[span]
            row = np.concatenate([self._row[at] + s * n for s, _, _ in blocks])
            column = np.concatenate([self._column[at] + t * n for _, t, _ in blocks])
            values = np.concatenate([values[at] for _, _, values in blocks])
            return coo_array((values, (row, column)), (spins * n, spins * n))

        return _Late(self._spans, make)


class _Late(Sequence):
    """Matrices made when they are asked for."""

    def __init__(self, spans: list[slice], make: Callable[[slice], Any]) -> None:
        self._spans, self._make = spans, make

    def __len__(self) -> int:
        return len(self._spans)

    def __getitem__(self, number: Any) -> Any:
        return self._make(self._spans[number])


def shells_of(quantum: npt.NDArray[np.integer], where: str, path: str) -> tuple[int, ...]:
    """Return the shells of a list of orbitals.

    Parameters
    ----------
    quantum : (n, 3) array of int
        n, l and zeta of every orbital.
    where : str
        Whose they are, for messages.
    path : str
        The file.

    Returns
    -------
    tuple of int
        Angular momentum of each radial function.

    Raises
    ------
    DamagedError
        If a shell has not 2l + 1 orbitals.
    """
    shells, at = [], 0
    rows = [tuple(row) for row in quantum.tolist()]
    while at < len(rows):
        momentum = rows[at][1]
        length = 2 * momentum + 1
        if not 0 <= momentum < len(SHELL_LETTERS) or rows[at : at + length] != [rows[at]] * length:
            raise DamagedError(
                f"orbital {at + 1} of {where} begins a shell with n, l, zeta = {rows[at]} that has "
                "not 2l + 1 orbitals",
                path=path,
            )
        shells.append(momentum)
        at += length
    return tuple(shells)


def read_rows(
    records: Records, what: str, dtype: str, counts: npt.NDArray[np.int64]
) -> npt.NDArray[Any]:
    """Return an array that a file has row by row, one record each.

    Parameters
    ----------
    records : Records
        The file.
    what : str
        What the array is.
    dtype : str
        Type of its numbers in the file.
    counts : (n,) array of int
        Elements of each row.

    Returns
    -------
    (nnz,) array
        Integers as int64.
    """
    out = np.empty(int(counts.sum()), dtype=np.int64 if dtype == "i4" else dtype)
    bounds = np.concatenate([[0], np.cumsum(counts)]).tolist()
    for row, (begin, end) in enumerate(pairwise(bounds), 1):
        out[begin:end] = records.numbers(f"row {row} of {what}", dtype, end - begin)
    return out


def require_sizes(atoms: int, orbitals: int, components: int, path: str, room: int) -> None:
    """Refuse numbers that no intact file has.

    Parameters
    ----------
    atoms, orbitals, components : int
        As the header has them.
    path : str
        The file.
    room : int
        Bytes of the file.

    Raises
    ------
    MoireioError
        With the number that does not fit.
    """
    if not (0 < atoms <= orbitals and 12 * orbitals <= room):
        raise DamagedError(
            f"announces {atoms} atoms with {orbitals} orbitals in {room} bytes",
            path=path,
            remedy="it is cut short or damaged: copy it again",
        )
    if components not in COMPONENTS:
        raise MoireioError(
            f"has {components} spin components, 1, 2, 4 or 8 expected",
            path=path,
            remedy="is it a file of SIESTA?",
        )
