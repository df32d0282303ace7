"""What belongs to a block file in a zarr folder, and what does not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from moireio.errors import MoireioError

METADATA = "zarr.json"
FORMATS = ("moireio", "moireio-model")
LONGEST = 64 << 20  # bytes of a zarr.json
SHOWN = 3


def check_members(folder: str, label: str, inside: bool = True) -> None:
    """Refuse to replace a folder that is no block file, or holds something else too.

    Parameters
    ----------
    folder : str
        The folder, links resolved.
    label : str
        How messages name it.
    inside : bool
        Look at everything in it, not only whether it is a block file.

    Raises
    ------
    MoireioError
        If its ``zarr.json`` does not say that it is a block file, or something in it is none of
        zarr's files.
    """
    root = _metadata(folder)
    attributes = root.get("attributes")
    found = attributes.get("format") if isinstance(attributes, dict) else None
    if root.get("node_type") != "group" or found not in FORMATS:
        raise MoireioError(
            "is a folder, and no block file that could be replaced",
            path=label,
            remedy="choose another name, or remove it yourself",
        )
    if not inside:
        return
    foreign = _foreign(folder)
    names = [os.path.relpath(path, folder) for path, _ in zip(foreign, range(SHOWN), strict=False)]
    if names:
        more = "" if next(foreign, None) is None else " and others"
        raise MoireioError(
            f"holds what is not of a block file: {', '.join(names)}{more}",
            path=label,
            remedy="move that elsewhere, or choose another name",
        )


def _metadata(folder: str) -> dict[str, Any]:
    """Return the contents of a zarr.json, nothing if it is none."""
    path = os.path.join(folder, METADATA)
    try:
        if os.path.islink(path) or os.path.getsize(path) > LONGEST:
            return {}
        with open(path, encoding="utf-8") as stream:
            found = json.load(stream)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _foreign(folder: str) -> Iterator[str]:
    """Yield what is in the folder of a group or array without belonging to it."""
    kind = _metadata(folder).get("node_type")
    with os.scandir(folder) as entries:
        inside = sorted(entries, key=lambda entry: entry.name)
    for entry in inside:
        is_folder = entry.is_dir(follow_symlinks=False)
        if entry.name == METADATA and entry.is_file(follow_symlinks=False):
            continue
        if kind == "group" and is_folder and _metadata(entry.path):
            yield from _foreign(entry.path)
        elif kind == "array" and entry.name == "c":
            yield from _no_chunks(entry)
        else:
            yield entry.path


def _no_chunks(entry: os.DirEntry[str]) -> Iterator[str]:
    """Yield what is no chunk of an array among its chunks."""
    if entry.is_file(follow_symlinks=False):
        return
    if not entry.is_dir(follow_symlinks=False):
        yield entry.path
        return
    with os.scandir(entry.path) as entries:
        for inside in sorted(entries, key=lambda e: e.name):
            if inside.name.isdigit():
                yield from _no_chunks(inside)
            else:
                yield inside.path
