"""Tables of numbers in large text files, compressed or not, in bounded memory.

Programs print tables with fixed widths. Where all lines of a run are as long as the first, a column
is read at once (`moireio.formats.text.columns`); anything else is read word by word.
"""

from __future__ import annotations

import contextlib
import lzma
import os
import sys
import warnings
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import IO, Any, NoReturn, Self

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MissingFileError, MoireioError, unreadable
from moireio.formats.structures.text import BOM, MAGIC, shown
from moireio.formats.text.columns import BLANK, NEWLINE, numbers, table_of, word_ends

PIECE = 4 << 20  # bytes
LONGEST = 1 << 20  # bytes of a line
FEW = 100  # lines that are read word by word in less time than by columns
#: What deflate can expand to at most. A header that announces more than fits is damaged.
RATIO = 1032


@dataclass(eq=False)
class Run:
    """Some lines of a table.

    Parameters
    ----------
    first : int
        Number of the first line in the file, from 1.
    lines : int
        Number of lines that are not blank.
    table : (lines, length) array of uint8, optional
        Their characters, where all are equally long.
    ends : list of int
        Where the columns end in `table`.
    read : callable
        Returns all numbers, (lines, columns), word by word.
    """

    first: int
    lines: int
    table: npt.NDArray[np.uint8] | None
    ends: list[int]
    read: Callable[[], npt.NDArray[np.float64]]
    _values: npt.NDArray[np.float64] | None = None

    def columns(self, begin: int, end: int) -> npt.NDArray[np.float64]:
        """Return the numbers of some columns.

        Parameters
        ----------
        begin, end : int
            The columns.

        Returns
        -------
        (lines, end − begin) array
            Finite.
        """
        if self._values is None and self.table is not None:
            found = [numbers(self.text(column, column + 1)) for column in range(begin, end)]
            columns = [column for column in found if column is not None]
            if len(columns) == len(found):
                return np.stack(columns, axis=1)
        if self._values is None:
            self._values = self.read()
        return self._values[:, begin:end]

    def text(self, begin: int, end: int) -> npt.NDArray[np.uint8]:
        """Return the characters of some columns, where lines are equally long.

        Parameters
        ----------
        begin, end : int
            The columns.

        Returns
        -------
        (lines, width) array of uint8
            With the blanks before them.
        """
        assert self.table is not None
        return self.table[:, self.ends[begin - 1] if begin else 0 : self.ends[end - 1]]


