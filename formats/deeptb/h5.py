"""Data folders of DeePTB and dftio.

Layout: ``hamiltonians.h5`` and ``overlaps.h5`` (dftio: ``hamiltonian.h5``, ``overlap.h5``) hold a
group for each frame, ``0``, ``1`` and so on, with one array for each pair of atoms, named
``i_j_Rx_Ry_Rz`` (atoms from 0, j in the cell R): ⟨i,0|H|j,R⟩ in eV. Beside them lie the text files
``atomic_numbers.dat``, ``positions.dat`` (Å, frame after frame), ``cell.dat``, ``pbc.dat`` (dftio:
``atomic_number.dat``, ``position.dat``), ``basis.dat`` as ``{'Si': '2s2p1d'}`` and, of DeePTB,
``info.json``. Orbitals are m = −l … l, shells in the order of that text; spinor blocks have all up
orbitals before the down ones. Both partners of a pair are there, or one. Kept: structure, shells,
H, S. Lost: Fermi level, radial functions; eigenvalues and density matrices are not read.
"""

from __future__ import annotations

import mmap
import os
import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MissingFileError, MoireioError, naming
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.elements import (
    OrbitalMap,
    Partners,
    source_from_matrices,
)
from moireio.formats.assembly.orders import NATURAL
from moireio.formats.assembly.placing import settled_by_overlap
from moireio.formats.assembly.shells import parse_shells, parse_shells_option, structure_and_basis
from moireio.formats.deeph.blocks import can_map, map_file, offset_in_file
from moireio.formats.deeph.files import open_hdf5, read_json, read_table
from moireio.formats.structures.text import plain_name, read_text, shown
from moireio.formats.text.streams import beside, finder, first_bytes, require_known_name
from moireio.operators.blocks import block_offsets
from moireio.operators.views import ArraySource
from moireio.store.containers import HDF5_SIGNATURE
from moireio.store.hdf5_guard import own_dataset, own_object
from moireio.system.basis import Basis
from moireio.system.structure import Structure

FILES = {
    "hamiltonian": ("hamiltonians.h5", "hamiltonian.h5", "predicted_hamiltonians.h5"),
    "overlap": ("overlaps.h5", "overlap.h5", "predicted_overlaps.h5"),
}
STRUCTURE_FILES = (
    ("positions.dat", "position.dat"),
    ("atomic_numbers.dat", "atomic_number.dat"),
)
LIMITS = {"hamiltonian": 1e-3, "overlap": 1e-5}
#: Elements below which dftio leaves out a block, with a margin for float32.
DROPPED = 1e-6
#: Elements of S between atoms below which it is none of atomic orbitals.
UNIT = 1e-4
NUMBERS = ("float32", "float64", "complex64", "complex128")
FARTHEST = 1 << 20
FLAT = 1e-9  # volume, of that of a box with the same lengths
_KEY = re.compile(r"(\d{1,9})_(\d{1,9})_(-?\d{1,9})_(-?\d{1,9})_(-?\d{1,9})", re.ASCII)
_BASIS = re.compile(r"['\"]([A-Z][a-z]?)['\"]\s*:\s*['\"]((?:\d*[spdfgh])+)['\"]")
_SHELL = re.compile(r"(\d*)([spdfgh])")


def detect(path: str) -> bool:
    """Return whether a path is a data folder of DeePTB or dftio, or a file of blocks in one.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    bool
        By names, and for files by their first block.
    """
    if os.path.isdir(path):
        there = [file for names in FILES.values() if (file := beside(path, *names))]
        described = any(beside(path, *names) for names in STRUCTURE_FILES)
        return bool(there) and (described or detect(there[0]))
    names = [name for listed in FILES.values() for name in listed]
    if plain_name(path) not in names or not first_bytes(path, 8).startswith(HDF5_SIGNATURE):
        return False
    try:
        with open_hdf5(path) as file:
            frame = file[next(iter(file))]
            return _KEY.fullmatch(next(iter(frame))) is not None
    except (MoireioError, StopIteration):
        return False


