"""Locks in files, which the system releases when their process ends, however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator

from moireio.errors import MoireioError

POLL = 0.02
PATIENCE = 600.0  # s; a lock of `locked` is held for the last step of a write
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF}


class Lock:
    """A lock that this process holds, from `acquire`.

    Parameters
    ----------
    path : str
        The file.
    descriptor : int
        Open on it.
    """

    def __init__(self, path: str, descriptor: int) -> None:
        self.path, self._file = path, os.fdopen(descriptor, "rb")

    def release(self, remove: bool = False) -> None:
        """Give the lock back.

        Parameters
        ----------
        remove : bool
            Remove the file before.
        """
        if self._file.closed:
            return
        if remove:
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        # A forked child that still runs has the same lock: closing alone would not end it.
        with contextlib.suppress(OSError):
            fcntl.flock(self._file, fcntl.LOCK_UN)
        self._file.close()


def acquire(path: str, *, create: bool = True, wait: float = 0.0) -> Lock:
    """Lock a file for this process.

    Parameters
    ----------
    path : str
        The file.
    create : bool
        Make it if it is absent.
    wait : float
        Seconds to wait for another process.

    Returns
    -------
    Lock
        Held. Where the disk has no locks it keeps nobody out.

    Raises
    ------
    BlockingIOError
        If another process holds it.
    OSError
        If the file cannot be opened.
    """
    end = time.monotonic() + wait
    while True:
        descriptor = _open(path, create)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _NO_LOCKS:
                return Lock(path, descriptor)
            os.close(descriptor)
            if not isinstance(error, BlockingIOError) or time.monotonic() >= end:
                raise
            time.sleep(POLL)
            continue
        # The holder before may have removed the file: then this is a lock on nothing.
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return Lock(path, descriptor)
        os.close(descriptor)
        if not create and not os.path.exists(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def _open(path: str, create: bool) -> int:
    flags = os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if create else 0)
    try:
        return os.open(path, os.O_RDWR | flags, 0o666)
    except PermissionError:  # of another user; for a lock it suffices to read it
        if not os.path.exists(path):
            raise
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)


@contextlib.contextmanager
def locked(target: str) -> Iterator[None]:
    """Wait until no other process is about to change a file or folder, and keep others out.

    The lock is a file beside the target, ``.NAME.lock``, that is removed in the end.

    Parameters
    ----------
    target : str
        The file or folder, links resolved.

    Yields
    ------
    None
        While the lock is held.

    Raises
    ------
    MoireioError
        If another process does not finish.
    """
    folder, name = os.path.split(target)
    path = os.path.join(folder, f".{os.fsdecode(os.fsencode(name)[:200])}.lock")
    try:
        lock = acquire(path, wait=PATIENCE)
    except BlockingIOError:
        raise MoireioError(
            "is being written by another program", path=target, remedy="wait until it has ended"
        ) from None
    try:
        yield
    finally:
        lock.release(remove=True)
