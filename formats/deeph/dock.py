"""DeepH-dock's data folders.

Layout: ``POSCAR``; ``info.json`` (``spinful``, ``fermi_energy_eV``, ``elements_orbital_map``: the l
of each radial function by element); ``hamiltonian.h5`` (eV) and ``overlap.h5`` with ``atom_pairs``
(n, 5: R1, R2, R3, i, j from 0), ``chunk_shapes`` (n, 2), ``chunk_boundaries`` (n + 1) and
``entries`` (flat). Orbitals are ordered m = −l … l, spinor blocks have all up orbitals before the
down ones: moireio's own order. Kept: all of these, and the names of bases under ``basis`` where a
folder has them. What is not known there: cutoffs beyond such names, radial functions.
"""

import os
import reprlib
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MissingFileError, MoireioError, naming
from moireio.formats.deeph.blocks import (
    NUMBERS,
    StoredBlocks,
    can_map,
    map_file,
    offset_in_file,
)
from moireio.formats.deeph.common import (
    DataFolder,
    files_of,
    require_one_layout,
    sorted_pairs,
)
from moireio.formats.deeph.files import energy, file_in, flag, open_hdf5, read_json
from moireio.formats.deeph.folder import MOST_SHELLS, DeepHFolder
from moireio.formats.deeph.split import (
    HKB,
    SpinDiagonal,
    SplitBlocks,
    joined,
    require_known,
    split_storage,
)
from moireio.formats.structures import files as structure_files
from moireio.formats.text.streams import beside
from moireio.operators.blocks import block_offsets
from moireio.results.electrons import Electrons
from moireio.store.hdf5_guard import own_dataset
from moireio.system.basis import SHELL_LETTERS, Basis, SpeciesBasis, parse_name

EXAMPLE = '{"spinful": false, "fermi_energy_eV": -3.5, "elements_orbital_map": {"C": [0, 0, 1]}}'
SETTINGS = (
    "atoms_quantity",
    "orbits_quantity",
    "orthogonal_basis",
    "spinful",
    "fermi_energy_eV",
    "elements_orbital_map",
    "occupation",
    "basis",
    "split_hkb",
    "hamiltonian_storage",
)


