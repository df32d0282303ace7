"""Whole chunks of HDF5 with their checksum, without HDF5's chunk cache.

HDF5 copies a chunk into its cache, from there through its filters, and then writes it. Where
fletcher32 is the only filter, the checksum is as quickly found by NumPy, and the chunk is
written as it is: half the time for large arrays.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import h5py

COLUMNS = 512  # 16-bit words of a row of partial sums
ROWS = 64  # rows at a time: they stay in the cache as float64
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
    p of n enters the second sum n − p times. All sums are exact: below 2^53.
    """
    words = raw.view("<u2")
    whole = len(words) // COLUMNS * COLUMNS
    table = words[:whole].reshape(-1, COLUMNS)
    sums = np.empty((len(table), 2))
    numbers = np.empty((min(ROWS, len(table)), COLUMNS))
    for begin in range(0, len(table), ROWS):
        rows = table[begin : begin + ROWS]
        np.copyto(numbers[: len(rows)], rows)
        np.matmul(numbers[: len(rows)], _weights(), out=sums[begin : begin + ROWS])
    plain = sums[:, 0].astype(np.int64)
    behind = len(words) - COLUMNS * np.arange(1, len(table) + 1)  # words after each row
    rest = words[whole:].astype(np.int64)
    first = int(plain.sum()) + int(rest.sum())
    second = int(sums[:, 1].astype(np.int64).sum())
    second += int((plain * (behind % MODULUS)).sum())
    second += int((rest * np.arange(len(rest), 0, -1)).sum())
    return _folded(second) << 16 | _folded(first)


@cache
def _weights() -> npt.NDArray[np.float64]:
    """Return how often each word of a row enters the two sums, within the row."""
    return np.stack([np.ones(COLUMNS), np.arange(COLUMNS, 0, -1.0)], axis=1)


def _folded(total: int) -> int:
    """Return a sum of words as HDF5 has it: 65535 stands for multiples of it, but not for 0."""
    rest = total * 256 % MODULUS
    return MODULUS if rest == 0 and total > 0 else rest


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
