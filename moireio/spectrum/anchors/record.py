"""Anchors of a run in a file, from which an interrupted run goes on."""

import contextlib
import hashlib
import json
import os
import zlib
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from moireio.spectrum.anchors.anchor import Anchor

KINDS = "<c16", "<c8", "<f8", "<f4"


class AnchorRecord:
    """Anchors in a file, each of them synced as it is found.

    The file begins with a line that names the run. An anchor is a line of JSON and the bytes of its
    states, and after them of their changes. What was cut off or damaged at the end is passed over.

    Parameters
    ----------
    path : str
        The file.
    key : object
        Identifies the run, for JSON.
    """

    def __init__(self, path: str, key: object) -> None:
        text = json.dumps(key).encode()
        self._head = json.dumps({"run": hashlib.blake2b(text, digest_size=16).hexdigest()}) + "\n"
        self._path = path
        self._size = 0  # bytes of whole anchors
        self._stream: IO[bytes] | None = None

    def read(self) -> "dict[int, list[Anchor]]":
        """Return the anchors that an interrupted run left, by spin channel.

        Returns
        -------
        dict of int to list of Anchor
            Empty if there is no file, or it is of another run.
        """
        found: dict[int, list[Anchor]] = {}
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb") as stream:
            end = os.fstat(stream.fileno()).st_size
            if stream.readline(len(self._head)) != self._head.encode():
                return found
            self._size = stream.tell()
            while one := _read(stream, end):
                found.setdefault(one[0], []).append(one[1])
                self._size = stream.tell()
        return found

    def add(self, channel: int, anchor: "Anchor") -> None:
        """Keep an anchor.

        Parameters
        ----------
        channel : int
            Its spin channel.
        anchor : Anchor
            With its states.
        """
        if self._stream is None:
            self._stream = open(self._path, "r+b" if self._size else "wb")  # noqa: SIM115
            if not self._size:
                self._stream.write(self._head.encode())
            else:
                self._stream.seek(self._size)
                self._stream.truncate()  # an anchor that was not finished
        states = anchor.states
        if anchor.responses is not None:
            states = np.concatenate([states, anchor.responses], axis=1)
        kind = states.dtype.newbyteorder("<").str
        states = np.ascontiguousarray(states, dtype=kind)
        line = {
            "channel": int(channel),
            "k": [float(x) for x in anchor.k],
            "first": int(anchor.first),
            "energies": [float(e) for e in anchor.energies],
            "states": [kind, *states.shape],
            "crc": zlib.crc32(states.data),
        }
        self._stream.write(json.dumps(line).encode() + b"\n")
        self._stream.write(states.data)
        self._stream.flush()
        os.fsync(self._stream.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._stream is not None:
            self._stream.close()

    def remove(self) -> None:
        """Remove the file, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


def _read(stream: IO[bytes], end: int) -> "tuple[int, Anchor] | None":
    """Return the spin channel and the next anchor of a file of a size; None if it is not whole."""
    from moireio.spectrum.anchors.anchor import Anchor

    try:
        line: dict[str, Any] = json.loads(stream.readline())
        kind, rows, columns = line["states"]
        if kind not in KINDS:
            return None
        size = int(rows) * int(columns) * np.dtype(kind).itemsize
        if not 0 <= size <= end - stream.tell():
            return None
        data = stream.read(size)
        if zlib.crc32(data) != line["crc"]:
            return None
        states: npt.NDArray = np.frombuffer(data, kind).reshape(rows, columns)
        count = len(line["energies"])
        responses = states[:, count:] if columns > count else None
        k, energies = np.array(line["k"]), np.array(line["energies"])
        return line["channel"], Anchor(k, energies, states[:, :count], line["first"], responses)
    except (ValueError, KeyError, TypeError):
        return None
