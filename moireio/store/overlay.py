"""Changes to a zarr store that are written beside it and merged into it at the end.

So a store that is too large to copy is extended in place: only the parts that change are written,
and what stays is never touched.
"""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.store.base import ArrayInfo, Container

METADATA = "zarr.json"


class Overlay:
    """A container as it will be after the changes: those in `fresh`, over what `base` keeps.

    Parameters
    ----------
    fresh : ZarrContainer
        Open for writing, empty; it takes everything that is written.
    base : Container
        The store that is extended, open for reading; it is not changed.
    drop : collection of str
        Groups of `base` that are written anew, or not any more.
    """

    def __init__(self, fresh: Container, base: Container, drop: Collection[str] = ()) -> None:
        self._fresh, self.base, self._drop = fresh, base, frozenset(drop)
        self.kind, self.path, self.label = fresh.kind, fresh.path, fresh.label
        self.changed: set[str] = set()
        """Groups of the base whose attributes change."""
        self._groups, self._arrays = {""}, set[str]()
        self._stored: dict[str, list[str]] = {}

    @property
    def drop(self) -> frozenset[str]:
        """Groups of the base that are not kept."""
        return self._drop

    def _kept(self, group: str) -> bool:
        """Return whether the base has a group that is not dropped."""
        if group == "":
            return True
        parent, leaf = _split(group)
        return group not in self._drop and self._kept(parent) and leaf in self._base_groups(parent)

    def _base_groups(self, name: str) -> list[str]:
        if name not in self._stored:
            self._stored[name] = self.base.groups(name)
        return self._stored[name]

    def _children(self, name: str, written: set[str], stored: list[str]) -> list[str]:
        new = {leaf for parent, leaf in map(_split, written) if parent == name and leaf}
        return sorted(new | {n for n in stored if _join(name, n) not in self._drop})

    def groups(self, name: str = "") -> list[str]:
        """Return the names of the groups directly inside a group, sorted."""
        stored = self._base_groups(name) if self._kept(name) else []
        return self._children(name, self._groups, stored)

    def arrays(self, name: str = "") -> list[str]:
        """Return the names of the arrays directly inside a group, sorted."""
        stored = self.base.arrays(name) if self._kept(name) else []
        return self._children(name, self._arrays, stored)

    def attributes(self, name: str = "") -> dict[str, Any]:
        """Return a group's attributes as a dict of plain Python values."""
        changed = name in self.changed or not self._kept(name)
        return (self._fresh if changed else self.base).attributes(name)

    def _where(self, array: str) -> Container:
        return self._fresh if array in self._arrays else self.base

    def info(self, name: str) -> ArrayInfo:
        """Return the `ArrayInfo` of an array."""
        return self._where(name).info(name)

    def stored_bytes(self, name: str) -> int:
        """Return the bytes that an array takes on disk, compressed as they are."""
        return self._where(name).stored_bytes(name)

    def read(
        self, name: str, start: int | None = None, stop: int | None = None, axis: int = -1
    ) -> npt.NDArray[Any]:
        """Read an array, or ``start:stop`` of its first (0) or last (-1) axis."""
        return self._where(name).read(name, start, stop, axis)

    def create_group(self, name: str, attributes: Mapping[str, Any] | None = None) -> None:
        """Make a group (and those above it) and set attributes."""
        if name not in self._groups:
            self._fresh.create_group(name)
            self._groups |= set(_lineage(name))
        self.set_attributes(name, attributes or {})

    def set_attributes(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Set attributes of an existing group."""
        if not attributes:
            return
        if name not in self.changed and self._kept(name):
            self.create_group(name)
            self._fresh.set_attributes(name, self.base.attributes(name))
            self.changed.add(name)
        self._fresh.set_attributes(name, attributes)

    def create_array(
        self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, compression: str = "none"
    ) -> int | None:
        """Make an empty array; return the length of the runs in which it is best written."""
        parent, leaf = _split(name)
        if leaf in self.arrays(parent):
            raise MoireioError(f"has /{name} already", path=self.label)
        self.create_group(parent)
        self._arrays.add(name)
        return self._fresh.create_array(name, shape, dtype, compression=compression)

    def write(
        self, name: str, values: npt.ArrayLike, start: int | None = None, axis: int = -1
    ) -> None:
        """Write all of a new array, or a run from `start` along its first or last axis."""
        if name not in self._arrays:
            raise MoireioError(f"/{name} is kept and cannot be written", path=self.label)
        self._fresh.write(name, np.asarray(values), start, axis)

    def close(self) -> None:
        """Flush and close what was written; the base stays open."""
        self._fresh.close()

    def merge(self, target: str, work: str) -> None:
        """Move what was written into the zarr folder that is extended.

        Every step is one rename, so that each group is whole or absent whenever the process
        may end: a group is written with its metadata before it comes to its place, the one it
        replaces leaves just before, and attributes of a group that stays are replaced last.

        Parameters
        ----------
        target : str
            The folder of the base.
        work : str
            An empty folder on the same disk, for what is replaced.
        """
        removed = _Bin(work)
        for group in sorted(self._drop):
            if not os.path.isdir(os.path.join(self.path, group)):
                removed.take(os.path.join(target, group))
        self._merge_group("", target, removed)

    def _merge_group(self, name: str, target: str, removed: "_Bin") -> None:
        """Merge a group that the base has too and that is not dropped."""
        if name and any(parent == name for parent, _ in map(_split, self._arrays)):
            self._complete(name, target)
            removed.replace(os.path.join(self.path, name), os.path.join(target, name))
            return
        for group in sorted(g for g in self._groups if g and _split(g)[0] == name):
            there = os.path.join(target, group)
            if self._kept(group):
                self._merge_group(group, target, removed)
            else:
                removed.replace(os.path.join(self.path, group), there)
        for array in sorted(a for a in self._arrays if _split(a)[0] == name):  # of the root
            removed.replace(os.path.join(self.path, array), os.path.join(target, array))
        if name in self.changed:
            metadata = os.path.join(name, METADATA)
            os.replace(os.path.join(self.path, metadata), os.path.join(target, metadata))

    def _complete(self, name: str, target: str) -> None:
        """Give a group that gains arrays all that it keeps, so that it can be replaced whole."""
        fresh, old = os.path.join(self.path, name), os.path.join(target, name)
        if name not in self.changed:
            os.remove(os.path.join(fresh, METADATA))
        for entry in sorted(os.listdir(old)):
            path = _join(name, entry)
            if path in self._drop or (path in self._groups and not self._kept(path)):
                continue
            if path in self._groups:
                self._complete(path, target)
            elif not os.path.lexists(os.path.join(fresh, entry)):
                _link(os.path.join(old, entry), os.path.join(fresh, entry))


class _Bin:
    """Takes what is replaced; it goes with the work folder."""

    def __init__(self, folder: str) -> None:
        self._folder, self._count = folder, 0

    def take(self, path: str) -> None:
        if os.path.lexists(path):
            os.rename(path, os.path.join(self._folder, f"old-{self._count}"))
            self._count += 1

    def replace(self, new: str, path: str) -> None:
        self.take(path)
        os.rename(new, path)


def _link(source: str, target: str) -> None:
    """Give a file, or all files in a folder, a second name; copy where the disk has no links."""

    def link(first: str, second: str) -> None:
        try:
            os.link(first, second)
        except OSError:
            shutil.copy2(first, second)

    if os.path.isdir(source):
        shutil.copytree(source, target, copy_function=link)
    else:
        link(source, target)


def _split(name: str) -> tuple[str, str]:
    parent, _, leaf = name.rpartition("/")
    return parent, leaf


def _join(name: str, child: str) -> str:
    return f"{name}/{child}" if name else child


def _lineage(name: str) -> Iterator[str]:
    """Yield a group and those above it, but the root."""
    while name:
        yield name
        name = _split(name)[0]