def read(
    path: str,
    *,
    label: str | None = None,
    companions: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
    frame: int | str = 0,
    shells: str | None = None,
) -> Calculation:
    """Read one frame of a folder.

    Parameters
    ----------
    path : str
        The folder, or ``hamiltonians.h5`` or ``overlaps.h5`` in it.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        Files that lie elsewhere, by their names.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.
    frame : int
        Which structure of a trajectory, from 0.
    shells : str, optional
        Shells of elements that no ``basis.dat`` gives, as ``Si=s2p2d1``.

    Returns
    -------
    Calculation
        With its operators in memory.

    Raises
    ------
    MoireioError
        If a file is missing, damaged, or does not fit the others.
    """
    label = label or path
    known = any(plain_name(path) in names for names in FILES.values())
    require_known_name(path, label, known, "DeePTB", "hamiltonians.h5, overlaps.h5")
    find = finder(path, companions)

    number = _frame_number(frame)
    files = {name: file for name, names in FILES.items() if (file := find(*names)) is not None}
    if not files:
        raise MissingFileError("has no hamiltonians.h5 and no overlaps.h5", path=label)
    blocks = {name: _Blocks(file, number) for name, file in files.items()}
    structure, basis, used = _structure(find, number, shells, label)
    notes: list[str] = []
    frames = max(found.frames for found in blocks.values())
    if frames > 1:
        notes.append(f"frame {number} of {frames}, from 0")
    operators = {}
    for name, found in blocks.items():
        cells, matrices, spinor, partners = found.matrices(structure, basis)
        operators[name] = source_from_matrices(
            name,
            cells,
            matrices,
            OrbitalMap.make(structure, basis, NATURAL, spinor="atoms" if spinor else None),
            label=found.path,
            spin="spinor" if spinor else "none",
            partners=partners,
            limit=LIMITS[name],
        )
    if operators.get("overlap") is not None and operators["overlap"].meta.spin == "spinor":
        raise MoireioError("has spinor blocks, but an overlap has no spin", path=files["overlap"])
    structure, note = settled_by_overlap(
        structure, operators.get("overlap", operators.get("hamiltonian")), label
    )
    notes += [note] if note else []
    if "hamiltonian" not in operators:
        notes.append("no hamiltonians.h5: H is not known")
    if "overlap" not in operators:
        notes.append("no overlaps.h5: S is not known")
    elif len(structure) > 1 and _is_unit(operators["overlap"]):
        notes.append(
            f"{os.path.basename(files['overlap'])} is the unit matrix: it belongs to H only if "
            "its orbitals are orthogonal"
        )
    return assemble(
        label,
        structure,
        basis,
        operators,
        notes=notes,
        files=[*files.values(), *used],
        pbc=pbc,
        described="the structure or basis.dat",
    )


def _is_unit(overlap: ArraySource) -> bool:
    """Return whether no two different atoms overlap."""
    pairs = overlap.pairs
    other = np.repeat(
        (pairs.i != pairs.j) | pairs.R.any(axis=1), pairs.block_elements(overlap.sizes)
    )
    return bool(np.abs(overlap.data[other]).max(initial=0.0) < UNIT)


def _frame_number(frame: int | str) -> int:
    text = str(frame)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise MoireioError(f"`frame` is {shown(text)}, a number from 0 expected")
    return int(text)


