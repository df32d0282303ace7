"""Work folders that vanish, also when a signal ends the process."""

import contextlib
import os
import shutil
import tempfile
import time

_live = {}
_children = []


@contextlib.contextmanager
def work_folder(prefix, parent=None):
    """Give an empty folder that is removed in the end.

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
    _live[path] = os.getpid()
    try:
        yield path
    finally:
        _remove(path)
        _live.pop(path, None)


def end_with_this(process):
    """Have a child process (of `subprocess`) end when a signal ends this one."""
    _children.append((process, os.getpid()))


def remove_all():
    """Remove work folders and end child processes, as a signal handler does before it exits."""
    for process, owner in _children:
        if owner == os.getpid():
            process.kill()
    for path, owner in list(_live.items()):
        if owner == os.getpid():
            _remove(path)


def _remove(folder):
    """Remove a folder into which a store's threads may still write for a moment."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not os.path.exists(folder):
            return
        time.sleep(0.02)
