"""Programs run in folders, one each: claimed, timed, recorded, resumed.

A folder is claimed by a lock that vanishes with its owner, so that an interrupted run is known
from a running one. How a run ended stands in ``run.json``.
"""

import contextlib
import fcntl
import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from moireio.errors import MoireioError
from moireio.runtime.files import write_text
from moireio.runtime.processes import die_with_parent

RECORD = "run.json"
LOCK = "run.lock"
LOG = "run.log"
GRACE = 5.0
POLL = 0.05

Input = TypeVar("Input")


def read_record(folder: str) -> dict[str, Any]:
    """Return the record of the last run in a folder.

    Parameters
    ----------
    folder : str
        The folder.

    Returns
    -------
    dict
        `state` ("running", "ended" or "timeout"), `code` (exit status, negative for a signal),
        `seconds`; empty if nothing ran.
    """
    try:
        with open(os.path.join(folder, RECORD), encoding="utf-8") as stream:
            record = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def is_claimed(folder: str) -> bool:
    """Return whether a run owns the folder now.

    Parameters
    ----------
    folder : str
        The folder.

    Returns
    -------
    bool
        True while its process lives.
    """
    path = os.path.join(folder, LOCK)
    if not os.path.exists(path):
        return False
    with open(path, "rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


class Run:
    """A program that runs in a folder which it owns.

    Parameters
    ----------
    folder : str
        Where it runs; its output goes to ``run.log`` there.
    command : sequence of str
        Program and arguments.
    timeout : float, optional
        Seconds after which it is stopped.
    prepare : callable, optional
        Called when the folder is owned, before the program starts.

    Raises
    ------
    BlockingIOError
        If another run owns the folder.
    MoireioError
        If the program cannot be started.
    """

    def __init__(
        self,
        folder: str,
        command: Sequence[str],
        timeout: float | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self.folder = folder
        self._timeout = timeout
        self._lock = open(os.path.join(folder, LOCK), "wb")  # noqa: SIM115 - held while it runs
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if prepare:
                prepare()
            self._begin = time.monotonic()
            self._write({"state": "running", "command": list(command)})
            with open(os.path.join(folder, LOG), "wb") as log:
                self._process = subprocess.Popen(
                    command,
                    cwd=folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                )
        except BaseException as error:
            self._lock.close()
            if isinstance(error, (BlockingIOError, MoireioError)) or not isinstance(error, OSError):
                raise
            with contextlib.suppress(OSError):
                os.remove(os.path.join(folder, RECORD))
            raise MoireioError(
                f"cannot be started: {error.strerror}", path=command[0], remedy="see `command`"
            ) from error
        self._command = list(command)

    def poll(self) -> bool:
        """Look after the program.

        Returns
        -------
        bool
            True once it has ended and its record is written.
        """
        code = self._process.poll()
        seconds = time.monotonic() - self._begin
        late = code is None and self._timeout is not None and seconds > self._timeout
        if code is None and not late:
            return False
        if late:
            self.stop()
        state = "timeout" if late else "ended"
        record = {"state": state, "code": self._process.returncode, "command": self._command}
        self._write(record | {"seconds": round(seconds, 3)})
        self._lock.close()
        return True

    def stop(self) -> None:
        """End the program and all that it started."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GRACE)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _write(self, record: dict[str, Any]) -> None:
        with write_text(os.path.join(self.folder, RECORD)) as stream:
            json.dump(record, stream)


def run_all(
    tasks: Sequence[tuple[str, str, Input]],
    command: str,
    jobs: int = 1,
    timeout: float | None = None,
    prepare: Callable[[Input], object] | None = None,
) -> Iterator[tuple[str, bool]]:
    """Run a program in many folders, some at a time.

    Parameters
    ----------
    tasks : sequence of (str, str, object)
        Folders, the name of the input in each, and the argument of `prepare`.
    command : str
        As in a shell, split into words; ``{input}`` stands for the input's name, which otherwise
        comes last.
    jobs : int
        Number of programs at a time.
    timeout : float, optional
        Seconds after which one is stopped.
    prepare : callable, optional
        Called once a folder is owned, before the program starts.

    Yields
    ------
    (str, bool)
        A folder whenever its run has ended, and False if another run owned it.

    Raises
    ------
    MoireioError
        If the command cannot be split or started.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise MoireioError(f"`command` {command!r}: {error}") from error
    if not words:
        raise MoireioError("`command` is empty")
    if not any("{input}" in word for word in words):
        words.append("{input}")
    waiting = list(tasks)[::-1]
    running: list[Run] = []
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                folder, name, item = waiting.pop()
                filled = [word.replace("{input}", name) for word in words]
                try:
                    running.append(Run(folder, filled, timeout, prepare and partial(prepare, item)))
                except BlockingIOError:
                    yield folder, False
            ended = [run for run in running if run.poll()]
            running = [run for run in running if run not in ended]
            yield from ((run.folder, True) for run in ended)
            if not ended and running:
                time.sleep(POLL)
    finally:
        for run in running:
            run.stop()
