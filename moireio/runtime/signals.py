"""Signals while a command runs: neither work folders nor child processes outlive it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

ENDING = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]

Handler = Callable[[int, FrameType | None], None]


@contextlib.contextmanager
def end_on_signals() -> Iterator[None]:
    """Have signals end this process at once and tidied up, as suits one that runs one command.

    No exception is raised, which libraries might swallow or answer with a traceback, and code in C
    does not delay the end: signals have their default effect, and `janitor` tidies up afterwards.
    Ctrl-C prints one line.

    Yields
    ------
    None
        While this holds; afterwards the handlers are those of before.
    """
    from moireio.runtime import janitor

    with janitor.watching() as watched:
        if watched:
            yield
            return
        with _handlers(dict.fromkeys((*ENDING, signal.SIGINT), _end)):
            yield


@contextlib.contextmanager
def tidy_on_signals() -> Iterator[None]:
    """Tidy up when a signal arrives in a process that runs more than this command.

    Ctrl-C raises KeyboardInterrupt, as it does in any Python code; the work folders and child
    processes that began inside the block are gone then. Signals that would end the process end it,
    after its work folders are removed. Handlers of the caller's own are not touched.

    Yields
    ------
    None
        While this holds; afterwards the handlers are those of before.
    """
    from moireio.runtime import workdirs

    before = workdirs.registered()
    unhandled = [n for n in ENDING if signal.getsignal(n) is signal.SIG_DFL]
    with _handlers(dict.fromkeys(unhandled, _tidy_and_end)):
        try:
            yield
        except KeyboardInterrupt:
            workdirs.remove_all(keep=before)
            raise


@contextlib.contextmanager
def _handlers(wanted: dict[int, Handler]) -> Iterator[None]:
    before: dict[int, Any] = {}
    try:
        for number, handler in wanted.items():
            with contextlib.suppress(ValueError):  # another thread than the main one
                before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # None: set by another language, which Python cannot restore
                signal.signal(number, handler)


def _remove_all() -> None:
    # Nothing to remove where the module was never imported, and imports in handlers take time.
    if workdirs := sys.modules.get("moireio.runtime.workdirs"):
        workdirs.remove_all()


def _end(number: int, frame: FrameType | None) -> None:
    if "multiprocessing.process" in sys.modules:
        for process in sys.modules["multiprocessing.process"].active_children():
            process.terminate()
    _remove_all()
    if number == signal.SIGINT:
        os.write(2, b"error: interrupted\n")
    os._exit(128 + number)


def _tidy_and_end(number: int, frame: FrameType | None) -> None:
    _remove_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
