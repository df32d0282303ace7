"""Blocks of DeepH's files where they lie: nothing is read before it is asked for.

A dataset that HDF5 keeps in one piece is mapped into memory, so that any block is found by its
offset and memory does not grow with the file. Chunked and compressed ones are read at once.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from moireio.operators.blocks import gather
from moireio.system.pairs import Pairs

if TYPE_CHECKING:
    import h5py

NUMBERS = ("float16", "float32", "float64", "complex64", "complex128")
RESIDENT_BYTES = 64 << 20
PAGE = 1 << 12


class BlockFile(Protocol):
    """The blocks of an operator, in the order of the file's own orbitals.

    Parameters
    ----------
    pairs : Pairs
        All pairs.
    dtype : dtype
        Type of the blocks that `take` returns.
    in_order : bool
        Whether the orbitals have moireio's order already, whatever the layout.
    """

    pairs: Pairs
    dtype: np.dtype
    in_order: bool

    def take(
        self, members: npt.NDArray[np.int64], shape: tuple[int, int]
    ) -> npt.NDArray[np.inexact]:
        """Return the blocks of some pairs of one shape, (p, rows, columns), not to be changed."""


class StoredBlocks:
    """Blocks at known places of mapped files or of arrays in memory.

    Parameters
    ----------
    pairs : Pairs
        All pairs.
    buffers : sequence of buffer
        Mapped files and arrays of bytes.
    dtypes : sequence of dtype
        Element types that occur.
    where : (n,) array of int
        Buffer of every pair.
    kind : (n,) array of int
        Type of every pair, an index of `dtypes`.
    offsets : (n,) array of int
        Byte of the buffer at which the block begins.
    least : dtype
        Smallest type of the blocks that `take` returns.
    """

    in_order = False

    def __init__(
        self,
        pairs: Pairs,
        buffers: Sequence[mmap.mmap | npt.NDArray[np.uint8]],
        dtypes: Sequence[np.dtype],
        where: npt.NDArray[np.integer],
        kind: npt.NDArray[np.integer],
        offsets: npt.NDArray[np.int64],
        least: npt.DTypeLike,
    ) -> None:
        self.pairs = pairs
        self.dtype = np.result_type(least, *(d.newbyteorder("=") for d in dtypes))
        self._buffers, self._dtypes = list(buffers), list(dtypes)
        self._where, self._kind, self._offsets = where, kind, offsets
        self._touched = 0

    def take(
        self, members: npt.NDArray[np.int64], shape: tuple[int, int]
    ) -> npt.NDArray[np.inexact]:
        """Return the blocks of some pairs of one shape, (p, rows, columns)."""
        if len(self._buffers) == len(self._dtypes) == 1:
            return self._take(0, members, shape)
        places = self._where[members] * len(self._dtypes) + self._kind[members]
        groups = np.unique(places)
        if len(groups) == 1:
            return self._take(int(groups[0]), members, shape)
        out = np.empty((len(members), *shape), dtype=self.dtype)
        for place in groups:
            mine = np.flatnonzero(places == place)
            out[mine] = self._take(int(place), members[mine], shape)
        return out

    def _take(self, place, members, shape):
        where, kind = divmod(place, len(self._dtypes))
        dtype, buffer = self._dtypes[kind], self._buffers[where]
        nbytes = shape[0] * shape[1] * dtype.itemsize
        offsets = self._offsets[members]
        first, total = int(offsets[0]) if len(offsets) else 0, len(offsets) * nbytes
        if first % dtype.alignment == 0 and (np.diff(offsets) == nbytes).all():
            raw = np.frombuffer(buffer, np.uint8, total, first)  # one after another: no copy
        else:
            raw = gather(buffer, offsets, nbytes)
        self._release(buffer, len(members) * (nbytes + PAGE))
        blocks = raw.view(dtype).reshape(len(members), *shape)
        return blocks if dtype == self.dtype else blocks.astype(self.dtype)

    def _release(self, buffer, nbytes):
        """Give mapped pages back now and then, so that memory does not grow with the file."""
        self._touched += nbytes
        if self._touched > RESIDENT_BYTES and hasattr(buffer, "madvise"):
            buffer.madvise(mmap.MADV_DONTNEED)
            self._touched = 0


def offset_in_file(dataset: h5py.h5d.DatasetID, dtype: np.dtype, count: int) -> int | None:
    """Return where in its file the values of a dataset lie, in one piece and as they are.

    Parameters
    ----------
    dataset : h5py.h5d.DatasetID
        The dataset.
    dtype : dtype
        Its type for NumPy.
    count : int
        Number of its elements.

    Returns
    -------
    int or None
        Byte of the file; None where they are chunked, compact, in another file, or absent.
    """
    offset = dataset.get_offset()
    if offset is None or count == 0 or dataset.get_storage_size() != count * dtype.itemsize:
        return None
    return int(offset)


def map_file(path: str) -> mmap.mmap:
    """Map a file for reading.

    Parameters
    ----------
    path : str
        The file, not empty.

    Returns
    -------
    mmap
        Its bytes.
    """
    with open(path, "rb") as stream:
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def can_map(file: h5py.File, path: str) -> bool:
    """Return whether offsets of an open HDF5 file are bytes of the file on disk.

    Parameters
    ----------
    file : h5py.File
        Open for reading.
    path : str
        Its path.

    Returns
    -------
    bool
        False for files with a user block and those that are not on disk.
    """
    return file.userblock_size == 0 and file.driver != "core" and os.path.isfile(path)
