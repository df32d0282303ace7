"""DeepH's older data folders (the "processed" layout of DeepH-pack and DeepH-E3).

Layout: ``lat.dat`` (3 × 3, columns are lattice vectors, Å), ``site_positions.dat`` (3 × N,
columns), ``element.dat`` (one Z a line), ``orbital_types.dat`` (a line per atom: l of each radial
function), ``info.json`` (``isspinful``, ``fermi_level`` in eV), ``hamiltonians.h5`` (eV),
``overlaps.h5``: a dataset per pair, named ``[R1, R2, R3, i, j]`` with atoms from 1; orbitals in
OpenMX's order inside a shell, spinor blocks with all up orbitals before the down ones. Instead of
``hamiltonians.h5`` there may be ``rh`` and ``rc``, blocks in local frames (`local`). Kept: all of
these. Lost: other files. What is not known there: names of bases, cutoffs, radial functions.
"""

import os
import reprlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MoireioError, naming
from moireio.formats.assembly.orders import OPENMX
from moireio.formats.deeph.blocks import NUMBERS
from moireio.formats.deeph.common import DataFolder, files_of, pieces_of, sorted_pairs
from moireio.formats.deeph.datasets import Collector, block_list, key_of
from moireio.formats.deeph.files import (
    energy,
    file_in,
    flag,
    open_hdf5,
    read_json,
    read_table,
    require,
    table_lines,
)
from moireio.formats.deeph.local import LocalBlocks, frame_file, local_files, read_frames
from moireio.formats.deeph.split import require_known
from moireio.formats.text.npz import is_npz, open_npz
from moireio.formats.text.streams import beside
from moireio.results.electrons import Electrons
from moireio.store.hdf5_guard import own_dataset
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import HIGHEST_NUMBER, Structure

MOST_SHELL = 3  # f: OpenMX's order of the orbitals is known up to there
MOST_SHELLS = 100
MOST_BYTES = 1 << 24  # of one block
SETTINGS = ("isspinful", "fermi_level", "isorthogonal", "nsites", "norbits", "max_num_neighbors")
RECIPROCAL_TOLERANCE = 1e-4  # relative; rlat.dat may have few digits


class DeepHFolder(DataFolder):
    """A folder of the older layout."""

    names: ClassVar[dict] = {
        "hamiltonian": "hamiltonians.h5",
        "overlap": "overlaps.h5",
        "predicted": "hamiltonians_pred.h5",
    }
    described: ClassVar[tuple[str, ...]] = (
        "lat.dat",
        "site_positions.dat",
        "element.dat",
        "orbital_types.dat",
        "info.json",
    )
    first_atom = 1

    #: Operators whose blocks are in local frames.
    local: tuple[str, ...] = ()

    def order(self, species):
        """Return OpenMX's order."""
        return OPENMX.to_ours(self.basis[species].l)[0]

    def _listed(self, name):
        return self._sorted(name)[2]

    def _sorted(self, name):
        """Return R1, R2, R3, i, j of all blocks, their names by file, their pairs, their order."""
        paths = self.files[name]
        if paths not in self.lists:
            listed, places = block_list(paths)
            self.lists[paths] = listed, places, *sorted_pairs(len(self.structure), listed, 1)
        return self.lists[paths]

    def _blocks(self, name, sizes, spinor):
        paths = self.files[name]
        _, places, pairs, order = self._sorted(name)
        members = np.empty(len(order), dtype=np.int64)
        members[order] = np.arange(len(order))
        i, j = pairs.i, pairs.j

        def check(array, pair, path):
            self._require_shape(array, pair, pairs, sizes, path)

        collector = Collector(pairs, np.stack([sizes[i], sizes[j]], axis=1), check)
        at = 0
        for path, names in zip(paths, places, strict=True):
            collector.add(path, names, members[at : at + len(names)].tolist())
            at += len(names)
        first = None if spinor else collector.first_complex()
        if first is not None:
            raise DamagedError(
                f"{self.block_name(i[first], j[first], pairs.R[first])} is complex, others are "
                "real",
                path=paths[0],
            )
        blocks = collector.blocks(np.complex64 if spinor else np.float32)
        if name not in self.local:
            return blocks
        names = self.structure.species_names
        momenta, orders = [self.basis[s].l for s in names], [self.order(s) for s in names]
        axes = read_frames(frame_file(self.path, paths[0]), pairs, paths[0])
        return LocalBlocks(blocks, axes, momenta, orders, self.structure.species, spinor)

    def _require_shape(self, dataset, p, pairs, sizes, path):
        """Raise if a block is not of numbers, or not as large as its atoms' orbitals."""
        i, j = int(pairs.i[p]), int(pairs.j[p])
        where = self.block_name(i, j, pairs.R[p])
        if dataset.dtype.name not in NUMBERS:
            raise MoireioError(
                f"{where} is of {dataset.dtype}, real or complex numbers expected", path=path
            )
        expected = int(sizes[i]), int(sizes[j])
        if dataset.shape == expected:
            return
        found = " x ".join(str(n) for n in dataset.shape) or "no"
        text = f"{where} has {found} numbers, {expected[0]} x {expected[1]} expected"
        remedy = "orbital_types.dat and element.dat are of another calculation, or damaged"
        if dataset.shape == tuple(2 * n for n in expected):
            text += f"; {dataset.shape[0]} = 2 x {expected[0]}: it is a spinor block"
            remedy = 'info.json has "isspinful": false'
        elif tuple(2 * n for n in dataset.shape) == expected:
            text += f"; {expected[0]} = 2 x {dataset.shape[0]}: it has no spin"
            remedy = 'info.json has "isspinful": true'
        raise MoireioError(text, path=path, remedy=remedy)