class NumberFile:
    """A text file of numbers, read from its beginning to its end.

    Parameters
    ----------
    path : str
        The file; compression (gzip, bzip2, xz) is recognised by its first bytes.
    stream : binary file, optional
        Its contents, already open, as of a member of an archive; `path` is then for messages.

    Raises
    ------
    MoireioError
        If it cannot be opened.
    """

    def __init__(self, path: str, stream: IO[bytes] | None = None) -> None:
        self.path = path
        self.line_number = 0
        self._rest, self._at = b"", 0  # what is read, and where the next line begins in it
        self._ended = False
        self._stream: Any = stream
        if stream is not None:
            self._raw = stream
            self._bytes = self._most = sys.maxsize
            return
        if os.path.isdir(path):
            raise MoireioError("is a folder, a file is expected", path=path)
        try:
            self._raw = open(path, "rb")  # noqa: SIM115 - closed by `close`
            start = self._raw.read(6)
            self._raw.seek(0)
            self._bytes = os.fstat(self._raw.fileno()).st_size
        except FileNotFoundError as error:
            raise MissingFileError(path=path) from error
        except OSError as error:
            raise unreadable(error, path) from error
        opener = next((o for magic, o in MAGIC.items() if start.startswith(magic)), None)
        self._stream = self._raw if opener is None else opener(self._raw)
        self._most = self._bytes * (1 if opener is None else RATIO)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._raw.close()

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
        number = self.line_number if line is None else line
        raise DamagedError(
            f"line {number}: {what}",
            path=self.path,
            remedy=remedy or "the file is damaged or was altered: make it again",
        )

    def require_room(self, lines: int, columns: int, announced: str) -> None:
        """Refuse a header that announces more than the file can hold.

        Parameters
        ----------
        lines, columns : int
            Size of the table that must follow.
        announced : str
            What the header says, for the message.
        """
        if lines * columns * 2 > self._most + 1:
            self.fail(
                f"announces {announced}, for which its {self._bytes} bytes are too few",
                "the file is cut short or its header damaged: make it again",
            )

    def line(self, expected: str) -> str:
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
        while (end := self._rest.find(b"\n", self._at)) < 0 and not self._ended:
            if len(self._rest) - self._at > LONGEST:
                self.fail(f"has no end; {expected} expected", line=self.line_number + 1)
            self._fill()
        if end < 0:
            end = len(self._rest)
            if end <= self._at:
                self._cut_short(expected)
        text = self._rest[self._at : end]
        self._before, self._at = self._at, min(end + 1, len(self._rest))
        self.line_number += 1
        if b"\0" in text:
            self.fail(f"is binary; {expected} expected")
        return text.decode("utf-8", "replace").strip()

    def whole(self, expected: str, count: int | None = None, most: int = 2**31) -> list[int]:
        """Return the whole numbers with which the next line begins.

        Parameters
        ----------
        expected : str
            What they are.
        count : int, optional
            How many are needed; more may follow. By default all of the line, up to a comment.
        most : int
            Largest magnitude.

        Returns
        -------
        list of int
            The numbers.
        """
        text = self.line(expected)
        words = text.split("!")[0].split("#")[0].split()
        try:
            values = [int(word) for word in (words if count is None else words[:count])]
        except ValueError:
            values = []
        if not values or (count is not None and len(values) < count):
            self.fail(f"{expected} expected, found {shown(text)}")
        if max(map(abs, values)) > most:
            self.fail(f"{expected} expected, found {shown(text)}, beyond {most}")
        return values

    def skip_count(self, expected: str) -> None:
        """Skip the next line if it is a single whole number.

        Parameters
        ----------
        expected : str
            What a line should hold.
        """
        words = self.line(expected).split("!")[0].split()
        if not (len(words) == 1 and words[0].isdecimal()):
            self._at = self._before
            self.line_number -= 1

    @property
    def at_end(self) -> bool:
        """Whether nothing is left, after `skip_blank`."""
        return self._ended and self._at >= len(self._rest)

    def skip_blank(self) -> None:
        """Skip blank lines."""
        while True:
            end = self._rest.find(b"\n", self._at)
            if end < 0 and not self._ended:
                if len(self._rest) - self._at > LONGEST:
                    return
                self._fill()
                continue
            if self._rest[self._at : len(self._rest) if end < 0 else end].strip():
                return
            self._at = len(self._rest) if end < 0 else end + 1
            if end < 0:
                return
            self.line_number += 1

    def rows(self, count: int, columns: int, expected: str) -> Iterator[Run]:
        """Yield the next lines in runs.

        Parameters
        ----------
        count : int
            Number of lines; blank ones are not counted.
        columns : int
            Numbers of each.
        expected : str
            What a line holds.

        Yields
        ------
        Run
            Its numbers are read when they are asked for; a line that does not hold them is
            refused then.
        """
        done = 0
        while done < count:
            text, lines = self._lines(count - done)
            if lines == 0:
                self._cut_short(f"{expected}, {count} lines of which {done} are there,")
            run = self._run(text, lines, columns, expected)
            self.line_number += lines
            done += run.lines
            if run.lines:
                yield run

    def rest(self, columns: int, most: int, expected: str) -> npt.NDArray[np.float64]:
        """Return the numbers of all lines that are left.

        Parameters
        ----------
        columns : int
            Numbers of each.
        most : int
            Lines at most; blank ones are not counted.
        expected : str
            What a line holds.

        Returns
        -------
        (lines, columns) array
            Finite.
        """
        parts, done = [np.empty((0, columns))], 0
        while True:
            text, lines = self._lines(PIECE)
            if lines == 0:
                return np.concatenate(parts)
            run = self._run(text, lines, columns, expected)
            self.line_number += lines
            if run.lines:
                parts.append(run.columns(0, columns))
                done += len(parts[-1])
            if done > most:
                self.fail(f"has more than the {most} lines of {expected} that there can be")

    def _run(self, text: bytes, lines: int, columns: int, expected: str) -> Run:
        first = self.line_number + 1
        table = table_of(text, lines) if lines >= FEW else None
        if table is not None:
            ends = word_ends(table[0])
            fits = len(ends) == columns and not (table == NEWLINE).any()
            if fits and (table[:, ends[-1] :] == BLANK).all():
                read = partial(self._free, text, first, columns, expected)
                return Run(first, lines, table, ends, read)
        values = self._free(text, first, columns, expected)
        return Run(first, len(values), None, [], lambda: values, values)

    def _free(
        self, text: bytes, first: int, columns: int, expected: str
    ) -> npt.NDArray[np.float64]:
        """Return the numbers of some lines word by word."""
        lines = text.split(b"\n")
        rows = [line for line in lines if not line.isspace() and line]
        values = _numbers(b"\n".join(rows))
        if values is not None and values.size == len(rows) * columns:
            finite = np.isfinite(values).all()
            if finite and all(len(row.split()) == columns for row in rows[:1] + rows[-1:]):
                return values.reshape(-1, columns)
        good: list[npt.NDArray[np.float64]] = []
        for number, row in enumerate(lines, first):
            if not row.strip():
                continue
            words = row.split(b"!")[0].split(b"#")[0].split()
            found = _numbers(b" ".join(words)) if len(words) == columns else None
            if found is None or len(found) != columns or not np.isfinite(found).all():
                last = self.at_end and number - first == len(lines) - 1
                self.fail(
                    f"{expected} expected, found {shown(row.decode('utf-8', 'replace'))}",
                    "the file is cut short: make it again" if last else None,
                    line=number,
                )
            good.append(found)
        return np.array(good).reshape(-1, columns)

    def words(self, expected: str, most: int | None = None) -> Iterator[npt.NDArray[np.int64]]:
        """Yield all whole numbers up to the end of the file, in runs, whatever their lines.

        Parameters
        ----------
        expected : str
            What they are.
        most : int, optional
            Refuse more of them.

        Yields
        ------
        (m,) array of int64
            The numbers.
        """
        found = 0
        while True:
            text, lines = self._lines(PIECE)
            if lines == 0:
                return
            first = self.line_number + 1
            self.line_number += lines
            values = _numbers(text)
            if values is None or not (np.isfinite(values).all() and (values % 1 == 0).all()):
                for number, row in enumerate(text.split(b"\n"), first):
                    words = _numbers(row)
                    if words is None or not (np.isfinite(words).all() and (words % 1 == 0).all()):
                        self.fail(
                            f"{expected} expected, found {shown(row.decode('utf-8', 'replace'))}",
                            line=number,
                        )
                self.fail(f"{expected} expected", line=first)
            found += len(values)
            if most is not None and found > most:
                self.fail(f"has more than {most} numbers: more of {expected} than expected")
            if np.abs(values).max(initial=0) > 2**31:
                self.fail(f"{expected} expected, found a number beyond {2**31}")
            yield values.astype(np.int64)

    def _fill(self) -> None:
        """Read on."""
        try:
            piece = self._stream.read(PIECE)
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise self._broken(error) from error
        except OSError as error:
            if error.errno is None:
                raise self._broken(error) from error
            raise unreadable(error, self.path) from error
        self._ended = len(piece) == 0
        if self.line_number == 0 and not self._rest:
            piece = piece.removeprefix(BOM)
        self._rest, self._at, self._before = self._rest[self._at :] + piece, 0, 0

    def _broken(self, error: Exception) -> DamagedError:
        return DamagedError(
            f"its compressed data is damaged or cut short ({error})",
            path=self.path,
            remedy="make it again",
        )

    def _lines(self, most: int) -> tuple[bytes, int]:
        """Return at most so many whole lines of what is read at once, and their number."""
        while (first := self._rest.find(b"\n", self._at)) < 0 and not self._ended:
            if len(self._rest) - self._at > LONGEST:
                self.fail("has no end", line=self.line_number + 1)
            self._fill()
        length = first + 1 - self._at
        if not self._ended and len(self._rest) - self._at < min(PIECE, 2 * most * length):
            self._fill()
        begin, available = self._at, len(self._rest) - self._at
        for window in (max(0, min(available, 2 * most * length)), available):
            end = begin + window
            found = self._rest.count(b"\n", begin, end)
            if found >= most:
                break
        if found == 0:
            self._at = len(self._rest)
            text = self._rest[begin:]
            return text, int(bool(text.strip()))
        if found <= most:
            self._at = self._rest.rfind(b"\n", begin, end) + 1
        else:
            characters = np.frombuffer(self._rest, dtype=np.uint8, count=window, offset=begin)
            self._at = begin + int(np.flatnonzero(characters == NEWLINE)[most - 1]) + 1
        return self._rest[begin : self._at], min(found, most)

    def _cut_short(self, expected: str) -> NoReturn:
        self.fail(
            f"the file ends where {expected} should follow",
            "the file is cut short: make it again",
        )


def _numbers(text: bytes) -> npt.NDArray[np.float64] | None:
    """Return the numbers of a text; None if there is anything else."""
    if b"D" in text or b"d" in text:
        text = text.replace(b"D", b"E").replace(b"d", b"e")
    if not text.strip():
        return np.zeros(0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        with contextlib.suppress(DeprecationWarning, ValueError):
            return np.fromstring(text, dtype=np.float64, sep=" ")
    return None
