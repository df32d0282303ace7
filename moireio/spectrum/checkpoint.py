"""Finished k points of a long run, kept in a file from which an interrupted run continues."""

import contextlib
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.runtime.locks import Lock, acquire
from moireio.runtime.workdirs import ENDING
from moireio.spectrum.anchors.record import AnchorRecord

if TYPE_CHECKING:
    from moireio.spectrum.anchors.anchor import Anchor
    from moireio.spectrum.choice import SolverChoice

SHORT = 10.0  # s


def solver_key(choice: "SolverChoice") -> list:
    """Return the part of the key of a run that a solver sets: its options that change results.

    Whether levels are counted everywhere is one of them.

    Parameters
    ----------
    choice : SolverChoice
        How to solve.

    Returns
    -------
    list
        For JSON.
    """
    given, anchoring = choice.options.get, choice.anchoring
    options = given("drop"), given("overlap_cutoff"), bool(given("verify_count"))
    return [choice.name, *options, anchoring.direct, anchoring.tolerance]


@contextlib.contextmanager
def checkpointed(
    path: str | None, key: Callable[[], Any], resume: bool
) -> Iterator["Checkpoint | None"]:
    """Keep the finished k points of a run, unless no file is wanted.

    Parameters
    ----------
    path : str or None
        The file.
    key : callable
        Returns what identifies the run (see `Checkpoint`); called only if there is a file.
    resume : bool
        Continue from an existing file.

    Yields
    ------
    Checkpoint or None
        Its files are removed if the block ends without an exception.
    """
    if path is None:
        yield None
        return
    checkpoint = Checkpoint(path, key(), resume)
    done = False
    try:
        yield checkpoint
        done = True
    finally:
        checkpoint.close(done)


