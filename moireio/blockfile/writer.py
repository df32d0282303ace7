"""Writing the parts of a block file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from moireio.blockfile.reader import FORMAT, FORMAT_VERSION
from moireio.errors import MoireioError
from moireio.operators.blocks import (
    SLAB_BYTES,
    OperatorSource,
    block_offsets,
    checksum,
    expected_error_of,
    row_bytes,
    slab_bounds,
)
from moireio.operators.views import require_partners
from moireio.results.history import HistoryEntry
from moireio.results.registry import require_kind
from moireio.runtime.processes import worker_pool
from moireio.runtime.progress import Progress, share
from moireio.store.base import CHUNK_BYTES, SHARD_CHUNKS, Container, seal, write_array
from moireio.system.basis import Basis
from moireio.system.structure import Structure
from moireio.units import Constants

if TYPE_CHECKING:
    from moireio.results.bands import BandStructure
    from moireio.results.dos import DensityOfStates
    from moireio.results.electrons import Electrons
    from moireio.results.kpath import KPathSegments
    from moireio.results.moire import Moire


class BlockWriter:
    """Writes the parts of a block file into an open container.

    Parameters
    ----------
    container : Container
        Open for writing, from `moireio.store.transaction.write_container`.
    compression : {"none", "lzf", "gzip", "zstd"}
        How arrays are stored.
    """

    def __init__(self, container: Container, compression: str = "none") -> None:
        self.container = container
        self.compression = compression
        if container.attributes().get("format") != FORMAT:
            container.create_group("", root_attributes())
            seal(container, "")

    def constants(self, constants: Constants) -> None:
        """Record the constants with which the numbers became Å and eV, by default OpenMX's."""
        self.container.set_attributes("", constants._asdict())
        seal(self.container, "")

    def structure(self, structure: Structure) -> None:
        """Write ``/structure``.

        Parameters
        ----------
        structure : Structure
            The atoms, at least one.

        Raises
        ------
        MoireioError
            If there are no atoms.
        """
        if len(structure) == 0:
            raise MoireioError("a structure without atoms cannot be written")
        self.container.create_group("structure")
        for field in fields(structure):
            value = getattr(structure, field.name)
            if value is not None:
                name = f"structure/{field.name}"
                write_array(self.container, name, value, self.compression)
        seal(self.container, "structure")

    def basis(self, basis: Basis) -> None:
        """Write ``/basis``.

        Parameters
        ----------
        basis : Basis
            Orbitals of every species.
        """
        write_basis(self.container, basis, self.compression)

    def result(self, group: str, value: Any) -> None:
        """Write a result.

        Parameters
        ----------
        group : str
            Such as "bands", or "bands-NAME" to keep it apart.
        value : object
            The dataclass of its kind (`moireio.results.registry`), such as `BandStructure`.
        """
        require_kind(group).write(self.container, group, value, self.compression)

    def extra(self, group: str, arrays: Mapping[str, npt.ArrayLike]) -> None:
        """Write a group of another program.

        Parameters
        ----------
        group : str
            Its name, which begins with ``x_``.
        arrays : mapping of str to array
            By name.
        """
        self.container.create_group(group)
        for name, values in arrays.items():
            write_array(self.container, f"{group}/{name}", values, self.compression)
        seal(self.container, group)

    def moire(self, moire: Moire) -> None:
        """Write ``/moire``."""
        self.result("moire", moire)

    def electrons(self, electrons: Electrons) -> None:
        """Write ``/electrons``; unknown values are left out."""
        self.result("electrons", electrons)

    def kpath(self, segments: KPathSegments) -> None:
        """Write ``/kpath``, the corners of a path."""
        self.result("kpath", segments)

    def bands(self, bands: BandStructure, group: str = "bands") -> None:
        """Write a band structure, with its states if it has some."""
        self.result(group, bands)

    def dos(self, dos: DensityOfStates, group: str = "dos") -> None:
        """Write a density of states."""
        self.result(group, dos)

    def history(
        self,
        command: str,
        arguments: Sequence[str] = (),
        inputs: Sequence[tuple[str, str]] = (),
        notes: Sequence[str] = (),
    ) -> None:
        """Append an entry to ``/history``.

        Parameters
        ----------
        command : str
            Name of the command.
        arguments : sequence of str
            Its arguments.
        inputs : sequence of (str, str)
            Names of the files it read and their digests.
        notes : sequence of str
            What could not be verified, and what was lost.
        """
        self.result("history", [HistoryEntry.now(command, arguments, inputs, notes)])

    def operator(
        self,
        source: OperatorSource,
        progress: Progress | None = None,
        slab_bytes: int = SLAB_BYTES,
        jobs: int = 1,
    ) -> None:
        """Write an operator, one run of atoms after another.

        Parameters
        ----------
        source : OperatorSource
            Gives the blocks. If it has an attribute `residual`, that is recorded at the end.
        progress : Progress, optional
            Called after every run with its bytes of blocks, and those of the operator.
        slab_bytes : int
            Bytes of blocks handled at a time.
        jobs : int
            Processes that make the blocks, for a source that computes rather than reads them.
        """
        with OperatorWriter(self.container, source, self.compression) as writer:
            nbytes = row_bytes(source)
            bounds, total = slab_bounds(nbytes, slab_bytes), int(nbytes.sum())
            jobs = min(jobs, len(bounds))
            slabs = _ahead(source, bounds) if jobs < 2 else _by_workers(source, bounds, jobs)
            for (i0, i1), data in zip(bounds, slabs, strict=True):
                writer.write(i0, i1, data)
                if progress is not None:
                    progress(data.nbytes, total)
            writer.residual = getattr(source, "residual", source.meta.residual)

    def operators(
        self,
        sources: Sequence[OperatorSource],
        progress: Progress | None = None,
        slab_bytes: int = SLAB_BYTES,
        jobs: int = 1,
    ) -> None:
        """Write several operators, one after another.

        Parameters
        ----------
        sources : sequence of OperatorSource
            As in `operator`.
        progress : Progress, optional
            Called after every run of atoms with its bytes of blocks, and those of all operators.
        slab_bytes : int
            As in `operator`.
        jobs : int
            As in `operator`.
        """
        total = sum(int(row_bytes(source).sum()) for source in sources)
        for source in sources:
            self.operator(source, share(progress, total), slab_bytes, jobs)


