"""Writing the parts of a block file."""

import datetime
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

import numpy as np

from moireio.blockfile.operator import checksum
from moireio.blockfile.reader import FORMAT, FORMAT_VERSION
from moireio.operators.blocks import SLAB_BYTES, block_offsets, row_bytes, slab_bounds
from moireio.operators.views import require_partners
from moireio.runtime.processes import worker_pool
from moireio.runtime.progress import share
from moireio.store.base import CHUNK_BYTES, SHARD_CHUNKS, seal
from moireio.units import BOHR_ANGSTROM, HARTREE_EV


class BlockWriter:
    """Writes the parts of a block file into an open container.

    Parameters
    ----------
    container : Container
        Open for writing, from `moireio.store.transaction.write_container`.
    compression : {"none", "lzf", "gzip", "zstd"}
        How arrays are stored.
    """

    def __init__(self, container, compression="none"):
        self.container = container
        self.compression = compression
        if container.attributes().get("format") != FORMAT:
            container.create_group("", root_attributes())
            seal(container, "")

    def array(self, name, values):
        """Write a whole array, as `write_array`.

        Parameters
        ----------
        name : str
            Its path.
        values : array or sequence of str
            Its contents.
        """
        write_array(self.container, name, values, self.compression)

    def structure(self, structure):
        """Write ``/structure``.

        Parameters
        ----------
        structure : Structure
            What to write.
        """
        self.container.create_group("structure")
        for field in fields(structure):
            value = getattr(structure, field.name)
            if value is not None:
                self.array(f"structure/{field.name}", value)
        seal(self.container, "structure")

    def basis(self, basis):
        """Write ``/basis``.

        Parameters
        ----------
        basis : Basis
            What to write.
        """
        write_basis(self.container, basis, self.compression)

    def moire(self, moire):
        """Write ``/moire``.

        Parameters
        ----------
        moire : Moire
            What to write.
        """
        attributes = {"place": moire.place, "repeat": list(moire.repeat)}
        self.container.create_group("moire", attributes | {"open_axis": int(moire.open_axis)})
        for number, layer in enumerate(moire.layers):
            group = f"moire/{number}"
            attributes = {"name": layer.name, "angle": layer.angle, "turned": bool(layer.turned)}
            attributes |= {n: [float(v) for v in getattr(layer, n)] for n in ("shift", "centre")}
            self.container.create_group(group, attributes)
            self.array(f"{group}/lattice", layer.lattice)
            self.array(f"{group}/matrix", np.asarray(layer.matrix, dtype=np.int64))
            self.array(f"{group}/strain", layer.strain)
            seal(self.container, group)
        seal(self.container, "moire")

    def electrons(self, electrons):
        """Write ``/electrons``.

        Parameters
        ----------
        electrons : Electrons
            What to write; unknown values are left out.
        """
        values = {f.name: getattr(electrons, f.name) for f in fields(electrons)}
        values = {k: float(v) for k, v in values.items() if v is not None}
        self.container.create_group("electrons", values)
        seal(self.container, "electrons")

    def kpath(self, points, labels, counts):
        """Write ``/kpath``, the corners of a path.

        Parameters
        ----------
        points : (n, 2, 3) array
            Start and end of each segment, fractional.
        labels : (n, 2) sequence of str
            Their labels.
        counts : (n,) sequence of int
            Points on each segment.
        """
        self.container.create_group("kpath")
        self.array("kpath/points", np.asarray(points, dtype=np.float64))
        self.array("kpath/labels", np.asarray(labels, dtype=object))
        self.array("kpath/counts", np.asarray(counts, dtype=np.int32))
        seal(self.container, "kpath")

    def bands(self, bands, name="bands"):
        """Write a band structure.

        Parameters
        ----------
        bands : BandStructure
            What to write.
        name : str
            Its group, "bands" or "bands-NAME".
        """
        attributes = {
            "unit": "eV",
            "fermi": bands.fermi,
            "electrons": bands.electrons,
            "spinor": bands.spinor,
            "first_band": int(bands.first_band),
            "source": bands.source,
        }
        present = {k: v for k, v in attributes.items() if v is not None}
        self.container.create_group(name, present)
        self.array(f"{name}/k", bands.path.k)
        self.array(f"{name}/distance", bands.path.distance)
        self.array(f"{name}/label_index", np.asarray(bands.path.label_index, dtype=np.int32))
        self.array(f"{name}/labels", np.asarray(bands.path.labels, dtype=object))
        self.array(f"{name}/energies", bands.energies)
        if bands.states is not None:
            # one k point after another, so that each can be read by itself
            flat = bands.states.reshape(-1, *bands.states.shape[2:])
            self.array(f"{name}/states", flat)
        seal(self.container, name)

    def dos(self, dos, name="dos"):
        """Write a density of states.

        Parameters
        ----------
        dos : DensityOfStates
            What to write.
        name : str
            Its group, "dos" or "dos-NAME".
        """
        from moireio.results.dos import write_dos

        write_dos(self, dos, name)

    def operator(self, source, progress=None, slab_bytes=SLAB_BYTES, jobs=1):
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
            made = _ahead(source, bounds) if jobs < 2 else _by_workers(source, bounds, jobs)
            for (i0, i1), data in zip(bounds, made, strict=True):
                writer.write(i0, i1, data)
                if progress is not None:
                    progress(data.nbytes, total)
            writer.residual = getattr(source, "residual", source.meta.residual)

    def operators(self, sources, progress=None, slab_bytes=SLAB_BYTES, jobs=1):
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

    def history(self, command, arguments=(), inputs=()):
        """Append an entry to ``/history``.

        Parameters
        ----------
        command : str
            Name of the command.
        arguments : sequence of str
            Its arguments.
        inputs : sequence of (str, str)
            Names of the files it read and their digests.
        """
        from moireio import __version__

        kept = "history" in self.container.groups()
        taken = self.container.groups("history") if kept else []
        last = max((int(name) for name in taken if name.isdigit()), default=0)
        group = f"history/{last + 1:04d}"
        self.container.create_group("history")
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.container.create_group(
            group, {"command": command, "version": __version__, "time": now}
        )
        texts = {
            "arguments": arguments,
            "inputs": [name for name, _ in inputs],
            "digests": [digest for _, digest in inputs],
        }
        for name, values in texts.items():
            # File names need not be UTF-8; what is not is replaced.
            values = [str(v).encode("utf-8", "replace").decode("utf-8") for v in values]
            self.array(f"{group}/{name}", np.array(values, dtype=object))
        seal(self.container, group)