class Checkpoint:
    """Energies of finished k points, from which an interrupted run continues.

    Every line of the file is JSON; the first one identifies the run. Runs of a few seconds leave
    no file. States, or what was computed from them, are kept in an array beside it, and in a third
    file the anchors from which the levels at other k points follow. One run at a time has the
    files.

    Parameters
    ----------
    path : str
        The file; it is removed when the run is done.
    key : dict
        Identifies the run: input, k points and options that change results.
    resume : bool
        Continue from an existing file; else begin anew.

    Attributes
    ----------
    finished : dict of (int, int) to array
        Energies of finished k points, by spin channel and k point, eV.
    anchors : dict of int to list of Anchor
        k points that the interrupted run solved for others, by spin channel.

    Raises
    ------
    MoireioError
        If the file belongs to a run with another key, or another run is writing it.
    """

    def __init__(self, path: str, key: Any, resume: bool) -> None:
        self._path = path
        self._lock: Lock | None = None
        self.values: dict[str, Any] = {}
        self.finished: dict[tuple[int, int], npt.NDArray[np.float64]] = {}
        self._stream: IO[str] | None = None
        self._waiting: list[str] = []
        self._write_at_once = False
        self._begin = time.monotonic()
        self._record = AnchorRecord(self._beside("anchors"), key)
        self.anchors: dict[int, list[Anchor]] = {}
        self._waiting_anchors: list[tuple[int, Anchor]] = []
        try:
            if os.path.lexists(path) or os.path.lexists(self._beside("anchors")):
                self._own()
            size = self._read(key) if resume else None
            if resume:
                self.anchors = self._record.read()
            if size is None:
                if self._lock is not None and not resume:
                    what = "of an interrupted run is not used (`resume` goes on from it)"
                    warnings.warn(f"{path} {what}", stacklevel=2)
                self._write({"key": key})
            else:
                stream = self._stream = open(path, "r+", encoding="utf-8")  # noqa: SIM115
                stream.seek(size)
                stream.truncate()  # a line that was not finished
        except BaseException:
            self.close(done=False)
            raise

    def _own(self) -> None:
        """Keep other runs from the files."""
        if self._lock is None:
            try:
                self._lock = acquire(self._path, wait=ENDING)
            except BlockingIOError:
                raise MoireioError(
                    "is being written by another run of the same output",
                    path=self._path,
                    remedy="wait until it has ended, or choose another output",
                ) from None

    @property
    def array_path(self) -> str:
        """The file of the array."""
        return self._beside("states")

    def _beside(self, ending: str) -> str:
        return self._path.removesuffix(".jsonl") + f".{ending}"

    def once(self, name: str, compute: Callable[[], Any]) -> Any:
        """Return a value that is computed once in a run, however often it is interrupted.

        Parameters
        ----------
        name : str
            Its name in the file.
        compute : callable
            Returns the value, which JSON must be able to hold; not called if the file has it.

        Returns
        -------
        object
            The value.
        """
        if name not in self.values:
            self.values[name] = compute()
            self._write({"fact": name, "value": self.values[name]})
        return self.values[name]

    def array(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.memmap:
        """Return an array in a file.

        Parameters
        ----------
        shape : tuple of int
            Its shape.
        dtype : numpy dtype
            Its type.

        Returns
        -------
        numpy.memmap
            With the values of the interrupted run, if its file is there; if not, the finished k
            points are forgotten.
        """
        self._write_at_once = True  # else the energies of an interrupted run could be missing
        size = np.dtype(dtype).itemsize * math.prod(shape)
        path = self.array_path
        self._own()
        exists = os.path.exists(path) and os.path.getsize(path) == size
        if not exists:
            self.finished = {}
        return np.memmap(path, dtype, "r+" if exists else "w+", shape=shape)

    def add(self, task: tuple[int, int], energies: npt.NDArray[np.float64]) -> None:
        """Keep the energies of a k point.

        Parameters
        ----------
        task : tuple of two int
            Spin channel and k point.
        energies : (nb,) array
            eV.
        """
        self._write({"task": list(task), "energies": [float(e) for e in energies]})

    def add_anchor(self, channel: int, anchor: "Anchor") -> None:
        """Keep a k point that was solved for others, with its states, as soon as files are made.

        Parameters
        ----------
        channel : int
            Spin channel.
        anchor : Anchor
            Levels and states.
        """
        self._waiting_anchors.append((channel, anchor))
        self._write(None)

    def close(self, done: bool) -> None:
        """Close the files, and remove them if the run is done.

        Parameters
        ----------
        done : bool
            Whether the run has its results.
        """
        if self._stream is not None:
            self._stream.close()
        self._record.close()
        if self._lock is None:
            return
        if done:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.array_path)
            self._record.remove()
        self._lock.release(remove=done)

    def _write(self, record: dict[str, Any] | None) -> None:
        """Write a record, or None besides them, and all that waits, unless the run is young."""
        if record is not None:
            self._waiting.append(json.dumps(record) + "\n")
        late = self._write_at_once or time.monotonic() - self._begin >= SHORT
        if self._stream is None and late and (record is None or "key" not in record):
            self._own()
            self._stream = open(self._path, "w", encoding="utf-8")  # noqa: SIM115
        if self._stream is not None:
            self._stream.writelines(self._waiting)
            self._stream.flush()
            self._waiting = []
            for channel, anchor in self._waiting_anchors:
                self._record.add(channel, anchor)
            self._waiting_anchors = []

    def _read(self, key: Any) -> int | None:
        """Read the file; return the bytes of its complete lines, None if there are none."""
        try:
            with open(self._path, "rb") as stream:
                lines = stream.read().splitlines(keepends=True)
        except FileNotFoundError:
            return None
        size = 0
        for n, line in enumerate(lines):
            try:
                record = json.loads(line)
            except ValueError:
                break
            if not line.endswith(b"\n"):
                break
            if n == 0 and record.get("key") != json.loads(json.dumps(key)):
                raise MoireioError(
                    "belongs to another run", path=self._path, remedy="remove it, or no `resume`"
                )
            if "fact" in record:
                self.values[record["fact"]] = record["value"]
            if "task" in record:
                self.finished[tuple(record["task"])] = np.array(record["energies"])
            size += len(line)
        return size or None