class _Blocks:
    """The blocks of one frame of a file."""

    def __init__(self, path: str, frame: int) -> None:
        self.path = path
        with open_hdf5(path) as file, naming(path):
            names = list(file)
            if not names or not all(name.isascii() and name.isdigit() for name in names):
                raise MoireioError(
                    "has no groups 0, 1, … for frames",
                    remedy="a file of DeePTB or dftio expected",
                )
            self.frames = len(names)
            self._group = str(frame) if "0" in names else str(frame + 1)
            if self._group not in names:
                raise MoireioError(f"has {len(names)} frames, and none of number {frame}")
            self._names = self._names_of(file)
        listed = []
        for name in self._names:
            key = _KEY.fullmatch(name)
            if key is None:
                raise MoireioError(
                    f"{shown(name)} is no name of a block, i_j_Rx_Ry_Rz expected", path=path
                )
            listed.append([int(number) for number in key.groups()])
        if not listed:
            raise MoireioError(f"holds no blocks in frame {self._group}", path=path)
        self._listed = np.array(listed, dtype=np.int64)
        # dftio has counted atoms from 1 for some programs.
        zero = (self._listed[:, :2] == 0).all(axis=1) & (self._listed[:, 2:] == 0).all(axis=1)
        self._first = 0 if zero.any() else 1

    def _of(self, file: Any) -> Any:
        return own_object(file, self._group, self.path)

    def _names_of(self, file: Any) -> list[str]:
        """Return the names in the frame; all must lie in the file itself."""
        import h5py

        links: list[tuple[bytes, int]] = []
        group = self._of(file)
        if not isinstance(group, h5py.Group):
            raise DamagedError(f"its {self._group} is no group of blocks")
        group.id.links.iterate(lambda name, info: links.append((name, info.type)), info=True)
        names = [name.decode("utf-8", "surrogateescape") for name, _ in links]
        for name, (_, kind) in zip(names, links, strict=True):
            if kind != h5py.h5l.TYPE_HARD:
                own_dataset(group, name, self.path)
        return names

    def matrices(
        self, structure: Structure, basis: Basis
    ) -> tuple[npt.NDArray[np.int64], list[Any], bool, Partners]:
        """Return cells, one matrix each, whether they are spinors, and which partners are there."""
        from scipy.sparse import coo_array

        sizes = basis.sizes(structure)
        atoms, cells = self._listed[:, :2] - self._first, self._listed[:, 2:]
        wrong = ((atoms < 0) | (atoms >= len(sizes))).any(axis=1)
        wrong |= (np.abs(cells) > FARTHEST).any(axis=1)
        with naming(self.path):
            if wrong.any():
                name = self._names[int(wrong.argmax())]
                raise MoireioError(
                    f"block {name} is of an atom outside the {len(sizes)} of the structure, or of "
                    "a cell too far away",
                    remedy="the text files beside it are of another structure",
                )
            own = (atoms[:, 0] == atoms[:, 1]) & ~cells.any(axis=1)
            absent = np.setdiff1d(np.arange(len(sizes)), atoms[own, 0])
            if len(absent):
                first = int(absent[0]) + self._first
                raise DamagedError(
                    f"lacks the block {first}_{first}_0_0_0 of an atom with itself",
                    remedy=f"{len(absent)} of {len(sizes)} atoms have none: is it of another "
                    "structure, or a part of it missing?",
                )
            values, spinor = self._values(structure, sizes, atoms)
            partners = self._partners(values)
        starts = block_offsets(sizes * (2 if spinor else 1))
        total = int(starts[-1])
        found, which = np.unique(cells, axis=0, return_inverse=True)
        order = np.argsort(which.ravel(), kind="stable")
        bounds = np.searchsorted(which.ravel()[order], np.arange(len(found) + 1))
        matrices = []
        for begin, end in pairwise(bounds):
            row, column, data = [], [], []
            for block in order[begin:end]:
                i, j = atoms[block]
                shape = values[block].shape
                row.append(np.repeat(np.arange(shape[0]) + starts[i], shape[1]))
                column.append(np.tile(np.arange(shape[1]) + starts[j], shape[0]))
                data.append(values[block].ravel())
            places = np.concatenate(row), np.concatenate(column)
            matrices.append(coo_array((np.concatenate(data), places), (total, total)))
        return found, matrices, spinor, partners

    def _values(
        self,
        structure: Structure,
        sizes: npt.NDArray[np.int64],
        atoms: npt.NDArray[np.int64],
    ) -> tuple[list[npt.NDArray[Any]], bool]:
        """Return the blocks, and whether they are spinors: twice as large as the orbitals."""
        species = structure.species_of_atoms
        values: list[npt.NDArray[Any]] = []
        spinor = None
        with open_hdf5(self.path) as file:
            group = self._of(file)
            mapped = map_file(self.path) if can_map(file, self.path) else None
            for name, (i, j) in zip(self._names, atoms.tolist(), strict=True):
                expected = int(sizes[i]), int(sizes[j])
                double = 2 * expected[0], 2 * expected[1]
                value = None if mapped is None else _mapped(mapped, group, name, (expected, double))
                if value is None:
                    dataset = own_dataset(group, name, self.path)
                    fits = dataset.shape == expected or dataset.shape == double
                    if dataset.dtype.name not in NUMBERS or not fits:
                        raise MoireioError(
                            f"block {name} ({species[i]} and {species[j]}) is {dataset.dtype} "
                            f"{dataset.shape}, {expected} real or complex numbers expected",
                            remedy="basis.dat is of another calculation, or the file is damaged",
                        )
                    value = dataset[()]
                if spinor is None:
                    spinor = value.shape == double
                if spinor != (value.shape == double):
                    raise DamagedError(f"block {name} has spin unlike others, or the other way")
                values.append(value)
        return values, bool(spinor)

    def _partners(self, values: list[npt.NDArray[Any]]) -> Partners:
        """Return "given" or "missing".

        Raises
        ------
        DamagedError
            If some pairs have partners and others that are not small have none.
        """
        present = {tuple(key) for key in self._listed.tolist()}
        others = alone = 0
        lost = None
        for key, value in zip(self._listed.tolist(), values, strict=True):
            i, j, *R = key
            if i == j:
                continue
            others += 1
            if (j, i, *(-c for c in R)) not in present:
                alone += 1
                if lost is None and np.abs(value).max(initial=0.0) > DROPPED:
                    lost = "_".join(map(str, key))
        if alone == others and others:
            return "missing"
        if lost is not None:
            raise DamagedError(
                f"block {lost} has no partner, while others have",
                remedy="a part of the file is missing",
            )
        if others:
            return "given"
        keys = [key for key in self._listed.tolist() if any(key[2:])]
        lonely = any((i, j, *(-c for c in R)) not in present for i, j, *R in keys)
        return "missing" if lonely else "given"


