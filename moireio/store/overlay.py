"""Changes to a block file that are written beside it and merged with it at the end.

So a zarr store that is too large to copy is extended in place: only the parts that change are
written, and what stays is never touched. What another run has added meanwhile stays too.
"""

import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.runtime import replace
from moireio.store.base import ArrayInfo, Container
from moireio.store.members import METADATA

if TYPE_CHECKING:
    from moireio.store.hdf5 import Hdf5Container


class Overlay:
    """A container as it will be after the changes: those in `fresh`, over what `base` keeps.

    Parameters
    ----------
    fresh : Container
        Open for writing, empty; it takes everything that is written.
    base : Container
        The block file that is extended, open for reading; it is not changed.
    drop : collection of str
        Groups of `base` that are written anew, or not any more.
    """

    def __init__(self, fresh: Container, base: Container, drop: Collection[str] = ()) -> None:
        self.fresh, self.base, self._drop = fresh, base, frozenset(drop)
        self.kind, self.path, self.label = fresh.kind, fresh.path, fresh.label
        self.state = base.state
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
        return (self.fresh if changed else self.base).attributes(name)

    def _where(self, array: str) -> Container:
        return self.fresh if array in self._arrays else self.base

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
            self.fresh.create_group(name)
            self._groups |= set(_lineage(name))
        self.set_attributes(name, attributes or {})

    def set_attributes(self, name: str, attributes: Mapping[str, Any]) -> None:
        """Set attributes of an existing group."""
        if not attributes:
            return
        if name not in self.changed and self._kept(name):
            self.create_group(name)
            self.fresh.set_attributes(name, self.base.attributes(name))
            self.changed.add(name)
        self.fresh.set_attributes(name, attributes)

    def create_array(
        self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, compression: str = "none"
    ) -> int | None:
        """Make an empty array; return the length of the runs in which it is best written."""
        parent, leaf = _split(name)
        if leaf in self.arrays(parent):
            raise MoireioError(f"has /{name} already", path=self.label)
        self.create_group(parent)
        self._arrays.add(name)
        return self.fresh.create_array(name, shape, dtype, compression=compression)

    def write(
        self, name: str, values: npt.ArrayLike, start: int | None = None, axis: int = -1
    ) -> None:
        """Write all of a new array, or a run from `start` along its first or last axis."""
        if name not in self._arrays:
            raise MoireioError(f"/{name} is kept and cannot be written", path=self.label)
        self.fresh.write(name, np.asarray(values), start, axis)

    def close(self) -> None:
        """Flush and close what was written; the base stays open."""
        self.fresh.close()

    def written(self) -> set[str]:
        """Return the groups at the top that are written or dropped.

        Returns
        -------
        set of str
            Their names; those that only gain numbered groups, as a record does, are left out.
        """
        paths = {*self._drop, *self._arrays, *self.changed, *self._groups - {""}}
        entries = {g for g in self._groups if self._is_entry(g) and not self._kept(g)}
        above = {g for g in self._groups if any(e.startswith(f"{g}/") for e in entries)}
        inside = {p for p in paths if any(p == e or p.startswith(f"{e}/") for e in entries)}
        return {p.split("/")[0] for p in paths - inside - (above - self._drop - self.changed)}

    def _is_entry(self, group: str) -> bool:
        """Return whether a group is an entry of a record that is kept."""
        parent, leaf = _split(group)
        return bool(parent) and leaf.isdigit() and self._kept(parent)

    def rebase(self, base: Container) -> None:
        """Take another state of the block file as that which is extended.

        Parameters
        ----------
        base : Container
            Open for reading. Numbered groups that are new in both follow those that it has.
        """
        entries = [g for g in sorted(self._groups) if self._is_entry(g) and not self._kept(g)]
        self.base, self.state = base, base.state
        self._stored.clear()
        for group in entries:
            if self._kept(group):
                parent, leaf = _split(group)
                names = [n for n in self.groups(parent) if n.isdigit()]
                self._rename(group, f"{parent}/{max(map(int, names)) + 1:0{len(leaf)}d}")

    def _rename(self, old: str, new: str) -> None:
        if self.kind == "h5":
            cast("Hdf5Container", self.fresh).h5.move(old, new)
        else:
            os.rename(os.path.join(self.path, old), os.path.join(self.path, new))

        def renamed(names: set[str]) -> set[str]:
            return {new + n[len(old) :] if f"{n}/".startswith(f"{old}/") else n for n in names}

        self._groups, self._arrays = renamed(self._groups), renamed(self._arrays)

    def kept_in(self, name: str) -> tuple[bool, list[str], dict[str, bool]]:
        """Return the parts of a group of the base that are kept.

        Parameters
        ----------
        name : str
            A group that is kept.

        Returns
        -------
        attributes : bool
            Whether its attributes are.
        arrays : list of str
            Paths of arrays.
        groups : dict of str to bool
            Paths of groups, and whether they are kept whole.
        """
        arrays = [_join(name, n) for n in self.base.arrays(name)]
        groups = [_join(name, n) for n in self._base_groups(name)]
        touched = self._groups | self._drop
        whole = {g: not any(f"{t}/".startswith(f"{g}/") for t in touched) for g in groups}
        return (
            name not in self.changed,
            [a for a in arrays if a not in self._drop],
            {g: whole[g] for g in groups if g not in self._drop},
        )

    def merge(self, target: str, work: str) -> None:
        """Move what was written into the zarr folder that is extended.

        Every step is one rename, so that each group is the old or the new one, whole, whenever the
        process may end: a group is written with its metadata before it changes places with the one
        that it replaces, and attributes of a group that stays are replaced last.

        Parameters
        ----------
        target : str
            The folder of the base.
        work : str
            An empty folder on the same disk, for what is replaced.
        """
        self._resemble(target)
        replace.sync(self.path)
        removed = _Bin(work)
        for group in sorted(self._drop):
            if not os.path.isdir(os.path.join(self.path, group)):
                removed.take(os.path.join(target, group))
        self._merge_group("", target, removed)
        for folder in {os.path.dirname(os.path.join(target, name)) for name in self._groups}:
            if os.path.isdir(folder):
                replace.sync_folder_of(os.path.join(folder, METADATA))

    def _resemble(self, target: str) -> None:
        """Give what was written the mode and owner of the store."""
        metadata = os.path.join(target, METADATA)
        for path in replace.tree(self.path):
            replace.resemble(path, target if os.path.isdir(path) else metadata)

    def _merge_group(self, name: str, target: str, removed: "_Bin") -> None:
        """Merge a group that the base has too and that is not dropped."""
        if name and any(parent == name for parent, _ in map(_split, self._arrays)):
            self._complete(name, target)
            replace.sync(os.path.join(self.path, name))
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
        if os.path.lexists(path):
            replace.exchange(new, path, self._folder)
        else:
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
