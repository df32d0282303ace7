"""The containers of a block file: HDF5, zarr v3 in a folder, zarr v3 in a zip.

Only this package knows that they differ. Everything else sees a tree of groups, arrays and
attributes through the `Container` interface.
"""

from __future__ import annotations

import os

from moireio.errors import MoireioError, unreadable
from moireio.store.base import COMPRESSIONS, ArrayInfo, Container

__all__ = [
    "COMPRESSIONS",
    "ArrayInfo",
    "Container",
    "kind_of_bytes",
    "kind_of_file",
    "kind_of_name",
    "open_container",
]

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
ZIP_SIGNATURE = b"PK\x03\x04"
SUFFIXES = {".h5": "h5", ".hdf5": "h5", ".zarr": "zarr", ".zarr.zip": "zip", ".zip": "zip"}


def kind_of_name(path: str | os.PathLike[str]) -> str | None:
    """Return the container that a file name's suffix stands for.

    Parameters
    ----------
    path : str or path-like
        Name of a file, which need not exist.

    Returns
    -------
    str or None
        "h5", "zarr" or "zip"; None for another suffix.
    """
    name = os.fspath(path).rstrip("/").lower()
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if name.endswith(suffix):
            return SUFFIXES[suffix]
    return None


def kind_of_file(path: str | os.PathLike[str], label: str | None = None) -> str:
    """Return the container of a folder, or of a file by its first bytes.

    Parameters
    ----------
    path : str or path-like
        An existing file or folder.
    label : str, optional
        The name that error messages show, when it is not `path`.

    Returns
    -------
    str
        "h5", "zarr" or "zip".

    Raises
    ------
    MoireioError
        If the file is absent, empty, or neither of the three.
    """
    label = label or os.fspath(path)
    if os.path.isdir(path):
        if os.path.isfile(os.path.join(path, "zarr.json")):
            return "zarr"
        raise MoireioError("is a folder without zarr.json, not a block file", path=label)
    try:
        with open(path, "rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise unreadable(error, label) from error
    return kind_of_bytes(head, label)


def kind_of_bytes(head: bytes, label: str) -> str:
    """Return the container whose files begin with these bytes.

    Parameters
    ----------
    head : bytes
        At least the first eight, where there are so many.
    label : str
        The name that error messages show.

    Returns
    -------
    str
        "h5" or "zip".

    Raises
    ------
    MoireioError
        If it is neither.
    """
    if head[:8] == HDF5_SIGNATURE:
        return "h5"
    if head[:4] == ZIP_SIGNATURE:
        return "zip"
    if not head:
        raise MoireioError(
            "is empty", path=label, remedy="the command that should have written it failed"
        )
    raise MoireioError(
        "is not a block file: its first bytes are neither HDF5's nor zip's",
        path=label,
        remedy="openmx2h5 converts OpenMX's .scfout, deeph2h5 DeepH's folders; overlap and tb-h "
        "read structure files",
    )


def open_container(path: str | os.PathLike[str], label: str | None = None) -> Container:
    """Open an existing block file for reading, whatever its container.

    Parameters
    ----------
    path : str or path-like
        File or folder.
    label : str, optional
        The name that error messages show, when it is not `path`.

    Returns
    -------
    Container
        Open for reading.

    Raises
    ------
    MoireioError
        If it is absent, of another format, or damaged.
    """
    kind = kind_of_file(path, label)
    if kind == "h5":
        from moireio.store.hdf5 import Hdf5Container

        return Hdf5Container(path, label=label)
    from moireio.store.zarr import ZarrContainer

    return ZarrContainer(path, kind=kind, label=label)
