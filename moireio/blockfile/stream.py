"""Pipes: block files through standard input and output.

A stream is the bytes of a whole block file, HDF5 or zip. A reader spools them to memory, and
past 256 MiB to a file in ``$TMPDIR``; a writer makes the file and copies it.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import shutil
import stat
import sys
import tempfile
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any, BinaryIO, cast

from moireio.blockfile.reader import BlockFile, open_blockfile
from moireio.blockfile.schema import naming_misfits
from moireio.blockfile.writer import BlockWriter
from moireio.errors import DamagedError, MissingFileError, MoireioError, unreadable, unwritable
from moireio.results.registry import usable_kind
from moireio.runtime.files import copy_to_stream, descriptor, is_device, is_stream
from moireio.runtime.workdirs import work_folder
from moireio.store.containers import kind_of_bytes, kind_of_name
from moireio.store.transaction import check_target, write_container

SPOOL_BYTES = 256 << 20
PIECE_BYTES = 1 << 20
STDIN_NAME = "standard input"
GZIP = b"\x1f\x8b"


@contextlib.contextmanager
def source_file(
    source: str, check: Callable[[bytes, str], Any] | None = None
) -> Iterator[tuple[str, str]]:
    """Give a path for a command's SOURCE, which may be standard input.

    Parameters
    ----------
    source : str
        A path, or "-" for standard input.
    check : callable, optional
        Called with the first bytes of a stream and its name; may refuse it. With it, block files
        compressed by gzip are unpacked.

    Yields
    ------
    path : str
        A file or folder that can be opened (more than once).
    label : str
        How messages name it.

    Raises
    ------
    MoireioError
        If standard input is a terminal or holds nothing.
    """
    if source != "-":
        if not os.path.exists(source):
            raise MissingFileError("no such file or folder", path=source)
        if check is not None and is_compressed_block(source):
            with _unpacked(source) as stream, _spool(stream, source, check) as path:
                yield path, source
            return
        if os.path.isfile(source) or os.path.isdir(source):
            yield source, source
            return
        if is_device(source):
            raise MoireioError(
                "is a device, not a file", path=source, remedy="name a file, or pipe it in"
            )
        try:  # a pipe with a name, as of the shell's <(command), can be read only once
            with open(source, "rb") as stream, _spool(stream, source, check) as path:
                yield path, source
        except MoireioError:
            raise
        except OSError as error:
            raise unreadable(error, source) from error
        return
    if sys.stdin is None:
        raise MoireioError("is closed", path=STDIN_NAME, remedy="name a file")
    stdin = sys.stdin.buffer
    if stdin.isatty():
        raise MoireioError(
            "nothing is piped in", path=STDIN_NAME, remedy="name a file, or pipe a block file in"
        )
    descriptor = stdin.fileno()
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and os.path.exists(f"/proc/self/fd/{descriptor}"):
        yield f"/proc/self/fd/{descriptor}", STDIN_NAME
        return
    with _spool(stdin, STDIN_NAME, check) as path:
        yield path, STDIN_NAME


def is_compressed_block(path: str) -> bool:
    """Return whether a file may be a block file compressed by gzip.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        By the first bytes of what it holds.
    """
    if not os.path.isfile(path):
        return False
    try:
        with open(path, "rb") as raw:
            if raw.read(2) != GZIP:
                return False
        with gzip.open(path, "rb") as stream:
            kind_of_bytes(stream.read(8), path)
    except (MoireioError, OSError, EOFError, zlib.error):
        return False
    return True


@contextlib.contextmanager
def _unpacked(path: str) -> Iterator[BinaryIO]:
    """Open what a file holds that gzip has compressed."""
    try:
        with gzip.open(path, "rb") as stream:
            yield cast(BinaryIO, stream)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DamagedError(
            f"its compressed data is damaged or cut short ({error})",
            path=path,
            remedy="make it again",
        ) from error


@contextlib.contextmanager
def _spool(
    stream: BinaryIO, label: str, check: Callable[[bytes, str], Any] | None
) -> Iterator[str]:
    """Copy a stream to memory, or to a temporary file once it is large; yield a path."""
    with contextlib.ExitStack() as stack:
        if hasattr(os, "memfd_create"):
            spool = stack.enter_context(os.fdopen(os.memfd_create("moireio"), "w+b"))
            path, limit = f"/proc/self/fd/{spool.fileno()}", SPOOL_BYTES
        else:
            path = os.path.join(stack.enter_context(work_folder("moireio-")), "spool")
            spool, limit = stack.enter_context(open(path, "w+b")), None
        size = 0
        while piece := stream.read(PIECE_BYTES):
            if size == 0 and check is not None:
                check(piece, label)
            spool.write(piece)
            size += len(piece)
            if limit is not None and size > limit:
                file = stack.enter_context(tempfile.TemporaryFile())
                spool.seek(0)
                shutil.copyfileobj(spool, file, PIECE_BYTES)
                spool.truncate(0)
                spool, path, limit = file, f"/proc/self/fd/{file.fileno()}", None
        if size == 0:
            writer = "before it in the pipeline" if label == STDIN_NAME else "that writes it"
            raise MoireioError("is empty", path=label, remedy=f"the command {writer} failed")
        spool.flush()
        yield path


def _kind_of_stream(head: bytes, label: str) -> str:
    """Return the container of a stream, by its first bytes."""
    try:
        return kind_of_bytes(head, label)
    except MoireioError as error:
        raise MoireioError(
            "is a stream that holds no block file",
            path=label,
            remedy="pipe what openmx2h5 or another command writes; structures of other programs "
            "are read from files, whose names give their format",
        ) from error


@contextlib.contextmanager
def open_source(source: str) -> Iterator[BlockFile]:
    """Open a command's SOURCE as a block file.

    Parameters
    ----------
    source : str
        A path, or "-" for standard input.

    Yields
    ------
    BlockFile
        Open for reading.
    """
    with (
        source_file(source, _kind_of_stream) as (path, label),
        open_blockfile(path, label) as file,
        naming_misfits(file.container),
    ):
        yield file


@contextlib.contextmanager
def write_target(
    target: str | None,
    *,
    base: BlockFile | None = None,
    in_place: bool = False,
    force: bool = False,
    container: str | None = None,
    drop: Collection[str] = (),
    compression: str = "none",
) -> Iterator[BlockWriter]:
    """Make a command's output: a new file, standard output, or SOURCE itself.

    Parameters
    ----------
    target : str or None
        A path, "-" for standard output, a pipe or a device; ignored in place.
    base : BlockFile, optional
        The file that the output extends.
    in_place : bool
        Write into the file of `base`.
    force : bool
        Replace an existing file.
    container : {"h5", "zarr", "zip"}, optional
        Container; by default by suffix, and on standard output that of `base`.
    drop : tuple of str
        Groups of `base` that are written anew.
    compression : str
        How new arrays are stored.

    Yields
    ------
    BlockWriter
        To be filled. If an exception leaves the block, nothing is written.
    """
    kept = base.container if base is not None else None
    if in_place:
        if base is None or base.label == STDIN_NAME:
            raise MoireioError(
                "cannot be changed in place", path=STDIN_NAME, remedy="name the file"
            )
        if os.path.realpath(base.container.path) != os.path.realpath(base.label):
            # Compressed, or a pipe with a name.
            raise MoireioError(
                "cannot be changed in place", path=base.label, remedy="unpack it first, or use -o"
            )
        path = base.container.path
        with write_container(
            path, in_place=True, base=kept, drop=drop, independent=_is_end_result
        ) as out:
            yield BlockWriter(out, compression)
        return
    if target is not None and not is_stream(target):
        kind = container or kind_of_name(target)
        with write_container(
            target, kind=kind, force=force, base=kept, drop=drop, independent=_is_end_result
        ) as out:
            yield BlockWriter(out, compression)
        return
    target = "-" if target is None else target
    if descriptor(target) == 1:
        check_stdout()
    kind = container or kind_of_name(target) or (kept.kind if kept is not None else "h5")
    kind = "zip" if kind == "zarr" else kind
    suffix = "h5" if kind == "h5" else "zarr.zip"
    with work_folder("moireio-") as folder:
        path = os.path.join(folder, f"stream.{suffix}")
        with write_container(path, kind=kind, base=kept, drop=drop, durable=False) as out:
            yield BlockWriter(out, compression)
        try:
            copy_to_stream(path, target)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise unwritable(error, "standard output" if target == "-" else target) from error


def computed_results(file: BlockFile) -> list[str]:
    """List the results that were computed from the operators of a file.

    Parameters
    ----------
    file : BlockFile
        Open for reading.

    Returns
    -------
    list of str
        Groups such as "bands" and "dos-NAME", sorted. Where an operator is replaced they are those
        of the former one.
    """
    return [group for group in file.container.groups() if _is_end_result(group)]


def _is_end_result(group: str) -> bool:
    """Return whether a group is a result from which nothing else in the file is computed."""
    kind = usable_kind(group)
    return kind is not None and kind.named


def check_stdout() -> None:
    """Refuse to send a block file to a terminal.

    Raises
    ------
    MoireioError
        If standard output is a terminal.
    """
    if sys.stdout is None:
        raise MoireioError("is closed", path="standard output", remedy="use -o FILE")
    if sys.stdout.isatty():
        raise MoireioError(
            "a block file is binary and does not go to a terminal", remedy="use -o FILE or a pipe"
        )


def check_outputs(
    outputs: Sequence[str | None], inputs: Sequence[str | None] = (), force: bool = False
) -> None:
    """Refuse outputs that would destroy something, before any work is done.

    Parameters
    ----------
    outputs : sequence of str or None
        Files that will be made; None, "-", pipes and devices are passed over.
    inputs : sequence of str or None
        Files that are read.
    force : bool
        Replace regular files and zarr stores that exist.

    Raises
    ------
    MoireioError
        If an output is an input, lies inside one or holds one, is named twice, or must not be
        replaced.
    """
    wanted = [p for p in outputs if p is not None and not is_stream(p)]
    read = {os.path.realpath(p): p for p in inputs if p and p != "-"}
    seen = set()
    for path in wanted:
        if path == "":
            raise MoireioError("an output has an empty name")
        real = os.path.realpath(path)
        if real in seen:
            raise MoireioError("is named for two outputs", path=path)
        seen.add(real)
        for other, name in read.items():
            if real == other:
                raise MoireioError(
                    "is an input too", path=path, remedy="name another file, or `in_place`"
                )
            if os.path.isdir(real) and other.startswith(real + os.sep):
                raise MoireioError(f"is the folder in which {name} lies", path=path)
            if os.path.isdir(other) and real.startswith(other + os.sep):
                _check_inside(path, other, name)
        check_target(path, force)


def _check_inside(path: str, folder: str, name: str) -> None:
    """Refuse an output inside a folder that is read, unless it is a file beside those read."""
    if os.path.isfile(os.path.join(folder, "zarr.json")):
        raise MoireioError(f"lies inside the input {name}", path=path)
    if not os.path.exists(path):
        return
    try:
        open_blockfile(path).close()
    except MoireioError as error:
        raise MoireioError(
            f"is a file of the input {name}", path=path, remedy="name another file"
        ) from error


def check_container(output: str | None, container: str | None = None) -> None:
    """Refuse an output whose container is unknown, before any work is done.

    Parameters
    ----------
    output : str or None
        File to make; None, "-", pipes and devices are passed over.
    container : str, optional
        Its container, if it is given.

    Raises
    ------
    MoireioError
        If neither name nor `container` determines it.
    """
    if output is None or is_stream(output) or container is not None:
        return
    if kind_of_name(output) is None:
        raise MoireioError(
            "has no suffix of a block file", path=output, remedy="use .h5, .zarr or .zarr.zip"
        )
