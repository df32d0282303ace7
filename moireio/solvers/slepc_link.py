"""A group of MPI processes that answers commands (see `moireio.solvers.slepc_worker`)."""

import contextlib
import importlib.util
import itertools
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
import weakref
from pathlib import Path

from moireio.errors import MoireioError
from moireio.runtime.processes import die_with_parent
from moireio.runtime.threads import cores
from moireio.runtime.workdirs import end_with_this, work_folder

SCRIPT = str(Path(__file__).with_name("slepc_worker.py"))
MARK = "moireio-worker: "
LONGEST = 0.02  # s between two looks for a reply
PATIENCE = 5.0  # s for the processes to end
INSTALL = "apt-get install python3-slepc4py-real openmpi-bin"
# Lines of the log, and what helps.
KNOWN = (
    (r"no slepc4py", f"{INSTALL}, or let `python` be one that has it"),
    (r"complex:", f"{INSTALL}, and PETSC_DIR of the real one"),
    (r"other MPI", "take the mpirun of the MPI that slepc4py uses"),
    (r"no folder", "let TMPDIR be a folder that all machines share"),
    (r"run .*as root", 'set `launcher` to "mpirun --allow-run-as-root -n 4"'),
    (r"not enough slots", "fewer processes, or mpirun's --oversubscribe"),
    (
        r"signal 9|exit code -9|Killed|oom",
        "was memory exhausted? More machines, or fewer processes on each",
    ),
)


def default_launcher():
    """Return the command that starts one process per core."""
    return f"mpirun -n {cores()}"


def default_python():
    """Return the Python that has slepc4py: this one, else the system's."""
    if importlib.util.find_spec("slepc4py") is None and os.path.exists("/usr/bin/python3"):
        return "/usr/bin/python3"
    return sys.executable


class Link:
    """MPI processes that wait for commands.

    Parameters
    ----------
    launcher : str, optional
        What starts them, as ``mpirun -n 4``; by default one per core.
    python : str, optional
        The Python that has slepc4py.
    """

    def __init__(self, launcher=None, python=None):
        launcher = launcher or default_launcher()
        words = [*split(launcher), python or default_python(), SCRIPT]
        self._stack = contextlib.ExitStack()
        self.folder = self._stack.enter_context(work_folder("moireio-slepc-"))
        # also where Python ends without close()
        self._finalizer = weakref.finalize(self, self._stack.close)
        self._log = os.path.join(self.folder, "log")
        self._numbers, self._launcher = itertools.count(), launcher
        with open(self._log, "wb") as log:
            try:
                self._process = subprocess.Popen(
                    [*words, self.folder, f"{os.getpid()}@{socket.gethostname()}"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=die_with_parent,
                )
            except OSError as error:
                self.close()
                raise MoireioError(
                    f"{words[0]} cannot be started: {error.strerror}",
                    remedy=f"{INSTALL}, or another `launcher`",
                ) from error
        self._stack.enter_context(end_with_this(self._process))
        self._stack.callback(_end, self._process, self.folder, self._numbers)
        #: Bytes of PETSc's indices.
        self.index = self._wait("ready")["index"]

    def ask(self, do, **more):
        """Send a command, and wait for the answer.

        Parameters
        ----------
        do : str
            Its name, a method of `moireio.solvers.slepc_worker.Problem`.
        **more
            Its arguments.

        Returns
        -------
        dict
            The answer.

        Raises
        ------
        MoireioError
            If it failed, or the processes ended.
        """
        number = next(self._numbers)
        _write(self.folder, number, {"do": do, **more})
        answer = self._wait(number)
        os.unlink(self.path(f"command-{number}.json"))
        if "error" in answer:
            raise MoireioError(
                answer["error"], remedy="more machines, or fewer processes on each, have more"
            )
        return answer

    @property
    def alive(self):
        """Whether the processes can be asked."""
        return self._finalizer.alive

    def path(self, name):
        """Return the path of a file in the folder of commands."""
        return os.path.join(self.folder, name)

    def close(self):
        """End the processes, and remove their folder."""
        self._finalizer()

    def _wait(self, number):
        path, pause = self.path(f"reply-{number}.json"), 1e-3
        while True:
            ended = self._process.poll() is not None
            with contextlib.suppress(FileNotFoundError):
                with open(path, encoding="utf-8") as stream:
                    answer = json.load(stream)
                os.unlink(path)
                return answer
            if ended:
                raise self._failure()
            time.sleep(pause)
            pause = min(2 * pause, LONGEST)

    def _failure(self):
        """Return the error that the log of the processes shows."""
        with open(self._log, encoding="utf-8", errors="replace") as stream:
            lines = [line.strip() for line in stream]
        self.close()
        marked = [line.removeprefix(MARK) for line in lines if line.startswith(MARK)]
        known = [line for line in lines for pattern, _ in KNOWN if re.search(pattern, line)]
        plain = [line for line in lines if re.search(r"[a-z]{3}", line)]
        line = [*marked[:1], *known[-1:], *plain[-1:], f"exit code {self._process.returncode}"][0]
        remedy = next((r for pattern, r in KNOWN if re.search(pattern, line)), None)
        return MoireioError(f"{self._launcher}: slepc's processes ended: {line}", remedy=remedy)


def split(launcher):
    """Return the words of a launcher.

    Parameters
    ----------
    launcher : str
        As a shell would read it.

    Returns
    -------
    list of str
        With at least one.
    """
    try:
        words = shlex.split(launcher)
    except ValueError as error:
        raise MoireioError(f"`launcher` {launcher}: {error}") from None
    if not words:
        raise MoireioError("`launcher` is empty", remedy='as in "mpirun -n 4"')
    return words


def missing(launcher, python=None):
    """Return why slepc's processes cannot be started, None if they can.

    Parameters
    ----------
    launcher : str
        As of `Link`.
    python : str, optional
        As of `Link`.

    Returns
    -------
    str or None
        A line.
    """
    words = split(launcher)
    if shutil.which(words[0]) is None:
        return f"there is no {words[0]}"
    try:
        done = subprocess.run(
            [*words, python or default_python(), SCRIPT, "--probe"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    lines = [n for n in (done.stdout + done.stderr).splitlines() if n.startswith(MARK)]
    if done.returncode == 0 and any(f"{MARK}ready" in line for line in lines):
        return None
    return (lines or done.stderr.strip().splitlines() or ["no answer"])[0]


def _write(folder, number, command):
    path = os.path.join(folder, f"command-{number}.json")
    with open(path + ".new", "w", encoding="utf-8") as stream:
        json.dump(command, stream)
    os.replace(path + ".new", path)


def _end(process, folder, numbers):
    """Ask the processes to end; insist after a while."""
    if process.poll() is None:
        with contextlib.suppress(OSError):
            _write(folder, next(numbers), {"do": "end"})
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
