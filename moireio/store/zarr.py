"""zarr v3 container, in a folder or (read-only) in a zip.

A zip is written by `moireio.store.transaction` from a folder, once and whole, because a zip
keeps a second copy of every member that is written again.
"""

import itertools
import logging
import math
import os
import stat
import traceback
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError, first_line
from moireio.runtime.memory import size_text
from moireio.store.base import (
    SHARD_CHUNKS,
    ArrayInfo,
    axis_slice,
    chunk_shape,
    fill_value,
    long_axis,
    plain,
)
from moireio.store.bounds import (
    BLOSC,
    ELSEWHERE,
    FREE_BYTES,
    METADATA_BYTES,
    OutsideError,
    array_bytes,
    require_backed,
    require_member,
    require_name,
)
from moireio.store.changes import State, state_of
from moireio.store.members import METADATA

TEXT_BYTES = 16  # of an element of an array of texts, at least
LISTINGS = 3


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
        self.state: State = state_of(self.path) if mode == "r" else {}
        self._arrays: dict[str, Any] = {}
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._folders: set[str] = set()  # that were found to be no links
        self._backed: dict[str, int] = {}  # arrays whose shape fits what is stored
        self._stored: dict[str, tuple[int, int]] = {}  # bytes and files of an array
        logging.getLogger("asyncio").addFilter(_is_no_failure_of_zarr)
        self._store: LocalStore | ZipStore
        try:
            modes: dict[str, Any] = {"r": "r", "w": "w-", "a": "r+"}
            while True:
                if kind == "zip":
                    self._members = _members(self.path)
                    self._store = ZipStore(self.path, mode="r")
                else:
                    self._store = LocalStore(self.path, read_only=mode == "r")
                if mode != "w":
                    self._require_own(METADATA)
                self._root = zarr.open_group(
                    store=self._store, mode=modes[mode], zarr_format=3, use_consolidated=False
                )
                opened = state_of(self.path) if kind == "zip" else self.state
                if opened == self.state:
                    break
                self._store.close()  # another run replaced the zip in between
                self.state = opened
        except (OutsideError, _RefusedError) as error:
            raise self._damaged("", error) from error
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
        text = first_line(error)
        if isinstance(error, RecursionError):
            text = f"a {METADATA} is nested too deeply"
        elif "integer string conversion" in text:
            text = f"a number in a {METADATA} has too many digits"
        outside = isinstance(error, OutsideError)
        return DamagedError(
            f"/{name} cannot be read: {text}",
            path=self.label,
            remedy=ELSEWHERE if outside else "the store is damaged; make it again",
        )

    def _group(self, name: str) -> Any:
        import zarr

        try:
            self._require_own(_join(name, METADATA))
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
                self._require_own(_join(name, METADATA))
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
            for _ in range(LISTINGS):  # another run may add or remove a group in between
                children = self._folders_in(name)
                for child in children:
                    self._require_own(_join(name, f"{child}/{METADATA}"))
                with warnings.catch_warnings():
                    # of a member without metadata, which is an error here
                    warnings.filterwarnings("ignore", "Object at .* is not recognized")
                    members = dict(group.members())
                lost = sorted(children - set(members))
                if not lost:
                    break
            else:
                raise KeyError(f"{lost[0]} has lost its zarr.json")
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
        self._array(name)
        try:
            return self._stored_files(name)[0]
        except Exception as error:
            raise self._damaged(name, error) from error

    def _stored_files(self, name: str) -> tuple[int, int]:
        """Return the bytes on disk below a name, and the number of files."""
        if self.kind == "zip" and not self._stored:
            for member, info in self._members.items():
                for above in itertools.accumulate(member.split("/")[:-1], _join):
                    nbytes, count = self._stored.get(above, (0, 0))
                    self._stored[above] = nbytes + info.compress_size, count + 1
        if self.kind == "zip":
            return self._stored.get(name, (0, 0))
        files = [
            os.lstat(os.path.join(folder, file)).st_size
            for folder, _, names in os.walk(f"{self.path}/{name}")
            for file in names
        ]
        return sum(files), len(files)

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
        except MemoryError as error:
            if array_bytes(array.shape, _itemsize(array)) < FREE_BYTES:
                text = ValueError("a chunk claims more memory than there is")
                raise self._damaged(name, text) from error
            raise
        except Exception as error:
            raise self._damaged(name, error) from error

    def _require_backed(self, array: Any, name: str) -> int:
        """Raise if an array claims more than its files can hold; return their number."""
        stored, count = self._stored_files(name)
        require_backed(array.shape, _itemsize(array), stored, BLOSC)
        outer = array.shards or array.chunks
        require_backed(outer, _itemsize(array), stored, BLOSC, "chunk")
        return count

    def _require_chunks(
        self, array: Any, name: str, start: int | None, stop: int | None, axis: int
    ) -> None:
        """Raise if a chunk is lost: zarr would read it as the fill value, in silence."""
        if 0 in array.shape:
            return
        most = None
        if self.mode == "r":
            most = self._backed.get(name) or self._require_backed(array, name)
            self._backed[name] = most
        outer = array.shards or array.chunks
        ranges = [range(-(-n // c)) for n, c in zip(array.shape, outer, strict=True)]
        if ranges and (start is not None or stop is not None):
            first, last, _ = slice(start, stop).indices(array.shape[axis])
            ranges[axis] = range(first // outer[axis], -(-last // outer[axis]))
        expected = math.prod(map(len, ranges))
        if most is not None and expected > most:
            raise KeyError(f"{expected} chunks are expected, {most} files are there: some are lost")
        limit = 2 * array_bytes(outer, _itemsize(array)) + METADATA_BYTES
        for place in itertools.product(*ranges):
            member = f"{name}/{array.metadata.encode_chunk_key(place)}"
            if not self._require_own(member, limit):
                raise KeyError(f"the chunk {member} is lost")

    def _folders_in(self, name: str) -> set[str]:
        """Return the names of the folders directly inside a group; raise if one is a link."""
        prefix = f"{name}/" if name else ""
        if self.kind == "zip":
            inside = (m[len(prefix) :] for m in self._members if m.startswith(prefix))
            names = {m.split("/")[0] for m in inside if "/" in m}
        else:
            with os.scandir(f"{self.path}/{name}") as entries:
                listed = list(entries)
            for entry in listed:
                if entry.is_symlink():
                    raise OutsideError(f"{_join(name, entry.name)} is a link to elsewhere")
            names = {entry.name for entry in listed if entry.is_dir()}
        names = {n for n in names if n and not n.startswith(".")}
        for child in names:
            require_name(child)
        return names

    def _require_own(self, member: str, limit: int = METADATA_BYTES) -> bool:
        """Return whether the store has a member; raise if it lies elsewhere or is too large."""
        if self.kind == "zip":
            info = self._members.get(member)
            if info is None:
                return False
            size = info.file_size
        else:
            folder, _, _ = member.rpartition("/")
            for above in itertools.accumulate(folder.split("/") if folder else (), _join):
                if above not in self._folders:
                    try:
                        mode = os.lstat(f"{self.path}/{above}").st_mode
                    except FileNotFoundError:
                        return False
                    if stat.S_ISLNK(mode):
                        raise OutsideError(f"{above} is a link to elsewhere")
                    self._folders.add(above)
            try:
                found = os.lstat(f"{self.path}/{member}")
            except (FileNotFoundError, NotADirectoryError):
                return False
            if stat.S_ISLNK(found.st_mode):
                raise OutsideError(f"{member} is a link to elsewhere")
            if not stat.S_ISREG(found.st_mode):
                raise _RefusedError(f"{member} is no file")
            size = found.st_size
        if size > limit:
            raise _RefusedError(
                f"{member} has {size_text(size)}, more than what it is for ({size_text(limit)})"
            )
        return True

    def known_members(self, name: str = "") -> Iterator[str]:
        """Yield the members of groups and arrays; others, that no reader looks at, are left out.

        Parameters
        ----------
        name : str
            The group to start from.

        Yields
        ------
        str
            Path of a member inside the store.
        """
        yield _join(name, METADATA)
        groups, arrays = self._children(name)
        for child in arrays:
            path = _join(name, child)
            array = self._array(path)
            self._require_chunks(array, path, None, None, -1)
            yield f"{path}/{METADATA}"
            if 0 not in array.shape:
                outer = array.shards or array.chunks
                counts = [range(-(-n // c)) for n, c in zip(array.shape, outer, strict=True)]
                for place in itertools.product(*counts):
                    yield f"{path}/{array.metadata.encode_chunk_key(place)}"
        for child in groups:
            yield from self.known_members(_join(name, child))

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


class _RefusedError(ValueError):
    """A member is no file, or larger than it can be."""


def _members(path: str) -> dict[str, zipfile.ZipInfo]:
    """Return the members of a zip by name, the last where one was written again."""
    with zipfile.ZipFile(path) as file:
        listed = file.infolist()
    for member in listed:
        require_member(member.filename)
    if sum(member.compress_size for member in listed) > os.stat(path).st_size:
        raise _RefusedError("the zip's members overlap")
    return {member.filename: member for member in listed}


def _join(name: str, child: str) -> str:
    return f"{name}/{child}" if name else child


def _itemsize(array: Any) -> int:
    """Return the bytes of an element, at least."""
    return TEXT_BYTES if array.dtype.kind in "OTU" else int(array.dtype.itemsize)


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
