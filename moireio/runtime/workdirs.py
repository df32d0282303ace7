"""Work folders that vanish, also when a signal ends the process."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator

from moireio.runtime import janitor

# Both with the process that made the entry: forked workers inherit the tables.
_folders: dict[str, int] = {}
_children: dict[subprocess.Popen, int] = {}


@contextlib.contextmanager
def work_folder(prefix: str, parent: str | None = None) -> Iterator[str]:
    """Make an empty folder that is removed in the end.

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
    path = tempfile.mkdtemp(prefix=prefix, dir=parent)
    _folders[path] = os.getpid()
    janitor.note("+folder", os.path.abspath(path))
    try:
        yield path
    finally:
        _remove(path)
        _folders.pop(path, None)
        janitor.note("-folder", os.path.abspath(path))


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
            _remove(path)


def _remove(folder: str) -> None:
    """Remove a folder into which a store's threads may still write for a moment."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.02)
