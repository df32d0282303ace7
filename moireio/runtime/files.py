"""Files that appear whole or not at all, outputs that are pipes or devices, digests."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TextIO

from moireio.errors import ExistingFileError, MissingFileError, MoireioError, unwritable
from moireio.runtime.replace import exchange, place, resemble, sync, sync_folder_of
from moireio.runtime.workdirs import prefix_beside, work_folder

PIECE_BYTES = 1 << 20


#: Names of the descriptors that the process has open already.
_DESCRIPTOR = re.compile(r"/dev/(?:fd/(\d+)|(stdout)|(stderr))|/proc/self/fd/(\d+)")


def descriptor(path: str | os.PathLike[str]) -> int | None:
    """Return the open descriptor that a name stands for.

    Parameters
    ----------
    path : str
        Name of an output.

    Returns
    -------
    int or None
        1 for "-" and ``/dev/stdout``, N for ``/dev/fd/N``; None for every other name.
    """
    name = os.fspath(path)
    if name == "-":
        return 1
    found = _DESCRIPTOR.fullmatch(name)
    if found is None:
        return None
    return 1 if found[2] else 2 if found[3] else int(found[1] or found[4])


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Return whether an output is written into, as pipes and devices are, and never replaced.

    Parameters
    ----------
    path : str
        Name of an output, which need not exist.

    Returns
    -------
    bool
        True for open descriptors, FIFOs and devices without a place, such as ``/dev/null``.
    """
    if descriptor(path) is not None:
        return True
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def is_device(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a device, other than the empty one, which may never end.

    Parameters
    ----------
    path : str or path-like
        Any path that exists.

    Returns
    -------
    bool
        False for files, folders, pipes and sockets.
    """
    mode = os.stat(path).st_mode
    is_empty = os.path.exists(os.devnull) and os.path.samefile(path, os.devnull)
    return (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and not is_empty


def copy_to_stream(source: str, path: str | os.PathLike[str]) -> None:
    """Copy a finished file into a pipe, a device or an open descriptor.

    Parameters
    ----------
    source : str
        The file.
    path : str
        Where it goes; `is_stream` is true for it.

    Raises
    ------
    OSError
        If it cannot be written. A reader that has gone is a BrokenPipeError.
    """
    number = descriptor(path)
    with open(source, "rb") as part:
        if number in (1, 2):
            out = sys.stdout if number == 1 else sys.stderr
            out.flush()
            shutil.copyfileobj(part, out.buffer, PIECE_BYTES)
            out.buffer.flush()
            return
        with open(path if number is None else os.dup(number), "wb") as stream:
            shutil.copyfileobj(part, stream, PIECE_BYTES)


def require_free(*paths: str | os.PathLike[str], force: bool, inputs: Iterable[str] = ()) -> None:
    """Raise if an output exists already; pipes and devices are written into, and may.

    Parameters
    ----------
    *paths : str
        Outputs.
    force : bool
        Whether files may be replaced.
    inputs : iterable of str
        Files that were read, which may not be, nor folders that hold them.

    Raises
    ------
    MoireioError
        Names the first of them that is an input, or exists.
    """
    read = [os.path.realpath(name) for name in inputs]
    for path in paths:
        name, real = os.fspath(path), os.path.realpath(path)
        if not os.path.lexists(path) or is_stream(path):
            continue
        if any(other == real or other.startswith(real + os.sep) for other in read):
            raise MoireioError("is an input too", path=name, remedy="name another file or folder")
        if not force:
            raise ExistingFileError("exists already", path=name, remedy="`force` replaces it")


def shared_texts(
    texts: Mapping[str, str], others: Iterable[str], *, force: bool, inputs: Iterable[str] = ()
) -> dict[str, str]:
    """Return the texts that are still to be written of files that several outputs share.

    Parameters
    ----------
    texts : mapping of str to str
        The text of each such file.
    others : iterable of str
        Outputs of another form or run, to which the files belong as well where they exist.
    force : bool
        Whether files may be replaced.
    inputs : iterable of str
        Files that were read, which may not be.

    Returns
    -------
    dict of str to str
        Those that do not have their text already.

    Raises
    ------
    MoireioError
        If a file exists with another text: without `force`, or if one of `others` exists.
    """
    wanted = {path: text for path, text in texts.items() if not _holds(path, text)}
    other = next((name for name in others if os.path.exists(name)), None)
    for path in wanted:
        if other is not None and os.path.lexists(path):
            raise ExistingFileError(
                f"exists already, and belongs to {other}",
                path=path,
                remedy="name another output, or remove both",
            )
    require_free(*wanted, force=force, inputs=inputs)
    return wanted


def _holds(path: str, text: str) -> bool:
    try:
        with open(path, encoding="utf-8", newline="") as stream:
            return stream.read(len(text) + 1) == text
    except (OSError, UnicodeDecodeError):
        return False


@contextlib.contextmanager
def write_whole(path: str | os.PathLike[str]) -> Iterator[str]:
    """Make a file that appears whole or not at all; pipes and devices get it when it is whole.

    It is on the disk before it gets its name, and keeps the mode and owner of a file that it
    replaces.

    Parameters
    ----------
    path : str
        File to make; "-" is standard output.

    Yields
    ------
    str
        Name of a file that is to be made instead, with the suffix of `path`.

    Raises
    ------
    MoireioError
        If it cannot be written.
    """
    name = os.fspath(path)
    stream = is_stream(name)
    folder = None if stream else os.path.dirname(os.path.realpath(name))
    try:
        prefix = "moireio-" if stream else prefix_beside(os.path.realpath(name))
        with work_folder(prefix, folder) as work:
            part = os.path.join(work, os.path.basename(name))
            yield part
            if stream:
                copy_to_stream(part, name)
            else:
                place(part, os.path.realpath(name))
    except (MoireioError, BrokenPipeError):
        raise
    except OSError as error:
        raise unwritable(error, "standard output" if name == "-" else name) from error


@contextlib.contextmanager
def write_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Make a text file that appears whole or not at all, as `write_whole` does.

    Parameters
    ----------
    path : str
        File to make; "-" is standard output.

    Yields
    ------
    file object
        To be written.
    """
    with write_whole(path) as part, open(part, "w", encoding="utf-8") as stream:
        yield stream


@contextlib.contextmanager
def write_folder(
    path: str | os.PathLike[str], known: Callable[[str], bool], force: bool = False
) -> Iterator[str]:
    """Make a folder that appears whole or not at all.

    Parameters
    ----------
    path : str
        Folder to make.
    known : callable
        Returns for the name of an entry whether such a folder has one. A folder with other entries
        is never replaced.
    force : bool
        Replace a folder that exists.

    Yields
    ------
    str
        Name of an empty folder that is to be filled instead.

    Raises
    ------
    MoireioError
        If there is something already that must not be replaced, or it cannot be written.
    """
    name = os.fspath(path)
    if is_stream(name):
        raise MoireioError("the output is a folder, which needs a name", path=name)
    real = os.path.realpath(name)
    if not os.path.isdir(os.path.dirname(real)):
        remedy = f"mkdir -p {os.path.dirname(real)}"
        raise MissingFileError("its folder does not exist", path=name, remedy=remedy)
    if os.path.lexists(real):
        if not os.path.isdir(real):
            raise ExistingFileError("exists, and is no folder", path=name)
        others = sorted(entry for entry in os.listdir(real) if not known(entry))
        if others:
            raise ExistingFileError(
                f"exists, and holds what is not of this format: {others[0]}",
                path=name,
                remedy="choose another output",
            )
        if not force and os.listdir(real):
            raise ExistingFileError("exists already", path=name, remedy="`force` replaces it")
    try:
        with work_folder(prefix_beside(real), os.path.dirname(real)) as work:
            fresh = os.path.join(work, "new")
            os.mkdir(fresh)
            yield fresh
            if os.path.isdir(real):
                resemble(fresh, real)
                sync(fresh)
                exchange(fresh, real, work)
                sync_folder_of(real)
            else:
                place(fresh, real, force=False)
    except (MoireioError, BrokenPipeError):
        raise
    except FileExistsError as error:
        raise ExistingFileError("was made by another run meanwhile", path=name) from error
    except OSError as error:
        raise unwritable(error, name) from error


def digest_files(*paths: str) -> str:
    """Return a digest of the bytes of files.

    Parameters
    ----------
    *paths : str
        The files, whose order counts.

    Returns
    -------
    str
        ``blake2b:`` and 32 hexadecimal digits.
    """
    state = hashlib.blake2b(digest_size=16)
    for path in paths:
        with open(path, "rb") as stream:
            hashlib.file_digest(stream, lambda: state)
    return f"blake2b:{state.hexdigest()}"
