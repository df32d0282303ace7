"""What another program has changed in a block file since it was opened."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING

import numpy as np

from moireio.errors import MoireioError
from moireio.store.members import METADATA

if TYPE_CHECKING:
    from moireio.store.base import Container

PIECE_BYTES = 8 << 20

State = dict[str, tuple[int, ...] | str]


def state_of(path: str) -> State:
    """Return the identity of a file, or of the groups of a zarr folder, without reading them.

    A group that is written anew is another folder; one that stays is not touched.

    Parameters
    ----------
    path : str
        A file, or a folder with a block file in zarr.

    Returns
    -------
    dict
        For a file one entry; for a folder one for the root, each group, and each group or array in
        these. Empty if nothing is there.
    """
    try:
        if not os.path.isdir(path):
            return {"": _identity(path)}
        state: State = {"": _identity(os.path.join(path, METADATA))}
        for name in _folders(path):
            group = os.path.join(path, name)
            state[name] = _of_group(group)
            for child in _folders(group):
                state[f"{name}/{child}"] = _of_group(os.path.join(group, child))
    except FileNotFoundError:
        return {}
    return state


def _folders(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))


def _identity(path: str) -> tuple[int, ...]:
    info = os.stat(path)
    return (info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)


def _of_group(folder: str) -> tuple[int, ...]:
    metadata = os.path.join(folder, METADATA)
    found = _identity(metadata) if os.path.exists(metadata) else ()
    return (os.stat(folder).st_ino, *found)


def changed_groups(before: Container, now: Container) -> dict[str, bool]:
    """Return the groups that differ between two states of a block file.

    Parameters
    ----------
    before : Container
        As it was opened before.
    now : Container
        As it is now.

    Returns
    -------
    dict of str to bool
        Groups at the top, and those one level below in groups that are otherwise the same; for
        each whether it is new.
    """
    folder = before.kind == "zarr"
    old, new = (c.state if folder else _contents(c) for c in (before, now))
    changed = {path for path in {*old, *new} if old.get(path) != new.get(path)}
    return {p: p not in old for p in changed if "/" not in p or p.split("/")[0] not in changed}


def _contents(container: Container) -> State:
    """Return digests of the contents of a container, as `state_of` has its groups."""
    state: State = {"": _digest(container, "", deep=False)}
    for name in container.groups():
        state[name] = _digest(container, name, deep=False)
        for child in container.groups(name):
            state[f"{name}/{child}"] = _digest(container, f"{name}/{child}", deep=True)
    return state


def _digest(container: Container, group: str, deep: bool) -> str:
    digest = hashlib.blake2b(digest_size=16)
    prefix = f"{group}/" if group else ""
    digest.update(json.dumps(container.attributes(group), sort_keys=True).encode())
    for name in container.arrays(group):
        info = container.info(prefix + name)
        digest.update(json.dumps([name, info.dtype, info.shape]).encode())
        for piece in pieces(container, prefix + name):
            text = piece.dtype.kind in "OTU"
            digest.update(json.dumps(piece.tolist()).encode() if text else piece.tobytes())
    for name in container.groups(group) if deep else ():
        digest.update(f"{name}:{_digest(container, prefix + name, deep=True)}".encode())
    return digest.hexdigest()


def pieces(container: Container, name: str) -> Iterator[np.ndarray]:
    """Read an array in bounded memory.

    Parameters
    ----------
    container : Container
        Open for reading.
    name : str
        The array.

    Yields
    ------
    array
        Runs along its first or last axis.
    """
    from moireio.store.base import long_axis

    info = container.info(name)
    if info.dtype == "string" or not info.shape or 0 in info.shape:
        yield container.read(name)
        return
    axis = long_axis(info.shape)
    extent = info.shape[axis]
    row = np.dtype(info.dtype).itemsize * int(np.prod(info.shape, dtype=np.int64)) // extent
    step = max(1, PIECE_BYTES // row)
    for start in range(0, extent, step):
        yield container.read(name, start, start + step, axis=axis)


def require_independent(
    changed: dict[str, bool],
    written: Collection[str],
    independent: Callable[[str], bool],
    label: str,
) -> None:
    """Refuse to add to a file in which another run has changed what this one depends on.

    Parameters
    ----------
    changed : dict of str to bool
        From `changed_groups`.
    written : collection of str
        Groups at the top that this run writes or removes.
    independent : callable
        Called with the name of a group at the top: whether nothing else is computed from it.
    label : str
        Name of the file.

    Raises
    ------
    MoireioError
        If there is such a change. New groups that are numbered, as those of a record, are none.
    """
    for path, new in sorted(changed.items()):
        top, _, leaf = path.partition("/")
        if new and leaf.isdigit():
            continue
        if top in written:
            raise MoireioError(
                f"/{top} was written by another run meanwhile, and stays",
                path=label,
                remedy="run this command again to replace it",
            )
        if not independent(top):
            raise MoireioError(
                f"/{top} was changed by another run meanwhile, and this one read it before",
                path=label,
                remedy="run this command again",
            )
