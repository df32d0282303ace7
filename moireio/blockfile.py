"""The block file: reading one, and writing or extending one."""

import datetime
import hashlib
import os
from dataclasses import fields
from functools import cached_property

import numpy as np

from moireio.basis import Basis, SpeciesBasis
from moireio.blocks import SLAB_BYTES, require_partners, row_bytes, slab_bounds, starts
from moireio.errors import DamagedError, MoireioError
from moireio.operator import OPERATORS, Operator, checksum
from moireio.results import BandStructure, Electrons, KPath
from moireio.store import open_container
from moireio.store.base import CHUNK_BYTES, SHARD_CHUNKS
from moireio.structure import Structure
from moireio.units import BOHR_ANGSTROM, HARTREE_EV

FORMAT = "moireio"
FORMAT_VERSION = "1.0"


class BlockFile:
    """An open block file.

    Made by `moireio.open`; a context manager. Everything is read when it is first asked for.

    Parameters
    ----------
    container : Container
        The open container.
    """

    def __init__(self, container):
        self._container = container
        self.label = container.label
        attributes = container.attributes()
        if attributes.get("format") != FORMAT:
            raise DamagedError(
                "is not a block file: the root has no attribute format = moireio", path=self.label
            )
        version = str(attributes.get("format_version"))
        major = version.split(".")[0]
        if not major.isdigit():
            raise DamagedError(f"has the unknown format version {version!r}", path=self.label)
        if int(major) > int(FORMAT_VERSION.split(".")[0]):
            raise MoireioError(
                f"has format version {version}, this program reads {FORMAT_VERSION}",
                path=self.label,
                remedy="update moireio",
            )
        self.attributes = attributes
        self._groups = container.groups()

    def __enter__(self):
        """Return itself."""
        return self

    def __exit__(self, *exc):
        """Close the file."""
        self.close()

    def __contains__(self, name):
        """Tell whether the file has a group of that name at its top."""
        return name in self._groups

    def __repr__(self):
        """Return the file's name and its groups."""
        return f"<block file {self.label}: {', '.join(self._groups)}>"

    @property
    def container(self):
        """The container underneath (`moireio.store.Container`)."""
        return self._container

    @property
    def groups(self):
        """Names of the groups at the top."""
        return list(self._groups)

    def close(self):
        """Close the file."""
        self._container.close()

    def _need(self, name):
        if name not in self._groups:
            raise MoireioError(
                f"has no /{name}",
                path=self.label,
                remedy="a command that writes it comes earlier in the pipeline",
            )

    @cached_property
    def structure(self):
        """The `Structure`."""
        self._need("structure")
        names = self._container.arrays("structure")
        wanted = {f.name for f in fields(Structure)}
        values = {n: self._container.read(f"structure/{n}") for n in names if n in wanted}
        missing = wanted - set(values) - {"layer", "magmoms"}
        if missing:
            raise DamagedError(f"/structure has no {min(missing)}", path=self.label)
        try:
            return Structure(**values)
        except (MoireioError, TypeError, ValueError) as error:
            raise DamagedError(str(error), path=self.label) from error

    @cached_property
    def basis(self):
        """The `Basis`."""
        self._need("basis")
        species = {}
        for name in self._container.groups("basis"):
            group = f"basis/{name}"
            arrays = self._container.arrays(group)
            attributes = self._container.attributes(group)
            if "l" not in arrays:
                raise DamagedError(f"/{group} has no l", path=self.label)
            radial = None
            if "radial" in self._container.groups(group):
                radial = tuple(self._container.read(f"{group}/radial/{n}") for n in ("r", "R"))
            try:
                species[name] = SpeciesBasis(
                    l=tuple(self._container.read(f"{group}/l").tolist()),
                    m=tuple(self._container.read(f"{group}/m").tolist()) if "m" in arrays else None,
                    name=attributes.get("name"),
                    cutoff=attributes.get("cutoff"),
                    valence=attributes.get("valence"),
                    radial=radial,
                )
            except (MoireioError, TypeError, ValueError) as error:
                raise DamagedError(f"/{group}: {error}", path=self.label) from error
        orthogonal = bool(self._container.attributes("basis").get("orthogonal", False))
        basis = Basis(species, orthogonal)
        for name in self.structure.species_names:
            if name not in species:
                raise DamagedError(f"/basis has no species {name}", path=self.label)
        return basis

    @cached_property
    def orbitals(self):
        """Number of orbitals of every atom, spin not counted; shape (N,)."""
        return self.basis.sizes(self.structure)

    def operator(self, name):
        """Return an operator.

        Parameters
        ----------
        name : str
            "hamiltonian", "overlap", "position", "momentum" or "density".

        Returns
        -------
        Operator
            Reading from this file.

        Raises
        ------
        MoireioError
            If the file has none of that name.
        """
        if name not in OPERATORS:
            raise MoireioError(f"no operator is called {name!r}")
        self._need(name)
        cache = self.__dict__.setdefault("_operators", {})
        if name not in cache:
            cache[name] = Operator(self._container, name, self.orbitals)
        return cache[name]

    @property
    def operators(self):
        """Names of the operators that the file has."""
        return [name for name in OPERATORS if name in self._groups]

    @property
    def hamiltonian(self):
        """The Hamiltonian, an `Operator` in eV."""
        return self.operator("hamiltonian")

    @property
    def overlap(self):
        """The overlap, an `Operator`; None where the basis is orthogonal."""
        if "overlap" not in self._groups and "basis" in self and self.basis.orthogonal:
            return None
        return self.operator("overlap")

    @cached_property
    def electrons(self):
        """The `Electrons`, with None for what is unknown."""
        if "electrons" not in self._groups:
            return Electrons()
        found = self._container.attributes("electrons")
        values = {f.name: found.get(f.name) for f in fields(Electrons)}
        for name, value in values.items():
            if value is not None and not (isinstance(value, (int, float)) and np.isfinite(value)):
                raise DamagedError(f"/electrons: {name} is not a finite number", path=self.label)
        return Electrons(**values)

    @cached_property
    def kpath(self):
        """Corners of the path that came with the calculation, or None.

        A dict of `points` (n, 2, 3) fractional, `labels` (n, 2) and `counts` (n,).
        """
        if "kpath" not in self._groups:
            return None
        names = ("points", "labels", "counts")
        values = {n: self._container.read(f"kpath/{n}") for n in names}
        count = len(values["counts"])
        values["labels"] = values["labels"].reshape(-1, 2)
        if values["points"].shape != (count, 2, 3) or len(values["labels"]) != count:
            raise DamagedError("/kpath: points, labels and counts do not fit", path=self.label)
        return values

    def bands(self, name="bands"):
        """Return a stored band structure.

        Parameters
        ----------
        name : str
            Its group: "bands", or "bands-NAME" for one kept apart.

        Returns
        -------
        BandStructure
            With energies in eV.
        """
        self._need(name)
        read, found = self._container.read, self._container.attributes(name)
        path = KPath(
            read(f"{name}/k"),
            read(f"{name}/distance"),
            read(f"{name}/label_index"),
            tuple(read(f"{name}/labels")),
        )
        energies = read(f"{name}/energies")
        if energies.ndim != 3 or energies.shape[1] != len(path.k) or path.k.shape[1:] != (3,):
            raise DamagedError(f"/{name}: energies and k do not fit", path=self.label)
        return BandStructure(
            path,
            energies,
            fermi=found.get("fermi"),
            electrons=found.get("electrons"),
            spinor=bool(found.get("spinor", False)),
            first_band=int(found.get("first_band", 0)),
            source=str(found.get("source", "dft")),
        )

    @property
    def history(self):
        """The commands that made the file, oldest first; a list of dicts."""
        entries = []
        if "history" in self._groups:
            for name in self._container.groups("history"):
                group = f"history/{name}"
                entry = dict(self._container.attributes(group))
                for array in self._container.arrays(group):
                    entry[array] = [str(v) for v in self._container.read(f"{group}/{array}")]
                entries.append(entry)
        return entries

    def digest(self):
        """Return a digest of structure, basis and operators, the same in every container.

        Returns
        -------
        str
            ``blake2b:`` and 32 hexadecimal digits.
        """
        state = hashlib.blake2b(digest_size=16)
        for array in ("cell", "positions", "numbers"):
            state.update(np.ascontiguousarray(getattr(self.structure, array)).tobytes())
        for name in self.operators:
            state.update(name.encode())
            state.update(np.ascontiguousarray(self.operator(name).crc, dtype="<u4").tobytes())
        return f"blake2b:{state.hexdigest()}"


