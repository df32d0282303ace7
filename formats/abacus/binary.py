"""ABACUS's binary matrices in real space.

Layout: int32 step, dimension and number of R; for each R int32 R1, R2, R3 and the number of
elements and, unless there are none, float64 values (complex where nspin is 4), int32 columns and
row pointers. The form of 2025 (``hrs1_nao.dat``) has int64 row pointers, also where there are no
elements. Positions (``rr.csr``) have int32 R1, R2, R3 and then, for each of x, y and z, the number
of elements, values, columns and row pointers.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.formats.abacus.matrices import (
    FARTHEST,
    MOST_ORBITALS,
    MatrixFile,
    PositionMatrices,
    RealSpaceMatrices,
    cell_name,
)

Contents = TypeVar("Contents", RealSpaceMatrices, PositionMatrices)
#: Types of values and of row pointers, and whether R without elements have row pointers.
LAYOUTS = tuple(
    (values, pointers, empty)
    for pointers, empty in (("<i4", False), ("<i8", True))
    for values in ("<f8", "<c16")
)


def is_binary_matrices(head: bytes, path: str) -> bool:
    """Return whether a file can be one of binary matrices.

    Parameters
    ----------
    head : bytes
        Its beginning.
    path : str
        The file.

    Returns
    -------
    bool
        By its name and the sizes that it announces.
    """
    if len(head) < 28 or not path.endswith((".csr", "_nao.dat")):
        return False
    _, orbitals, cells = np.frombuffer(head, "<i4", 3).tolist()
    return 0 < orbitals < MOST_ORBITALS and 0 < 16 * cells <= os.path.getsize(path)


class BinaryFile(MatrixFile):
    """A binary file of either form."""

    def read(self) -> RealSpaceMatrices:
        """Return the matrices of the last step."""
        return self._last_step(self._matrices)

    def read_positions(self) -> PositionMatrices:
        """Return the position matrices of the last step."""
        return self._last_step(self._positions)

    def _last_step(self, read: Callable[..., Contents]) -> Contents:
        """Return the last step, in the layout that fits the whole file."""
        failed: list[tuple[int, DamagedError]] = []
        for layout in LAYOUTS:
            self.stream.seek(0)
            try:
                return self._steps(read, layout)
            except DamagedError as error:
                failed.append((self.stream.tell(), error))
        raise max(failed, key=lambda one: one[0])[1]

    def _steps(self, read: Callable[..., Contents], layout: tuple[str, str, bool]) -> Contents:
        found, steps = None, 0
        while (head := self.stream.read(12)) != b"":
            if len(head) < 12:
                self.fail("ends inside its header", "it is cut short: copy it again")
            _, orbitals, cells = np.frombuffer(head, "<i4").tolist()
            self.require_room(orbitals, cells)
            found, steps = read(orbitals, cells, layout), steps + 1
        if found is None:
            self.fail("has no matrices", "it is cut short: make it again")
        found.steps = steps
        return found

    def _matrices(
        self, orbitals: int, cells: int, layout: tuple[str, str, bool]
    ) -> RealSpaceMatrices:
        found = RealSpaceMatrices(self.path, "", orbitals)
        for _ in range(cells):
            *cell, count = self._numbers("R", "<i4", 4).tolist()
            if count or layout[2]:
                self._matrix(found, cell, count, layout)
            else:
                self._require(cell, count, orbitals)
        return found

    def _positions(
        self, orbitals: int, cells: int, layout: tuple[str, str, bool]
    ) -> PositionMatrices:
        found = PositionMatrices.empty(self.path, orbitals)
        for _ in range(cells):
            cell = self._numbers("R", "<i4", 3).tolist()
            for axis in found.axes:
                (count,) = self._numbers("R", "<i4", 1).tolist()
                if count:
                    self._matrix(axis, cell, count, layout)
                    if axis.is_complex:
                        self.fail("has complex positions")
                else:
                    nothing = np.zeros(orbitals + 1, dtype=np.int32)
                    self._require(cell, count, orbitals)
                    self.add(axis, cell, np.empty(0), nothing[:0], nothing)
        return found

    def _require(self, cell: list[int], count: int, orbitals: int) -> None:
        if not 0 <= count <= orbitals**2 or max(map(abs, cell)) > FARTHEST:
            self.fail(f"has R = {cell_name(cell)} with {count} elements")

    def _matrix(
        self, found: RealSpaceMatrices, cell: list[int], count: int, layout: tuple[str, str, bool]
    ) -> None:
        self._require(cell, count, found.orbitals)
        where = f"R = {cell_name(cell)}"
        elements = self._numbers(f"values of {where}", layout[0], count)
        columns = self._numbers(f"columns of {where}", "<i4", count)
        rows = self._numbers(f"row pointers of {where}", layout[1], found.orbitals + 1)
        self.add(found, cell, elements, columns, rows)

    def _numbers(self, what: str, dtype: str, count: int) -> npt.NDArray[Any]:
        size = np.dtype(dtype).itemsize * count
        if size > self.room:
            self.fail(f"announces {count} {what}, for which the file is too short")
        content = self.stream.read(size)
        if len(content) < size:
            self.fail(f"ends inside the {what}", "it is cut short: copy it again")
        return np.frombuffer(content, dtype)
