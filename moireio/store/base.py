"""The interface that every container offers."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError
from moireio.store.changes import State

CHUNK_BYTES = 1 << 20
SHARD_CHUNKS = 64
SEAL = "metadata_crc"
COMPRESSIONS = ("none", "lzf", "gzip", "zstd")


@dataclass(frozen=True)
class ArrayInfo:
    """Shape and type of an array, known without reading it.

    Parameters
    ----------
    shape : tuple of int
        Its shape.
    dtype : str
        NumPy's name of the element type, or "string".
    """

    shape: tuple[int, ...]
    dtype: str


@runtime_checkable
class Container(Protocol):
    """A tree of groups, arrays and attributes; names are paths such as ``structure/cell``.

    The root is the empty name. Reading raises `moireio.errors.DamagedError` for whatever the
    back-end finds wrong, naming the file and the array.
    """

    kind: str
    path: str
    label: str
    state: State
    """What identifies it, as it was opened (`moireio.store.changes.state_of`)."""

    def groups(self, name: str = "") -> list[str]:
        """Return the names of the groups directly inside a group, sorted."""

    def arrays(self, name: str = "") -> list[str]:
        """Return the names of the arrays directly inside a group, sorted."""

    def attributes(self, name: str = "") -> dict[str, Any]:
        """Return a group's attributes as a dict of plain Python values."""

    def info(self, name: str) -> ArrayInfo:
        """Return the `ArrayInfo` of an array."""

    def stored_bytes(self, name: str) -> int:
        """Return the bytes that an array takes on disk, compressed as they are."""

    def read(
        self, name: str, start: int | None = None, stop: int | None = None, axis: int = -1
    ) -> npt.NDArray[Any]:
        """Read an array, or ``start:stop`` of its first (0) or last (-1) axis."""

    def create_group(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Make a group (and those above it) and set attributes."""

    def set_attributes(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Set attributes of an existing group."""

    def create_array(
        self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, compression: str = "none"
    ) -> int | None:
        """Make an empty array; return the length of the runs in which it is best written."""

    def write(
        self, name: str, values: npt.ArrayLike, start: int | None = None, axis: int = -1
    ) -> None:
        """Write all of an array, or a run from `start` along its first or last axis."""

    def close(self) -> None:
        """Flush and close."""


def plain(value: Any) -> Any:
    """Return an attribute of any back-end as a plain Python value.

    Parameters
    ----------
    value : object
        A NumPy scalar or array, bytes, or a plain value.

    Returns
    -------
    str, int, float, bool or list
        The same, without NumPy.
    """
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    if isinstance(value, (str, int, float)):
        return value
    raise TypeError(f"an attribute is of the type {type(value).__name__}")


def seal(container: Container, group: str) -> None:
    """Record a checksum of what no chunk's checksum covers: attributes, names, shapes, texts.

    Parameters
    ----------
    container : Container
        Open for writing; the group is complete.
    group : str
        Its name; groups inside it have seals of their own.
    """
    container.set_attributes(group, {SEAL: _metadata_crc(container, group)})


def verify(container: Container, group: str) -> dict[str, Any]:
    """Compare a group with its seal; a group without one (another writer's) passes.

    Parameters
    ----------
    container : Container
        Open for reading.
    group : str
        Its name.

    Returns
    -------
    dict
        The group's attributes without the seal.

    Raises
    ------
    DamagedError
        If they do not fit.
    """
    attributes = container.attributes(group)
    stored = attributes.pop(SEAL, None)
    if stored is not None and stored != _metadata_crc(container, group):
        raise DamagedError(
            f"/{group}: attributes, shapes or texts do not fit their checksum",
            path=container.label,
            remedy="the file was altered; make it again",
        )
    return attributes


def _metadata_crc(container: Container, group: str) -> int:
    attributes = container.attributes(group)
    attributes.pop(SEAL, None)
    arrays = {}
    for name in container.arrays(group) if group else ():
        path = f"{group}/{name}"
        info = container.info(path)
        text = [str(v) for v in container.read(path)] if info.dtype == "string" else None
        arrays[name] = [info.dtype, list(info.shape), text]
    parts = json.dumps([attributes, arrays], sort_keys=True, ensure_ascii=True)
    return zlib.crc32(parts.encode("ascii"))


def write_array(
    container: Container, name: str, values: npt.ArrayLike, compression: str = "none"
) -> None:
    """Write a whole array.

    Parameters
    ----------
    container : Container
        Open for writing.
    name : str
        Its path.
    values : array or sequence of str
        Its contents; texts become a list.
    compression : {"none", "lzf", "gzip", "zstd"}
        How it is stored, if it is large.
    """
    values = np.asarray(values)
    dtype: npt.DTypeLike = values.dtype
    if values.dtype.kind in "UO":
        values, dtype = values.astype(object).ravel(), "string"
    # Small arrays gain nothing from a filter and cost a chunk index each.
    compression = compression if values.nbytes > 4096 else "none"
    container.create_array(name, values.shape, dtype, compression=compression)
    container.write(name, values)


def fill_value(dtype: np.dtype[Any]) -> float | complex | int | bool:
    """Return the value of an element before it is written: NaN where the type has one.

    Parameters
    ----------
    dtype : numpy.dtype
        Element type.

    Returns
    -------
    float, complex, int or bool
        The fill value.
    """
    if dtype.kind == "c":
        return complex(np.nan, np.nan)
    if dtype.kind == "f":
        return np.nan
    return False if dtype.kind == "b" else 0


def long_axis(shape: tuple[int, ...]) -> int:
    """Return the axis along which an array is cut: 0 for tables of few columns, else -1.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array.

    Returns
    -------
    int
        0 or -1.
    """
    return 0 if len(shape) > 1 and shape[-1] < 64 and shape[0] > shape[-1] else -1


def axis_slice(start: int | None, stop: int | None, axis: int) -> Any:
    """Return the index expression of ``start:stop`` along the first or last axis.

    Parameters
    ----------
    start, stop : int or None
        Bounds.
    axis : {0, -1}
        Axis.

    Returns
    -------
    tuple or slice
        For ``array[...]``.
    """
    return slice(start, stop) if axis == 0 else (Ellipsis, slice(start, stop))


def chunk_shape(shape: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return the chunk of an array: about 1 MiB along its long axis.

    Parameters
    ----------
    shape : tuple of int
        Shape of the array, without zeros.
    dtype : numpy.dtype
        Element type.

    Returns
    -------
    tuple of int
        Chunk shape; leading axes of `(c, n)` data are cut singly, small arrays not at all.
    """
    if int(np.prod(shape, dtype=np.int64)) * dtype.itemsize <= CHUNK_BYTES:
        return tuple(shape)
    if long_axis(shape) == 0:
        row = int(np.prod(shape[1:], dtype=np.int64)) * dtype.itemsize
        return (min(shape[0], max(1, CHUNK_BYTES // row)), *shape[1:])
    return (*(1 for _ in shape[:-1]), min(shape[-1], CHUNK_BYTES // dtype.itemsize))
