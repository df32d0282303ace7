"""Work folders that vanish, also when a signal ends the process.

What a killed process leaves is known by the lock in it, which vanishes with the process, and is
removed by the next one that needs a folder of the same name.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Collection, Iterator

from moireio.errors import MoireioError
from moireio.runtime import janitor, replace
from moireio.runtime.locks import Lock, acquire

MARK = "moireio.lock"
ENDING = 2.0  # s; workers of a run that was killed may live a moment longer than it

# Both with the process that made the entry: forked workers inherit the tables.
_folders: dict[str, int] = {}
_children: dict[subprocess.Popen, int] = {}


def prefix_beside(target: str) -> str:
    """Return how the names of work folders beside an output begin.

    Parameters
    ----------
    target : str
        The output.

    Returns
    -------
    str
        ``.NAME.part-``; very long names are cut.
    """
    return f".{os.fsdecode(os.fsencode(os.path.basename(target))[:200])}.part-"


@contextlib.contextmanager
def work_folder(prefix: str, parent: str | None = None) -> Iterator[str]:
    """Make an empty folder that is removed in the end.

    Folders of this name that killed processes have left are removed first, and named in a warning.

    Parameters
    ----------
    prefix : str
        Beginning of its name.
    parent : str, optional
        Where it is made; by default ``$TMPDIR`` or the system's place.

    Yields
    ------
    str
        Its path.
    """
    parent = parent or tempfile.gettempdir()
    remove_leftovers(prefix, parent)
    while True:
        path = tempfile.mkdtemp(prefix=prefix, dir=parent)
        _folders[path] = os.getpid()
        try:
            lock = mark(path)
            break
        except (FileNotFoundError, BlockingIOError):  # another process took it for a leftover
            _folders.pop(path, None)
    janitor.note("+folder", os.path.abspath(path))
    try:
        yield path
    finally:
        remove_folder(path)
        lock.release()
        _folders.pop(path, None)
        janitor.note("-folder", os.path.abspath(path))


def mark(folder: str, wait: float = 0.0) -> Lock:
    """Mark a folder as a work folder of this process.

    Parameters
    ----------
    folder : str
        The folder.
    wait : float
        Seconds to wait for another process.

    Returns
    -------
    Lock
        Held as long as the process works in it.

    Raises
    ------
    BlockingIOError
        If another process works in it.
    """
    lock = acquire(os.path.join(folder, MARK), wait=wait)
    with open(lock.path, "w", encoding="utf-8") as stream:
        stream.write(f"moireio {socket.gethostname()}\n")
    return lock


def claim(folder: str, known: Collection[str] = ()) -> Lock:
    """Make a work folder that outlives this process, or take up that of an interrupted run.

    Parameters
    ----------
    folder : str
        The folder.
    known : collection of str
        Names of files that show that the folder is one of moireio without the mark.

    Returns
    -------
    Lock
        Held as long as the process works in it.

    Raises
    ------
    MoireioError
        If another run works in it, or it is no work folder.
    """
    os.makedirs(folder, exist_ok=True)
    names = os.listdir(folder)
    if names and not is_marked(folder) and not set(known) & set(names):
        raise MoireioError(
            f"exists, and holds what is not of moireio: {min(names)}",
            path=folder,
            remedy="move it elsewhere, or choose another output",
        )
    try:
        return mark(folder, wait=ENDING)
    except BlockingIOError:
        raise MoireioError(
            "is in use by another run of the same output",
            path=folder,
            remedy="wait until it has ended, or choose another output",
        ) from None


def is_marked(folder: str) -> bool:
    """Return whether a folder is a work folder of moireio.

    Parameters
    ----------
    folder : str
        The folder.

    Returns
    -------
    bool
        True if it holds the mark of one.
    """
    return _host(folder) is not None


def _host(folder: str) -> str | None:
    """Return the machine of the process that made a work folder; None for other folders."""
    path = os.path.join(folder, MARK)
    if os.path.islink(folder) or os.path.islink(path) or not os.path.isfile(path):
        return None
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            word, _, host = stream.read(300).strip().partition(" ")
    except OSError:
        return None
    return host if word in ("moireio", "") else None  # empty: killed before it wrote


def remove_leftovers(prefix: str, parent: str) -> None:
    """Remove work folders whose processes are gone, and name them in a warning.

    Parameters
    ----------
    prefix : str
        Beginning of their names.
    parent : str
        Where they lie.
    """
    with contextlib.suppress(OSError), os.scandir(parent) as entries:
        made = re.compile(re.escape(prefix) + "[a-z0-9_]{8}")  # as tempfile makes them
        names = sorted(e.name for e in entries if made.fullmatch(e.name))
        removed = [n for n in names if remove_leftover(os.path.join(parent, n))]
        if removed:
            warnings.warn(f"removed what a killed run has left: {', '.join(removed)}", stacklevel=2)


def remove_leftover(folder: str) -> bool:
    """Remove a work folder if its process is gone.

    Parameters
    ----------
    folder : str
        The folder.

    Returns
    -------
    bool
        True if it was removed. Folders in use, of other machines (whose locks may not be seen
        here) and those that are no work folders stay.
    """
    info = os.lstat(folder)
    if stat.S_ISDIR(info.st_mode) and info.st_uid == os.getuid():
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # killed before it was marked; a folder that holds something stays
            return True
    if _host(folder) not in ("", socket.gethostname()):
        return False
    try:
        lock = acquire(os.path.join(folder, MARK), create=False)
    except OSError:
        return False
    remove_folder(folder)
    lock.release()
    return not os.path.lexists(folder)


@contextlib.contextmanager
def end_with_this(process: subprocess.Popen) -> Iterator[None]:
    """Have a signal that ends this process end a child process too.

    Parameters
    ----------
    process : subprocess.Popen
        The child. The caller ends it in the usual case.

    Yields
    ------
    None
        While this holds.
    """
    _children[process] = os.getpid()
    janitor.note("+process", process.pid)
    try:
        yield
    finally:
        _children.pop(process, None)
        janitor.note("-process", process.pid)


def registered() -> frozenset:
    """Return the work folders and child processes of this process that exist now.

    Returns
    -------
    frozenset of str and subprocess.Popen
        To be kept by `remove_all`.
    """
    return frozenset([*_folders, *_children])


def remove_all(keep: Collection = ()) -> None:
    """Remove work folders and end child processes, as a signal handler does before it exits.

    Parameters
    ----------
    keep : collection
        From `registered`; those stay.
    """
    for process, owner in list(_children.items()):
        if owner == os.getpid() and process not in keep:
            process.kill()
    for path, owner in list(_folders.items()):
        if owner == os.getpid() and path not in keep:
            remove_folder(path)


def remove_folder(folder: str) -> None:
    """Remove a work folder, into which a store's threads may still write for a moment.

    What a step that was cut off had laid aside in it comes back first. The mark goes last.

    Parameters
    ----------
    folder : str
        The folder.
    """
    replace.restore(folder)
    for _ in range(20):
        with contextlib.suppress(OSError):
            names = set(os.listdir(folder)) - {MARK}
            for name in names:
                remove_tree(os.path.join(folder, name))
            if not names:
                os.unlink(os.path.join(folder, MARK))
                os.rmdir(folder)
        if not os.path.exists(os.path.join(folder, MARK)):
            return
        time.sleep(0.02)


def remove_tree(path: str) -> None:
    """Remove a file, a link, or a folder with all that is in it, as far as that is allowed.

    Parameters
    ----------
    path : str
        What is removed.
    """
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        os.unlink(path)