def detect(path: str) -> bool:
    """Return whether a path is a data folder of this layout.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    bool
        By the names of its files.
    """
    names = ("lat.dat", "site_positions.dat", "orbital_types.dat")
    return any(beside(path, name) is not None for name in names)


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
        Take the predicted Hamiltonian (``hamiltonians_pred.h5``).
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


def open_folder(path: str) -> DeepHFolder:
    """Open a folder.

    Parameters
    ----------
    path : str
        The folder.

    Returns
    -------
    DeepHFolder
        With structure and basis.

    Raises
    ------
    MoireioError
        If a file is missing or does not fit the others.
    """
    if not os.path.isdir(path):
        raise MoireioError("is not a folder", path=path)
    _require_files(path)
    types = file_in(path, "orbital_types.dat")
    numbers = _numbers(file_in(path, "element.dat"))
    cell, positions = _geometry(path, len(numbers))
    shells = _shells(types, len(numbers))
    from ase import Atoms

    atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=True)
    with naming(path):
        structure = Structure.from_ase(atoms)
    species = {}
    for number, name in enumerate(structure.species_of_atoms):
        basis = species.setdefault(name, SpeciesBasis(l=shells[number]))
        if basis.l != shells[number]:
            raise MoireioError(
                f"line {number + 1} gives an atom of {name} the shells {shells[number]}, an "
                f"earlier one {basis.l}",
                path=types,
            )
    files = files_of(path, DeepHFolder.names, pieces=True)
    turned = {name: paths for name, paths in local_files(path).items() if name not in files}
    for paths in turned.values():
        frame_file(path, paths[0])
    file = file_in(path, "info.json")
    info = read_json(file) if os.path.exists(file) else None
    with naming(file):
        require_known(info or {}, SETTINGS)
    basis = Basis(species, orthogonal=bool(flag(info or {}, "isorthogonal", file)))
    folder = DeepHFolder(path, structure, basis, False, Electrons(), files | turned)
    folder.local = tuple(turned)
    fermi = energy(info or {}, "fermi_level", file)
    spinful = flag(info or {}, "isspinful", file)
    folder.electrons = Electrons(fermi=fermi)
    folder.spinful = _spin_of_blocks(folder, info is None) if spinful is None else spinful
    return folder


