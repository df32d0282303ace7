"""Files of other programs, compressed or not: found, opened, read as lines."""

from __future__ import annotations

import contextlib
import io
import lzma
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO

from moireio.errors import DamagedError, MissingFileError, MoireioError, unreadable
from moireio.formats.structures.text import BOM, COMPRESSED, MAGIC, plain_name

PIECE = 1 << 22
LONGEST_LINE = 1 << 24
LARGEST_EXPANDED = 2 << 30  # bytes of a compressed file


def beside(folder: str, *names: str) -> str | None:
    """Return the first file of some names in a folder, as it is or compressed.

    Parameters
    ----------
    folder : str
        Where to look; "" is the current folder.
    *names : str
        File names, the most wanted first.

    Returns
    -------
    str or None
        Its path.
    """
    for name in names:
        for suffix in ("", *COMPRESSED):
            path = os.path.join(folder, name + suffix)
            if os.path.isfile(path):
                return path
    return None


def require_companions(companions: Sequence[str]) -> None:
    """Raise if one of the further files of a calculation does not exist.

    Parameters
    ----------
    companions : sequence of str
        Files or folders.

    Raises
    ------
    MissingFileError
        With the first that is missing.
    """
    for companion in companions:
        if not os.path.exists(companion):
            raise MissingFileError("no such file or folder", path=companion)


def finder(path: str, companions: Sequence[str]) -> Callable[..., str | None]:
    """Return a function that finds the files of a calculation by their names.

    Parameters
    ----------
    path : str
        The file that the user named, or a folder.
    companions : sequence of str
        Further files.

    Returns
    -------
    callable
        It takes names, the most wanted first, and returns the file named, a companion, or a file in
        the same folder, compressed or not; None where there is none.

    Raises
    ------
    MissingFileError
        If a further file does not exist.
    """
    require_companions(companions)
    is_folder = os.path.isdir(path)
    folder = path if is_folder else os.path.dirname(path)
    given = {plain_name(name): name for name in (*companions, *(() if is_folder else (path,)))}

    def find(*names: str) -> str | None:
        return next((given[name] for name in names if name in given), None) or beside(
            folder, *names
        )

    return find


def require_known_name(path: str, label: str, known: bool, program: str, names: str) -> None:
    """Raise if a file has no name by which a program's files are recognised.

    Parameters
    ----------
    path : str
        The file that the user named, or a folder.
    label : str
        The name that messages show.
    known : bool
        Whether its name is one of them.
    program : str
        For the message.
    names : str
        Some of them.

    Raises
    ------
    MoireioError
        Otherwise the file would be passed over, and those beside it read.
    """
    if not known and not os.path.isdir(path):
        raise MoireioError(
            f"has no name by which files of {program} are recognised",
            path=label,
            remedy=f"call it as {program} does: {names}",
        )


@contextlib.contextmanager
def opened(path: str) -> Iterator[BinaryIO]:
    """Open a file, compressed (gzip, bzip2, xz) or not.

    Parameters
    ----------
    path : str
        The file; compression is recognised by its first bytes.

    Yields
    ------
    binary file
        Its contents.

    Raises
    ------
    MoireioError
        If it cannot be read, or its compressed data is damaged, also while it is read.
    """
    if os.path.isdir(path):
        raise MoireioError("is a folder, a file expected", path=path)
    try:
        with open(path, "rb") as raw:
            start = raw.read(6)
            raw.seek(0)
            opener = next((o for magic, o in MAGIC.items() if start.startswith(magic)), None)
            if opener is None:
                yield raw
            else:
                with opener(raw) as stream:
                    yield stream
    except MoireioError:
        raise
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise _cut(path, error) from error
    except OSError as error:
        if error.errno is None:  # gzip's and bz2's word for damaged data
            raise _cut(path, error) from error
        raise unreadable(error, path) from error


def _cut(path: str, error: BaseException) -> DamagedError:
    return DamagedError(
        f"its compressed data is damaged or cut short ({error})", path=path, remedy="make it again"
    )


def first_bytes(path: str, count: int = 4096) -> bytes:
    """Return the beginning of a file, expanded; nothing where it cannot be read.

    Parameters
    ----------
    path : str
        Any path.
    count : int
        Bytes.

    Returns
    -------
    bytes
        At most so many.
    """
    if not os.path.isfile(path):
        return b""
    try:
        with opened(path) as stream:
            return stream.read(count)
    except MoireioError:
        return b""


def lines(path: str) -> Iterator[str]:
    """Yield the lines of a text file, compressed or not.

    Parameters
    ----------
    path : str
        The file.

    Yields
    ------
    str
        Without the end of the line.

    Raises
    ------
    MoireioError
        If it is absent, damaged or no text.
    """
    with opened(path) as stream:
        rest = b""
        first = True
        while piece := stream.read(PIECE):
            piece, first = piece.removeprefix(BOM) if first else piece, False
            if b"\0" in piece:
                raise MoireioError("is binary, text expected", path=path)
            *whole, rest = (rest + piece).split(b"\n")
            if len(rest) > LONGEST_LINE:
                raise MoireioError("has a line of more than 16 MiB: it is no such text", path=path)
            for line in whole:
                yield line.rstrip(b"\r").decode("utf-8", "replace")
        if rest:
            yield rest.rstrip(b"\r").decode("utf-8", "replace")


def expanded(path: str) -> bytes | None:
    """Return the contents of a compressed file.

    Parameters
    ----------
    path : str
        The file, compressed or not.

    Returns
    -------
    bytes or None
        All of it, for files that are read at any place, such as HDF5; None where it is not
        compressed.

    Raises
    ------
    MoireioError
        If it is absent, damaged, or expands to more than 2 GiB.
    """
    if not os.path.isfile(path):
        raise MissingFileError(path=path)
    with open(path, "rb") as raw:
        start = raw.read(6)
    if not any(start.startswith(magic) for magic in MAGIC):
        return None
    buffer = io.BytesIO()
    with opened(path) as stream:
        while piece := stream.read(PIECE):
            buffer.write(piece)
            if buffer.tell() > LARGEST_EXPANDED:
                raise MoireioError("expands to more than 2 GiB", path=path, remedy="gunzip it")
    return buffer.getvalue()
