"""HamGNN's ``graph_data.npz`` and its data sets in LMDB as calculations.

Layouts are those of `moireio.formats.hamgnn.graphs` and `lmdb`, the orbitals those of
`moireio.formats.hamgnn.slots`. Kept: structure, shells, H, S. Lost: H without the self-consistent
potential (``Hon0``), matrices of angular momentum, the total energy. Not there: the Fermi level,
the number of electrons, names of bases, and the program that made the numbers: where the number of
orbitals does not give it, S between atoms does, or the option `code`.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping, Sequence

from moireio.blockfile.calculation import Calculation
from moireio.formats.hamgnn.build import calculation
from moireio.formats.hamgnn.graphs import MEMBER, Graph, choose, read_graphs
from moireio.formats.hamgnn.lmdb import LmdbGraphs, lmdb_file
from moireio.formats.structures.text import plain_name
from moireio.formats.text.npz import is_npz
from moireio.formats.text.streams import first_bytes

LOCAL_HEADER = 30  # bytes before the name of a zip's member


def detect(path: str) -> bool:
    """Return whether a path is a ``graph_data.npz``, or a data base.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        By the names of its members, or its first bytes.
    """
    if lmdb_file(path) is not None:
        return True
    if not is_npz(path) or not os.path.isfile(path):
        return False
    if plain_name(path) != os.path.basename(path):  # compressed further: its first member
        start = first_bytes(path, LOCAL_HEADER + len(MEMBER))
        return start.startswith(b"PK\x03\x04") and start[LOCAL_HEADER:] == MEMBER.encode()
    try:
        with zipfile.ZipFile(path) as file:
            return MEMBER in file.namelist()
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError):
        return False


def read(
    path: str,
    *,
    label: str | None = None,
    pbc: Sequence[bool] | None = None,
    index: int | None = None,
    code: str | None = None,
) -> Calculation:
    """Read one graph of a file.

    Parameters
    ----------
    path : str
        ``graph_data.npz``, or a folder ``NAME.lmdb``, or its ``data.mdb``.
    label : str, optional
        The name that messages show.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.
    index : int, optional
        Number of the graph; by default the only one.
    code : {"openmx", "siesta", "abacus"}, optional
        The program that made the numbers.

    Returns
    -------
    Calculation
        In memory.

    Raises
    ------
    MoireioError
        If the file is damaged, or holds several graphs, or the program cannot be found.
    """
    name = label or path
    graphs = open_graphs(path)
    number = choose(graphs, index, name)
    where = f"{name}: graph {number}" if len(graphs) > 1 else name
    return calculation(graphs[number], where, name, files=[data_file(path)], code=code, pbc=pbc)


def open_graphs(path: str) -> Mapping[int, Graph]:
    """Open the graphs of a file or a data base.

    Parameters
    ----------
    path : str
        ``graph_data.npz``, or a folder ``NAME.lmdb``, or its ``data.mdb``.

    Returns
    -------
    mapping of int to dict
        Graphs by number; those of a data base are read when they are asked for.

    Raises
    ------
    MoireioError
        If it is neither, or damaged.
    """
    base = lmdb_file(path)
    return read_graphs(path) if base is None else LmdbGraphs(base)


def data_file(path: str) -> str:
    """Return the file that holds the graphs.

    Parameters
    ----------
    path : str
        ``graph_data.npz``, or a folder ``NAME.lmdb``, or its ``data.mdb``.

    Returns
    -------
    str
        The path itself, or ``data.mdb`` in the folder.
    """
    return lmdb_file(path) or path