def _require_files(path):
    """Raise if a folder has no structure, and say where it could be."""
    absent = [name for name in DeepHFolder.described[:4] if beside(path, name) is None]
    if not absent:
        return
    above = os.path.dirname(os.path.abspath(path))
    remedy = "a data folder of DeepH has " + ", ".join(DeepHFolder.described[:4])
    if pieces_of(path, "overlaps.h5") and beside(above, "lat.dat"):
        remedy = f"they are in the folder above, {above}: give that one"
    raise MoireioError(f"has no {absent[0]}", path=path, remedy=remedy)


def _spin_of_blocks(folder, unnamed):
    """Return whether H has spinor blocks by their size, and note it."""
    operator = next((n for n in ("hamiltonian", "predicted") if n in folder.files), None)
    if operator is None:
        return False
    path = folder.files[operator][0]
    name, rows = None, ()
    if is_npz(path):
        with open_npz(path) as file:
            name = next(iter(file.members), None)
            rows = file.array(name, MOST_BYTES).shape[:1] if name is not None else ()
    else:
        with open_hdf5(path) as file:
            name = next(iter(file), None)
            rows = own_dataset(file, name, path).shape[:1] if name is not None else ()
    key = key_of(name, path) if name is not None else [0, 0, 0, 0, 0]
    if not 1 <= key[3] <= len(folder.structure) or len(rows) == 0:
        return False  # reading it says what is wrong
    orbitals = int(folder.basis.sizes(folder.structure)[key[3] - 1])
    spinful = rows[0] == 2 * orbitals
    size = f"{rows[0]} = 2 x {orbitals} rows: spinors" if spinful else f"{rows[0]} rows: no spin"
    lack = "there is no info.json" if unnamed else "info.json has no isspinful"
    example = f'{{"isspinful": {str(spinful).lower()}, "fermi_level": …}}'
    folder.notes.append(
        f"{lack} ({example}): blocks have {size}"
        + ("; the Fermi level is unknown" if folder.electrons.fermi is None else "")
    )
    return spinful


def _geometry(path, count):
    """Return the lattice vectors and the positions, as rows."""
    file = file_in(path, "lat.dat")
    cell = require(read_table(file), (3, 3), file, "the lattice vectors are columns").T
    file = file_in(path, "rlat.dat")
    if os.path.exists(file):
        reciprocal = require(read_table(file), (3, 3), file, "reciprocal vectors are columns")
        gap = np.abs(cell @ reciprocal - 2 * np.pi * np.eye(3)).max()
        if gap > RECIPROCAL_TOLERANCE * 2 * np.pi:
            raise DamagedError(
                "does not hold the reciprocal vectors of lat.dat: their products differ from 2π "
                f"and 0 by {gap:.1e}",
                path=file,
                remedy="one of the two is damaged; without rlat.dat, lat.dat counts",
            )
    file = file_in(path, "site_positions.dat")
    meaning = f"x, y, z of the {count} atoms of element.dat are columns"
    return cell, require(read_table(file), (3, count), file, meaning).T


def _numbers(path):
    """Return the atomic numbers."""
    numbers = []
    for row in read_table(path):
        numbers.extend(row.tolist())
    for place, number in enumerate(numbers, 1):
        if number != int(number) or not 1 <= number <= HIGHEST_NUMBER:
            raise MoireioError(
                f"atom {place} has the atomic number {number:g}, outside 1..{HIGHEST_NUMBER}",
                path=path,
            )
    if not numbers:
        raise MoireioError("has no atoms", path=path)
    return np.array(numbers, dtype=int)


def _shells(path, count):
    """Return the angular momenta of the radial functions of every atom."""
    lines = []
    for number, words in table_lines(path):
        known = len(words) <= MOST_SHELLS and all(
            len(w) == 1 and w.isdecimal() and int(w) <= MOST_SHELL for w in words
        )
        if not known:
            raise MoireioError(
                f"line {number} is {reprlib.repr(' '.join(words[:20]))}: the l of each radial "
                f"function of an atom expected, 0 to {MOST_SHELL}",
                path=path,
            )
        lines.append(tuple(int(w) for w in words))
    if len(lines) != count:
        raise MoireioError(f"has {len(lines)} lines for {count} atoms", path=path)
    return lines
