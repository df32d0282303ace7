"""Features of many edges between the passes of a network: in memory, or in a file."""

import os

import numpy as np
import torch

from moireio.network.irreps import Layout


class FeatureStore:
    """Rows of features.

    Parameters
    ----------
    irreps : Irreps
        Their list.
    rows : int
        How many.
    dtype : torch.dtype
        Of the numbers.
    path : str, optional
        A file; by default the rows are kept in memory.

    Notes
    -----
    A file is read and written by calls, not mapped, so that its pages do not count as memory of the
    process.
    """

    def __init__(self, irreps, rows, dtype, path=None):
        self.layout = Layout(irreps)
        self._dtype = dtype
        self._kind = np.dtype(str(dtype).removeprefix("torch."))
        self._row = self.layout.dim * self._kind.itemsize
        self._file = None
        self._memory = None
        if path is None:
            self._memory = torch.empty(rows, self.layout.dim, dtype=dtype)
        else:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            os.ftruncate(self._file, rows * self._row)

    def close(self):
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def flush(self):
        """Bring what was written to the disk."""
        if self._file is not None:
            os.fsync(self._file)

    def put(self, first, parts):
        """Write consecutive rows.

        Parameters
        ----------
        first : int
            The first row.
        parts : list of (n, 2l + 1, channels) tensors
            Their features, degree by degree.
        """
        flat = torch.cat([p.flatten(1) for p in parts], dim=1).cpu()
        if self._memory is not None:
            self._memory[first : first + len(flat)] = flat
            return
        data = memoryview(flat.contiguous().numpy()).cast("B")
        at = first * self._row
        while len(data):
            done = os.pwrite(self._file, data, at)
            data, at = data[done:], at + done

    def get(self, first, last):
        """Read consecutive rows.

        Parameters
        ----------
        first, last : int
            ``first <= row < last``.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Degree by degree.
        """
        if self._memory is not None:
            return self.layout.split(self._memory[first:last])
        flat = torch.empty(last - first, self.layout.dim, dtype=self._dtype)
        self._read(memoryview(flat.numpy()).cast("B"), first * self._row)
        return self.layout.split(flat)

    def take(self, rows):
        """Read any rows.

        Parameters
        ----------
        rows : (n,) array of int
            Which.

        Returns
        -------
        list of (n, 2l + 1, channels) tensors
            Degree by degree.
        """
        if self._memory is not None:
            return self.layout.split(self._memory[torch.as_tensor(rows)])
        flat = torch.empty(len(rows), self.layout.dim, dtype=self._dtype)
        data = memoryview(flat.numpy()).cast("B")
        for n, row in enumerate(np.asarray(rows).tolist()):
            self._read(data[n * self._row : (n + 1) * self._row], row * self._row)
        return self.layout.split(flat)

    def _read(self, data, at):
        while len(data):
            done = os.preadv(self._file, [data], at)
            if done == 0:
                raise OSError("the work file is shorter than expected")
            data, at = data[done:], at + done
