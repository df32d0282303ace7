"""ABACUS's binary matrices in real space, of the old form.

Layout: int32 step, dimension and number of R; for each R int32 R1, R2, R3 and the number of
elements and, unless there are none, float64 values (complex where nspin is 4), int32 columns and
row pointers.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.formats.abacus.matrices import (
    FARTHEST,
    MOST_ORBITALS,
    MatrixFile,
    RealSpaceMatrices,
    cell_name,
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
    if len(head) < 28 or not path.endswith(".csr"):
        return False
    _, orbitals, cells = np.frombuffer(head, "<i4", 3).tolist()
    return 0 < orbitals < MOST_ORBITALS and 0 < 16 * cells <= os.path.getsize(path)


class BinaryFile(MatrixFile):
    """A binary file of the old form."""

    _complex: bool | None = None

    def read(self) -> RealSpaceMatrices:
        """Return the matrices of the last step."""
        found, steps = None, 0
        while (head := self.stream.read(12)) != b"":
            if len(head) < 12:
                self.fail("ends inside its header", "it is cut short: copy it again")
            _, orbitals, cells = np.frombuffer(head, "<i4").tolist()
            self.require_room(orbitals, cells)
            found, steps = RealSpaceMatrices(self.path, "", orbitals), steps + 1
            for _ in range(cells):
                self._matrix(found)
        if found is None:
            self.fail("has no matrices", "it is cut short: make it again")
        found.steps = steps
        return found

    def _matrix(self, found: RealSpaceMatrices) -> None:
        cell = self._numbers("R", "<i4", 4).tolist()
        count = cell[3]
        if not 0 <= count <= found.orbitals**2 or max(map(abs, cell[:3])) > FARTHEST:
            self.fail(f"has R = {cell_name(cell)} with {count} elements")
        if count == 0:
            return
        n, at = found.orbitals, self.stream.tell()
        for is_complex in (False, True) if self._complex is None else (self._complex,):
            self.stream.seek(at)
            dtype = "<c16" if is_complex else "<f8"
            values = self._numbers(f"values of R = {cell_name(cell)}", dtype, count)
            columns = self._numbers(f"columns of R = {cell_name(cell)}", "<i4", count)
            pointers = self._numbers(f"row pointers of R = {cell_name(cell)}", "<i4", n + 1)
            rising = pointers[0] == 0 and pointers[-1] == count and (np.diff(pointers) >= 0).all()
            if rising and columns.min() >= 0 and columns.max() < n:
                self._complex = is_complex
                break
        self.add(found, cell, values, columns, pointers)

    def _numbers(self, what: str, dtype: str, count: int) -> npt.NDArray[Any]:
        size = np.dtype(dtype).itemsize * count
        if size > self.room:
            self.fail(f"announces {count} {what}, for which the file is too short")
        content = self.stream.read(size)
        if len(content) < size:
            self.fail(f"ends inside the {what}", "it is cut short: copy it again")
        return np.frombuffer(content, dtype)
