"""Files of DeepH that have an array for each pair, named ``[R1, R2, R3, i, j]``: HDF5 and npz."""

from __future__ import annotations

import json
import os
import reprlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError, naming
from moireio.formats.deeph.blocks import NUMBERS, StoredBlocks, can_map, map_file, offset_in_file
from moireio.formats.deeph.files import open_hdf5
from moireio.formats.text.npz import is_npz, open_npz
from moireio.store.hdf5_guard import own_dataset
from moireio.system.pairs import Pairs

LARGEST_TYPE = 16  # bytes of a complex number
#: Raises, or not: (array with shape and dtype, pair, path).
Check = Callable[[Any, int, str], None]


def block_list(paths: Sequence[str]) -> tuple[npt.NDArray[np.int64], list[list[str]]]:
    """Return which blocks files have.

    Parameters
    ----------
    paths : sequence of str
        The files, pieces of one.

    Returns
    -------
    listed : (n, 5) array of int
        R1, R2, R3, i, j of all blocks.
    names : list of lists of str
        Their names by file.

    Raises
    ------
    MoireioError
        If there is something else in a file.
    DamagedError
        If two files have the same block.
    """
    keys, names = [], []
    for path in paths:
        names.append(_own_names(path))
        for name in names[-1]:
            keys.append(key_of(name, path))
    seen: dict[str, str] = {}
    for path, here in zip(paths, names, strict=True) if len(paths) > 1 else ():
        for name in here:
            if name in seen:
                raise DamagedError(
                    f"block {name} is in {os.path.basename(seen[name])} too",
                    path=path,
                    remedy="the pieces are of different runs; keep those of one",
                )
            seen[name] = path
    return np.array(keys, dtype=np.int64).reshape(-1, 5), names


def key_of(name: str, path: str) -> list[int]:
    """Return the integers of a block's name.

    Parameters
    ----------
    name : str
        Such as ``[0, 0, 0, 1, 1]``.
    path : str
        Its file, for messages.

    Returns
    -------
    list of five int
        R1, R2, R3, i, j.

    Raises
    ------
    MoireioError
        If it is no such name.
    """
    try:
        key = json.loads(name)
    except (ValueError, RecursionError):
        key = None
    fits = isinstance(key, list) and len(key) == 5 and all(type(n) is int for n in key)
    if not fits or max(map(abs, key)) >= 2**31:
        raise MoireioError(
            f"{reprlib.repr(name)} is no name of a block, [R1, R2, R3, i, j] expected",
            path=path,
            remedy="DeepH's files have nothing else",
        )
    return key


def _own_names(path):
    """Return the names of what lies in a file itself."""
    if is_npz(path):
        with open_npz(path) as file:
            return list(file.members)
    import h5py

    links: list[tuple[bytes, int]] = []
    with open_hdf5(path) as file:
        file.id.links.iterate(lambda name, info: links.append((name, info.type)), info=True)
        names = [name.decode("utf-8", "surrogateescape") for name, _ in links]
        for name, (_, kind) in zip(names, links, strict=True):
            if kind != h5py.h5l.TYPE_HARD:
                own_dataset(file, name, path)
    return names


class Collector:
    """Finds where the blocks of pairs lie.

    Parameters
    ----------
    pairs : Pairs
        All pairs.
    shapes : (n, 2) array of int
        Rows and columns of their blocks.
    check : callable
        Called with an array that has another shape or type than expected (or lies in pieces),
        its pair and its file; raises, or lets it pass.
    """

    def __init__(self, pairs: Pairs, shapes: npt.NDArray[np.int64], check: Check) -> None:
        self._pairs, self._shapes, self._check = pairs, shapes.tolist(), check
        self._buffers: list[Any] = []
        self._dtypes: list[np.dtype] = []
        self._where, self._kind, self._offsets = np.zeros((3, len(pairs)), dtype=np.int64)

    def add(self, path: str, names: Sequence[str], members: Sequence[int]) -> None:
        """Find the blocks of a file.

        Parameters
        ----------
        path : str
            The file.
        names : sequence of str
            Names of the blocks.
        members : sequence of int
            Their pairs.
        """
        if is_npz(path):
            self._add_npz(path, names, members)
        else:
            self._add_hdf5(path, names, members)

    def _add_npz(self, path, names, members):
        loaded, filled = [], 0
        with open_npz(path) as file:
            for name, p in zip(names, members, strict=True):
                rows, columns = self._shapes[p]
                array = file.array(name, 4 * rows * columns * LARGEST_TYPE)
                self._check(array, p, path)
                loaded.append(np.ascontiguousarray(array).view(np.uint8).ravel())
                self._put(p, len(self._buffers), array.dtype, filled)
                filled += len(loaded[-1])
        self._buffers.append(np.concatenate(loaded) if loaded else np.zeros(0, np.uint8))

    def _add_hdf5(self, path, names, members):
        loaded, filled = [], 0
        with naming(path), open_hdf5(path) as file:
            mapped = map_file(path) if can_map(file, path) else None
            first = len(self._buffers)
            self._buffers.append(np.zeros(0, np.uint8) if mapped is None else mapped)
            for name, p in zip(names, members, strict=True):
                found = None if mapped is None else _place(file, name, self._shapes[p])
                if found is not None and found[0] + found[2] <= len(mapped):
                    self._put(p, first, found[1], found[0])
                    continue
                dataset = own_dataset(file, name, path)
                self._check(dataset, p, path)
                loaded.append(np.ascontiguousarray(dataset[()]).view(np.uint8).ravel())
                self._put(p, first + 1, dataset.dtype, filled)
                filled += len(loaded[-1])
        self._buffers.append(np.concatenate(loaded) if loaded else np.zeros(0, np.uint8))

    def _put(self, pair, buffer, dtype, offset):
        if dtype not in self._dtypes:
            self._dtypes.append(dtype)
        self._where[pair], self._offsets[pair] = buffer, offset
        self._kind[pair] = self._dtypes.index(dtype)

    def first_complex(self) -> int | None:
        """Return the first pair whose block is complex where others are real; None without one."""
        is_complex = np.array([dtype.kind == "c" for dtype in self._dtypes])[self._kind]
        return (
            int(np.flatnonzero(is_complex)[0]) if 0 < is_complex.sum() < len(is_complex) else None
        )

    def blocks(self, least: npt.DTypeLike) -> StoredBlocks:
        """Return the blocks.

        Parameters
        ----------
        least : dtype
            Smallest type of what is returned.

        Returns
        -------
        StoredBlocks
            Where they lie.
        """
        return StoredBlocks(
            self._pairs,
            self._buffers,
            self._dtypes,
            self._where,
            self._kind,
            self._offsets,
            least,
        )


def _place(file, name, shape):
    """Return offset, type and bytes of a block that lies in one piece; None if it does not."""
    import h5py

    try:
        dataset = h5py.h5d.open(file.id, name.encode("utf-8", "surrogateescape"))
        dtype = dataset.dtype
        if dataset.shape != tuple(shape) or dtype.name not in NUMBERS:
            return None
        count = shape[0] * shape[1]
        offset = offset_in_file(dataset, dtype, count)
    except (KeyError, TypeError, ValueError, OSError, RuntimeError):
        return None  # what is wrong with it is said where it is read
    return None if offset is None else (offset, dtype, count * dtype.itemsize)