def _mapped(
    mapped: mmap.mmap, group: Any, name: str, shapes: Sequence[tuple[int, int]]
) -> npt.NDArray[Any] | None:
    """Return a block that lies in one piece of its file; None if it does not."""
    import h5py

    try:
        dataset = h5py.h5d.open(group.id, name.encode())
        dtype, shape = dataset.dtype, dataset.shape
        if shape not in shapes or dtype.name not in NUMBERS:
            return None
        count = shape[0] * shape[1]
        offset = offset_in_file(dataset, dtype, count)
    except (KeyError, TypeError, ValueError, OSError, RuntimeError):
        return None  # what is wrong with it is said where it is read
    if offset is None or offset + count * dtype.itemsize > len(mapped):
        return None
    return np.frombuffer(mapped, dtype=dtype, count=count, offset=offset).reshape(shape)


def _structure(
    find: Callable[..., str | None], frame: int, shells: str | None, label: str
) -> tuple[Structure, Basis, list[str]]:
    """Return structure and basis of a frame, and the files they are from."""

    def need(*names: str) -> str:
        found = find(*names)
        if found is None:
            raise MissingFileError(
                f"has no {names[0]} beside it", path=label, remedy="give it in `companions`"
            )
        return found

    def table(path: str, columns: int) -> npt.NDArray[np.float64]:
        rows = read_table(path)
        values = np.concatenate(rows) if rows else np.empty(0)
        if values.size == 0 or values.size % columns:
            raise DamagedError(f"holds {values.size} numbers, {columns} a line expected", path=path)
        return values.reshape(-1, columns)

    used = [need(*names) for names in STRUCTURE_FILES]
    positions, numbers = table(used[0], 3), table(used[1], 1)[:, 0]
    info_file, cell_file, pbc_file = find("info.json"), find("cell.dat"), find("pbc.dat")
    info = read_json(info_file) if info_file else {}
    frames = info.get("nframes", 1) if isinstance(info.get("nframes", 1), int) else 1
    cells = table(cell_file, 3) if cell_file else None
    if cells is not None and len(cells) % 3:
        raise DamagedError(f"has {len(cells)} rows, three for each cell expected", path=cell_file)
    if cells is not None and len(cells) > 3:
        frames = len(cells) // 3
    elif len(numbers) and len(positions) % len(numbers) == 0:
        frames = max(
            frames if len(positions) == len(numbers) else 1, len(positions) // len(numbers)
        )
    if frames < 1 or len(positions) % frames:
        raise DamagedError(
            f"has {len(positions)} positions for {frames} frames", path=used[0],
            remedy="cell.dat, atomic_numbers.dat or info.json are of other data",
        )  # fmt: skip
    count = len(positions) // frames
    if frame >= frames:
        raise MoireioError(f"has {frames} frames, and none of number {frame}", path=used[0])
    positions = positions[frame * count : (frame + 1) * count]
    if len(numbers) == frames * count:
        numbers = numbers[frame * count : (frame + 1) * count]
    if (
        len(numbers) != count
        or (numbers != np.round(numbers)).any()
        or not ((numbers >= 1) & (numbers <= 118)).all()
    ):
        raise DamagedError(f"does not hold the atomic numbers of {count} atoms", path=used[1])
    if cells is None:
        raise MissingFileError(
            "has no cell.dat beside it", path=label, remedy="give it in `companions`"
        )
    cell = cells[:3] if len(cells) == 3 else cells[3 * frame : 3 * frame + 3]
    lengths = np.linalg.norm(cell, axis=1)
    if not abs(np.linalg.det(cell)) > FLAT * lengths.prod():
        raise DamagedError("its three lattice vectors are not independent", path=cell_file)
    if info.get("pos_type") == "frac":
        positions = positions @ cell
    flags = table(pbc_file, 1)[:, 0] if pbc_file else np.ones(3)
    if len(flags) == 0 or len(flags) % 3:
        raise DamagedError(f"holds {len(flags)} numbers, three a frame expected", path=pbc_file)
    along = [bool(value) for value in flags[:3]]
    used += [name for name in (info_file, cell_file, pbc_file) if name]
    from ase.data import chemical_symbols

    labels = [chemical_symbols[int(number)] for number in numbers]
    basis_file = find("basis.dat")
    known = _read_basis(basis_file) if basis_file else {}
    used += [basis_file] if basis_file else []
    known |= parse_shells_option(shells)
    for name in labels:
        if name not in known:
            what = f"gives no shells of {name}" if basis_file else "has no basis.dat beside it"
            raise MissingFileError(
                what,
                path=basis_file or label,
                remedy=f"give basis.dat in `companions`, or `shells` as in {name}=s2p2d1",
            )
    with naming(used[0]):
        structure, basis = structure_and_basis(
            cell,
            positions,
            [int(number) for number in numbers],
            labels,
            [known[name] for name in labels],
            pbc=along,
        )
    return structure, basis, used


def _read_basis(path: str) -> dict[str, tuple[int, ...]]:
    """Return the shells of each element of ``basis.dat``."""
    text = read_text(path)
    found = {}
    for name, orbitals in _BASIS.findall(text[: 1 << 16]):
        letters = [letter + count for count, letter in _SHELL.findall(orbitals)]
        with naming(path):
            found[name] = parse_shells("".join(letters))
    if not found:
        raise DamagedError(
            f"holds {shown(text)}", path=path, remedy="a text as {'Si': '2s2p1d'} expected"
        )
    return found
