"""Blocks inside a flat array: gathering, scattering, adjoints and storage conversions.

A *source* of an operator is anything that has the attributes of `OperatorSource` and gives
the blocks of a run of atoms; a file's operator is one, a reader of a foreign format another,
and the views below turn "full" storage into "upper" and back.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from moireio.system.pairs import Pairs

SLAB_BYTES = 16 << 20


@dataclass(frozen=True)
class OperatorMeta:
    """The attributes of an operator group.

    Parameters
    ----------
    name : str
        "hamiltonian", "overlap", "position", "momentum" or "density".
    unit : str
        Unit of the elements: "eV", "1", "Å" or "1/Å".
    spin : {"none", "collinear", "spinor"}
        Spin of the blocks.
    storage : {"full", "upper"}
        Whether both partners of a pair are stored, or one.
    parity : {1, -1, 0}
        The partner is the adjoint, minus the adjoint, or follows a rule of its own.
    components : int
        1; 2 for collinear spin; 3 for vectors.
    dtype : str
        NumPy's name of the element type.
    source : str
        Where the numbers come from: "dft", "model", "tight-binding", …
    residual : float
        Largest deviation from the partner rule found when the data were read, in `unit`.
    extra : dict
        Further attributes, as the program and the version of its file.
    """

    name: str
    unit: str
    spin: str = "none"
    storage: str = "full"
    parity: int = 1
    components: int = 1
    dtype: str = "float64"
    source: str = "dft"
    residual: float = 0.0
    extra: dict = field(default_factory=dict)

    @property
    def spin_factor(self) -> int:
        """2 where blocks are spinor blocks, else 1."""
        return 2 if self.spin == "spinor" else 1

    def with_(self, **changes: Any) -> Self:
        """Return a copy with some attributes changed."""
        return replace(self, **changes)


class OperatorSource(Protocol):
    """An operator that gives its blocks by runs of atoms."""

    @property
    def meta(self) -> OperatorMeta:
        """Name, unit, spin and so on."""

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Rows that each atom takes in a block, spin included, shape (N,)."""

    @property
    def pairs(self) -> Pairs:
        """The pairs whose blocks there are."""

    def rows(self, i0: int, i1: int) -> npt.NDArray[Any]:
        """Return all blocks of the atoms ``i0 <= i < i1``, pair after pair.

        The result has shape (n,), or (components, n) where there are several.
        """


def residual_of(source: OperatorSource) -> float:
    """Return how far an operator was from its partner rule where it was read.

    Parameters
    ----------
    source : OperatorSource
        Any operator. A reader that finds the deviation as it goes has an attribute `residual`.

    Returns
    -------
    float
        Largest deviation so far, in the operator's unit.
    """
    return getattr(source, "residual", source.meta.residual)


def expected_error_of(source: OperatorSource) -> npt.NDArray[np.float64] | None:
    """Return the expected errors of a predicted operator.

    Parameters
    ----------
    source : OperatorSource
        Any operator. A predicted one may have an attribute `expected_error`.

    Returns
    -------
    (N,) array or None
        For every atom, in the operator's unit.
    """
    return getattr(source, "expected_error", None)


def gather(buffer: Any, offsets: npt.NDArray[np.integer], nbytes: int) -> npt.NDArray[np.uint8]:
    """Copy equal-sized runs of bytes out of a buffer.

    Parameters
    ----------
    buffer : buffer or array
        Contiguous memory, as a memory map.
    offsets : (p,) array of int64
        Where each run begins, bytes. No alignment is needed.
    nbytes : int
        Length of every run.

    Returns
    -------
    (p, nbytes) array of uint8
        The runs, contiguous.
    """
    total = buffer.nbytes if isinstance(buffer, np.ndarray) else len(buffer)
    runs = np.ndarray(
        (total - nbytes + 1,), dtype=np.dtype((np.void, nbytes)), buffer=buffer, strides=(1,)
    )
    return runs[offsets].view(np.uint8).reshape(len(offsets), nbytes)


