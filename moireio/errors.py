"""The exceptions that the library raises for bad input and for runs that cannot go on."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from typing import Any, Self


class MoireioError(ValueError):
    """Bad input, or a run that cannot go on, described in one line.

    Parameters
    ----------
    what : str
        What is wrong: where, what was expected, what was found.
    path : str or path-like, optional
        The file concerned; it opens the message.
    remedy : str, optional
        What the user can do; it ends the message in parentheses.

    Notes
    -----
    Texts name parameters of the library in backticks, such as `memory`. The commands print the
    option of that name instead.
    """

    def __init__(
        self,
        what: str,
        *,
        path: str | os.PathLike[str] | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.path = None if path is None else str(path)
        self.remedy = remedy

    def __str__(self) -> str:
        """Return ``path: what (remedy)`` on a single line."""
        text = self.what if self.path is None else f"{self.path}: {self.what}"
        if self.remedy:
            text = f"{text} ({self.remedy})"
        return " ".join(text.split())

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with the keyword arguments, so that worker processes can raise it."""
        return _rebuild, (type(self), self.what, self.path, self.remedy)


class DamagedError(MoireioError):
    """A file is cut short, altered, or contradicts itself."""


class _FileError(MoireioError, OSError):
    # OSError fills its attributes in __new__, from positional arguments that are not given here.
    number = 0

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        return OSError.__new__(cls)

    def __init__(
        self,
        what: str,
        *,
        path: str | os.PathLike[str] | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(what, path=path, remedy=remedy)
        self.errno, self.strerror, self.filename = self.number, what, self.path


class MissingFileError(_FileError, FileNotFoundError):
    """A file or folder that was named does not exist."""

    number = errno.ENOENT

    def __init__(
        self,
        what: str = "no such file",
        *,
        path: str | os.PathLike[str] | None = None,
        remedy: str | None = None,
    ) -> None:
        super().__init__(what, path=path, remedy=remedy)


class ExistingFileError(_FileError, FileExistsError):
    """A file or folder that would be written exists already."""

    number = errno.EEXIST


def unreadable(
    error: OSError, path: str | os.PathLike[str], remedy: str | None = None
) -> MoireioError:
    """Return the error of a file that the operating system refused to read.

    Parameters
    ----------
    error : OSError
        Raised when the file was opened or read.
    path : str or path-like
        The file.
    remedy : str, optional
        What the user can do.

    Returns
    -------
    MoireioError
        A `MissingFileError` if the file does not exist.
    """
    if isinstance(error, FileNotFoundError):
        return MissingFileError(path=path, remedy=remedy)
    return MoireioError(f"cannot be read: {error.strerror or error}", path=path, remedy=remedy)


def unwritable(
    error: OSError, path: str | os.PathLike[str], remedy: str | None = None
) -> MoireioError:
    """Return the error of a file that the operating system refused to write.

    Parameters
    ----------
    error : OSError
        Raised when the file was made or written.
    path : str or path-like
        The file.
    remedy : str, optional
        What the user can do.

    Returns
    -------
    MoireioError
        With the system's own reason.
    """
    return MoireioError(f"cannot be written: {error.strerror or error}", path=path, remedy=remedy)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name a file in the errors that are raised inside and name none.

    Parameters
    ----------
    path : str or path-like
        The file, or the label of an open one.

    Yields
    ------
    None
        Once.
    """
    try:
        yield
    except MoireioError as error:
        if error.path is not None:
            raise
        raise type(error)(error.what, path=path, remedy=error.remedy) from error


def first_line(error: BaseException) -> str:
    """Return the first non-empty line of an exception's text, for one-line messages.

    Parameters
    ----------
    error : BaseException
        Any exception, usually a third-party library's.

    Returns
    -------
    str
        That line, or the exception's class name if it has no text.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _rebuild(
    cls: type[MoireioError], what: str, path: str | None, remedy: str | None
) -> MoireioError:
    return cls(what, path=path, remedy=remedy)
