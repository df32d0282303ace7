"""Finished k points of a run, kept in a file as they come, from which it goes on."""

import contextlib
import json
import math
import os
import time

import numpy as np

from moireio.errors import MoireioError

SHORT = 10.0  # s


class Record:
    """Energies of finished k points in a file, from which an interrupted run goes on.

    Every line is JSON; the first tells which run it is. Runs of a few seconds leave no file. States
    are kept beside it, in a file without a head.

    Parameters
    ----------
    path : str
        The file; the run removes it when all is done.
    key : dict
        What identifies the run.
    resume : bool
        Go on with what is there, if the key is the same; else begin anew.
    """

    def __init__(self, path, key, resume):
        self._path = path
        self.facts, self.found = {}, {}
        self._stream, self._waiting, self._at_once = None, [], False
        self._begin = time.monotonic()
        known = self._read(key) if resume else None
        if known is None:
            self._write({"key": key})
        else:
            self._stream = open(path, "r+", encoding="utf-8")  # noqa: SIM115
            self._stream.seek(known)
            self._stream.truncate()  # a line that was not finished

    @property
    def states_path(self):
        """The file of states."""
        return self._path.removesuffix(".jsonl") + ".states"

    def fact(self, name, find):
        """Return something that is found once in a run.

        Parameters
        ----------
        name : str
            What it is called.
        find : callable
            Finds it, unless an interrupted run did; returns what JSON can hold.

        Returns
        -------
        object
            What was found.
        """
        if name not in self.facts:
            self.facts[name] = find()
            self._write({"fact": name, "value": self.facts[name]})
        return self.facts[name]

    def states(self, shape):
        """Return an array in a file for the states.

        Parameters
        ----------
        shape : tuple of int
            Its shape.

        Returns
        -------
        numpy.memmap
            Of complex numbers in double precision.
        """
        self._at_once = True  # else an interrupted run would leave states of nothing
        size = 16 * math.prod(shape)
        there = os.path.exists(self.states_path) and os.path.getsize(self.states_path) == size
        if not there:
            self.found = {}
        return np.memmap(self.states_path, np.complex128, "r+" if there else "w+", shape=shape)

    def add(self, task, energies):
        """Keep the energies of a k point.

        Parameters
        ----------
        task : tuple of two int
            Channel and point.
        energies : (nb,) array
            eV.
        """
        self._write({"task": list(task), "energies": [float(e) for e in energies]})

    def close(self, done):
        """Close the files; remove them if the run is done."""
        if self._stream is not None:
            self._stream.close()
        for path in (self._path, self.states_path) if done else ():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)

    def _write(self, record):
        self._waiting.append(json.dumps(record) + "\n")
        late = self._at_once or time.monotonic() - self._begin >= SHORT
        if self._stream is None and late and "key" not in record:
            self._stream = open(self._path, "w", encoding="utf-8")  # noqa: SIM115
        if self._stream is not None:
            self._stream.writelines(self._waiting)
            self._stream.flush()
            self._waiting = []

    def _read(self, key):
        """Read what is there; return how many bytes of it are whole, None if nothing fits."""
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
                    "belongs to another run", path=self._path, remedy="remove it, or no --resume"
                )
            if "fact" in record:
                self.facts[record["fact"]] = record["value"]
            if "task" in record:
                self.found[tuple(record["task"])] = np.array(record["energies"])
            size += len(line)
        return size or None