def write_array(container, name, values, compression="none"):
    """Write a whole array.

    Parameters
    ----------
    container : Container
        Open for writing.
    name : str
        Its path.
    values : array or sequence of str
        Its contents.
    compression : str
        How it is stored.
    """
    values = np.asarray(values)
    dtype = "string" if values.dtype.kind in "UO" else values.dtype
    if dtype == "string":
        values = values.astype(object).ravel()
    # Small arrays gain nothing from a filter and cost a chunk index each.
    compression = compression if values.nbytes > 4096 else "none"
    container.create_array(name, values.shape, dtype, compression=compression)
    container.write(name, values)


def write_basis(container, basis, compression="none"):
    """Write a group ``/basis``.

    Parameters
    ----------
    container : Container
        Open for writing.
    basis : Basis
        What to write.
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

    def __init__(self, container, source, compression="none", slab_starts=()):
        self._container, meta, pairs = container, source.meta, source.pairs
        self._name = meta.name
        self._pairs, self._meta = pairs, meta
        self.residual = meta.residual
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
        self._buffer = None
        self._base, self._low, self._high = -1, 0, 0

    def _array(self, name, values, compression):
        path = f"{self._name}/{name}"
        self._container.create_array(path, values.shape, values.dtype, compression=compression)
        self._container.write(path, values)

    def write(self, i0, i1, data):
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

    def _push(self, begin, data):
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

    def _flush(self):
        if self._high > self._low:
            part = self._buffer[..., self._low : self._high]
            self._container.write(self._data, part, self._base + self._low)
        self._base, self._low, self._high = -1, 0, 0

    def __enter__(self):
        """Return itself."""
        return self

    def __exit__(self, kind, *exc):
        """Write what is left, the checksums and the attributes."""
        if kind is not None:
            return
        self._flush()
        self._array("crc", self._crc, "none")
        meta = self._meta
        attributes = {name: getattr(meta, name) for name in ("unit", "spin", "storage", "source")}
        attributes |= {"parity": int(meta.parity), "residual": float(self.residual)}
        self._container.set_attributes(self._name, attributes | dict(meta.extra))
        seal(self._container, self._name)


def _ahead(source, bounds):
    """Yield the blocks of each run of atoms; the next is read while one is being written."""
    with ThreadPoolExecutor(1) as thread:
        waiting = None
        for i0, i1 in bounds:
            following = thread.submit(source.rows, i0, i1)
            if waiting is not None:
                yield waiting.result()
            waiting = following
        if waiting is not None:
            yield waiting.result()


_worker_source = None


def _by_workers(source, bounds, jobs):
    """Yield the blocks of each run of atoms in order, made by processes, two runs ahead each."""
    with worker_pool(jobs, _keep, (source,)) as pool:
        waiting = deque()
        for i0, i1 in bounds:
            waiting.append(pool.submit(_rows, i0, i1))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _keep(source):
    global _worker_source
    _worker_source = source


def _rows(i0, i1):
    return _worker_source.rows(i0, i1)


def _row_offset(lengths, slab_starts, run):
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


def root_attributes():
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
        "bohr_angstrom": BOHR_ANGSTROM,
        "hartree_ev": HARTREE_EV,
    }
