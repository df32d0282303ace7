"""Files: text that appears whole or not at all, digests."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from typing import TextIO

from moireio.errors import MoireioError, unwritable
from moireio.runtime.workdirs import work_folder


@contextlib.contextmanager
def write_text(path: str | os.PathLike[str]) -> Iterator[TextIO]:
    """Make a text file that appears whole or not at all.

    Parameters
    ----------
    path : str
        File to make.

    Yields
    ------
    file object
        To be written.
    """
    folder = os.path.dirname(os.path.realpath(path))
    try:
        with work_folder(".moireio-", folder) as work:
            part = os.path.join(work, "text")
            with open(part, "w", encoding="utf-8") as stream:
                yield stream
            os.replace(part, os.path.realpath(path))
    except MoireioError:
        raise
    except OSError as error:
        raise unwritable(error, path) from error


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
