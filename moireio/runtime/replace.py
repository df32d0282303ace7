"""The last step of writing: what is finished reaches the disk, then takes the place of the old."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

SYNC_THREADS = 8  # a disk's journal takes several files at once
EARLY_BYTES = 64 << 20  # what is written between two calls of the disk
ASIDE = "aside"
ASIDE_FROM = "aside.path"
_NOREPLACE, _EXCHANGE = 1, 2
_NOT_SYNCED = {errno.EINVAL, errno.EBADF, errno.ENOSYS, errno.EOPNOTSUPP, errno.EROFS}
_NO_RENAME = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EXDEV}


def sync(path: str) -> None:
    """Bring a file, or a folder with all that is in it, to the disk.

    Parameters
    ----------
    path : str
        File or folder.

    Raises
    ------
    OSError
        If the disk fails or is full.
    """
    if not os.path.isdir(path):
        _sync_one(path)
        return
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(SYNC_THREADS) as pool:
        list(pool.map(_sync_one, tree(path)))


class EarlySync:
    """Brings a growing file to the disk while it is written, so that little is left for the end.

    Parameters
    ----------
    path : str
        The file.
    """

    def __init__(self, path: str) -> None:
        self._path, self._waiting = path, 0
        self._thread: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    def add(self, nbytes: int) -> None:
        """Count bytes that were written.

        Parameters
        ----------
        nbytes : int
            How many.

        Raises
        ------
        OSError
            If the disk has failed.
        """
        self._waiting += nbytes
        if self._waiting < EARLY_BYTES or (self._last is not None and not self._last.done()):
            return
        self._waiting = 0
        if self._thread is None:
            from concurrent.futures import ThreadPoolExecutor

            self._thread = ThreadPoolExecutor(1)
        last, self._last = self._last, self._thread.submit(_sync_one, self._path)
        if last is not None:
            last.result()

    def close(self) -> None:
        """Wait for the disk.

        Raises
        ------
        OSError
            If it has failed.
        """
        if self._thread is not None and self._last is not None:
            self._thread.shutdown()
            self._last.result()


def tree(folder: str) -> Iterator[str]:
    """Go through a folder and all files and folders in it, links left out.

    Parameters
    ----------
    folder : str
        The folder, which comes last.

    Yields
    ------
    str
        Paths.
    """
    for here, _, files in os.walk(folder, topdown=False):
        yield from (p for f in files if not os.path.islink(p := os.path.join(here, f)))
        yield here


def _sync_one(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:  # some disks do not sync folders
        if error.errno not in _NOT_SYNCED:
            raise
    finally:
        os.close(descriptor)


def sync_folder_of(path: str) -> None:
    """Bring the name of a file to the disk, after it was renamed or removed.

    Parameters
    ----------
    path : str
        The file.
    """
    with contextlib.suppress(PermissionError):
        _sync_one(os.path.dirname(path) or ".")


def place(new: str, path: str, force: bool = True) -> None:
    """Give a finished file its name, with the mode and owner of the file that it replaces.

    Parameters
    ----------
    new : str
        The file, or a folder where nothing is at `path`; on the same disk.
    path : str
        Its name, links resolved.
    force : bool
        Replace a file of this name.

    Raises
    ------
    FileExistsError
        If the name is taken and must not be.
    OSError
        If the disk fails.
    """
    if force and os.path.isfile(path):
        resemble(new, path)
    sync(new)
    if force and not os.path.isdir(new):
        os.replace(new, path)
    else:
        _rename_to_free(new, path)
    sync_folder_of(path)


def exchange(new: str, path: str, work: str) -> str:
    """Let a finished file or folder take the place of another one, of either kind.

    Parameters
    ----------
    new : str
        What is finished.
    path : str
        What it replaces.
    work : str
        A work folder on the same disk. Where the system cannot exchange names at once, what is
        replaced lies there for a moment, and `restore` brings it back after an interruption.

    Returns
    -------
    str
        Where the replaced one is now.

    Raises
    ------
    OSError
        If the disk fails.
    """
    if _renameat2(new, path, _EXCHANGE):
        return new
    aside, note = os.path.join(work, ASIDE), os.path.join(work, ASIDE_FROM)
    with open(note, "w", encoding="utf-8", errors="surrogateescape") as stream:
        stream.write(os.path.relpath(path, os.path.dirname(work)))
    os.rename(path, aside)
    try:
        os.rename(new, path)
    except OSError:
        os.rename(aside, path)
        raise
    os.rename(aside, new)
    return new


def restore(work: str) -> None:
    """Bring back what `exchange` had taken away when its process was killed.

    Parameters
    ----------
    work : str
        The work folder that was left.
    """
    try:
        with open(
            os.path.join(work, ASIDE_FROM), encoding="utf-8", errors="surrogateescape"
        ) as stream:
            path = os.path.join(os.path.dirname(work), stream.read())
        if os.path.isdir(os.path.dirname(path)) and not os.path.lexists(path):
            os.rename(os.path.join(work, ASIDE), path)
    except OSError:
        return


def resemble(new: str, old: str) -> None:
    """Give a file the mode and owner of another one, and its access list, as far as allowed.

    Parameters
    ----------
    new : str
        The file.
    old : str
        Like which it shall be.
    """
    wanted, given = os.stat(old), os.stat(new)
    if (wanted.st_uid, wanted.st_gid) != (given.st_uid, given.st_gid):
        for uid in (wanted.st_uid, -1):  # only root may give files away; groups are less strict
            with contextlib.suppress(OSError):
                os.chown(new, uid, wanted.st_gid)
                break
    with contextlib.suppress(OSError, AttributeError):
        for name in os.listxattr(old):
            with contextlib.suppress(OSError):
                os.setxattr(new, name, os.getxattr(old, name))
    mode = stat.S_IMODE(wanted.st_mode)
    if stat.S_IMODE(os.stat(new).st_mode) != mode:
        with contextlib.suppress(OSError):
            os.chmod(new, mode)


def _rename_to_free(new: str, path: str) -> None:
    """Rename without replacing anything, even if it appears at this moment."""
    if _renameat2(new, path, _NOREPLACE):
        return
    if os.path.isdir(new):
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        os.rename(new, path)  # refuses a folder that holds something
        return
    try:
        os.link(new, path)
    except FileExistsError:
        raise
    except OSError:  # a disk without links
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from None
        os.rename(new, path)
    else:
        os.unlink(new)


def _renameat2(new: str, path: str, flag: int) -> bool:
    """Rename with a flag of Linux; False where system or disk do not know it."""
    import ctypes

    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    here = -100  # AT_FDCWD
    if call(here, os.fsencode(new), here, os.fsencode(path), flag) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_RENAME:
        return False
    raise OSError(number, os.strerror(number), path)
