"""HDF5 container, through h5py.

Files use the layout of HDF5 1.10, whose metadata carry checksums (a damaged header is found
by the library instead of being followed) and which every library since 2016 reads. Texts have a
fixed length: those of variable length lie in HDF5's global heap, which has no checksum, and the
library can read a damaged heap for ever. Files of other programs that have such texts are read,
once their heaps were found to be sound.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError, first_line
from moireio.runtime.replace import EarlySync
from moireio.store.base import ArrayInfo, axis_slice, chunk_shape, fill_value, long_axis, plain
from moireio.store.bounds import METADATA_BYTES, require_name, require_sound_heap
from moireio.store.changes import State, state_of
from moireio.store.fletcher import ChunkWriter
from moireio.store.hdf5_guard import on_heap, own_dataset, own_object

LAYOUT = ("v110", "v110")
CACHE_BYTES = 8 << 20
MOST_MEMBERS = 10_000  # of a group


class Hdf5Container:
    """A block file in HDF5.

    Parameters
    ----------
    path : str or path-like
        The file.
    label : str, optional
        The name that error messages show.
    mode : {"r", "w"}
        Read an existing file, or make a new one.
    durable : bool
        A new file goes to the disk while it is written: it will be waited for.
    """

    kind = "h5"

    def __init__(
        self,
        path: str | os.PathLike[str],
        label: str | None = None,
        mode: str = "r",
        durable: bool = False,
    ) -> None:
        self.path, self.mode = str(path), mode
        self.label = label or self.path
        self.state: State = state_of(self.path) if mode == "r" else {}
        self._stream: io.IOBase | None = None
        self._texts: dict[str, tuple[int, ...]] = {}  # shapes of arrays of texts to be written
        self._datasets: dict[str, h5py.Dataset] = {}  # those that were checked
        self._runs: dict[str, ChunkWriter] = {}  # arrays that are written run by run
        self._heap_is_sound = False
        try:
            options = {"libver": LAYOUT} if mode == "w" else {}
            if mode == "w":
                self._stream = _Sink(self.path, durable)
            elif not os.path.exists(os.path.realpath(self.path)):
                # A spool in memory (memfd) has no name that HDF5 could resolve.
                self._stream = open(self.path, "rb")  # noqa: SIM115
            target = self.path if self._stream is None else self._stream
            self._file = h5py.File(target, mode, rdcc_nbytes=CACHE_BYTES, **options)
        except OSError as error:
            if mode == "w":
                text = error.strerror or first_line(error)
                raise MoireioError(f"cannot be written: {text}", path=self.label) from error
            text = first_line(error)
            if "truncated" in text:
                raise DamagedError(
                    "is cut short",
                    path=self.label,
                    remedy="the command that wrote it did not finish; make it again",
                ) from error
            if "lock" in text:
                raise MoireioError(
                    "is being written by another program",
                    path=self.label,
                    remedy="wait, or set HDF5_USE_FILE_LOCKING=FALSE if the disk has no locks",
                ) from error
            raise DamagedError(f"HDF5 cannot open it: {text}", path=self.label) from error

    @property
    def h5(self) -> h5py.File:
        """The h5py file underneath."""
        return self._file

    def _damaged(self, name: str, error: Exception) -> DamagedError:
        return DamagedError(
            f"/{name} cannot be read: {first_line(error)}",
            path=self.label,
            remedy="the file is damaged; make it again",
        )

    def _children(self, name: str, wanted: type) -> list[str]:
        try:
            group = own_object(self._file, name, self.label)
            if len(group) > MOST_MEMBERS:
                raise ValueError(f"it has {len(group)} members")
            names = []
            for key in group:
                require_name(key)
                # A damaged object raises here; group.get() would pass it over in silence.
                path = f"{name}/{key}" if name else key
                if isinstance(own_object(self._file, path, self.label), wanted):
                    names.append(key)
            return sorted(names)
        except MoireioError:
            raise
        except Exception as error:
            raise self._damaged(name, error) from error

    def _require_sound_heap(self, kind: Any) -> None:
        """Look through the heaps of texts of variable length, before the first is read."""
        if not self._heap_is_sound and on_heap(kind):
            require_sound_heap(self.path, self._file.id.get_create_plist().get_sizes()[1])
            self._heap_is_sound = True

    def _check_space(self) -> None:
        """Raise what went wrong below HDF5 while writing."""
        if isinstance(self._stream, _Sink) and self._stream.error is not None:
            text = self._stream.error.strerror
            raise MoireioError(f"cannot be written: {text}", path=self.label)

    def groups(self, name: str = "") -> list[str]:
        """Return the names of the groups directly inside a group, sorted."""
        return self._children(name, h5py.Group)

    def arrays(self, name: str = "") -> list[str]:
        """Return the names of the arrays directly inside a group, sorted."""
        return self._children(name, h5py.Dataset)

    def attributes(self, name: str = "") -> dict[str, Any]:
        """Return a group's attributes as a dict of plain Python values."""
        try:
            attrs = own_object(self._file, name, self.label).attrs
            values = {}
            for key in attrs:
                stored = attrs.get_id(key)
                self._require_sound_heap(stored.get_type())
                if stored.get_storage_size() > METADATA_BYTES:
                    raise ValueError(f"the attribute {key} is too long")
                values[key] = plain(attrs[key])
            return values
        except MoireioError:
            raise
        except Exception as error:
            raise self._damaged(name, error) from error

    def _dataset(self, name: str) -> h5py.Dataset:
        if name not in self._datasets:
            try:
                if self.mode == "w":
                    return self._file[name]
                dataset = own_dataset(self._file, name, self.label)
                self._require_sound_heap(dataset.id.get_type())
                self._datasets[name] = dataset
            except MoireioError:
                raise
            except Exception as error:
                raise self._damaged(name, error) from error
        return self._datasets[name]

    def info(self, name: str) -> ArrayInfo:
        """Return the `ArrayInfo` of an array."""
        dataset = self._dataset(name)
        try:
            if dataset.shape is None:
                raise TypeError("it is empty")
            text = h5py.check_string_dtype(dataset.dtype) is not None
            return ArrayInfo(
                tuple(dataset.shape),
                "string" if text else dataset.dtype.name,
            )
        except Exception as error:
            raise self._damaged(name, error) from error

    def stored_bytes(self, name: str) -> int:
        """Return the bytes that an array takes on disk, compressed as they are."""
        return int(self._dataset(name).id.get_storage_size())

    def read(
        self, name: str, start: int | None = None, stop: int | None = None, axis: int = -1
    ) -> npt.NDArray[Any]:
        """Read an array, or ``start:stop`` of its first (0) or last (-1) axis."""
        dataset = self._dataset(name)
        try:
            if dataset.shape is None:
                raise TypeError("it is empty")
            if h5py.check_string_dtype(dataset.dtype) is not None:
                return np.asarray(dataset.asstr()[...], dtype=object)
            if dataset.dtype.kind not in "biufc":
                raise TypeError(f"its elements are {dataset.dtype}")
            if start is None and stop is None:
                return dataset[...]
            return dataset[axis_slice(start, stop, axis)]
        except MemoryError:
            raise
        except Exception as error:
            raise self._damaged(name, error) from error

    def create_group(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Make a group (and those above it) and set attributes."""
        if name:
            self._file.require_group(name)
        self.set_attributes(name, attributes or {})

    def set_attributes(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Set attributes of an existing group."""
        attrs = (self._file[name] if name else self._file).attrs
        for key, value in attributes.items():
            text = isinstance(value, str) or (
                isinstance(value, (list, tuple)) and value and isinstance(value[0], str)
            )
            if text:
                encoded = _encoded(value)
                attrs.create(key, encoded, encoded.shape, encoded.dtype)
            else:
                attrs[key] = value

    def create_array(
        self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, compression: str = "none"
    ) -> int | None:
        """Make an empty array; return the length of the runs in which it is best written."""
        shape = tuple(int(n) for n in shape)
        if str(dtype) == "string":
            if 0 in shape:
                self._file.create_dataset(name, shape, dtype=h5py.string_dtype(length=1))
            else:  # made once the longest text is known
                self._texts[name] = shape
            return None
        dtype = np.dtype(dtype)
        if 0 in shape or shape == ():
            self._file.create_dataset(name, shape, dtype=dtype)
            return None
        filters = {
            "none": {},
            "lzf": {"compression": "lzf", "shuffle": True},
            "gzip": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
        }
        if compression not in filters:
            raise MoireioError(
                f"HDF5 here has no {compression} compression",
                path=self.label,
                remedy="use lzf or gzip, or a zarr container",
            )
        chunks = chunk_shape(shape, dtype)
        self._file.create_dataset(
            name,
            shape,
            dtype=dtype,
            chunks=chunks,
            fletcher32=True,
            fillvalue=fill_value(dtype),
            **filters[compression],
        )
        return chunks[long_axis(shape)]

    def write(
        self, name: str, values: npt.ArrayLike, start: int | None = None, axis: int = -1
    ) -> None:
        """Write all of an array, or a run from `start` along its first or last axis."""
        values = np.asarray(values)
        if values.size == 0:
            return
        if name in self._texts:
            shape, values = self._texts.pop(name), _encoded(values)
            self._file.create_dataset(name, shape, dtype=values.dtype)
        if start is not None and axis in (-1, values.ndim - 1):
            if name not in self._runs:
                self._runs[name] = ChunkWriter(self._file[name])
            self._runs[name].write(values, start)
        elif start is None:
            self._file[name][...] = values
        else:
            self._file[name][axis_slice(start, start + values.shape[axis], axis)] = values
        self._check_space()

    def copy_group(self, source: Hdf5Container, name: str) -> None:
        """Copy a group of another HDF5 container, chunks and checksums as they are.

        Parameters
        ----------
        source : Hdf5Container
            Where the group is.
        name : str
            The group's name, the same here.
        """
        source._require_copyable(name)
        try:
            source.h5.copy(name, self._file, name=name)
        except Exception as error:
            self._check_space()
            raise source._damaged(name, error) from error
        self._check_space()

    def _require_copyable(self, name: str) -> None:
        """Raise if a group holds what lies elsewhere, or texts on a damaged heap."""
        self.attributes(name)
        for child in self.arrays(name):
            attrs = self._dataset(f"{name}/{child}").attrs
            for key in attrs:
                self._require_sound_heap(attrs.get_id(key).get_type())
        for child in self.groups(name):
            self._require_copyable(f"{name}/{child}")

    def close(self) -> None:
        """Flush and close."""
        self._file.close()
        if self._stream is not None:
            self._stream.close()
            self._check_space()


def _encoded(texts: npt.ArrayLike) -> npt.NDArray[Any]:
    """Return texts in UTF-8 as an array of strings of the same length."""
    values = np.asarray(texts, dtype=object)
    encoded = [str(text).encode() for text in values.ravel()]
    dtype = h5py.string_dtype("utf-8", max(1, *map(len, encoded)))
    return np.array(encoded, dtype=dtype).reshape(values.shape)


class _Sink(io.RawIOBase):
    """The file under an HDF5 file that is being made.

    HDF5 cannot be closed after a failed write (the process crashes), so on a full disk the
    sink keeps the error, and pretends to go on.
    """

    def __init__(self, path: str, durable: bool) -> None:
        self._file = open(path, "w+b", buffering=0)  # noqa: SIM115
        self._early = EarlySync(path) if durable else None
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        return self._try(lambda: self._file.truncate(size), size)

    def readinto(self, buffer: Any) -> int:
        count = self._file.readinto(buffer)
        if self.error is not None and count < len(buffer):
            buffer[count:] = bytes(len(buffer) - count)
            count = len(buffer)
        return count

    def write(self, data: Any) -> int:
        view, done = memoryview(data).cast("B"), 0
        while done < len(view):
            step = self._try(partial(self._file.write, view[done:]), len(view) - done)
            done += step
        if self._early is not None:
            self._try(partial(self._early.add, len(view)), None)
        return len(view)

    def _try(self, action: Callable[[], Any], pretended: Any) -> Any:
        if self.error is not None:
            return pretended
        try:
            return action()
        except OSError as error:
            self.error = error
            return pretended

    def close(self) -> None:
        if not self.closed:
            if self._early is not None:
                self._try(self._early.close, None)
            self._file.close()
        super().close()