def open_blockfile(path, label=None):
    """Open a block file: HDF5, zarr folder or zarr zip.

    Parameters
    ----------
    path : str or path-like
        The file or folder.
    label : str, optional
        The name that error messages show.

    Returns
    -------
    BlockFile
        Open for reading; use it in a ``with`` statement or call its ``close``.

    Raises
    ------
    MoireioError
        If the file is absent, damaged, of a newer major version, or no block file.

    Examples
    --------
    >>> import moireio
    >>> with moireio.open("graphene.h5") as file:  # doctest: +SKIP
    ...     h = file.hamiltonian.at_k([0, 0, 0], dense=True)
    """
    container = open_container(path, label)
    try:
        return BlockFile(container)
    except BaseException:
        container.close()
        raise


class BlockWriter:
    """Writes the parts of a block file into an open container.

    Parameters
    ----------
    container : Container
        Open for writing, from `moireio.store.transaction.write_container`.
    base : BlockFile, optional
        The file that is extended, if any.
    compression : {"none", "lzf", "gzip", "zstd"}
        How arrays are stored.
    """

    def __init__(self, container, base=None, compression="none"):
        self.container = container
        self.compression = compression
        self._base = base
        if container.attributes().get("format") != FORMAT:
            container.create_group("", root_attributes())

    def array(self, name, values):
        """Write a whole array.

        Parameters
        ----------
        name : str
            Its path.
        values : array or sequence of str
            Its contents.
        """
        values = np.asarray(values)
        dtype = "string" if values.dtype.kind in "UO" else values.dtype
        if dtype == "string":
            values = values.astype(object).ravel()
        # Small arrays gain nothing from a filter and cost a chunk index each.
        compression = self.compression if values.nbytes > 4096 else "none"
        self.container.create_array(name, values.shape, dtype, compression=compression)
        self.container.write(name, values)

    def structure(self, structure):
        """Write ``/structure``.

        Parameters
        ----------
        structure : Structure
            What to write.
        """
        self.container.create_group("structure")
        for field in fields(Structure):
            value = getattr(structure, field.name)
            if value is not None:
                self.array(f"structure/{field.name}", value)

    def basis(self, basis):
        """Write ``/basis``.

        Parameters
        ----------
        basis : Basis
            What to write.
        """
        self.container.create_group("basis", {"orthogonal": bool(basis.orthogonal)})
        for name, species in basis.species.items():
            group = f"basis/{name}"
            attributes = {k: getattr(species, k) for k in ("name", "cutoff", "valence")}
            self.container.create_group(
                group, {k: v for k, v in attributes.items() if v is not None}
            )
            self.array(f"{group}/l", np.array(species.l, dtype=np.int32))
            if species.m is not None:
                self.array(f"{group}/m", np.array(species.m, dtype=np.int32))
            if species.radial is not None:
                self.container.create_group(f"{group}/radial")
                self.array(f"{group}/radial/r", species.radial[0])
                self.array(f"{group}/radial/R", species.radial[1])

    def electrons(self, electrons):
        """Write ``/electrons``.

        Parameters
        ----------
        electrons : Electrons
            What to write; unknown values are left out.
        """
        values = {f.name: getattr(electrons, f.name) for f in fields(Electrons)}
        values = {k: float(v) for k, v in values.items() if v is not None}
        self.container.create_group("electrons", values)

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

    def operator(self, source, progress=None, slab_bytes=SLAB_BYTES):
        """Write an operator, one run of atoms after another.

        Parameters
        ----------
        source : OperatorSource
            Gives the blocks. If it has an attribute `residual`, that is recorded at the end.
        progress : callable, optional
            Called with the number of bytes done after every run.
        slab_bytes : int
            Bytes of blocks handled at a time.
        """
        with OperatorWriter(self.container, source, self.compression) as writer:
            for i0, i1 in slab_bounds(row_bytes(source), slab_bytes):
                data = source.rows(i0, i1)
                writer.write(i0, i1, data)
                if progress:
                    progress(data.nbytes)
            writer.residual = getattr(source, "residual", source.meta.residual)

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

        count = len(self._base.history) if self._base is not None else 0
        group = f"history/{count + 1:04d}"
        self.container.create_group("history")
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.container.create_group(
            group, {"command": command, "version": __version__, "time": now}
        )
        self.array(f"{group}/arguments", np.array([str(a) for a in arguments], dtype=object))
        self.array(f"{group}/inputs", np.array([str(n) for n, _ in inputs], dtype=object))
        self.array(f"{group}/digests", np.array([str(d) for _, d in inputs], dtype=object))


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
        elements = starts(pairs.block_elements(source.sizes))
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
        self._pending, self._pending_at = None, 0

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
        if self._pending is not None and begin != self._pending_at + self._pending.shape[-1]:
            self._flush()
        if self._pending is None:
            self._pending_at = begin
        else:
            data = np.concatenate([self._pending, data], axis=-1)
        run = self._run or data.shape[-1]
        whole = (self._pending_at + data.shape[-1]) // run * run - self._pending_at
        if whole > 0:
            self._container.write(f"{self._name}/data", data[..., :whole], self._pending_at)
            self._pending_at += whole
            data = data[..., whole:]
        self._pending = data.copy() if data.shape[-1] else None

    def _flush(self):
        if self._pending is not None:
            self._container.write(f"{self._name}/data", self._pending, self._pending_at)
            self._pending = None

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


def file_digest(path, block=1 << 20):
    """Return the BLAKE2b digest of a whole small file.

    Parameters
    ----------
    path : str or path-like
        The file.
    block : int
        Bytes read at a time.

    Returns
    -------
    str
        ``blake2b:`` and 32 hexadecimal digits.
    """
    state = hashlib.blake2b(digest_size=16)
    with open(os.fspath(path), "rb") as stream:
        while part := stream.read(block):
            state.update(part)
    return f"blake2b:{state.hexdigest()}"
