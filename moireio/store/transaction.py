"""Writing that either completes or leaves no trace.

A new file is written beside its target and renamed. What an existing block file already
holds is taken over chunk by chunk without decoding where the container stays the same, and
array by array otherwise. In place, a zarr folder only gains (or swaps) whole groups by
renaming; HDF5 and zip are written anew beside and renamed. What another run has added to the
file meanwhile is kept: the last step, in which the file changes, is one run's at a time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, cast

import numpy as np

from moireio.errors import (
    DamagedError,
    ExistingFileError,
    MissingFileError,
    MoireioError,
    unwritable,
)
from moireio.runtime import replace
from moireio.runtime.locks import locked
from moireio.runtime.workdirs import prefix_beside, work_folder
from moireio.store.base import CHUNK_BYTES, Container, long_axis
from moireio.store.bounds import ELSEWHERE
from moireio.store.changes import changed_groups, require_independent, state_of
from moireio.store.containers import kind_of_name, open_container
from moireio.store.members import METADATA, check_members
from moireio.store.overlay import Overlay

if TYPE_CHECKING:
    from moireio.store.hdf5 import Hdf5Container
    from moireio.store.zarr import ZarrContainer

COPY_BYTES = 8 * CHUNK_BYTES


@contextlib.contextmanager
def write_container(
    target: str | os.PathLike[str],
    *,
    kind: str | None = None,
    force: bool = False,
    base: Container | None = None,
    in_place: bool = False,
    drop: Collection[str] = (),
    independent: Callable[[str], bool] = lambda group: False,
    durable: bool = True,
) -> Iterator[Container]:
    """Make or extend a block file, all or nothing.

    Parameters
    ----------
    target : str or path-like
        The file or folder to make; in place, the file of `base` itself.
    kind : {"h5", "zarr", "zip"}, optional
        Container; by default that of the target's suffix.
    force : bool
        Replace a target that exists.
    base : Container, optional
        A block file whose contents are taken over.
    in_place : bool
        Add to `base` itself.
    drop : tuple of str
        Groups of `base` that are not taken over, because they are written anew.
    independent : callable
        Called with the name of a group at the top: whether nothing else is computed from it, so
        that a change of it by another run, since `base` was opened, does no harm.
    durable : bool
        Wait until the disk has it; not needed for a file that is only copied into a pipe.

    Yields
    ------
    Container
        To be written; on a normal exit it becomes the target, on an exception it vanishes.

    Raises
    ------
    MoireioError
        If the target exists, has an unknown suffix, or cannot be written, or if another run has
        changed `base` meanwhile in what this one depends on or writes.
    """
    named = os.fspath(target)
    target = os.path.realpath(named)  # a link is written through, not replaced
    kind = kind or (base.kind if base is not None and in_place else kind_of_name(target))
    if kind is None:
        raise MoireioError(
            "has no suffix of a block file", path=named, remedy="use .h5, .zarr or .zarr.zip"
        )
    if not in_place:
        check_target(named, force)
    try:
        with work_folder(prefix_beside(target), os.path.dirname(target)) as work:
            fresh = os.path.join(work, "new.h5" if kind == "h5" else "new.zarr")
            container: Container
            overlay = copied = None
            if base is not None and (in_place or base.kind == kind == "zip"):
                # What stays is not written a second time.
                container = overlay = Overlay(_new(fresh, kind, target, durable), base, drop)
            elif base is not None and base.kind == kind == "zarr":
                _copy_folder(base, fresh, drop, independent)
                container = _reopen_zarr(fresh, target)
            else:
                container, copied = _new(fresh, kind, target, durable), base
            with _closing_after_failure(container):
                if copied is not None:
                    copy_tree(copied, container, drop)
                yield container
                with contextlib.ExitStack() as stack:
                    if in_place:
                        stack.enter_context(locked(target))
                    if overlay is not None:
                        stack.enter_context(_newest(overlay, independent))
                    fresh = _close(container, fresh, kind, work)
                    if overlay is not None and kind == "zarr":
                        overlay.merge(target, work)
                        return
                    if in_place:
                        _put(fresh, target, work, force=True)
                        return
            if durable:
                if os.path.lexists(target):
                    check_target(named, force)  # it may have come, or gained something, meanwhile
                _put(fresh, target, work, force)
            else:
                os.rename(fresh, target)
    except MoireioError:
        raise
    except OSError as error:
        remedy = "is there space, and may you write in its folder?"
        raise unwritable(error, named, remedy) from error


def _close(container: Container, fresh: str, kind: str, work: str) -> str:
    """Close what was written, and return the file or folder that is to become the target."""
    overlay = container if isinstance(container, Overlay) else None
    if kind == "h5" and overlay is not None:
        _fill(overlay)
    container.close()
    if kind != "zip":
        return fresh
    packed = os.path.join(work, "new.zip")
    _pack(fresh, packed, overlay)
    return packed


@contextlib.contextmanager
def _newest(overlay: Overlay, independent: Callable[[str], bool]) -> Iterator[None]:
    """Let an overlay extend the file as it is now, after other runs have changed it."""
    before = overlay.base
    if state_of(before.path) == before.state:
        yield
        return
    now = open_container(before.path, before.label)
    with contextlib.closing(now):
        if now.kind != before.kind:
            raise MoireioError(
                "was replaced by another run meanwhile",
                path=before.label,
                remedy="run this command again",
            )
        changed = changed_groups(before, now)
        require_independent(changed, overlay.written(), independent, before.label)
        overlay.rebase(now)
        yield


def _fill(overlay: Overlay, name: str = "") -> None:
    """Copy into an HDF5 file that was written what is kept of the one that it extends."""
    attributes, arrays, groups = overlay.kept_in(name)
    base, fresh = cast("Hdf5Container", overlay.base), cast("Hdf5Container", overlay.fresh)
    fresh.create_group(name, base.attributes(name) if attributes else {})
    for array in arrays:
        copy_array(base, fresh, array)
    for group, whole in groups.items():
        if whole:
            fresh.copy_group(base, group)
        else:
            _fill(overlay, group)


@contextlib.contextmanager
def _closing_after_failure(container: Container) -> Iterator[None]:
    """Close a container if an exception leaves the block."""
    try:
        yield
    except BaseException:
        with contextlib.suppress(Exception):
            container.close()
        raise


def check_target(path: str, force: bool = False) -> None:
    """Refuse to write where something is that must not be replaced.

    Parameters
    ----------
    path : str
        A file or folder that is about to be made.
    force : bool
        Replace a regular file or a block file in a folder, but never another folder or a device.

    Raises
    ------
    MoireioError
        If it exists, or its folder does not.
    """
    real = os.path.realpath(path)
    folder = os.path.dirname(real)
    if not os.path.isdir(folder):
        raise MissingFileError("its folder does not exist", path=path, remedy=f"mkdir -p {folder}")
    if not os.path.lexists(real):
        return
    if os.path.isdir(real):
        check_members(real, path, inside=force)
    elif not os.path.isfile(real):
        raise MoireioError("is neither a file nor a folder", path=path)
    if not force:
        raise ExistingFileError("exists already", path=path, remedy="`force` replaces it")


def _new(path: str, kind: str, label: str, durable: bool) -> Container:
    """Make an empty container; a zip is packed from a folder in the end."""
    if kind == "h5":
        from moireio.store.hdf5 import Hdf5Container

        return Hdf5Container(path, label=label, mode="w", durable=durable)
    from moireio.store.zarr import ZarrContainer

    return ZarrContainer(path, label=label, mode="w")


def _reopen_zarr(path: str, label: str) -> Container:
    from moireio.store.zarr import ZarrContainer

    return ZarrContainer(path, label=label, mode="a")


def copy_tree(
    source: Container, target: Container, drop: Collection[str] = (), name: str = ""
) -> None:
    """Copy groups and arrays from one container to another, in bounded memory.

    Parameters
    ----------
    source, target : Container
        From and to; `target` is open for writing.
    drop : tuple of str
        Names of groups that are left out.
    name : str
        The group to start from; the root by default.
    """
    target.create_group(name, source.attributes(name))
    for child in source.arrays(name):
        copy_array(source, target, _join(name, child))
    for child in source.groups(name):
        path = _join(name, child)
        if path in drop:
            continue
        inside = any(entry.startswith(f"{path}/") for entry in drop)
        if source.kind == target.kind == "h5" and not inside:
            cast("Hdf5Container", target).copy_group(cast("Hdf5Container", source), path)
        else:
            copy_tree(source, target, drop, path)


def copy_array(source: Container, target: Container, name: str, compression: str = "none") -> None:
    """Copy one array, decoded, a few chunks at a time.

    Parameters
    ----------
    source, target : Container
        From and to.
    name : str
        The array's name in both.
    compression : str
        How the target stores it.
    """
    info = source.info(name)
    run = target.create_array(name, info.shape, info.dtype, compression=compression)
    if run is None or 0 in info.shape:
        target.write(name, source.read(name))
        return
    axis = long_axis(info.shape)
    extent = info.shape[axis]
    row_bytes = np.dtype(info.dtype).itemsize * int(np.prod(info.shape)) // extent
    step = run * max(1, COPY_BYTES // (row_bytes * run))
    for start in range(0, extent, step):
        target.write(name, source.read(name, start, start + step, axis=axis), start, axis=axis)


def _join(name: str, child: str) -> str:
    return f"{name}/{child}" if name else child


def _copy_folder(
    base: Container,
    target: str,
    drop: Collection[str],
    independent: Callable[[str], bool],
) -> None:
    """Copy a zarr folder while no run changes it."""
    source = base.path
    dropped = {os.path.normpath(os.path.join(source, *entry.split("/"))) for entry in drop}

    def ignore(folder: str, names: list[str]) -> list[str]:
        for name in names:
            if os.path.islink(os.path.join(folder, name)):
                what = f"{name} is a link to elsewhere"
                raise DamagedError(what, path=base.label, remedy=ELSEWHERE)
        return [name for name in names if os.path.normpath(os.path.join(folder, name)) in dropped]

    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a folder that nobody may write in
            stack.enter_context(locked(os.path.realpath(source)))
        if state_of(source) != base.state:
            now = stack.enter_context(contextlib.closing(open_container(source, base.label)))
            top = {entry.split("/")[0] for entry in drop}
            require_independent(changed_groups(base, now), top, independent, base.label)
        try:
            shutil.copytree(source, target, ignore=ignore)
        except shutil.Error as error:
            what = f"cannot be copied: {error.args[0][0][2]}"
            raise MoireioError(what, path=base.label) from error


def _pack(folder: str, packed: str, overlay: Overlay | None) -> None:
    """Zip a zarr folder; what an overlay keeps of its base is carried over first."""
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED, allowZip64=True) as target:
        written = set() if overlay is None else _carry(overlay, target)
        for here, folders, files in os.walk(folder):
            folders.sort()
            for file in sorted(files):
                full = os.path.join(here, file)
                name = os.path.relpath(full, folder).replace(os.sep, "/")
                if name not in written:
                    target.write(full, name)


def _carry(overlay: Overlay, target: zipfile.ZipFile) -> set[str]:
    """Copy the members of a zip that an overlay keeps; return their names."""
    base, written = cast("ZarrContainer", overlay.base), set[str]()
    dropped = tuple(f"{group}/" for group in overlay.drop)
    replaced = {f"{group}/{METADATA}".lstrip("/") for group in overlay.changed}
    wanted = set(base.known_members()) - replaced
    try:
        with zipfile.ZipFile(base.path) as source:
            for member in source.infolist():
                name = member.filename
                if name not in wanted or name in written or name.startswith(dropped):
                    continue
                with (
                    source.open(name) as reader,
                    target.open(zipfile.ZipInfo(name), "w", force_zip64=True) as writer,
                ):
                    shutil.copyfileobj(reader, writer, COPY_BYTES)
                written.add(name)
    except (zipfile.BadZipFile, EOFError) as error:
        raise DamagedError(f"the zip is damaged: {error}", path=base.label) from error
    return written


def _put(fresh: str, target: str, work: str, force: bool) -> None:
    """Let a finished file or folder become the target, which may exist."""
    try:
        if force and os.path.isdir(target) | (os.path.isdir(fresh) and os.path.lexists(target)):
            if os.path.isdir(fresh) and os.path.isdir(target):
                replace.resemble(fresh, target)
            replace.sync(fresh)
            replace.exchange(fresh, target, work)
            replace.sync_folder_of(target)
        else:
            replace.place(fresh, target, force)
    except FileExistsError as error:
        raise ExistingFileError(
            "was made by another run meanwhile", path=target, remedy="`force` replaces it"
        ) from error
