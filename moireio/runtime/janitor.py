"""A process that tidies up after a command that a signal has ended.

While C code runs, which can be long, Python's signal handlers wait. So commands leave signals
their usual effect, which ends them at once, and what remains to be done is done by a small process
that was forked at the start: it removes the work folders, and ends the child processes, of which
it was notified. What made the command end it learns from faulthandler, whose handlers are C and
write into a pipe before the signal takes effect. After any other end (kill -9, a crash) it does
nothing: the next run removes and names what was left.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NoReturn

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]


class Janitor:
    """The process, as the command sees it.

    Parameters
    ----------
    child : int
        Its number.
    notes, ended, interrupted : int
        Write ends of the pipes of notes, of signals that end processes, and of Ctrl-C.
    """

    def __init__(self, child: int, notes: int, ended: int, interrupted: int) -> None:
        self.child = child
        self.pipes = (notes, ended, interrupted)
        self.before: dict[int, Any] = {}

    def watch(self) -> None:
        """Give signals their default effect, after a word to the janitor."""
        _, ended, interrupted = self.pipes
        for number in (*ENDING, signal.SIGINT):
            handler = signal.getsignal(number)
            if handler is signal.SIG_IGN and number != signal.SIGINT:
                continue  # as nohup wants it
            self.before[number] = handler
            signal.signal(number, signal.SIG_DFL)
            pipe = interrupted if number == signal.SIGINT else ended
            faulthandler.register(number, file=pipe, all_threads=False, chain=True)

    def note(self, text: str) -> None:
        """Send a note.

        Parameters
        ----------
        text : str
            See the function `note`.
        """
        with contextlib.suppress(OSError):
            os.write(self.pipes[0], os.fsencode(text) + b"\0")

    def leave(self) -> None:
        """Part from the janitor, in this process."""
        for number in self.before:
            faulthandler.unregister(number)
        for pipe in self.pipes:
            os.close(pipe)

    def dismiss(self) -> None:
        """Part from the janitor and wait for its end; the handlers of before come back."""
        self.leave()
        for number, handler in self.before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.child, 0)


_janitors: list[Janitor] = []  # one at most


def note(kind: Literal["+folder", "-folder", "+process", "-process"], what: str | int) -> None:
    """Notify the janitor, if there is one, of something that must not outlive this process.

    Parameters
    ----------
    kind : {"+folder", "-folder", "+process", "-process"}
        What begins or ends to exist.
    what : str or int
        Path of the folder, or the process's number.
    """
    for janitor in _janitors:
        janitor.note(f"{kind} {what}")


@contextlib.contextmanager
def watching() -> Iterator[bool]:
    """Have signals end this process at once, and a janitor tidy up after it.

    Ctrl-C prints one line. SIGHUP that is ignored, as by nohup, stays so.

    Yields
    ------
    bool
        False if there can be no janitor; signals are then as before. A second one inside of the
        first changes nothing.
    """
    if _janitors:
        yield True
        return
    janitor = _fork()
    if janitor is None:
        yield False
        return
    janitor.watch()
    _janitors.append(janitor)
    try:
        yield True
    finally:
        _janitors.clear()
        janitor.dismiss()


def _leave_in_child() -> None:
    for janitor in _janitors:
        janitor.leave()
    _janitors.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_in_child)


def _fork() -> Janitor | None:
    if not hasattr(os, "fork") or threading.current_thread() is not threading.main_thread():
        return None
    pipes = [os.pipe() for _ in range(3)]
    reads, writes = [read for read, _ in pipes], [write for _, write in pipes]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
        try:
            child = os.fork()
        except OSError:
            child = None
    if child == 0:
        _work(reads)
    for pipe in reads if child else [*reads, *writes]:
        os.close(pipe)
    if child is None:
        return None
    for write in writes[1:]:
        os.set_blocking(write, False)
    return Janitor(child, *writes)


def _work(reads: Sequence[int]) -> NoReturn:
    """Keep the list of what exists until the command is gone; tidy up if a signal ended it."""
    try:
        for number in (*ENDING, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        with contextlib.suppress(OSError):
            os.setsid()
        _close_all_but(reads)
        existing = _listen(reads[0])
        ended, interrupted = (bool(os.read(read, 1)) for read in reads[1:])
        if ended or interrupted:
            _tidy(existing)
        if interrupted:
            os.write(2, b"error: interrupted\n")
    finally:
        os._exit(0)


def _close_all_but(reads: Sequence[int]) -> None:
    # Whoever waits for the end of the command's output must not wait for this process.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    kept = [2, *sorted(reads)]
    for low, high in zip(kept, [*kept[1:], os.sysconf("SC_OPEN_MAX")], strict=True):
        os.closerange(low + 1, high)


def _listen(pipe: int) -> set[tuple[bytes, bytes]]:
    """Return kinds and names of all that exists when the other end is closed."""
    existing: set[tuple[bytes, bytes]] = set()
    buffer = b""
    while piece := os.read(pipe, 65536):
        *notes, buffer = (buffer + piece).split(b"\0")
        for text in notes:
            kind, _, what = text[1:].partition(b" ")
            if text.startswith(b"+"):
                existing.add((kind, what))
            else:
                existing.discard((kind, what))
    return existing


def _tidy(existing: set[tuple[bytes, bytes]]) -> None:
    from moireio.runtime.workdirs import remove_folder

    for kind, what in existing:
        if kind == b"process":
            with contextlib.suppress(OSError):
                os.kill(int(what), signal.SIGKILL)
    folders = [os.fsdecode(what) for kind, what in existing if kind == b"folder"]
    for pause in (0, 0.1):  # workers that end with the command may write for a moment
        folders = [folder for folder in folders if os.path.exists(folder)]
        if folders:
            time.sleep(pause)
        for folder in folders:
            remove_folder(folder)
