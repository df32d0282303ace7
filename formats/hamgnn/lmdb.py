"""HamGNN's data sets in LMDB: a folder ``NAME.lmdb`` with ``data.mdb``, or such a file alone.

Layout of the set: key ``num_graphs`` (digits), and ``graph_0`` … with a pickled Data each, as in
``graph_data.npz``. Layout of the file, LMDB's own (version 1, 64 bits): pages, of which the first
two are headers, the newer one counts; a tree of branch and leaf pages, whose nodes have key and
value; values larger than a page lie in pages of their own. It is read here, as data: a damaged file
cannot do more than be refused.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator, Mapping
from typing import NoReturn

from moireio.errors import DamagedError, MissingFileError, unreadable
from moireio.formats.hamgnn.graphs import Graph, mapping_of
from moireio.formats.hamgnn.pickles import read_pickle
from moireio.formats.text.streams import beside, expanded, first_bytes

FILE = "data.mdb"
MAGIC = 0xBEEFC0DE
BRANCH, LEAF, SUBPAGE, DUPLICATES = 0x01, 0x02, 0x40, 0x20
BIG, SUBTREE = 0x01, 0x02  # of nodes
PAGE_HEADER, NODE_HEADER = 16, 8
EMPTY = (1 << 64) - 1
DEEPEST = 16


def lmdb_file(path: str) -> str | None:
    """Return the file of a data base.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    str or None
        The one in a folder, by its name, or the path itself, by its first bytes; None if it is no
        data base.
    """
    if os.path.isdir(path):
        return beside(path, FILE)
    start = first_bytes(path, PAGE_HEADER + 4)  # nothing of a pipe
    return path if start[PAGE_HEADER:] == struct.pack("<I", MAGIC) else None


class LmdbGraphs(Mapping[int, Graph]):
    """The graphs of a data set, each read when it is asked for.

    Parameters
    ----------
    path : str
        The file (`lmdb_file`).

    Raises
    ------
    MoireioError
        If it is no data set of HamGNN.
    DamagedError
        If it is damaged.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._entries = _Tree(path).entries()
        if b"num_graphs" not in self._entries:
            raise DamagedError("has no num_graphs", path=path, remedy="a set of HamGNN expected")
        count = bytes(self._entries[b"num_graphs"])
        self._count = sum(key.startswith(b"graph_") for key in self._entries)
        # digits, or a pickled number, which is not needed
        if (count.isdigit() and int(count[:12]) != self._count) or not self._count:
            stated = count[:12].decode() if count.isdigit() else "set"
            raise DamagedError(
                f"has num_graphs {stated}, but {self._count} graphs",
                path=path,
                remedy="copy it again",
            )

    def __len__(self) -> int:
        """Return the number of graphs."""
        return self._count

    def __iter__(self) -> Iterator[int]:
        """Yield their numbers."""
        return iter(range(self._count))

    def __contains__(self, number: object) -> bool:
        """Return whether there is a graph of that number."""
        return isinstance(number, int) and 0 <= number < self._count

    def __getitem__(self, number: int) -> Graph:
        """Return a graph."""
        raw = self._entries.get(b"graph_%d" % number)
        if raw is None:
            raise DamagedError(f"has no graph_{number}", path=self._path, remedy="copy it again")
        return mapping_of(read_pickle(raw, self._path), number, self._path)


class _Tree:
    """A file of LMDB."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            image = expanded(path)
            with open(path, "rb") as stream:
                size = os.fstat(stream.fileno()).st_size if image is None else len(image)
                if size < 2 * 512:
                    self._fail("is too short")
                mapped = image or mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
                self._raw = memoryview(mapped)
        except FileNotFoundError as error:
            raise MissingFileError(path=path) from error
        except OSError as error:
            raise unreadable(error, path) from error

    def _fail(self, what: str) -> NoReturn:
        raise DamagedError(f"{what}: it is cut short or damaged", path=self._path)

    def _unpack(self, layout: str, at: int) -> tuple[int, ...]:
        if at < 0 or at + struct.calcsize(layout) > len(self._raw):
            self._fail(f"ends before byte {at}")
        return struct.unpack_from(layout, self._raw, at)

    def entries(self) -> dict[bytes, memoryview]:
        """Return all values by their keys."""
        magic, version, _, _, size = self._unpack("<IIQQI", PAGE_HEADER)
        if magic != MAGIC or version & 0xFFFF != 1:
            self._fail("does not begin as a data base of LMDB")
        if size not in (1 << n for n in range(9, 17)):
            self._fail(f"has pages of {size} bytes")
        self._size = size
        # data base 1 is the main one: its root is 40 bytes after its begin, then last page, number
        newest = max(
            (self._unpack("<QQQ", start + PAGE_HEADER + 24 + 48 + 40) for start in (0, size)),
            key=lambda one: one[2],
        )
        found: dict[bytes, memoryview] = {}
        if newest[0] != EMPTY:
            self._visit(newest[0], found, set(), 0)
        return found

    def _visit(self, page: int, found: dict[bytes, memoryview], seen: set[int], depth: int) -> None:
        if page in seen or depth > DEEPEST:
            self._fail(f"has page {page} twice")
        seen.add(page)
        start = page * self._size
        number, _, flags, lower, _ = self._unpack("<QHHHH", start)
        kind = flags & (BRANCH | LEAF | SUBPAGE | DUPLICATES)
        if number != page or kind not in (BRANCH, LEAF) or not PAGE_HEADER <= lower <= self._size:
            self._fail(f"has no page {page}")
        for place in range((lower - PAGE_HEADER) // 2):
            (offset,) = self._unpack("<H", start + PAGE_HEADER + 2 * place)
            node = start + offset
            low, high, flags, length = self._unpack("<HHHH", node)
            if kind == BRANCH:
                self._visit(low | high << 16 | flags << 32, found, seen, depth + 1)
                continue
            key = bytes(self._part(node + NODE_HEADER, length))
            begin, size = node + NODE_HEADER + length, low | high << 16
            if flags & SUBTREE:
                self._fail(f"has a data base {key[:20]!r} in it")
            if flags & BIG:
                (first,) = self._unpack("<Q", begin)
                begin = first * self._size + PAGE_HEADER
            found[key] = self._part(begin, size)

    def _part(self, begin: int, size: int) -> memoryview:
        if begin + size > len(self._raw):
            self._fail(f"ends before byte {begin + size}")
        return self._raw[begin : begin + size]
