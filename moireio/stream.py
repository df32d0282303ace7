"""Pipes: block files through standard input and output.

A stream is the bytes of a whole block file, HDF5 or zip. A reader spools them to memory, and
past 256 MiB to a file in ``$TMPDIR``; a writer makes the file and copies it.
"""

import contextlib
import os
import shutil
import stat
import sys
import tempfile

from moireio.blockfile import open_blockfile
from moireio.errors import MoireioError
from moireio.store import kind_of_name
from moireio.store.transaction import write_container
from moireio.writer import BlockWriter

SPOOL_BYTES = 256 << 20
PIECE_BYTES = 1 << 20
STDIN_NAME = "standard input"


@contextlib.contextmanager
def source_file(source):
    """Give a path for a command's SOURCE, which may be standard input.

    Parameters
    ----------
    source : str
        A path, or "-" for standard input.

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
        if not os.path.lexists(source):
            raise MoireioError("no such file or folder", path=source)
        yield source, source
        return
    stdin = sys.stdin.buffer
    if stdin.isatty():
        raise MoireioError(
            "nothing is piped in", path=STDIN_NAME, remedy="name a file, or pipe a block file in"
        )
    descriptor = stdin.fileno()
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and os.path.exists(f"/proc/self/fd/{descriptor}"):
        yield f"/proc/self/fd/{descriptor}", STDIN_NAME
        return
    with _spool(stdin) as path:
        yield path, STDIN_NAME


@contextlib.contextmanager
def _spool(stream):
    """Copy a stream to memory, or to a temporary file once it is large; yield a path."""
    with contextlib.ExitStack() as stack:
        if hasattr(os, "memfd_create"):
            spool = stack.enter_context(os.fdopen(os.memfd_create("moireio"), "w+b"))
            path = f"/proc/self/fd/{spool.fileno()}"
            limit = SPOOL_BYTES
        else:
            spool = stack.enter_context(tempfile.NamedTemporaryFile(prefix="moireio-"))
            path, limit = spool.name, None
        size = 0
        while piece := stream.read(PIECE_BYTES):
            spool.write(piece)
            size += len(piece)
            if limit is not None and size > limit:
                file = stack.enter_context(tempfile.NamedTemporaryFile(prefix="moireio-"))
                spool.seek(0)
                shutil.copyfileobj(spool, file, PIECE_BYTES)
                spool.truncate(0)
                spool, path, limit = file, file.name, None
        if size == 0:
            raise MoireioError(
                "is empty", path=STDIN_NAME, remedy="the command before it in the pipeline failed"
            )
        spool.flush()
        yield path


@contextlib.contextmanager
def open_source(source):
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
    with source_file(source) as (path, label), open_blockfile(path, label) as file:
        yield file


@contextlib.contextmanager
def write_target(
    target, *, base=None, in_place=False, force=False, container=None, drop=(), compression="none"
):
    """Make a command's output: a new file, standard output, or SOURCE itself.

    Parameters
    ----------
    target : str or None
        A path, or "-" for standard output; ignored in place.
    base : BlockFile, optional
        What the output extends.
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
    if in_place and base.label == STDIN_NAME:
        raise MoireioError("cannot be changed in place", path=STDIN_NAME, remedy="name the file")
    options = {"base": base.container if base else None, "drop": drop}
    if in_place:
        with write_container(base.container.path, in_place=True, **options) as out:
            yield BlockWriter(out, base, compression)
        return
    if target != "-":
        if base is not None and os.path.exists(target) and _same(target, base.container.path):
            raise MoireioError(
                "is the input too",
                path=target,
                remedy="name another file, or --in-place",
            )
        kind = container or kind_of_name(target)
        with write_container(target, kind=kind, force=force, **options) as out:
            yield BlockWriter(out, base, compression)
        return
    check_stdout()
    kind = container or (base.container.kind if base else "h5")
    kind = "zip" if kind == "zarr" else kind
    suffix = "h5" if kind == "h5" else "zarr.zip"
    with tempfile.TemporaryDirectory(prefix="moireio-", dir=_spool_folder()) as folder:
        path = os.path.join(folder, f"stream.{suffix}")
        with write_container(path, kind=kind, **options) as out:
            yield BlockWriter(out, base, compression)
        with open(path, "rb") as stream:
            shutil.copyfileobj(stream, sys.stdout.buffer, PIECE_BYTES)
        sys.stdout.buffer.flush()


def check_stdout():
    """Refuse to send a block file to a terminal.

    Raises
    ------
    MoireioError
        If standard output is a terminal.
    """
    if sys.stdout.isatty():
        raise MoireioError(
            "a block file is binary and does not go to a terminal", remedy="use -o FILE or a pipe"
        )


def _same(first, second):
    try:
        return os.path.samefile(first, second)
    except OSError:
        return False


def _spool_folder():
    """Return the folder for a writer's spool: ``$TMPDIR`` where it is set, else the default."""
    return os.environ.get("TMPDIR") or None
