"""zarr v3 container, in a folder or (read-only) in a zip.

A zip is written by `moireio.store.transaction` from a folder, once and whole, because a zip
keeps a second copy of every member that is written again.
"""

import itertools
import logging
import os
import traceback
import warnings
import zipfile
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError, first_line
from moireio.store.base import (
    SHARD_CHUNKS,
    ArrayInfo,
    axis_slice,
    chunk_shape,
    fill_value,
    long_axis,
    plain,
)


def _is_no_failure_of_zarr(record: logging.LogRecord) -> bool:
    """Drop records of failures inside zarr: a listing that fails twice is raised and logged."""
    error = record.exc_info[1] if record.exc_info else None
    frames = traceback.walk_tb(error.__traceback__ if error else None)
    return not any(f.f_globals.get("__name__", "").startswith("zarr.") for f, _ in frames)


class ZarrContainer:
    """A block file in zarr v3.

    Parameters
    ----------
    path : str or path-like
        Folder or zip.
    kind : {"zarr", "zip"}
        Which of the two.
    label : str, optional
        The name that error messages show.
    mode : {"r", "w", "a"}
        Read an existing store, make a new one, or extend one (folders only).
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        kind: str = "zarr",
        label: str | None = None,
        mode: str = "r",
    ) -> None:
        import zarr
        from zarr.storage import LocalStore, ZipStore

        self.kind, self.mode = kind, mode
        self.path = os.fspath(path)
        self.label = label or self.path
        self._arrays: dict[str, Any] = {}
        self._members: frozenset[str] = frozenset()
        logging.getLogger("asyncio").addFilter(_is_no_failure_of_zarr)
        self._store: LocalStore | ZipStore
        try:
            if kind == "zip":
                with zipfile.ZipFile(self.path) as file:
                    self._members = frozenset(file.namelist())
                self._store = ZipStore(self.path, mode="r")
            else:
                self._store = LocalStore(self.path, read_only=mode == "r")
            modes: dict[str, Any] = {"r": "r", "w": "w-", "a": "r+"}
            self._root = zarr.open_group(store=self._store, mode=modes[mode], zarr_format=3)
        except OSError as error:
            if mode == "w":
                raise MoireioError(
                    f"cannot be written: {error.strerror or error}", path=self.label
                ) from error
            raise self._unreadable(error) from error
        except Exception as error:
            raise self._unreadable(error) from error

    def _unreadable(self, error: Exception) -> DamagedError:
        if self.kind == "zip":
            what = "is cut short or damaged: the zip's directory cannot be read"
            return DamagedError(
                what,
                path=self.label,
                remedy="the command that wrote it did not finish; make it again",
            )
        return DamagedError(f"zarr cannot open it: {first_line(error)}", path=self.label)

    def _damaged(self, name: str, error: Exception) -> DamagedError:
        return DamagedError(
            f"/{name} cannot be read: {first_line(error)}",
            path=self.label,
            remedy="the store is damaged; make it again",
        )

    def _group(self, name: str) -> Any:
        import zarr

        try:
            group = self._root[name] if name else self._root
            if not isinstance(group, zarr.Group):
                raise KeyError(f"{name} is an array")
            return group
        except Exception as error:
            raise self._damaged(name, error) from error

    def _array(self, name: str) -> Any:
        import zarr

        if name not in self._arrays:
            try:
                array = self._root[name]
                if not isinstance(array, zarr.Array):
                    raise KeyError(f"{name} is a group")
            except Exception as error:
                raise self._damaged(name, error) from error
            self._arrays[name] = array
        return self._arrays[name]

    def groups(self, name: str = "") -> list[str]:
        """Return the names of the groups directly inside a group, sorted."""
        return self._children(name)[0]

    def arrays(self, name: str = "") -> list[str]:
        """Return the names of the arrays directly inside a group, sorted."""
        return self._children(name)[1]

    def _children(self, name: str) -> tuple[list[str], list[str]]:
        """Return the names of the groups and of the arrays inside a group."""
        import zarr

        group = self._group(name)
        try:
            with warnings.catch_warnings():
                # of a member without metadata, which is an error here
                warnings.filterwarnings("ignore", "Object at .* is not recognized")
                members = dict(group.members())
            self._require_metadata(name, members)
            groups = [key for key, member in members.items() if isinstance(member, zarr.Group)]
            return sorted(groups), sorted(members.keys() - set(groups))
        except Exception as error:
            raise self._damaged(name, error) from error

    def attributes(self, name: str = "") -> dict[str, Any]:
        """Return a group's attributes as a dict of plain Python values."""
        group = self._group(name)
        try:
            return {key: plain(value) for key, value in dict(group.attrs).items()}
        except Exception as error:
            raise self._damaged(name, error) from error

    def info(self, name: str) -> ArrayInfo:
        """Return the `ArrayInfo` of an array."""
        array = self._array(name)
        try:
            text = array.dtype.kind in "OTU"
            return ArrayInfo(
                tuple(array.shape),
                "string" if text else array.dtype.name,
            )
        except Exception as error:
            raise self._damaged(name, error) from error

    def stored_bytes(self, name: str) -> int:
        """Return the bytes that an array takes on disk, compressed as they are."""
        try:
            return int(self._array(name).nbytes_stored())
        except Exception as error:
            raise self._damaged(name, error) from error

    def read(
        self, name: str, start: int | None = None, stop: int | None = None, axis: int = -1
    ) -> npt.NDArray[Any]:
        """Read an array, or ``start:stop`` of its first (0) or last (-1) axis."""
        array = self._array(name)
        try:
            self._require_chunks(array, name, start, stop, axis)
            if array.dtype.kind in "OTU":
                texts = np.array([str(entry) for entry in np.ravel(array[...])], dtype=object)
                return texts.reshape(array.shape)
            if array.dtype.kind not in "biufc":
                raise TypeError(f"its elements are {array.dtype}")
            if start is None and stop is None:
                return np.asarray(array[...])
            return np.asarray(array[axis_slice(start, stop, axis)])
        except MemoryError:
            raise
        except Exception as error:
            raise self._damaged(name, error) from error

    def _require_chunks(
        self, array: Any, name: str, start: int | None, stop: int | None, axis: int
    ) -> None:
        """Raise if a chunk is lost: zarr would read it as the fill value, in silence."""
        if 0 in array.shape:
            return
        outer = array.shards or array.chunks
        ranges = [range(-(-n // c)) for n, c in zip(array.shape, outer, strict=True)]
        if ranges and (start is not None or stop is not None):
            first, last, _ = slice(start, stop).indices(array.shape[axis])
            ranges[axis] = range(first // outer[axis], -(-last // outer[axis]))
        for place in itertools.product(*ranges):
            member = f"{name}/{array.metadata.encode_chunk_key(place)}"
            if member not in self._members and not os.path.isfile(f"{self.path}/{member}"):
                raise KeyError(f"the chunk {member} is lost")

    def _require_metadata(self, name: str, children: Collection[str]) -> None:
        """Raise if a folder has lost its zarr.json: zarr would pass it over, in silence."""
        prefix = f"{name}/" if name else ""
        if self.kind == "zip":
            names = {m[len(prefix) :].split("/")[0] for m in self._members if m.startswith(prefix)}
        else:
            names = {e.name for e in os.scandir(f"{self.path}/{name}") if e.is_dir()}
        for child in sorted(names - set(children) - {"zarr.json", ""}):
            if not child.startswith("."):
                raise KeyError(f"{child} has lost its zarr.json")

    def create_group(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Make a group (and those above it) and set attributes."""
        if name:
            self._root.require_group(name)
        self.set_attributes(name, attributes or {})

    def set_attributes(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Set attributes of an existing group."""
        if attributes:
            group = self._root[name] if name else self._root
            group.update_attributes({key: plain(value) for key, value in attributes.items()})

    def create_array(
        self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, compression: str = "none"
    ) -> int | None:
        """Make an empty array; return the length of the runs in which it is best written."""
        from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec

        shape = tuple(int(n) for n in shape)
        if str(dtype) == "string":
            self._arrays[name] = self._root.create_array(
                name,
                shape=shape,
                dtype="string",
                chunks=tuple(max(1, n) for n in shape),
                config={"write_empty_chunks": True},
            )
            return None
        dtype = np.dtype(dtype)
        codecs = {
            "none": lambda: (),
            "gzip": lambda: (GzipCodec(level=4),),
            "zstd": lambda: (BloscCodec(cname="zstd", clevel=3, typesize=dtype.itemsize),),
        }
        if compression not in codecs:
            raise MoireioError(
                f"zarr has no {compression} compression",
                path=self.label,
                remedy="use gzip or zstd, or an HDF5 container",
            )
        if 0 in shape:
            chunks, shards = tuple(max(1, n) for n in shape), None
        else:
            chunks, shards = _chunks_and_shards(shape, dtype)
        self._arrays[name] = self._root.create_array(
            name,
            shape=shape,
            dtype=dtype,
            chunks=chunks,
            shards=shards,
            compressors=(*codecs[compression](), Crc32cCodec()),
            fill_value=fill_value(dtype),
            config={"write_empty_chunks": True},
        )
        return (shards or chunks)[long_axis(shape)] if shape else None

    def write(
        self, name: str, values: npt.ArrayLike, start: int | None = None, axis: int = -1
    ) -> None:
        """Write all of an array, or a run from `start` along its first or last axis."""
        array = self._array(name)
        values = np.asarray(values)
        if values.size == 0:
            return
        if start is None:
            array[...] = values
        else:
            array[axis_slice(start, start + values.shape[axis], axis)] = values

    def close(self) -> None:
        """Flush and close."""
        self._arrays.clear()
        self._store.close()


def _chunks_and_shards(
    shape: tuple[int, ...], dtype: np.dtype[Any]
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Return the chunk shape and, where there are several chunks, the shard shape."""
    chunks = chunk_shape(shape, dtype)
    if chunks == shape:
        return chunks, None
    axis = long_axis(shape)
    count = min(SHARD_CHUNKS, -(-shape[axis] // chunks[axis]))
    shards = list(chunks)
    shards[axis] *= count
    return chunks, tuple(shards)
