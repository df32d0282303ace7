"""Structures with their operators, from whatever file or folder holds them."""

import glob
import os
from collections.abc import Iterable, Sequence
from typing import Any

from moireio.blockfile.calculation import Calculation
from moireio.errors import MissingFileError, MoireioError, unreadable
from moireio.formats.registry import detect_format, format_names, named_format


def open_calculation(
    path: str,
    *,
    label: str | None = None,
    formats: Sequence[str] | None = None,
    **options: Any,
) -> Calculation:
    """Open a file or folder as a calculation, whatever its format.

    Parameters
    ----------
    path : str
        The file or folder.
    label : str, optional
        The name that messages show.
    formats : sequence of str, optional
        Names of the formats that count (`moireio.formats.registry`); by default all.
    **options
        Options of the format's reader.

    Returns
    -------
    Calculation
        A context manager. Its operators are read when they are asked for.

    Raises
    ------
    MoireioError
        If it is of none of these formats, or cannot be read.
    """
    path = os.fspath(path)
    row = detect_format(path, formats)
    if row is None:  # the reader says what is wrong
        row = named_format("moireio" if formats is None else formats[-1])
    return row.read(path, label=label, **options)


def find_calculations(sources: Iterable[str]) -> list[str]:
    """Find calculations behind names: files, folders of files, patterns, lists.

    Parameters
    ----------
    sources : sequence of str
        Files or folders of any format, folders that hold some, glob patterns, or ``@FILE`` with
        one name a line. In a folder a file of another format is left out where a block file of the
        same name is beside it.

    Returns
    -------
    list of str
        Paths, each once, in order.

    Raises
    ------
    MoireioError
        If a name stands for nothing.
    """
    paths: list[str] = []
    for source in sources:
        if source.startswith("@"):
            try:
                with open(source[1:], encoding="utf-8") as stream:
                    names = [line.strip() for line in stream if line.strip()]
            except OSError as error:
                raise unreadable(error, source[1:]) from error
            paths += find_calculations(names)
            continue
        names = [source] if os.path.exists(source) else sorted(glob.glob(source))
        if not names:
            raise MissingFileError("no such file or folder, and no pattern that fits", path=source)
        for name in names:
            paths += _inside(name)
    once: dict[str, str] = {}
    for path in paths:
        once.setdefault(os.path.realpath(path), path)
    return list(once.values())


def _inside(name: str) -> list[str]:
    """Return the calculations that a name stands for: itself, or those in a folder."""
    if not os.path.isdir(name) or detect_format(name) is not None:
        return [name]
    entries = [os.path.join(name, entry) for entry in sorted(os.listdir(name))]
    formats = {entry: detect_format(entry) for entry in entries}
    converted = {_stem(e) for e, row in formats.items() if row and row.name == "moireio"}
    calculations = [
        entry
        for entry, row in formats.items()
        if row and (row.name == "moireio" or _stem(entry) not in converted)
    ]
    if not calculations:
        known = ", ".join(format_names())
        raise MoireioError("holds no calculations", path=name, remedy=f"known formats: {known}")
    return calculations


def _stem(path: str) -> str:
    return os.path.basename(path).partition(".")[0]
