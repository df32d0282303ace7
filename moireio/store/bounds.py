"""What a file may claim, checked before memory is taken or a file is opened.

A shape is a few bytes and an archive's member can unpack to a thousand times its size, so that
a small file can ask for all memory there is. A container compares what it is about to read with
the bytes that are there. Errors are ValueErrors without a file's name: the container names the
array.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Sequence

from moireio.runtime.memory import size_text

FREE_BYTES = 64 << 20
METADATA_BYTES = 4 << 20
NAME_BYTES = 255
EXPANSION = 1100  # deflate packs at most 1032 to 1
BLOSC = 4096  # zeros: 3520 to 1 in chunks of 1 MiB

ELSEWHERE = "only the file that is named is read: copy what it points to into it"

_HEAP = b"GCOL\x01\x00\x00\x00"


class OutsideError(ValueError):
    """A part of a file lies in another file, which the user did not name."""


def array_bytes(shape: Sequence[int], itemsize: int) -> int:
    """Return the bytes of an array in memory, as an integer that cannot overflow.

    Parameters
    ----------
    shape : sequence of int
        Its shape.
    itemsize : int
        Bytes of an element.

    Returns
    -------
    int
        Product of all.
    """
    return math.prod(int(n) for n in shape) * int(itemsize)


def require_backed(
    shape: Sequence[int], itemsize: int, stored: int, ratio: int, what: str = "shape"
) -> None:
    """Raise if an array claims more than its stored bytes can hold.

    Parameters
    ----------
    shape : sequence of int
        The array, or one chunk.
    itemsize : int
        Bytes of an element.
    stored : int
        Bytes on disk.
    ratio : int
        How far they can be compressed at most.
    what : str
        "shape" or "chunk", for the message.

    Raises
    ------
    ValueError
        With both sizes. Up to 64 MiB pass in any case.
    """
    claimed = array_bytes(shape, itemsize)
    if claimed > FREE_BYTES + ratio * stored:
        listed = " x ".join(str(n) for n in shape)
        raise ValueError(
            f"its {what} {listed} takes {size_text(claimed)}, but {size_text(stored)} are stored"
        )


def require_name(name: str | bytes) -> None:
    """Raise if a group or array has a name that is no single part of a path.

    Parameters
    ----------
    name : str or bytes
        As a container lists it; bytes where they are no UTF-8.

    Raises
    ------
    ValueError
        If it is no text, empty, "." or "..", has a slash or a control character, or is too long.
    """
    if isinstance(name, bytes):
        raise ValueError(f"{name[:40]!r} is no name of a group or array")
    encoded = name.encode("utf-8", "replace")
    plain = not any(c == "/" or c < " " or "\ud800" <= c <= "\udfff" for c in name)
    if name in ("", ".", "..") or not plain or len(encoded) > NAME_BYTES:
        raise ValueError(f"{name[:40]!r} is no name of a group or array")


def require_member(name: str) -> None:
    """Raise if a member of an archive would lie outside the folder that the archive stands for.

    Parameters
    ----------
    name : str
        The member's path.

    Raises
    ------
    OutsideError
        If the path is absolute, or a part of it is no name.
    """
    for part in name.rstrip("/").split("/"):
        try:
            require_name(part)
        except ValueError:
            raise OutsideError(f"the member {name[:80]!r} lies outside the store") from None


def require_sound_heap(path: str | os.PathLike[str], length_bytes: int = 8) -> None:
    """Raise if a global heap of an HDF5 file is damaged such that HDF5 reads it for ever.

    The heap holds texts of variable length and has no checksum. It is walked as HDF5 does.

    Parameters
    ----------
    path : str or path-like
        The HDF5 file.
    length_bytes : int
        Bytes of a length in the file, from its superblock.

    Raises
    ------
    ValueError
        If an object of a heap has no length, or reaches beyond its heap.
    """
    header = -(-(8 + length_bytes) // 8) * 8
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        begin = data.find(_HEAP)
        while begin >= 0:
            end = begin + int.from_bytes(data[begin + 8 : begin + 8 + length_bytes], "little")
            at = begin + header
            if end > len(data):
                raise ValueError("the heap of its texts reaches beyond the end of the file")
            while at + header <= end:
                number = int.from_bytes(data[at : at + 2], "little")
                size = int.from_bytes(data[at + 8 : at + 8 + length_bytes], "little")
                step = header + -(-size // 8) * 8 if number else size
                if step == 0 or at + step > end:
                    raise ValueError("the heap of its texts is damaged")
                at += step
            begin = data.find(_HEAP, max(end, begin + 8))
