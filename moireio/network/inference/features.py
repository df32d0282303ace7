"""Features of many edges between the passes of a network: in memory, or in a file."""

import os

import numpy as np
import numpy.typing as npt
import torch

from moireio.network.irreps import Irreps, Layout


class FeatureStore:
    """Rows of features.

    Parameters
    ----------
    irreps : Irreps
        List of the features.
    rows : int
        Number of rows.
    dtype : torch.dtype
        Precision.
    path : str, optional
        File that keeps the rows; by default they stay in memory.
    orders : bool
        Features of edges, order by order; otherwise of atoms, degree by degree.

    Notes
    -----
    A file is read and written by calls, not mapped, so that its pages do not count as memory of the
    process.
    """

    def __init__(
        self,
        irreps: Irreps,
        rows: int,
        dtype: torch.dtype,
        path: str | None = None,
        orders: bool = False,
    ) -> None:
        self.layout = Layout(irreps)
        self._split = self.layout.split_orders if orders else self.layout.split
        self._dtype = dtype
        self._kind = np.dtype(str(dtype).removeprefix("torch."))
        self._row = self.layout.dim * self._kind.itemsize
        self._file: int | None = None
        self._memory: torch.Tensor | None = None
        if path is None:
            self._memory = torch.empty(rows, self.layout.dim, dtype=dtype)
        else:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            os.ftruncate(self._file, rows * self._row)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def flush(self) -> None:
        """Bring all written rows to the disk."""
        if self._file is not None:
            os.fsync(self._file)

    def put(self, first: int, parts: list[torch.Tensor]) -> None:
        """Write consecutive rows.

        Parameters
        ----------
        first : int
            The first row.
        parts : list of (n, components, channels) tensors
            Their features, by degree or by order.
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

    def get(self, first: int, last: int) -> list[torch.Tensor]:
        """Read consecutive rows.

        Parameters
        ----------
        first, last : int
            First row, and the row after the last.

        Returns
        -------
        list of (n, components, channels) tensors
            By degree or by order.
        """
        if self._memory is not None:
            return self._split(self._memory[first:last])
        flat = torch.empty(last - first, self.layout.dim, dtype=self._dtype)
        self._read(memoryview(flat.numpy()).cast("B"), first * self._row)
        return self._split(flat)

    def take(self, rows: npt.NDArray[np.int64]) -> list[torch.Tensor]:
        """Read any rows.

        Parameters
        ----------
        rows : (n,) array of int
            Numbers of the rows.

        Returns
        -------
        list of (n, components, channels) tensors
            By degree or by order.
        """
        if self._memory is not None:
            return self._split(self._memory[torch.as_tensor(rows)])
        flat = torch.empty(len(rows), self.layout.dim, dtype=self._dtype)
        data = memoryview(flat.numpy()).cast("B")
        for n, row in enumerate(np.asarray(rows).tolist()):
            self._read(data[n * self._row : (n + 1) * self._row], row * self._row)
        return self._split(flat)

    def _read(self, data: memoryview, at: int) -> None:
        while len(data):
            done = os.preadv(self._file, [data], at)
            if done == 0:
                raise OSError("the work file is shorter than expected")
            data, at = data[done:], at + done
