"""NumPy's ``.npz`` files from elsewhere: zips of arrays, read within bounds, no pickles."""

from __future__ import annotations

import ast
import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MissingFileError, MoireioError, first_line
from moireio.formats.structures.text import plain_name
from moireio.formats.text.streams import expanded

MAGIC = b"\x93NUMPY"
HEADER_BYTES = 4096
REMEDY = "the file is damaged; make it again"


def is_npz(path: str) -> bool:
    """Return whether a file is a ``.npz`` by its name, compressed further or not.

    Parameters
    ----------
    path : str
        The file.

    Returns
    -------
    bool
        True also for ``.npz.gz``.
    """
    return plain_name(path).endswith(".npz")


@contextmanager
def open_npz(path: str) -> Iterator[Npz]:
    """Open a ``.npz``, compressed further or not; what is wrong inside becomes a `MoireioError`.

    Parameters
    ----------
    path : str
        The file.

    Yields
    ------
    Npz
        Open for reading.

    Raises
    ------
    MoireioError
        If it is absent, no zip, or damaged.
    """
    if not os.path.isfile(path):
        raise MissingFileError(path=path)
    try:
        image = expanded(path)
        with zipfile.ZipFile(path if image is None else io.BytesIO(image)) as file:
            yield Npz(file, path)
    except (MoireioError, MemoryError):
        raise
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        ValueError,
        NotImplementedError,
        RuntimeError,
        KeyError,
    ) as error:
        raise DamagedError(f"cannot be read: {first_line(error)}", path=path, remedy=REMEDY) from (
            error
        )


class Npz:
    """An open ``.npz``.

    Parameters
    ----------
    file : zipfile.ZipFile
        Open for reading.
    path : str
        Its path, for messages.
    """

    def __init__(self, file: zipfile.ZipFile, path: str) -> None:
        self._file, self._path = file, path
        self.members = {
            info.filename.removesuffix(".npy"): info
            for info in file.infolist()
            if info.filename.endswith(".npy")
        }

    def raw(self, name: str, most: int) -> bytes:
        """Return the bytes of a member.

        Parameters
        ----------
        name : str
            Its name, without ``.npy``.
        most : int
            Bytes that it may have.

        Returns
        -------
        bytes
            With the header of the array.

        Raises
        ------
        DamagedError
            If there are more.
        """
        info = self.members[name]
        if info.file_size > most:
            raise DamagedError(
                f"{name} stands for {info.file_size} bytes, {most} at most expected",
                path=self._path,
                remedy=REMEDY,
            )
        with self._file.open(info) as stream:
            return stream.read(most + 1)

    def array(self, name: str, most: int) -> npt.NDArray[np.generic]:
        """Return an array of numbers.

        Parameters
        ----------
        name : str
            Its name.
        most : int
            Bytes that its elements may take.

        Returns
        -------
        array
            Numbers; there are no pickles in it.

        Raises
        ------
        DamagedError
            If it is no array of numbers, or larger.
        """
        return parse_npy(self.raw(name, most + HEADER_BYTES), f"{self._path}: {name}")


def parse_npy(raw: bytes, label: str) -> npt.NDArray[np.generic]:
    """Return the array of the bytes of a ``.npy``.

    Parameters
    ----------
    raw : bytes
        All of them.
    label : str
        For messages.

    Returns
    -------
    array
        Numbers, read-only.

    Raises
    ------
    DamagedError
        If it is no array of numbers, or the bytes are not those of its shape.
    """
    dtype, shape, fortran, begin = npy_header(raw, label)
    if dtype.kind not in "biufc":
        raise DamagedError(f"holds {dtype}, numbers expected", path=label, remedy=REMEDY)
    count = 1
    for length in shape:
        count *= length
    if len(raw) - begin != count * dtype.itemsize:
        raise DamagedError(
            f"has the shape {shape} of {dtype}, but {len(raw) - begin} bytes of elements",
            path=label,
            remedy=REMEDY,
        )
    flat = np.frombuffer(raw, dtype=dtype, offset=begin)
    return flat.reshape(shape, order="F" if fortran else "C")


def npy_header(raw: bytes, label: str) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """Return the contents of the header of a ``.npy``.

    Parameters
    ----------
    raw : bytes
        Its beginning at least.
    label : str
        For messages.

    Returns
    -------
    dtype : dtype
        Element type; may be one of objects.
    shape : tuple of int
        Shape.
    fortran : bool
        Whether the first index is the fastest.
    begin : int
        Where the elements begin.

    Raises
    ------
    DamagedError
        If it is none.
    """
    damaged = DamagedError("is no array of NumPy", path=label, remedy=REMEDY)
    if not raw.startswith(MAGIC) or len(raw) < 12:
        raise damaged
    wide = raw[6] >= 2
    begin = 12 if wide else 10
    length = int.from_bytes(raw[8:begin], "little")
    if length > HEADER_BYTES or begin + length > len(raw):
        raise damaged
    try:
        fields = ast.literal_eval(raw[begin : begin + length].decode("utf-8").strip())
        descr, fortran, shape = fields["descr"], fields["fortran_order"], fields["shape"]
        if not isinstance(descr, str) or not isinstance(fortran, bool):
            raise damaged
        dtype = np.dtype(descr)
        fits = isinstance(shape, tuple) and all(type(n) is int and 0 <= n < 2**40 for n in shape)
    except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError) as error:
        raise damaged from error
    if not fits or len(shape) > 8:
        raise damaged
    return dtype, shape, fortran, begin + length
