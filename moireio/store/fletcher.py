"""Whole chunks of HDF5 with their checksum, without HDF5's chunk cache.

HDF5 copies a chunk into its cache, from there through its filters, and then writes it. Where
fletcher32 is the only filter, the checksum is as quickly found by NumPy, and the chunk is
written as it is: half the time for large arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import h5py

COLUMNS = 4096  # 16-bit words of a row
ROWS = 1 << 16  # rows at a time: sums of words stay below 2^32
MODULUS = 65535


def fletcher32(raw: npt.NDArray[np.uint8]) -> int:
    """Return HDF5's Fletcher-32 checksum.

    Parameters
    ----------
    raw : (n,) array of uint8
        The bytes; n is even.

    Returns
    -------
    int
        The sum of the sums of 16-bit words in the upper half, the sum of the words in the lower
        half, both modulo 65535.

    Notes
    -----
    HDF5 reads words with the upper byte first. Exchanging the bytes of a word multiplies it by
    256 modulo 65535, so the words are summed as they lie and the sums multiplied. A word at place
    p of n enters the second sum n − p times. With p = COLUMNS · row + column both sums follow
    from those of the rows and those of the columns, which NumPy finds without converting words.
    """
    words = raw.view("<u2")
    first = second = 0
    for begin in range(0, len(words), ROWS * COLUMNS):
        part = words[begin : begin + ROWS * COLUMNS]
        whole = len(part) // COLUMNS * COLUMNS
        table = part[:whole].reshape(-1, COLUMNS)
        rows = np.add.reduce(table, axis=1, dtype=np.uint32).astype(np.int64)
        columns = np.add.reduce(table, axis=0, dtype=np.uint32).astype(np.int64)
        rest = part[whole:].astype(np.int64)
        behind = len(words) - begin - COLUMNS * np.arange(len(table))  # with the row itself
        first += int(rows.sum()) + int(rest.sum())
        second += int((rows * (behind % MODULUS)).sum()) - int((columns * _PLACES).sum())
        last = len(words) - begin - whole
        second += int((rest * (last - np.arange(len(rest)))).sum())
    return _folded(second, first) << 16 | _folded(first, first)


_PLACES = np.arange(COLUMNS, dtype=np.int64)


def _folded(total: int, words: int) -> int:
    """Return a sum as HDF5 has it: 65535 stands for multiples of it, but not if all words are 0."""
    return total * 256 % MODULUS or (MODULUS if words else 0)


class ChunkWriter:
    """Writes runs along the last axis of an array in HDF5, whole chunks past its cache.

    Parameters
    ----------
    dataset : h5py.Dataset
        Open for writing. Its properties are asked for once: each costs HDF5 a copy of them.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset
        self._shape, self._dtype = dataset.shape, dataset.dtype
        chunks = dataset.chunks or ()
        only = dataset.fletcher32 and dataset.compression is None and not dataset.shuffle
        nbytes = chunks[-1] * self._dtype.itemsize if chunks else 0
        single = all(n == 1 for n in chunks[:-1])
        fits = only and single and nbytes % 2 == 0 and self._dtype.byteorder != ">"
        self._length = chunks[-1] if chunks and fits else 0
        self._chunk: npt.NDArray[np.uint8] | None = None  # values and checksum

    def write(self, values: npt.NDArray[Any], start: int) -> None:
        """Write a run.

        Parameters
        ----------
        values : (n,) or (c, n) array
            The run.
        start : int
            Its first place in the last axis.
        """
        written = self._write_whole(values, start)
        if written < values.shape[-1]:
            end = start + values.shape[-1]
            self._dataset[..., start + written : end] = values[..., written:]

    def _write_whole(self, values: npt.NDArray[Any], start: int) -> int:
        """Write the whole chunks at the beginning of a run; return the places written."""
        length = self._length
        if length == 0 or start % length or self._dtype != values.dtype:
            return 0
        if values.ndim != len(self._shape) or values.shape[:-1] != self._shape[:-1]:
            return 0
        whole = values.shape[-1] // length * length
        nbytes = length * self._dtype.itemsize
        if not whole:
            return 0
        if self._chunk is None:
            self._chunk = np.empty(nbytes + 4, dtype=np.uint8)
        chunk = self._chunk
        for lead in np.ndindex(values.shape[:-1]):
            for at in range(0, whole, length):
                chunk[:nbytes].view(self._dtype)[...] = values[(*lead, slice(at, at + length))]
                chunk[nbytes:].view("<u4")[...] = fletcher32(chunk[:nbytes])
                self._dataset.id.write_direct_chunk((*lead, start + at), chunk)
        return whole
