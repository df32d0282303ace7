"""Text of structure files: read within bounds, and what the readers make of it."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError, unreadable

LARGEST = 256 * 2**20  # bytes, some four million atoms
# Structures compress three to ten times; what expands further than this holds nothing.
LARGEST_RATIO = 100
SMALL = 16 * 2**20
COMPRESSED = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
BOM = b"\xef\xbb\xbf"  # with which some editors begin a file of UTF-8
MAGIC = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}

_NUMBER = re.compile(r"(?<![\d.])\d*\.(\d+)(?:[eEdD]([-+]?\d+))?")
_ELEMENT = re.compile(r"[A-Z][a-z]?")


@dataclass(frozen=True, eq=False)
class StructureText:
    """Contents of a structure file.

    Parameters
    ----------
    cell : (3, 3) array
        Rows, Å; rows of zeros where the file gives fewer vectors.
    numbers : (N,) array of int
        Atomic numbers.
    positions : (N, 3) array
        Cartesian, Å.
    pbc : (3,) array of bool, optional
        As the file says; None if it does not.
    layer : (N,) array of int, optional
        Any labels, ascending from the bottom.
    magmoms : (N,) or (N, 3) array, optional
        Bohr magnetons.
    precision : float
        Half of the last digit of the lattice vectors in the text, Å.
    images : int
        Structures in the file, of which this is the last.
    """

    cell: npt.NDArray[np.float64]
    numbers: npt.NDArray[np.int32]
    positions: npt.NDArray[np.float64]
    pbc: npt.NDArray[np.bool_] | None = None
    layer: npt.NDArray[np.int64] | None = None
    magmoms: npt.NDArray[np.float64] | None = None
    precision: float = 0.0
    images: int = 1


def plain_name(path: str) -> str:
    """Return a file name without the suffix of its compression.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    str
        Its last part, as ``POSCAR`` for ``run/POSCAR.gz``.
    """
    base = os.path.basename(path)
    root, suffix = os.path.splitext(base)
    return root if suffix.lower() in COMPRESSED else base


def read_text(path: str) -> str:
    """Read a text file, compressed or not, within bounds.

    Parameters
    ----------
    path : str
        A file; compression (gzip, bzip2, xz) is recognised by its first bytes.

    Returns
    -------
    str
        Its text.

    Raises
    ------
    MoireioError
        If it is too large, expands suspiciously far, is damaged, or holds no text.
    """
    if os.path.isdir(path):
        raise MoireioError("is a folder, a file is expected", path=path)
    try:
        with open(path, "rb") as stream:
            if os.fstat(stream.fileno()).st_size > LARGEST:
                raise _too_large(path)
            start = stream.read(6)
            opener = next((o for magic, o in MAGIC.items() if start.startswith(magic)), None)
            if opener is None:
                raw = start + stream.read(LARGEST + 1 - len(start))
            else:
                raw = _expanded(stream, opener, path)
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise _damaged(path, error) from error
    except OSError as error:
        if error.errno is None:  # bz2's word for damaged data
            raise _damaged(path, error) from error
        raise unreadable(error, path) from error
    if len(raw) > LARGEST:
        raise _too_large(path)
    if not raw.strip():
        raise MoireioError("is empty", path=path, remedy="make it again")
    if b"\x00" in raw[:4096] or b"\x00" in raw:
        raise MoireioError(
            "is binary, text is expected",
            path=path,
            remedy="convert it to POSCAR, cif or extended xyz",
        )
    return (
        raw.removeprefix(BOM)
        .decode("utf-8", errors="replace")
        .replace("\r\n", "\n")
        .replace("\r", "\n")
    )


def _expanded(stream: BinaryIO, opener, path):
    stream.seek(0, os.SEEK_END)
    size = stream.tell()
    stream.seek(0)
    most = min(LARGEST, max(SMALL, LARGEST_RATIO * size))
    pieces, total = [], 0
    with opener(stream) as text:
        while piece := text.read(2**20):
            total += len(piece)
            if total > most:
                raise MoireioError(
                    f"its {size} bytes expand to more than {most // 2**20} MiB, which is no "
                    "structure",
                    path=path,
                    remedy="give the uncompressed file, if it is one",
                )
            pieces.append(piece)
    return b"".join(pieces)


def _too_large(path):
    return MoireioError(
        f"is larger than the {LARGEST // 2**20} MiB that a structure file may have",
        path=path,
        remedy="structures of many millions of atoms belong in block files",
    )


def _damaged(path, error):
    return MoireioError(
        f"its compressed data is damaged or cut short ({error})", path=path, remedy="make it again"
    )


class Lines:
    """Lines of a text, read one after another, with numbers for messages.

    Parameters
    ----------
    text : str
        The text.
    path : str
        The file.
    name : str
        Name of its format.
    """

    def __init__(self, text: str, path: str, name: str) -> None:
        self.lines = text.rstrip().split("\n")
        self.path = path
        self.name = name
        self.at = 0

    def __bool__(self) -> bool:
        """Return whether anything but blank lines is left."""
        return any(line.strip() for line in self.lines[self.at :])

    def next(self, expected: str) -> str:
        """Return the next line.

        Parameters
        ----------
        expected : str
            What it should hold.

        Returns
        -------
        str
            Without blanks at its ends.
        """
        if self.at >= len(self.lines):
            self.fail(f"ends where {expected} should follow", "the file is cut short")
        self.at += 1
        return self.lines[self.at - 1].strip()

    def fail(self, what: str, remedy: str | None = None, line: int | None = None) -> NoReturn:
        """Raise the error of a line.

        Parameters
        ----------
        what : str
            What is wrong.
        remedy : str, optional
            What to do.
        line : int, optional
            Its number from 1; by default the line read last.
        """
        number = min(self.at, len(self.lines)) if line is None else line
        raise MoireioError(
            f"cannot be read as a structure: line {number} of the {self.name}: {what}",
            path=self.path,
            remedy=remedy or "correct that line, or write the file again",
        )

    def numbers(
        self, expected: str, count: int, words: Sequence[str], line: int | None = None
    ) -> list[float]:
        """Return the first numbers among the words of a line.

        Parameters
        ----------
        expected : str
            What they are.
        count : int
            How many.
        words : sequence of str
            The words.
        line : int, optional
            Its number from 1; by default the line read last.

        Returns
        -------
        list of float
            Finite.
        """
        try:
            values = [float(w) for w in words[:count]]
        except ValueError:
            values = []
        if len(values) < count or not np.isfinite(values).all():
            self.fail(f"expected {expected}, found {shown(' '.join(words))}", line=line)
        return values

    def table(self, count: int, columns: slice, expected: str) -> npt.NDArray[np.float64]:
        """Return columns of the next lines.

        Parameters
        ----------
        count : int
            Number of lines.
        columns : slice
            Columns, all of which must be finite numbers.
        expected : str
            What each line holds.

        Returns
        -------
        (count, columns) array
            Float64.
        """
        width = columns.stop - columns.start
        rows = self.lines[self.at : self.at + count]
        if len(rows) < count:
            self.at = len(self.lines)
            self.fail(
                f"ends after {len([r for r in rows if r.strip()])} of {count} lines of {expected}",
                "the file is cut short",
            )
        first = self.at
        self.at += count
        if count == 0:
            return np.empty((0, width))
        try:
            values = np.array([row.split()[columns] for row in rows], dtype=np.float64)
        except ValueError:
            values = np.empty((0, width))
        if values.shape == (count, width) and np.isfinite(values).all():
            return values
        for number, row in enumerate(rows, first + 1):
            try:
                found = np.array(row.split()[columns], dtype=np.float64)
            except ValueError:
                found = np.empty(0)
            if found.shape != (width,) or not np.isfinite(found).all():
                self.fail(f"expected {expected}, found {shown(row)}", line=number)
        raise AssertionError

    def same_width(self, first: int, rows: Sequence[str], width: int | None = None) -> None:
        """Refuse rows of a table that have another number of words than they should.

        Parameters
        ----------
        first : int
            Index of the first row in `lines`.
        rows : sequence of str
            The rows.
        width : int, optional
            Words of a row; by default as many as the first row has.
        """
        counts = [len(row.split()) for row in rows]
        width = counts[0] if width is None and counts else width
        for number, count in enumerate(counts, first + 1):
            if count != width:
                self.fail(f"has {count} columns instead of {width}", line=number)


def shown(text: str) -> str:
    """Return the beginning of a text in quotation marks, for messages.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        At most 40 characters of it.
    """
    text = " ".join(text.split())
    if not text:
        return "nothing"
    return repr(text if len(text) <= 40 else text[:37] + "...")


def atomic_number(word: str) -> int | None:
    """Return the number of an element.

    Parameters
    ----------
    word : str
        Symbol in any case, or number; "X" is an empty atom.

    Returns
    -------
    int or None
        0 for an empty atom; None if it is none of these.
    """
    from ase.data import atomic_numbers

    if word.isascii() and word.isdigit():
        return int(word) if len(word) < 4 and int(word) <= 118 else None
    return atomic_numbers.get(word.capitalize())


def labelled_element(word: str) -> int | None:
    """Return the element of a label such as ``Mo_pv``, ``Mo1`` or ``C/0a1b``.

    Parameters
    ----------
    word : str
        A symbol, which a mark that is no letter may follow.

    Returns
    -------
    int or None
        Its atomic number.
    """
    found = re.match(r"[A-Za-z]{1,2}(?![A-Za-z])", word)
    return atomic_number(found[0]) if found else None


def atomic_number_of_mass(mass: float) -> int | None:
    """Return the element of a mass.

    Parameters
    ----------
    mass : float
        In u.

    Returns
    -------
    int or None
        The nearest, within 0.1 u; None if there is none.
    """
    from ase.data import atomic_masses

    number = int(np.nanargmin(np.abs(atomic_masses - mass)))
    return number if number and abs(atomic_masses[number] - mass) < 0.1 else None


def last_digit(words: Iterable[str]) -> float:
    """Return half of the last digit of the most precise of some numbers.

    Parameters
    ----------
    words : iterable of str
        Texts that hold decimal numbers.

    Returns
    -------
    float
        Such as 5e-9 for numbers with 8 decimals; 0 where none has a decimal point.
    """
    places = [
        len(number[1]) - int(number[2] or 0)
        for word in words
        for number in _NUMBER.finditer(word)
        if len(number[2] or "") < 4
    ]
    return 0.5 * 10.0 ** -max(places) if places else 0.0
