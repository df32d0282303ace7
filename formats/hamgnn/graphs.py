"""HamGNN's ``graph_data.npz``: graphs of atoms with the blocks of H and S.

Layout: a zip with one member ``graph.npy``, a pickle of ``{number: Data}``. Each Data has ``z``,
``cell`` (1, 3, 3), ``pos`` (N, 3), ``edge_index`` (2, E: i, j), ``inv_edge_idx`` (E), ``nbr_shift``
(E, 3) and ``cell_shift`` (E, 3: R of the second atom), ``Hon`` (N, nao²), ``Hoff`` (E, nao²) and
``Son``, ``Soff``: blocks ⟨i,0|H|j,R⟩, row-major, padded with zeros to nao orbitals; Hartree and
Bohr in single precision.
"""

from __future__ import annotations

import io
import mmap
import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MissingFileError, MoireioError, first_line, unreadable
from moireio.formats.hamgnn.pickles import CLASSES, REMEDY, Instance, read_pickle
from moireio.formats.text.npz import HEADER_BYTES, npy_header
from moireio.formats.text.streams import expanded

MEMBER = "graph.npy"
FREE_BYTES = 64 << 20
EXPANSION = 100  # more than padded blocks ever pack
DATA = next(kind for kind in CLASSES if kind.name == "Data")

Graph = dict[str, Any]


def read_graphs(path: str) -> dict[int, Graph]:
    """Read all graphs of a file.

    Parameters
    ----------
    path : str
        ``graph_data.npz``.

    Returns
    -------
    dict of int to dict of str to array
        By number; tensors are arrays of NumPy that lie in the mapped file.

    Raises
    ------
    MoireioError
        If it is no such file.
    DamagedError
        If it is damaged, or holds what no graph has.
    """
    if not os.path.isfile(path):
        raise MissingFileError(path=path)
    raw = _member(path)
    dtype, shape, _, begin = npy_header(bytes(raw[: HEADER_BYTES + 16]), path)
    if not dtype.hasobject or shape != ():
        raise MoireioError(
            f"its {MEMBER} is an array {shape} of {dtype}, a pickle of graphs expected", path=path
        )
    found = read_pickle(raw[begin:], path)
    if isinstance(found, list):
        found = dict(enumerate(found))
    if not isinstance(found, dict) or not found or not all(type(n) is int for n in found):
        raise DamagedError("holds no graphs by number", path=path, remedy=REMEDY)
    return {number: mapping_of(value, number, path) for number, value in found.items()}


def _member(path: str) -> memoryview:
    """Return the bytes of the pickle, in the mapped file where they are not packed."""
    image = expanded(path)
    try:
        with zipfile.ZipFile(path if image is None else io.BytesIO(image)) as file:
            if MEMBER not in file.namelist():
                names = ", ".join(file.namelist()[:4])
                raise MoireioError(
                    f"has no {MEMBER}, but {names[:60] or 'nothing'}",
                    path=path,
                    remedy="a graph_data.npz of HamGNN expected",
                )
            info = file.getinfo(MEMBER)
            if info.compress_type == zipfile.ZIP_STORED and image is None:
                return _mapped(path, info)
            size = os.path.getsize(path) if image is None else len(image)
            most = max(FREE_BYTES, EXPANSION * info.compress_size)
            if info.file_size > most or info.compress_size > size:
                raise DamagedError(
                    f"{MEMBER} stands for {info.file_size} bytes, packed in {info.compress_size}",
                    path=path,
                )
            with file.open(info) as stream:
                return memoryview(stream.read(info.file_size))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise DamagedError(f"cannot be read: {first_line(error)}", path=path) from error
    except MoireioError:
        raise
    except (OSError, ValueError, struct.error) as error:
        if isinstance(error, OSError):
            raise unreadable(error, path) from error
        raise DamagedError(f"cannot be read: {first_line(error)}", path=path) from error


def _mapped(path: str, info: zipfile.ZipInfo) -> memoryview:
    """Return the bytes of a member that is not packed; its checksum is compared."""
    with open(path, "rb") as stream:
        stream.seek(info.header_offset)
        header = stream.read(30)
        if len(header) < 30 or header[:4] != b"PK\x03\x04":
            raise DamagedError("its zip is damaged", path=path)
        names, extra = struct.unpack("<HH", header[26:30])
        begin = info.header_offset + 30 + names + extra
        whole = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    if begin + info.file_size > len(whole):
        raise DamagedError("is cut short", path=path)
    raw = memoryview(whole)[begin : begin + info.file_size]
    if zlib.crc32(raw) != info.CRC:
        raise DamagedError("its checksum does not fit its bytes", path=path)
    return raw


def mapping_of(value: Any, number: int, path: str) -> Graph:
    """Return the arrays of a Data of torch_geometric, of version 2 or before.

    Parameters
    ----------
    value : Instance
        What its pickle holds.
    number : int
        Its number, for messages.
    path : str
        The file, for messages.

    Returns
    -------
    dict of str to array
        By name.

    Raises
    ------
    DamagedError
        If it is no Data.
    """
    state = value.state if isinstance(value, Instance) and value.kind == DATA else None
    store = state.get("_store") if isinstance(state, dict) else None
    mapping: Any = state
    if isinstance(store, Instance):
        mapping = store.state.get("_mapping") if isinstance(store.state, dict) else None
    if not isinstance(mapping, dict) or not all(isinstance(key, str) for key in mapping):
        raise DamagedError(f"graph {number} is no Data of torch_geometric", path=path)
    return {key: entry for key, entry in mapping.items() if entry is not None}


def choose(graphs: Mapping[int, Graph], index: int | None, path: str) -> int:
    """Return the number of the graph that is meant.

    Parameters
    ----------
    graphs : mapping of int to dict
        All graphs of a file.
    index : int, optional
        Its number; by default the only one.
    path : str
        The file, for messages.

    Returns
    -------
    int
        A key of `graphs`.

    Raises
    ------
    MoireioError
        If there is none of that number, or there are several.
    """
    if index is None and len(graphs) == 1:
        return next(iter(graphs))
    if index in graphs:
        return index
    numbers = f"{min(graphs)} to {max(graphs)}"
    if index is None:
        raise MoireioError(
            f"holds {len(graphs)} graphs, {numbers}",
            path=path,
            remedy="choose one with `index`",
        )
    raise MoireioError(f"has no graph {index}: there are {len(graphs)}, {numbers}", path=path)


def field(graph: Graph, name: str, label: str, shape: tuple[int | None, ...]) -> npt.NDArray[Any]:
    """Return an array of a graph.

    Parameters
    ----------
    graph : dict
        The graph.
    name : str
        Its name there.
    label : str
        File and graph, for messages.
    shape : tuple of int or None
        Its shape; None where any length is right.

    Returns
    -------
    array
        The values, of the file's type.

    Raises
    ------
    MoireioError
        If it is absent, or has another shape or no numbers.
    """
    value = graph.get(name)
    if value is None:
        raise MoireioError(f"has no {name}", path=label, remedy=REMEDY)
    if isinstance(value, np.ndarray):
        lengths = zip(shape, value.shape, strict=False)
        fits = value.dtype.kind in "iuf" and value.ndim == len(shape)
        if fits and all(wanted in (None, found) for wanted, found in lengths):
            return value
    is_array = isinstance(value, np.ndarray)
    shown = f"{value.dtype} {value.shape}" if is_array else type(value).__name__
    wanted = "(" + ", ".join("n" if n is None else str(n) for n in shape) + ")"
    raise MoireioError(f"its {name} is {shown}, numbers {wanted} expected", path=label)