class DockFolder(DataFolder):
    """A folder of DeepH-dock."""

    names: ClassVar[dict] = {
        "hamiltonian": "hamiltonian.h5",
        "overlap": "overlap.h5",
        "predicted": "hamiltonian_pred.h5",
    }
    described: ClassVar[tuple[str, ...]] = ("POSCAR", "info.json")
    first_atom = 0

    #: File of the part of H with spin, where `split_hkb` keeps it apart.
    hkb: str | None = None

    def order(self, species):
        """Return moireio's own order."""
        return np.arange(self.basis[species].size)

    def _listed(self, name):
        pairs = self._sorted(self.files[name][0])[1]
        if self.hkb is None or name == "overlap":
            return pairs
        return joined(pairs, self._sorted(self.hkb)[1])

    def _sorted(self, path):
        """Return R1, R2, R3, i, j of all blocks, their pairs, and the order of the list."""
        if path not in self.lists:
            with open_hdf5(path) as file:
                listed = _integers(file, "atom_pairs", path, 5)
            with naming(path):
                self.lists[path] = listed, *sorted_pairs(len(self.structure), listed, 0)
        return self.lists[path]

    def _blocks(self, name, sizes, spinor):
        path = self.files[name][0]
        if name == "overlap":
            if self.spinful and self._has_shape(path, 2 * sizes):
                return SpinDiagonal(self._stored(path, 2 * sizes, np.float32))
            return self._stored(path, sizes, np.float32)
        if self.hkb is None or self._has_shape(path, sizes):
            if self.hkb is not None and name == "hamiltonian":
                raise MoireioError(
                    "has spinor blocks, but info.json has split_hkb, with which it holds H "
                    "without spin",
                    path=path,
                    remedy="one of the two is of another calculation",
                )
            return self._stored(path, sizes, np.complex64 if spinor else np.float32)
        base = self._stored(path, sizes // 2, np.float32)
        return SplitBlocks(base, self._stored(self.hkb, sizes, np.complex64))

    def _has_shape(self, path, sizes):
        """Return whether the first block of a file has the size that its atoms have."""
        listed = self._sorted(path)[0]
        with open_hdf5(path) as file:
            shapes = _integers(file, "chunk_shapes", path, 2)
        return len(shapes) > 0 and np.array_equal(shapes[0], sizes[listed[0, 3:]])

    def _stored(self, path, sizes, least):
        """Return the blocks of a file, where they lie."""
        listed, pairs, order = self._sorted(path)
        with naming(path), open_hdf5(path) as file:
            expected = np.stack([sizes[listed[:, 3]], sizes[listed[:, 4]]], axis=1)
            bounds = block_offsets(expected.prod(axis=1))
            self._require_shapes(listed, expected, _integers(file, "chunk_shapes", path, 2))
            if not np.array_equal(_integers(file, "chunk_boundaries", path), bounds):
                raise DamagedError("its chunk_boundaries are not the sums of its chunk_shapes")
            dataset = own_dataset(file, "entries", path)
            count, dtype = int(bounds[-1]), dataset.dtype
            if dataset.shape != (count,) or dtype.name not in NUMBERS:
                raise DamagedError(
                    f"its entries are {dtype} {dataset.shape}, {count} real or complex numbers "
                    "expected"
                )
            if dtype.kind == "c" and np.dtype(least).kind != "c":
                raise DamagedError(
                    "its entries are complex, real ones expected",
                    remedy='where H has spinor blocks, info.json has "spinful": true',
                )
            start = offset_in_file(dataset.id, dtype, count) if can_map(file, path) else None
            raw = map_file(path) if start is not None else dataset[()].view(np.uint8)
        offsets = (start or 0) + bounds[order] * dtype.itemsize
        one = np.zeros(len(order), dtype=np.int64)
        return StoredBlocks(pairs, [raw], [dtype], one, one, offsets, least)

    def _require_shapes(self, listed, expected, shapes):
        """Raise if a block is not as large as its atoms' orbitals."""
        if len(shapes) != len(listed):
            raise DamagedError(f"has {len(listed)} atom_pairs, but {len(shapes)} chunk_shapes")
        wrong = np.flatnonzero((shapes != expected).any(axis=1))
        if len(wrong) == 0:
            return
        first = int(wrong[0])
        R, (i, j) = listed[first, :3], listed[first, 3:]
        found, wanted = (" x ".join(str(n) for n in s[first]) for s in (shapes, expected))
        text = f"{self.block_name(i, j, R)} has {found} numbers, {wanted} expected"
        remedy = "elements_orbital_map of info.json is of another calculation, or damaged"
        if (shapes[first] == 2 * expected[first]).all():
            text += f"; {shapes[first][0]} = 2 x {expected[first][0]}: it is a spinor block"
            remedy = 'info.json has "spinful": false'
        elif (2 * shapes[first] == expected[first]).all():
            text += f"; {expected[first][0]} = 2 x {shapes[first][0]}: it has no spin"
            remedy = 'info.json has "spinful": true'
        raise MoireioError(text, remedy=remedy)


def _integers(file, name, path, columns=None):
    """Return an array of integers of a file, (n,) or (n, columns)."""
    try:
        dataset = own_dataset(file, name, path)
    except KeyError as error:
        found = ", ".join(list(file)[:6]) or "nothing"
        raise MoireioError(
            f"has no array {name}",
            path=path,
            remedy=f"a file of DeepH-dock expected; found {reprlib.repr(found)}",
        ) from error
    fits = dataset.dtype.kind in "iu" and (
        dataset.shape[1:] == (columns,) if columns else len(dataset.shape) == 1
    )
    if not fits or len(dataset.shape) == 0:
        expected = f"(n, {columns})" if columns else "(n,)"
        raise MoireioError(
            f"its {name} are {dataset.dtype} {dataset.shape}, integers {expected} expected",
            path=path,
        )
    return dataset[()].astype(np.int64)


def detect(path: str) -> bool:
    """Return whether a path is a data folder of DeepH-dock.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    bool
        By the names of its files.
    """
    described = beside(path, "info.json") is not None
    blocks = files_of(path, DockFolder.names)
    if beside(path, "POSCAR") is None:
        # Also without it, so that the message names it; not DeePTB's folders.
        return described and any(_has_pairs(file) for (file, *_) in blocks.values())
    if blocks:
        return True
    legacy = files_of(path, DeepHFolder.names, pieces=True)
    return not legacy and described


def _has_pairs(path):
    """Return whether a file lists its blocks as DeepH-dock's do."""
    try:
        with open_hdf5(path) as file:
            return "atom_pairs" in file
    except MoireioError:
        return False


def read(
    path: str,
    *,
    label: str | None = None,
    predicted: bool = False,
    pbc: Sequence[bool] | None = None,
) -> Calculation:
    """Read a folder; operators are read when they are asked for.

    Parameters
    ----------
    path : str
        The folder.
    label : str, optional
        The name that messages show.
    predicted : bool
        Take the predicted Hamiltonian (``hamiltonian_pred.h5``).
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.

    Returns
    -------
    Calculation
        With structure and basis.

    Raises
    ------
    MoireioError
        If a file is missing or does not fit the others.
    """
    return open_folder(path).calculation(label=label, predicted=predicted, pbc=pbc)


def open_folder(path: str) -> DockFolder:
    """Open a folder.

    Parameters
    ----------
    path : str
        The folder.

    Returns
    -------
    DockFolder
        With structure and basis.

    Raises
    ------
    MoireioError
        If a file is missing or does not fit the others.
    """
    require_one_layout(path, DockFolder.names, DeepHFolder.names)
    poscar, file = file_in(path, "POSCAR"), file_in(path, "info.json")
    if not os.path.exists(poscar):
        raise MissingFileError("has no POSCAR", path=path)
    structure = structure_files.read_foreign(poscar)[0]
    if not os.path.exists(file):
        raise MissingFileError(
            "has no info.json, which says what orbitals the elements have and whether there is "
            "spin",
            path=path,
            remedy=f"as in {EXAMPLE}",
        )
    info = read_json(file)
    with naming(file):
        require_known(info, SETTINGS)
        split = split_storage(info)
        species = _species(info, structure.species_names)
        spinful = flag(info, "spinful", file)
        if spinful is None:
            raise MoireioError("has no spinful", remedy=f"as in {EXAMPLE}")
        basis = Basis(species, orthogonal=bool(flag(info, "orthogonal_basis", file)))
        counts = {"atoms": len(structure), "orbits": int(basis.sizes(structure).sum())}
        for name, count in counts.items():
            stated = info.get(f"{name}_quantity", count)
            if stated != count:
                raise MoireioError(
                    f"{name}_quantity is {reprlib.repr(stated)}, but POSCAR and "
                    f"elements_orbital_map give {count}"
                )
    electrons = Electrons(fermi=energy(info, "fermi_energy_eV", file))
    files = files_of(path, DockFolder.names)
    folder = DockFolder(path, structure, basis, spinful, electrons, files)
    if split:
        hkb = file_in(path, HKB)
        if not os.path.exists(hkb) and {"hamiltonian", "predicted"} & set(files):
            raise MissingFileError(
                f"has no {HKB}, the part of H with spin that {split} in info.json keeps apart",
                path=path,
            )
        folder.hkb = hkb
    return folder


def _species(info, names):
    """Return the orbitals of every element."""
    shells = info.get("elements_orbital_map")
    if not isinstance(shells, dict):
        raise MoireioError("has no elements_orbital_map", remedy=f"as in {EXAMPLE}")
    labels = info.get("basis") or {}
    species = {}
    for name in names:
        degrees = shells.get(name)
        fits = isinstance(degrees, list) and 0 < len(degrees) <= MOST_SHELLS
        if not fits or not all(type(n) is int and 0 <= n < len(SHELL_LETTERS) for n in degrees):
            raise MoireioError(
                f"elements_orbital_map gives {name} {reprlib.repr(degrees)}: the l of each of its "
                f"radial functions expected, 0 to {len(SHELL_LETTERS) - 1}"
            )
        species[name] = SpeciesBasis(degrees)
        text = labels.get(name) if isinstance(labels, dict) else None
        if text is None:
            continue
        parsed, _ = parse_name(str(text))
        if parsed.cutoff is not None and parsed.cutoff <= 0:
            raise MoireioError(f"the basis {reprlib.repr(text)} has no positive cutoff")
        if parsed.l != species[name].l:
            raise MoireioError(
                f"the basis {reprlib.repr(text)} is not that of elements_orbital_map"
            )
        species[name] = replace(species[name], name=text, cutoff=parsed.cutoff)
    return species
