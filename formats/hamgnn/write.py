"""Writing HamGNN's ``graph_data.npz``, from which its users train.

The layout is that of `moireio.formats.hamgnn.graphs`. The pickle in it is put together here, byte
by byte: neither torch nor torch_geometric is needed. Kept: structure, H, S; Hartree and Bohr in
single precision. Lost: all else, and along which vectors the structure is periodic. Not there:
``Hon0`` (H without the self-consistent potential) and ``Lon`` (angular momentum), which a block
file does not have: train with ``add_H0: False`` and, with spinors, ``soc_basis: su2``. Spinor
blocks are Hermitian; HamGNN's own files for OpenMX have conj(↑↓) of the same pair as ↓↑.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError, naming
from moireio.formats.assembly.elements import has_imaginary_parts
from moireio.formats.assembly.losses import note_losses, note_order_of_shells, require_orbitals
from moireio.formats.hamgnn.slots import CODES, HARTREE, Slots, smallest
from moireio.operators.blocks import components, row_bytes, slab_bounds
from moireio.runtime.files import require_free, write_whole
from moireio.system.pairs import Pairs
from moireio.units import BOHR_ANGSTROM

STORAGES = {"<f4": "FloatStorage", "<i8": "LongStorage"}


def write(
    calculation: Calculation,
    path: str,
    *,
    force: bool = False,
    program: str = "openmx",
    nao: int | None = None,
) -> None:
    """Write a file of one graph.

    Parameters
    ----------
    calculation : Calculation
        With H and S.
    path : str
        ``graph_data.npz``.
    force : bool
        Replace a file.
    program : {"openmx", "siesta", "abacus"}
        The program whose order, signs and slots orbitals get.
    nao : int, optional
        Orbitals of every atom; by default as few as hold the basis.

    Raises
    ------
    MoireioError
        If the layout cannot hold the calculation, or the file exists.
    """
    require_free(path, force=force)
    mapping = graph(calculation, program=program, nao=nao)
    with (
        write_whole(path) as part,
        zipfile.ZipFile(part, "w", allowZip64=True) as file,
        file.open("graph.npy", "w", force_zip64=True) as stream,
    ):
        write_graphs(stream, [mapping])


def graph(
    calculation: Calculation, *, program: str = "openmx", nao: int | None = None
) -> dict[str, Any]:
    """Return the arrays of a graph.

    Parameters
    ----------
    calculation : Calculation
        With H and S.
    program : {"openmx", "siesta", "abacus"}
        The program whose order, signs and slots orbitals get.
    nao : int, optional
        Orbitals of every atom; by default as few as hold the basis.

    Returns
    -------
    dict of str to array or float
        As `Data` of torch_geometric holds them.

    Raises
    ------
    MoireioError
        If the layout cannot hold the calculation.
    """
    label, structure = calculation.label, calculation.structure
    if program not in CODES:
        raise MoireioError(f"no program is called {program!r}", remedy="known: " + ", ".join(CODES))
    if calculation.overlap is None or "hamiltonian" not in calculation.operators:
        raise MoireioError("lacks H or S; HamGNN needs both", path=label)
    H = calculation.hamiltonian
    with naming(label):
        for source in (H, calculation.overlap):
            if source.meta.spin != "spinor" and has_imaginary_parts(source):
                raise MoireioError(
                    f"has a complex {source.meta.name} without spinors; HamGNN's is real"
                )
        require_orbitals(calculation, "HamGNN")
        shells = {}
        for name in structure.species_names:
            species = calculation.basis[name]
            if species.m is not None:
                raise MoireioError(f"the species {name} has incomplete shells, HamGNN whole ones")
            shells[name] = species.l
        if (structure.numbers < 1).any():
            raise MoireioError("has sites that are no elements, which HamGNN does not know")
        of_element: dict[str, str] = {}
        for symbol, name in zip(structure.element_symbols, structure.species_of_atoms, strict=True):
            if shells[of_element.setdefault(symbol, name)] != shells[name]:
                raise MoireioError(f"{symbol} has two bases; HamGNN has one for each element")
        slots = smallest(shells, program, nao)
        S = calculation.overlap
        pairs = _joined(H.pairs, S.pairs)
        own = pairs.onsite()
        edges = np.flatnonzero(~_onsite(pairs))
        rows = np.concatenate([own, edges])
        mapping = _geometry(structure, pairs, edges)
        unit = 1 / HARTREE[program]
        blocks = _Filler(structure, slots, shells, pairs)
        spinor = H.meta.spin == "spinor"
        n, factor = len(structure), 2 if spinor else 1
        overlap = blocks.fill(S, 1.0)[0][rows]
        parts = {"H": np.real, "iH": np.imag} if spinor else {"H": np.real}
        for key, part in parts.items():
            filled = np.stack([one[rows] for one in blocks.fill(H, unit, part, factor)], axis=1)
            filled = filled[:, 0] if filled.shape[1] == 1 else filled
            mapping[f"{key}on"], mapping[f"{key}off"] = filled[:n], filled[n:]
        if not spinor and H.meta.spin == "none":
            mapping["hamiltonian"] = np.concatenate([mapping["Hon"], mapping["Hoff"]])
        mapping |= {"Son": overlap[:n], "Soff": overlap[n:], "overlap": overlap}
    mapping["doping_charge"] = np.zeros(1, dtype=np.float32)
    notes = ["single precision (Hartree): H is rounded", "no Hon0: train with add_H0: False"]
    notes += ["no Lon, Loff: train with soc_basis: su2"] if spinor else []
    calculation.notes.extend(notes)
    note_losses(calculation, "HamGNN's files", fermi=False)
    note_order_of_shells(calculation, "HamGNN")
    return mapping


def _onsite(pairs: Pairs) -> npt.NDArray[np.bool_]:
    return (pairs.i == pairs.j) & ~pairs.R.any(axis=1)


def _joined(one: Pairs, other: Pairs) -> Pairs:
    """Return the pairs of H and of S: HamGNN has one list."""
    new = one.find(other.i, other.j, other.R) < 0
    if not new.any():
        return one
    i, j = np.concatenate([one.i, other.i[new]]), np.concatenate([one.j, other.j[new]])
    return Pairs.sort(one.n_atoms, i, j, np.concatenate([one.R, other.R[new]]))[0]


def _geometry(structure, pairs, edges):
    """Return atoms and edges, Bohr."""
    cell = structure.cell / BOHR_ANGSTROM
    R = pairs.R[edges].astype(np.int64)
    numbers = np.full(len(pairs), -1, dtype=np.int64)
    numbers[edges] = np.arange(len(edges))
    partner = pairs.partner()[edges]
    return {
        "z": structure.numbers.astype(np.int64),
        "cell": cell[None].astype(np.float32),
        "total_energy": 0.0,
        "pos": (structure.positions / BOHR_ANGSTROM).astype(np.float32),
        "node_counts": np.array([len(structure)], dtype=np.int64),
        "edge_index": np.stack([pairs.i[edges], pairs.j[edges]]).astype(np.int64),
        "inv_edge_idx": numbers[partner],
        "nbr_shift": (R @ cell).astype(np.float32),
        "cell_shift": R,
    }


class _Filler:
    """Puts blocks into slots.

    Parameters
    ----------
    structure : Structure
        The atoms.
    slots : Slots
        Where shells stand.
    shells : dict of str to tuple of int
        Angular momenta by species.
    pairs : Pairs
        All pairs.
    """

    def __init__(self, structure, slots: Slots, shells: Mapping[str, tuple[int, ...]], pairs):
        self._species, self._nao, self._pairs = structure.species, slots.nao, pairs
        self._slots, self._signs = [], []
        for name in structure.species_names:
            places, signs = slots.order.to_ours(shells[name])
            self._slots.append(slots.places(shells[name], name)[places])
            self._signs.append(signs)

    def fill(self, source, unit, part=np.real, factor=1):
        """Return the padded blocks of all pairs, one array (n, …) for each component."""
        nao, pairs, sizes = factor * self._nao, source.pairs, np.asarray(source.sizes)
        count, places = source.meta.components, self._pairs.find(pairs.i, pairs.j, pairs.R)
        out = [np.zeros((len(self._pairs), nao, nao), dtype=np.float32) for _ in range(count)]
        slots = [np.concatenate([s + self._nao * t for t in range(factor)]) for s in self._slots]
        signs = [np.tile(s, factor) for s in self._signs]
        for i0, i1 in slab_bounds(row_bytes(source)):
            data = components(source.rows(i0, i1))
            at = 0
            for pair in range(pairs.indptr[i0], pairs.indptr[i1]):
                i = int(np.searchsorted(pairs.indptr, pair, "right")) - 1
                a, b = self._species[i], self._species[pairs.j[pair]]
                shape = int(sizes[i]), int(sizes[pairs.j[pair]])
                scale = unit * signs[a][:, None] * signs[b]
                for target, flat in zip(out, data, strict=True):
                    block = flat[at : at + shape[0] * shape[1]].reshape(shape)
                    target[places[pair]][np.ix_(slots[a], slots[b])] = part(block) * scale
                at += shape[0] * shape[1]
        return [target.reshape(len(target), -1) for target in out]


def write_graphs(stream: BinaryIO, graphs: Sequence[Mapping[str, Any]]) -> None:
    """Write an array of one object, {0: Data, 1: Data …}, as ``graph.npy`` holds it.

    Parameters
    ----------
    stream : file
        Open for writing.
    graphs : sequence of dict of str to array or float
        From `graph`; arrays are float32 or int64.
    """
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    length = -(10 + len(header) + 1) % 64
    text = header.encode() + b" " * length + b"\n"
    stream.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    emit = _Emitter(stream)
    emit.raw(b"\x80\x04")
    emit.name("numpy.core.multiarray", "_reconstruct")
    emit.name("numpy", "ndarray")
    emit.raw(b"K\x00\x85C\x01b\x87R(K\x01)")
    emit.name("numpy", "dtype")
    emit.text("O8")
    emit.raw(b"\x89\x88\x87R(K\x03")
    emit.text("|")
    emit.raw(b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89]}")
    for number, mapping in enumerate(graphs):
        emit.number(number)
        emit.data(mapping)
        emit.raw(b"s")
    emit.raw(b"atb.")


class _Emitter:
    """Writes a pickle of protocol 4.

    Parameters
    ----------
    stream : file
        Open for writing.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._memo = 0
        self._keys = 0

    def raw(self, code: bytes) -> None:
        """Write instructions."""
        self._stream.write(code)

    def text(self, value: str) -> None:
        """Write a text."""
        coded = value.encode()
        self.raw(b"\x8c" + bytes([len(coded)]) + coded)

    def name(self, module: str, name: str) -> None:
        """Write the name of a class or function."""
        self.text(module)
        self.text(name)
        self.raw(b"\x93")

    def number(self, value: int) -> None:
        """Write an integer."""
        coded = int(value).to_bytes(9, "little", signed=True)
        self.raw(b"\x8a" + bytes([len(coded)]) + coded)

    def data(self, mapping: Mapping[str, Any]) -> None:
        """Write a `Data` of torch_geometric."""
        module = "torch_geometric.data"
        self.name(f"{module}.data", "Data")
        self.raw(b")\x81")
        place = self._memo
        self._memo += 1
        self.raw(b"\x94}(")
        self.text("_edge_attr_cls")
        self.name(f"{module}.data", "DataEdgeAttr")
        self.text("_tensor_attr_cls")
        self.name(f"{module}.data", "DataTensorAttr")
        self.text("_store")
        self.name(f"{module}.storage", "GlobalStorage")
        self.raw(b")\x81}(")
        self.text("_mapping")
        self.raw(b"}(")
        for key, value in mapping.items():
            self.text(key)
            if isinstance(value, float):
                self.raw(b"G" + struct.pack(">d", value))
            else:
                self.tensor(np.asarray(value))
        self.raw(b"u")
        self.text("_parent")
        self.raw(b"j" + struct.pack("<I", place) + b"ubub")

    def tensor(self, array: npt.NDArray[Any]) -> None:
        """Write a tensor of torch."""
        self.name("torch._utils", "_rebuild_tensor_v2")
        self.raw(b"(")
        self.name("torch.storage", "_load_from_bytes")
        head = self._storage_head(array)
        self.raw(b"\x8e" + struct.pack("<Q", len(head) + array.nbytes) + head)
        self.raw(np.ascontiguousarray(array).data.cast("B") if array.nbytes else b"")
        self.raw(b"\x85RK\x00")
        steps = [int(np.prod(array.shape[n + 1 :], dtype=np.int64)) for n in range(array.ndim)]
        for values in (array.shape, steps):
            self.raw(b"(")
            for value in values:
                self.number(value)
            self.raw(b"t")
        self.raw(b"\x89")
        self.name("collections", "OrderedDict")
        self.raw(b")RtR")

    def _storage_head(self, array: npt.NDArray[Any]) -> bytes:
        """Return the bytes before the numbers of a storage: five pickles and the count."""
        self._keys += 1
        key = str(self._keys).encode()
        kind = STORAGES[array.dtype.newbyteorder("<").str].encode()
        count = struct.pack("<i", array.size) if array.size < 2**31 else None
        number = b"J" + count if count is not None else b"\x8a\x08" + struct.pack("<q", array.size)

        def words(text: bytes) -> bytes:
            return b"X" + struct.pack("<I", len(text)) + text

        sizes = b"".join(
            words(name) + b"K" + bytes([size])
            for name, size in ((b"short", 2), (b"int", 4), (b"long", 4))
        )
        system = (
            b"\x80\x02}(" + words(b"protocol_version") + b"M\xe9\x03" + words(b"little_endian")
            + b"\x88" + words(b"type_sizes") + b"}(" + sizes + b"uu."
        )  # fmt: skip
        reference = (
            b"\x80\x02(" + words(b"storage") + b"ctorch\n" + kind + b"\n" + words(key)
            + words(b"cpu") + number + b"NtQ."
        )  # fmt: skip
        return (
            b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03." + system + reference
            + b"\x80\x02](" + words(key) + b"e." + struct.pack("<q", array.size)
        )  # fmt: skip
