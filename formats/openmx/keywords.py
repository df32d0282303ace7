"""Keywords and tables of OpenMX's text files, found as OpenMX finds them.

A line is ``keyword value …``; what follows a ``#`` is a comment; a table stands between ``<name``
and ``name>``. Names are in any case. Of several lines or tables with the same name OpenMX takes the
first, and numbers are those of C: no exponents with D.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from moireio.errors import MoireioError

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_FORTRAN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[dD][+-]?\d+", re.ASCII)
_SHOWN = 30  # characters of a wrong word in a message
LONGEST = 100  # characters of a number
LARGEST = 1e12


class Row(list[str]):
    """The words of a line.

    Parameters
    ----------
    words : sequence of str
        Without the comment.
    line : int
        Number of the line in the text, from 1.
    """

    def __init__(self, words: Sequence[str] = (), line: int = 0):
        super().__init__(words)
        self.line = line


@dataclass(frozen=True)
class Keywords:
    """Contents of a text.

    Parameters
    ----------
    label : str
        The file, for messages.
    values : dict of str to Row
        The words behind every keyword (lower case).
    tables : dict of str to list of Row
        The lines of every table (lower case).
    """

    label: str
    values: dict[str, Row] = field(default_factory=dict)
    tables: dict[str, list[Row]] = field(default_factory=dict)

    def word(self, name: str, default: str = "") -> str:
        """Return the first word behind a keyword.

        Parameters
        ----------
        name : str
            The keyword, as it is usually written.
        default : str
            Where there is no such line, or nothing behind the keyword.

        Returns
        -------
        str
            As written.
        """
        words = self.values.get(name.lower())
        return words[0] if words else default

    def number(self, name: str, default: float) -> float:
        """Return the number behind a keyword.

        Parameters
        ----------
        name : str
            The keyword, as it is usually written.
        default : float
            Where there is none.

        Returns
        -------
        float
            Finite.

        Raises
        ------
        MoireioError
            If the word is no number.
        """
        words = self.values.get(name.lower())
        if words is None:
            return default
        return read_number(words[0] if words else "", self.label, f"line {words.line}: {name}")

    def table(self, name: str, shortest: int) -> list[Row]:
        """Return the lines of a table.

        Parameters
        ----------
        name : str
            As it is usually written, without the angle bracket.
        shortest : int
            Words that every line must have.

        Returns
        -------
        list of Row
            Empty where there is no such table.

        Raises
        ------
        MoireioError
            If a line has fewer words.
        """
        rows = self.tables.get(name.lower(), [])
        for row in rows:
            if len(row) < shortest:
                raise MoireioError(
                    f"line {row.line} ({name}) is cut short: {shortest} words expected, "
                    f"{len(row)} found",
                    path=self.label,
                )
        return rows


def split(text: str, label: str, needed: Collection[str] = ()) -> Keywords:
    """Separate keywords from tables.

    Parameters
    ----------
    text : str
        Lines of an input or orbital file.
    label : str
        The file, for messages.
    needed : collection of str
        Tables (lower case) that must end where they begin.

    Returns
    -------
    Keywords
        The first of each name.

    Raises
    ------
    MoireioError
        If one of these tables does not end.
    """
    lines = [Row(line.split("#")[0].split(), n) for n, line in enumerate(text.splitlines(), 1)]
    rows = [row for row in lines if row]
    values: dict[str, Row] = {}
    tables: dict[str, list[Row]] = {}
    at = 0
    while at < len(rows):
        row, at = rows[at], at + 1
        name = row[0].lower()
        if not name.startswith("<") or len(name) == 1:
            values.setdefault(name, Row(row[1:], row.line))
            continue
        end = at
        while end < len(rows) and rows[end][0].lower() != f"{name[1:]}>":
            if rows[end][0].startswith("<"):
                end = len(rows)
            end += 1
        if end < len(rows):
            tables.setdefault(name[1:], rows[at:end])
            at = end + 1
        elif name[1:] in needed and name[1:] not in tables:
            raise MoireioError(
                f"the table {row[0]} of line {row.line} does not end",
                path=label,
                remedy=f"a line {row[0][1:]}> is expected; was the file cut short?",
            )
    return Keywords(label, values, tables)


def read_number(word: str, label: str, place: str, largest: float = LARGEST) -> float:
    """Read a number as C does.

    Parameters
    ----------
    word : str
        The word.
    label, place : str
        The file, and where in it the word stands, for messages.
    largest : float
        Largest magnitude that makes sense.

    Returns
    -------
    float
        Finite.

    Raises
    ------
    MoireioError
        If it is no number, or out of range.
    """
    if len(word) <= LONGEST and _NUMBER.fullmatch(word):
        value = float(word)
        if abs(value) <= largest:
            return value
        raise MoireioError(
            f"{place}: {word[:_SHOWN]} is out of range (at most {largest:g})", path=label
        )
    remedy = "OpenMX stops reading at the D; write E" if _FORTRAN.fullmatch(word) else None
    what = f"{word[:_SHOWN]!r} stands" if word else "nothing stands"
    raise MoireioError(f"{place}: {what} where a number is expected", path=label, remedy=remedy)


def read_integer(word: str, label: str, place: str, smallest: int = 0, largest: int = 10**9) -> int:
    """Read an integer.

    Parameters
    ----------
    word : str
        The word.
    label, place : str
        The file, and where in it the word stands, for messages.
    smallest, largest : int
        Range that makes sense.

    Returns
    -------
    int
        In that range.

    Raises
    ------
    MoireioError
        If it is no integer, or out of range.
    """
    digits = word[1:] if word[:1] in "+-" else word
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
        raise MoireioError(
            f"{place}: {word[:_SHOWN]!r} stands where an integer is expected", path=label
        )
    if not smallest <= int(word) <= largest:
        raise MoireioError(
            f"{place}: {word} is out of range, {smallest} to {largest} expected", path=label
        )
    return int(word)