def scatter(
    flat: npt.NDArray[Any], offsets: npt.NDArray[np.integer], blocks: npt.NDArray[Any]
) -> None:
    """Write equal-sized blocks into a contiguous flat array.

    Parameters
    ----------
    flat : (n,) array
        Changed in place.
    offsets : (p,) array of int64
        Element at which each block begins.
    blocks : (p, size) array
        The blocks, of the type of `flat`.
    """
    size = blocks.shape[1]
    if len(offsets) == 0 or size == 0:
        return
    runs = np.ndarray(
        (flat.size - size + 1,),
        dtype=np.dtype((np.void, size * flat.itemsize)),
        buffer=flat,
        strides=(flat.itemsize,),
    )
    blocks = np.ascontiguousarray(blocks, dtype=flat.dtype)
    runs[offsets] = blocks.view(runs.dtype).reshape(-1)


def take_blocks(
    flat: npt.NDArray[Any], offsets: npt.NDArray[np.integer], shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    """Copy blocks of one shape out of a contiguous flat array.

    Parameters
    ----------
    flat : (n,) array
        Blocks one after another, each row-major.
    offsets : (p,) array of int64
        Element at which each block begins.
    shape : tuple of two int
        Rows and columns of every block.

    Returns
    -------
    (p, rows, columns) array
        The blocks.
    """
    nbytes = shape[0] * shape[1] * flat.itemsize
    if len(offsets) == 0:
        return np.empty((0, *shape), dtype=flat.dtype)
    flat = np.ascontiguousarray(flat)
    runs = gather(flat, np.asarray(offsets) * flat.itemsize, nbytes)
    return runs.view(flat.dtype).reshape(len(offsets), *shape)


def block_offsets(elements: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Return where each of consecutive blocks begins, and the end of the last.

    Parameters
    ----------
    elements : (p,) array of int
        Elements of each block.

    Returns
    -------
    (p + 1,) array of int64
        Running sums from 0.
    """
    out = np.zeros(len(elements) + 1, dtype=np.int64)
    np.cumsum(elements, out=out[1:])
    return out


def by_shape(
    rows: npt.NDArray[np.integer], columns: npt.NDArray[np.integer]
) -> list[tuple[tuple[int, int], npt.NDArray[np.intp]]]:
    """Group blocks of the same shape.

    Parameters
    ----------
    rows, columns : (p,) arrays of int
        Shape of every block.

    Returns
    -------
    list of (shape, indices)
        The shapes that occur, each with the indices of its blocks, ascending.
    """
    if len(rows) == 0:
        return []
    code = rows.astype(np.int64) * (int(columns.max()) + 1) + columns
    values = np.unique(code)
    groups = []
    for value in values:
        indices = np.flatnonzero(code == value) if len(values) > 1 else np.arange(len(code))
        groups.append(((int(rows[indices[0]]), int(columns[indices[0]])), indices))
    return groups


def adjoint(blocks: npt.NDArray[Any], parity: int = 1) -> npt.NDArray[Any]:
    """Return the adjoint of each block times the parity.

    Parameters
    ----------
    blocks : (..., rows, columns) array
        Blocks.
    parity : {1, -1}
        Sign.

    Returns
    -------
    (..., columns, rows) array
        The blocks of the partners.
    """
    turned = np.swapaxes(blocks, -1, -2).conj()
    return turned if parity == 1 else -turned


def components(data: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Return the flat arrays of the components of some data, a list.

    Parameters
    ----------
    data : (n,) or (c, n) array
        As stored.

    Returns
    -------
    list of (n,) arrays
        One for each component.
    """
    return [data] if data.ndim == 1 else list(data)


def slab_bounds(
    row_bytes: npt.NDArray[np.integer], target: int = SLAB_BYTES
) -> list[tuple[int, int]]:
    """Cut the atoms into runs of about equal size.

    Parameters
    ----------
    row_bytes : (N,) array of int
        Bytes of every atom's blocks.
    target : int
        Bytes that a run may have (a single atom may exceed it).

    Returns
    -------
    list of (i0, i1)
        Consecutive runs that cover all atoms.
    """
    bounds: list[tuple[int, int]] = []
    first = total = 0
    for atom, size in enumerate(np.asarray(row_bytes).tolist()):
        if total and total + size > target:
            bounds.append((first, atom))
            first, total = atom, 0
        total += size
    if len(row_bytes):
        bounds.append((first, len(row_bytes)))
    return bounds


def row_bytes(source: OperatorSource) -> npt.NDArray[np.int64]:
    """Return the bytes of every atom's blocks in a source.

    Parameters
    ----------
    source : OperatorSource
        Any operator.

    Returns
    -------
    (N,) array of int64
        All components counted.
    """
    elements = block_offsets(source.pairs.block_elements(source.sizes))
    per_row = np.diff(elements[source.pairs.indptr])
    return per_row * np.dtype(source.meta.dtype).itemsize * source.meta.components


def read_pairs(
    source: OperatorSource, indices: Sequence[int] | npt.NDArray[np.integer], max_gap: int = 8
) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """Read the blocks of any pairs of a source.

    Parameters
    ----------
    source : OperatorSource
        Any operator.
    indices : (m,) array of int
        Pairs wanted, in any order.
    max_gap : int
        Rows that may be read for nothing between two that are wanted.

    Returns
    -------
    data : (n,) or (c, n) array
        Their blocks in the order asked for.
    offsets : (m + 1,) array of int64
        Where each begins in `data`.
    """
    indices = np.asarray(indices, dtype=np.int64)
    pairs, sizes = source.pairs, source.sizes
    row_of = np.searchsorted(pairs.indptr, indices, side="right") - 1
    n_rows, n_columns = sizes[row_of], sizes[pairs.j[indices]]
    offsets = block_offsets(n_rows * n_columns)
    lead = () if source.meta.components == 1 else (source.meta.components,)
    data = np.empty((*lead, int(offsets[-1])), dtype=source.meta.dtype)
    rows = np.unique(row_of)
    cuts = np.flatnonzero(np.diff(rows) > max_gap) + 1
    for run in np.split(rows, cuts) if len(rows) else []:
        i0, i1 = int(run[0]), int(run[-1]) + 1
        part = source.rows(i0, i1)
        inside = np.flatnonzero((row_of >= i0) & (row_of < i1))
        span = pairs.rows(i0, i1)
        elements = np.repeat(sizes[i0:i1], np.diff(pairs.indptr[i0 : i1 + 1]))
        there = block_offsets(elements * sizes[pairs.j[span]])[indices[inside] - span.start]
        for shape, group in by_shape(n_rows[inside], n_columns[inside]):
            for target, flat in zip(components(data), components(part), strict=True):
                blocks = take_blocks(flat, there[group], shape).reshape(len(group), -1)
                scatter(target, offsets[inside[group]], blocks)
    return data, offsets


def checksum(j: npt.NDArray[Any], R: npt.NDArray[Any], data: npt.NDArray[Any]) -> int:
    """Return the CRC-32 of an atom's pairs and blocks, little-endian bytes.

    Parameters
    ----------
    j : (p,) array of int32
        Second atoms.
    R : (p, 3) array of int32
        Cells.
    data : (n,) or (c, n) array
        Blocks; components one after another.

    Returns
    -------
    int
        The checksum.
    """
    code = zlib.crc32(np.ascontiguousarray(j, dtype="<i4").data)
    code = zlib.crc32(np.ascontiguousarray(R, dtype="<i4").data, code)
    for flat in components(data):
        flat = np.ascontiguousarray(flat, dtype=flat.dtype.newbyteorder("<"))
        code = zlib.crc32(flat.view(np.uint8).data, code)
    return code