def write_basis(container: Container, basis: Basis, compression: str = "none") -> None:
    """Write a group ``/basis``.

    Parameters
    ----------
    container : Container
        Open for writing.
    basis : Basis
        Orbitals of every species.
    compression : str
        How arrays are stored.
    """
    container.create_group("basis", {"orthogonal": bool(basis.orthogonal)})
    for name, species in basis.species.items():
        group = f"basis/{name}"
        attributes = {k: getattr(species, k) for k in ("name", "cutoff", "valence")}
        container.create_group(group, {k: v for k, v in attributes.items() if v is not None})
        write_array(container, f"{group}/l", np.array(species.l, dtype=np.int32), compression)
        if species.m is not None:
            write_array(container, f"{group}/m", np.array(species.m, dtype=np.int32), compression)
        if species.radial is not None:
            container.create_group(f"{group}/radial")
            for part, values in zip(("r", "R"), species.radial, strict=True):
                write_array(container, f"{group}/radial/{part}", values, compression)
            seal(container, f"{group}/radial")
        seal(container, group)
    seal(container, "basis")


class OperatorWriter:
    """Fills an operator group, row slab by row slab.

    Parameters
    ----------
    container : Container
        Open for writing.
    source : OperatorSource
        Gives meta, sizes and pairs (its blocks are given to `write`).
    compression : str
        How the blocks are stored.
    slab_starts : sequence of int, optional
        Atoms at which a slab of another process begins: their blocks start at a multiple of
        the length in which the container writes best, so that no two processes share one.

    Notes
    -----
    In one process the slabs come in order and are buffered to whole chunks, so that none is
    written twice.
    """

    def __init__(
        self,
        container: Container,
        source: OperatorSource,
        compression: str = "none",
        slab_starts: Iterable[int] = (),
    ) -> None:
        self._container, meta, pairs = container, source.meta, source.pairs
        self._name = meta.name
        self._pairs, self._meta = pairs, meta
        self.residual = meta.residual
        self._expected_error = expected_error_of(source)
        if meta.storage == "full" and meta.parity:
            require_partners(pairs, container.label)
        elements = block_offsets(pairs.block_elements(source.sizes))
        lengths = np.diff(elements[pairs.indptr])
        self._lengths = lengths
        container.create_group(meta.name)
        # A later slab implies more than one shard, and then shards have their full length.
        shard = SHARD_CHUNKS * CHUNK_BYTES // np.dtype(meta.dtype).itemsize
        self.row_offset = _row_offset(lengths, slab_starts, shard)
        length = int(self.row_offset[-1])
        shape = (length,) if meta.components == 1 else (meta.components, length)
        self._run = container.create_array(
            f"{self._name}/data", shape, meta.dtype, compression=compression
        )
        for name, values in (("indptr", pairs.indptr), ("j", pairs.j), ("R", pairs.R)):
            self._array(name, values, compression)
        self._array("row_offset", self.row_offset, "none")
        self._crc = np.zeros(pairs.n_atoms, dtype=np.uint32)
        self._data = f"{self._name}/data"
        self._buffer: npt.NDArray[Any] | None = None
        self._base, self._low, self._high = -1, 0, 0

    def _array(self, name: str, values: npt.NDArray[Any], compression: str) -> None:
        path = f"{self._name}/{name}"
        self._container.create_array(path, values.shape, values.dtype, compression=compression)
        self._container.write(path, values)

    def write(self, i0: int, i1: int, data: npt.NDArray[Any]) -> None:
        """Write the blocks of the atoms ``i0 <= i < i1``.

        Parameters
        ----------
        i0, i1 : int
            The run of atoms.
        data : (n,) or (c, n) array
            Their blocks, pair after pair.
        """
        pairs = self._pairs
        expected = int(self._lengths[i0:i1].sum())
        if data.shape[-1] != expected:
            raise ValueError(f"atoms {i0}:{i1} have {expected} elements, not {data.shape[-1]}")
        at = 0
        for atom in range(i0, i1):
            span = pairs.rows(atom, atom + 1)
            row = data[..., at : at + int(self._lengths[atom])]
            self._crc[atom] = checksum(pairs.j[span], pairs.R[span], row)
            at += int(self._lengths[atom])
        self._push(int(self.row_offset[i0]), data)

    def _push(self, begin: int, data: npt.NDArray[Any]) -> None:
        """Write whole runs as they are; what is left waits in a buffer of one run."""
        run = self._run or max(1, data.shape[-1])
        at, end = 0, data.shape[-1]
        while at < end:
            place = (begin + at) % run
            if place == 0 and end - at >= run:
                self._flush()
                whole = (end - at) // run * run
                self._container.write(self._data, data[..., at : at + whole], begin + at)
                at += whole
                continue
            base = begin + at - place
            if self._base != base or self._high != place:
                self._flush()
                self._base, self._low = base, place
            count = min(run - place, end - at)
            if self._buffer is None:
                self._buffer = np.empty((*data.shape[:-1], run), dtype=data.dtype)
            self._buffer[..., place : place + count] = data[..., at : at + count]
            self._high = place + count
            at += count
            if self._high == run:
                self._flush()

    def _flush(self) -> None:
        if self._buffer is not None and self._high > self._low:
            part = self._buffer[..., self._low : self._high]
            self._container.write(self._data, part, self._base + self._low)
        self._base, self._low, self._high = -1, 0, 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Write what is left, the checksums and the attributes."""
        if kind is not None:
            return
        self._flush()
        self._array("crc", self._crc, "none")
        if self._expected_error is not None:
            self._array("expected_error", np.asarray(self._expected_error, np.float64), "none")
        meta = self._meta
        attributes = {name: getattr(meta, name) for name in ("unit", "spin", "storage", "source")}
        attributes |= {"parity": int(meta.parity), "residual": float(self.residual)}
        self._container.set_attributes(self._name, attributes | dict(meta.extra))
        seal(self._container, self._name)


def _ahead(source: OperatorSource, bounds: Sequence[tuple[int, int]]) -> Iterator[npt.NDArray[Any]]:
    """Yield the blocks of each run of atoms; the next is read while one is being written."""
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[npt.NDArray[Any]] | None = None
        for i0, i1 in bounds:
            following = thread.submit(source.rows, i0, i1)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


_worker_source: OperatorSource | None = None


def _by_workers(
    source: OperatorSource, bounds: Sequence[tuple[int, int]], jobs: int
) -> Iterator[npt.NDArray[Any]]:
    """Yield the blocks of each run of atoms in order, made by processes, two runs ahead each."""
    with worker_pool(jobs, _keep, (source,)) as pool:
        waiting: deque[Future[npt.NDArray[Any]]] = deque()
        for i0, i1 in bounds:
            waiting.append(pool.submit(_rows, i0, i1))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _keep(source: OperatorSource) -> None:
    global _worker_source
    _worker_source = source


def _rows(i0: int, i1: int) -> npt.NDArray[Any]:
    assert _worker_source is not None
    return _worker_source.rows(i0, i1)


def _row_offset(
    lengths: npt.NDArray[np.integer], slab_starts: Iterable[int], run: int
) -> npt.NDArray[np.int64]:
    """Return where each atom's blocks begin; a slab begins at a multiple of `run`."""
    begins = set(slab_starts)
    out = np.zeros(len(lengths) + 1, dtype=np.int64)
    if not begins:
        out[1:] = np.cumsum(lengths)
        return out
    at = 0
    for atom, length in enumerate(lengths.tolist()):
        if atom in begins:
            at = -(-at // run) * run
        out[atom] = at
        at += length
    out[-1] = at
    return out


def root_attributes() -> dict[str, Any]:
    """Return the attributes of a new file's root.

    Returns
    -------
    dict
        Format, version, creator and the two constants.
    """
    from moireio import __version__

    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "creator": f"moireio {__version__}",
        **Constants()._asdict(),
    }
