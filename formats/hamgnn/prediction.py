"""HamGNN's predictions, ``prediction_hamiltonian.npy`` or ``hamiltonian.npy``.

Layout: an array (rows, nao²), for each structure the on-site blocks and then those of its edges;
with spinors (rows, (2 nao)²), for each structure all real parts and then all imaginary ones. There
is no index: the structures are those of the ``graph_data.npz``, or of the data base (LMDB), that
was predicted, in its order.
Kept: H, with structure, shells and S of the graphs. A constant that the network shifts H by, times
S, is part of the prediction.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MissingFileError, MoireioError, unreadable
from moireio.formats.hamgnn import graph_data
from moireio.formats.hamgnn.build import Blocks, calculation
from moireio.formats.hamgnn.graphs import choose, field
from moireio.formats.hamgnn.lmdb import lmdb_file
from moireio.formats.structures.text import plain_name
from moireio.formats.text.npz import HEADER_BYTES, MAGIC, npy_header
from moireio.formats.text.streams import beside, expanded, first_bytes

NAMES = ("prediction_hamiltonian.npy", "hamiltonian.npy")
BESIDE = "graph_data.npz"


def detect(path: str) -> bool:
    """Return whether a file is a prediction, by its name.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        True for a ``.npy`` of one of HamGNN's names.
    """
    return plain_name(path).endswith(NAMES) and first_bytes(path, len(MAGIC)) == MAGIC


def read(
    path: str,
    *,
    label: str | None = None,
    companions: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
    index: int | None = None,
    code: str | None = None,
) -> Calculation:
    """Read one structure of a prediction.

    Parameters
    ----------
    path : str
        ``prediction_hamiltonian.npy``.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        The ``graph_data.npz``, or the folder ``NAME.lmdb``, that was predicted; by default the one
        beside.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.
    index : int, optional
        Number of the graph; by default the only one.
    code : {"openmx", "siesta", "abacus"}, optional
        The program that made the numbers of the training.

    Returns
    -------
    Calculation
        In memory.

    Raises
    ------
    MoireioError
        If there are no graphs, or they do not fit the prediction.
    """
    name = label or path
    file = _graph_file(path, companions, name)
    graphs = graph_data.open_graphs(file)
    number = choose(graphs, index, file)
    rows = {n: _rows(graph, f"{file}: graph {n}") for n, graph in graphs.items()}
    values = _array(path, name)
    nao = math.isqrt(field(graphs[number], "Son", file, (None, None)).shape[1])
    parts = 2 if values.shape[-1] == 4 * nao**2 else 1
    if values.shape[-1] not in (nao**2, 4 * nao**2) or values.shape[1:-1] not in ((), (2,)):
        raise MoireioError(
            f"is {values.shape}, rows of {nao**2} or, with spinors, {4 * nao**2} numbers expected",
            path=name,
            remedy=f"{file} has {nao} orbitals for every atom",
        )
    total = sum(rows.values())
    if len(values) == parts * total:
        begin = parts * sum(rows[n] for n in list(graphs)[: list(graphs).index(number)])
    elif len(values) == parts * rows[number]:
        begin = 0
    else:
        raise MoireioError(
            f"has {len(values)} rows; the {len(graphs)} graphs of {file} have {total}"
            + (", twice for real and imaginary parts" if parts == 2 else ""),
            path=name,
            remedy="the graphs that were predicted are needed, all and in their order: after "
            "training HamGNN predicts the test part only, with stage: test all",
        )
    count = rows[number]
    real = np.asarray(values[begin : begin + count])
    imaginary = np.asarray(values[begin + count : begin + 2 * count]) if parts == 2 else None
    notes = []
    if len(graphs) > 1 and len(values) == parts * total:
        notes.append("structures are taken to follow one another, as with batch_size 1")
    where = f"{name}: graph {number}" if len(graphs) > 1 else name
    return calculation(
        graphs[number],
        where,
        name,
        files=[path, graph_data.data_file(file)],
        code=code,
        hamiltonian=Blocks(real, imaginary),
        notes=notes,
        pbc=pbc,
    )


def _graph_file(path, companions, name):
    """Return the file of the graphs."""
    for file in companions:
        if not os.path.exists(file):
            raise MissingFileError(path=file)
        if graph_data.detect(file):
            return file
        raise MoireioError("is no graph_data.npz of HamGNN, nor a data base of it", path=file)
    folder = os.path.dirname(path)
    file = beside(folder, BESIDE)
    if file is not None:
        return file
    sets = [p for n in sorted(os.listdir(folder or ".")) if lmdb_file(p := os.path.join(folder, n))]
    if len(sets) == 1:
        return sets[0]
    found = f"no {BESIDE}" if not sets else f"several data bases and no {BESIDE}"
    raise MissingFileError(
        f"has {found} beside it, without which its rows mean nothing",
        path=name,
        remedy="name the file of the graphs with `companions`",
    )


def _rows(graph, where):
    """Return the number of blocks of a graph."""
    atoms = field(graph, "z", where, (None,))
    return len(atoms) + field(graph, "edge_index", where, (2, None)).shape[1]


def _array(path, name):
    """Return the array of a file, mapped where it is not compressed."""
    try:
        image = expanded(path)
        with open(path, "rb") as stream:
            head = (image or stream.read(HEADER_BYTES + 16))[: HEADER_BYTES + 16]
        dtype, shape, fortran, begin = npy_header(head, name)
        size = os.path.getsize(path) if image is None else len(image)
        if dtype.kind != "f" or fortran or len(shape) not in (2, 3) or 0 in shape:
            raise MoireioError(f"is {dtype} {shape}, real numbers (rows, n) expected", path=name)
        needed = begin + int(np.prod(shape, dtype=object)) * dtype.itemsize
        if size != needed:
            raise MoireioError(
                f"is {dtype} {shape}, {needed} bytes, but has {size}",
                path=name,
                remedy="the file is damaged; make it again",
            )
        if image is not None:
            return np.frombuffer(image, dtype=dtype, offset=begin).reshape(shape)
        return np.memmap(path, dtype=dtype, mode="r", offset=begin, shape=shape)
    except OSError as error:
        if isinstance(error, MoireioError):
            raise
        raise unreadable(error, name) from error
