"""Matrices of ABACUS's files, one for each R, and what their readers have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO, NoReturn, Self

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError

FARTHEST = 1 << 20  # cells
MOST_ORBITALS = 1 << 26
LARGEST = 1e7  # Ry or Bohr


@dataclass(eq=False)
class RealSpaceMatrices:
    """The matrices of a file.

    Parameters
    ----------
    path : str
        The file.
    letter : str
        "H", "S" or another operator; empty where a binary file does not say.
    orbitals : int
        Rows of every matrix, spin included where nspin is 4.
    cells : list of (int, int, int)
        The lattice vectors R.
    matrices : list of csr_array
        ⟨a,0|O|b,R⟩ in Ry.
    atoms : Atoms2025, optional
        Cell and atoms, where the file has them.
    steps : int
        Ionic steps in the file, of which this is the last.
    fermi : float, optional
        Fermi level of this spin, eV.
    folded : bool
        Whether all R are summed into R = 0, as in a run at Γ only.
    spins : int, optional
        Number of spins of the calculation, where the file has it: 2 with nspin 2.
    """

    path: str
    letter: str
    orbitals: int
    cells: list[tuple[int, int, int]] = field(default_factory=list)
    matrices: list[Any] = field(default_factory=list)
    atoms: Atoms2025 | None = None
    steps: int = 1
    fermi: float | None = None
    folded: bool = False
    spins: int | None = None

    @property
    def is_complex(self) -> bool:
        """Whether values are complex: nspin is 4."""
        return any(np.iscomplexobj(matrix) for matrix in self.matrices)


@dataclass(frozen=True, eq=False)
class Atoms2025:
    """Cell and atoms in the header of a file of 2025, with few digits.

    Parameters
    ----------
    cell : (3, 3) array
        Rows, Å.
    labels : list of str
        Species of each atom.
    positions : (N, 3) array
        Å.
    """

    cell: npt.NDArray[np.float64]
    labels: list[str]
    positions: npt.NDArray[np.float64]


@dataclass(eq=False)
class PositionMatrices:
    """The position matrices of a file.

    Parameters
    ----------
    axes : (x, y, z) of RealSpaceMatrices
        ⟨a,0|r|b,R⟩ in Bohr, from the origin of the cell, with the same R in each.
    steps : int
        Ionic steps in the file, of which this is the last.
    """

    axes: tuple[RealSpaceMatrices, RealSpaceMatrices, RealSpaceMatrices]
    steps: int = 1

    @classmethod
    def empty(cls, path: str, orbitals: int) -> Self:
        """Return one without lattice vectors.

        Parameters
        ----------
        path : str
            The file.
        orbitals : int
            Rows of every matrix.

        Returns
        -------
        PositionMatrices
            To be filled.
        """
        x, y, z = (RealSpaceMatrices(path, "r", orbitals) for _ in range(3))
        return cls((x, y, z))


class Consumed(Sequence):
    """Matrices that are given away one by one, so that memory is free again.

    Parameters
    ----------
    matrices : list
        Emptied as its elements are asked for.
    """

    def __init__(self, matrices: list[Any]) -> None:
        self._matrices = matrices

    def __len__(self) -> int:
        """Return how many there were."""
        return len(self._matrices)

    def __getitem__(self, number: Any) -> Any:
        """Return one, for the only time."""
        matrix, self._matrices[number] = self._matrices[number], None
        return matrix


class MatrixFile:
    """A file of matrices that is being read.

    Parameters
    ----------
    stream : binary file
        Its contents.
    path : str
        Its name, for messages.
    room : int
        Bytes that it can expand to.
    """

    def __init__(self, stream: BinaryIO, path: str, room: int) -> None:
        self.stream, self.path, self.room = stream, path, room
        self.where = ""

    def fail(self, what: str, remedy: str | None = None) -> NoReturn:
        """Raise the error of this place."""
        raise DamagedError(
            f"{self.where}{what}",
            path=self.path,
            remedy=remedy or "the file is damaged or was altered: make it again",
        )

    def require_room(self, orbitals: int, cells: int) -> None:
        """Refuse a header that announces more than there can be."""
        if not (0 < orbitals < MOST_ORBITALS and cells > 0 and 7 * cells <= self.room):
            self.fail(f"announces {orbitals} orbitals and {cells} lattice vectors R")

    def add(
        self,
        found: RealSpaceMatrices,
        cell: Sequence[int],
        values: npt.NDArray[Any],
        columns: npt.NDArray[np.integer],
        pointers: npt.NDArray[np.integer],
    ) -> None:
        """Check and append one matrix."""
        from scipy.sparse import csr_array

        n = found.orbitals
        if pointers[0] != 0 or pointers[-1] != len(values) or (np.diff(pointers) < 0).any():
            self.fail(
                f"the row pointers of R = {cell_name(cell)} do not rise from 0 to {len(values)}"
            )
        if len(columns) and not (columns.min() >= 0 and columns.max() < n):
            self.fail(f"a column of R = {cell_name(cell)} is outside 0..{n - 1}")
        if not (np.abs(values) < LARGEST).all():
            self.fail(
                f"R = {cell_name(cell)} has a number that is not finite or beyond {LARGEST:g}"
            )
        place = (columns.astype(np.int32), pointers.astype(np.int32))
        found.cells.append((int(cell[0]), int(cell[1]), int(cell[2])))
        found.matrices.append(csr_array((values, *place), (n, n)))


def cell_name(cell: Sequence[int]) -> str:
    """Return R for messages."""
    return " ".join(str(int(v)) for v in cell[:3])
