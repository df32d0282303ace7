"""ABACUS's sparse matrices in real space: one in CSR form for each R.

Old form (``data-HR-sparse_SPIN0.csr``; also ``hrs1_nao.csr`` of 2024): perhaps ``STEP: 0``, the
dimension, the number of R; for each R a line ``R1 R2 R3 elements`` and, unless there are none, a
line of values, one of columns and one of row pointers. Binary: the same as int32 and float64.
Form of 2025 (``hrs1_nao.csr``): a header with comments, Fermi level (newer ones), cell and atoms;
the number of R in it may exceed that of the R which follow, each with values, columns and row
pointers under comments. Values are in Ry, complex ones ``(re,im)`` where nspin is 4. A file with
several ionic steps counts with its last.

Positions (``data-rR-sparse.csr``, ``rr.csr``) have the old form with letter r, a line ``R1 R2 R3``
for each R and, for each of x, y and z, a line with the number of elements before its three lines.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.formats.abacus.binary import BinaryFile, is_binary_matrices
from moireio.formats.abacus.matrices import (
    FARTHEST,
    Atoms2025,
    MatrixFile,
    PositionMatrices,
    RealSpaceMatrices,
    cell_name,
)
from moireio.formats.structures.text import MAGIC, shown
from moireio.formats.text.streams import first_bytes, opened

HEAD = 4096
#: What deflate can expand to at most. A header that announces more than fits is damaged.
RATIO = 1032
LONGEST = 1 << 16  # bytes of a line that holds no table
MOST_LINES = 10_000_000  # of a header
_OLD = re.compile(r"Matrix Dimension of (\w+)\(R\):\s*(\d+)\s*$")
_OLD_COUNT = re.compile(r"Matrix number of \w+\(R\):\s*(\d+)\s*$")
_NEW = re.compile(r"#\s*print (\w+) matrix in real space")
_FERMI = re.compile(r"E_Fermi = (-?\d{1,6}(?:\.\d*)?(?:e-?\d{1,2})?) eV")
_PARENTHESES = bytes.maketrans(b"(),", b"   ")


def letter_of(path: str) -> str | None:
    """Return the operator of a file, by its first bytes.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    str or None
        "H", "S" …; empty for a binary file; None if it is no file of matrices.
    """
    head = first_bytes(path, HEAD)
    if b"\0" in head:
        return "" if is_binary_matrices(head, path) else None
    for line in head.decode("utf-8", "replace").split("\n")[:8]:
        if found := _OLD.match(line.strip()) or _NEW.match(line.strip()):
            return found[1]
    return None


def read_csr(path: str) -> RealSpaceMatrices:
    """Read a file of matrices, R by R.

    Parameters
    ----------
    path : str
        The file, compressed or not.

    Returns
    -------
    RealSpaceMatrices
        Those of its last ionic step.

    Raises
    ------
    MoireioError
        If it is no such file.
    DamagedError
        If it is cut short or contradicts itself, with the line.
    """
    with _matrix_file(path, "out_mat_hs2") as file:
        return file.read()


def read_positions(path: str) -> PositionMatrices:
    """Read a file of position matrices.

    Parameters
    ----------
    path : str
        ``data-rR-sparse.csr`` or ``rr.csr``, compressed or not, text or binary.

    Returns
    -------
    PositionMatrices
        Those of its last ionic step.

    Raises
    ------
    MoireioError
        If it is no such file.
    DamagedError
        If it is cut short or contradicts itself, with the line.
    """
    with _matrix_file(path, "out_mat_r") as file:
        return file.read_positions()


@contextmanager
def _matrix_file(path: str, keyword: str) -> Iterator[BinaryFile | _Text]:
    """Open a file of either kind; `keyword` is the one that makes ABACUS write it."""
    with opened(path) as stream:
        start = stream.read(HEAD)
        stream.seek(0)
        compressed = any(_raw_start(path).startswith(magic) for magic in MAGIC)
        room = os.path.getsize(path) * (RATIO if compressed else 1)
        if not start.strip():
            raise MoireioError("is empty", path=path, remedy=f"run ABACUS with {keyword} again")
        yield (BinaryFile if b"\0" in start else _Text)(stream, path, room)


def _raw_start(path: str) -> bytes:
    with open(path, "rb") as stream:
        return stream.read(6)


class _Text(MatrixFile):
    """A text file of either form."""

    def __init__(self, stream: BinaryIO, path: str, room: int) -> None:
        super().__init__(stream, path, room)
        self._number = 0
        self._held: bytes | None = None

    def line(self, most: int = LONGEST) -> bytes:
        """Return the next line; nothing at the end of the file."""
        if self._held is not None:
            line, self._held = self._held, None
        else:
            line = self.stream.readline(most + 1)
            if len(line) > most:
                self._number += 1
                self.where = f"line {self._number}: "
                self.fail(f"is longer than the {most} bytes that it may have")
        self._number += bool(line)
        self.where = f"line {self._number}: "
        return line

    def filled(self) -> bytes:
        """Return the next line that is not blank; nothing at the end of the file."""
        while line := self.line():
            if line.strip():
                return line.strip()
        return b""

    def hold(self, line: bytes) -> None:
        """Put a line back."""
        self._held = line
        self._number -= 1

    def read(self) -> RealSpaceMatrices:
        found, steps = None, 0
        while line := self.filled():
            text = line.decode("utf-8", "replace")
            if text.startswith(("STEP", "---")):
                continue
            old, new = _OLD.match(text), _NEW.match(text)
            if old is None and new is None:
                if found is None:
                    raise MoireioError(
                        f"begins with {shown(text)}: no matrices of ABACUS in real space",
                        path=self.path,
                    )
                self.fail(f"{shown(text)} after the last R that the header announces")
            found, steps = self._old(old) if old else self._new(new[1]), steps + 1
        if found is None:
            self.fail("has no matrices", "it is cut short: make it again")
        found.steps = steps
        return found

    def _old(self, head: re.Match[str]) -> RealSpaceMatrices:
        count = _OLD_COUNT.match(self.filled().decode("utf-8", "replace"))
        if count is None:
            self.fail('"Matrix number of H(R): …" expected')
        found = RealSpaceMatrices(self.path, head[1], int(head[2][:12]))
        cells = int(count[1][:12])
        self.require_room(found.orbitals, cells)
        for number in range(cells):
            cell = self._cell(number, cells)
            if cell[3]:
                values = self._values(cell[3], found.orbitals, cell)
                columns = self._whole(cell[3], f"columns of R = {cell_name(cell)}")
                pointers = self._whole(found.orbitals + 1, f"row pointers of R = {cell_name(cell)}")
                self.add(found, cell, values, columns, pointers)
            else:
                self._skip_empty(found.orbitals)
        return found

    def read_positions(self) -> PositionMatrices:
        found, steps = None, 0
        while line := self.filled():
            text = line.decode("utf-8", "replace")
            if text.startswith(("STEP", "---")):
                continue
            head = _OLD.match(text)
            if head is None or head[1] != "r":
                if found is None:
                    raise MoireioError(
                        f"begins with {shown(text)}: no position matrices of ABACUS",
                        path=self.path,
                    )
                self.fail(f"{shown(text)} after the last R that the header announces")
            found, steps = self._positions(int(head[2][:12])), steps + 1
        if found is None:
            self.fail("has no matrices", "it is cut short: make it again")
        found.steps = steps
        return found

    def _positions(self, orbitals: int) -> PositionMatrices:
        count = _OLD_COUNT.match(self.filled().decode("utf-8", "replace"))
        if count is None:
            self.fail('"Matrix number of r(R): …" expected')
        found, cells = PositionMatrices.empty(self.path, orbitals), int(count[1][:12])
        self.require_room(orbitals, cells)
        for number in range(cells):
            cell = self._integers(3, f"R, the {number + 1}th of {cells},")
            if max(map(abs, cell)) > FARTHEST:
                self.fail(f"has R = {cell_name(cell)}")
            for letter, axis in zip("xyz", found.axes, strict=True):
                where = f"{letter} at R = {cell_name(cell)}"
                (elements,) = self._integers(1, f"the number of elements of {where}")
                if elements < 0 or 4 * elements > self.room:
                    self.fail(f"announces {elements} elements of {where}")
                values, columns = np.empty(0), np.empty(0, dtype=np.int64)
                pointers = np.zeros(orbitals + 1, dtype=np.int64)
                if elements:
                    values = self._values(elements, orbitals, cell)
                    columns = self._whole(elements, f"columns of {where}")
                    pointers = self._whole(orbitals + 1, f"row pointers of {where}")
                if np.iscomplexobj(values):
                    self.fail(f"has complex numbers for {where}")
                self.add(axis, tuple(cell), values, columns, pointers)
        return found

    def _integers(self, count: int, what: str) -> list[int]:
        """Return the whole numbers of the next line that is not blank."""
        line = self.filled()
        if not line:
            self.fail(f"ends where {what} should follow", "it is cut short: copy it again")
        words = line.split()
        try:
            numbers = [int(word) for word in words]
        except ValueError:
            numbers = []
        if len(numbers) != count:
            self.fail(f"{what} expected, found {_shown(line)}")
        return numbers

    def _skip_empty(self, orbitals: int) -> None:
        """Pass over the blank lines and the zeros that some versions write for an empty R."""
        line = self.line(most=max(LONGEST, 4 * orbitals + 64))
        blank = 0
        while line and not line.strip():
            blank += 1
            line = self.line(most=max(LONGEST, 4 * orbitals + 64))
        words = line.split()
        zeros = len(words) == orbitals + 1 and set(words) == {b"0"}
        if line and not (zeros and (blank or orbitals != 3)):
            self.hold(line)

    def _cell(self, number: int, count: int) -> tuple[int, ...]:
        """Return R and the number of its elements."""
        line = self.filled()
        if not line:
            self.fail(
                f"ends after {number} of {count} lattice vectors R",
                "it is cut short: copy it again",
            )
        try:
            cell = tuple(int(word) for word in line.split())
        except ValueError:
            cell = ()
        if len(cell) != 4 or cell[3] < 0 or max(map(abs, cell[:3])) > FARTHEST:
            text = shown(line.decode("utf-8", "replace"))
            self.fail(f"R and the number of its elements expected, found {text}")
        if 4 * cell[3] > self.room:
            self.fail(f"announces {cell[3]} elements, for which the file is too short")
        return cell

    def _values(self, count: int, orbitals: int, cell: Sequence[int]) -> npt.NDArray[Any]:
        """Return the values of an R, real or complex."""
        if count > orbitals**2:
            self.fail(f"announces {count} elements of a matrix with {orbitals} rows")
        parts: list[npt.NDArray[Any]] = []
        total, what = 0, f"values of R = {cell_name(cell)}"
        while total < count:
            line = self._row(count, what)
            is_complex = b"(" in line
            numbers = _numbers(line.translate(_PARENTHESES) if is_complex else line, np.float64)
            if numbers is None or (is_complex and len(numbers) % 2):
                self.fail(f"{what} expected, found {_shown(line)}")
            parts.append(numbers.view(np.complex128) if is_complex else numbers)
            total += len(parts[-1])
        if total > count:
            self.fail(f"has {total} {what}, {count} expected")
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _whole(self, count: int, what: str) -> npt.NDArray[np.int64]:
        """Return whole numbers, on one line or several."""
        parts: list[npt.NDArray[np.int64]] = []
        total = 0
        while total < count:
            line = self._row(count, what)
            numbers = _numbers(line, np.int64)
            if numbers is None or len(numbers) == 0:
                self.fail(f"{what} expected, found {_shown(line)}")
            parts.append(numbers)
            total += len(numbers)
        if total > count:
            self.fail(f"has {total} {what}, {count} expected")
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _row(self, count: int, what: str) -> bytes:
        """Return the next line of a table; in the form of 2025 all lines up to a comment."""
        line = self.line(most=LONGEST + 72 * count)
        while line and not line.strip():
            line = self.line(most=LONGEST + 72 * count)
        if not line:
            self.fail(f"ends where {what} should follow", "it is cut short: copy it again")
        return line

    def _new(self, letter: str) -> RealSpaceMatrices:
        found = RealSpaceMatrices(self.path, letter, 0)
        head: list[str] = []
        structure: list[str] = []
        while line := self.filled():
            text = line.decode("utf-8", "replace")
            if text.startswith("#"):
                found.folded |= "gamma-only folded" in text
                if "CSR Format" in text:
                    break
            elif "#" in text:
                head.append(text)
            else:
                structure.append(text)
            if len(structure) > MOST_LINES:
                self.fail("has a header without end")
        for text in head:
            number = text.split("#")[0].strip()
            if level := _FERMI.search(text):
                found.fermi = float(level[1])
            if "number of spin directions" in text and number.isdigit():
                found.spins = int(number[:2])
            if "number of localized basis" in text and number.isdigit():
                found.orbitals = int(number[:12])
        self.require_room(found.orbitals, 1)
        found.atoms = self._atoms(structure)
        while line := self.filled():
            text = line.decode("utf-8", "replace")
            if text.startswith("---"):
                self.hold(line)
                break
            if text.startswith("#"):
                continue
            self.hold(line)
            cell = self._cell(len(found.cells), len(found.cells))
            if cell[3] == 0:
                continue
            values = self._section(cell[3], f"values of R = {cell_name(cell)}", np.float64)
            columns = self._section(cell[3], f"columns of R = {cell_name(cell)}", np.int64)
            self._comment("row pointers")
            pointers = self._whole(found.orbitals + 1, f"row pointers of R = {cell_name(cell)}")
            self.add(found, cell, values, columns, pointers)
        listed = set(found.cells)
        for cell in found.cells:
            if (-cell[0], -cell[1], -cell[2]) not in listed:
                self.where = ""
                self.fail(
                    f"has R = {cell_name(cell)}, but not its negative",
                    "it is cut short: copy it again",
                )
        if not found.cells:
            self.fail("has no matrices", "it is cut short: make it again")
        return found

    def _comment(self, what: str) -> None:
        line = self.filled()
        if not line.startswith(b"#"):
            self.fail(f"the comment before {what} expected, found {_shown(line)}")

    def _section(self, count: int, what: str, dtype: type) -> npt.NDArray[Any]:
        """Return the numbers between two comments."""
        self._comment(what)
        rows = []
        size = 0
        while line := self.line(most=LONGEST + 72 * count):
            if line.lstrip().startswith(b"#"):
                self.hold(line)
                break
            rows.append(line)
            size += len(line)
            if size > LONGEST + 96 * count:
                break
        text = b"".join(rows)
        is_complex = b"(" in text
        numbers = _numbers(text.translate(_PARENTHESES) if is_complex else text, dtype)
        if numbers is not None and is_complex and len(numbers) == 2 * count:
            numbers = numbers.view(np.complex128)
        if numbers is None or len(numbers) != count:
            got = "something else" if numbers is None else f"{len(numbers)}"
            self.fail(f"{count} {what} expected, found {got}")
        return numbers

    def _atoms(self, lines: Sequence[str]) -> Atoms2025 | None:
        """Return the atoms of a header: name, constant, vectors, elements, counts, positions."""
        if not lines:
            return None
        try:
            constant = float(lines[1])
            if not 0 < constant <= MOST_LINES:
                raise ValueError
            cell = np.array([line.split()[:3] for line in lines[2:5]], dtype=np.float64)
            names, counts = lines[5].split(), [int(word) for word in lines[6].split()]
            if len(names) != len(counts) or not all(0 < c <= len(lines) for c in counts):
                raise ValueError
            labels = [name for name, c in zip(names, counts, strict=True) for _ in range(c)]
            rows = lines[8 : 8 + len(labels)]
            positions = np.array([row.split()[:3] for row in rows], dtype=np.float64)
            if not (np.abs(cell) <= MOST_LINES).all():
                raise ValueError
            cell = constant * cell
            fits = positions.shape == (len(labels), 3) and cell.shape == (3, 3)
            if not (fits and (np.abs(positions) <= MOST_LINES).all()):
                raise ValueError
        except (ValueError, IndexError):
            self.fail("the header has no cell with atoms")
        direct = lines[7].lower().startswith("d")
        return Atoms2025(cell, labels, positions @ cell if direct else positions * constant)


def _numbers(text: bytes, dtype: type) -> npt.NDArray[Any] | None:
    """Return the numbers of a text; None if there is anything else."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        try:
            return np.fromstring(text, dtype=dtype, sep=" ")
        except (DeprecationWarning, ValueError, OverflowError):
            return None


def _shown(line: bytes) -> str:
    return shown(line[:200].decode("utf-8", "replace"))
