"""DeepH's older data folders (the "processed" layout of DeepH-pack and DeepH-E3).

Layout: ``lat.dat`` (3 × 3, columns are lattice vectors, Å), ``site_positions.dat`` (3 × N,
columns), ``element.dat`` (one Z a line), ``orbital_types.dat`` (a line per atom: l of each radial
function), ``info.json`` (``isspinful``, ``fermi_level`` in eV), ``hamiltonians.h5`` (eV),
``overlaps.h5``: a dataset per pair, named ``[R1, R2, R3, i, j]`` with atoms from 1; orbitals in
OpenMX's order inside a shell, spinor blocks with all up orbitals before the down ones. Kept: all of
these. Lost: other files. What is not known there: names of bases, cutoffs, radial functions.
"""

import json
import os
from typing import ClassVar

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError, first_line
from moireio.formats.deeph.common import DataFolder, files_of
from moireio.formats.openmx.orbitals import permutation
from moireio.operators.blocks import block_offsets
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.pairs import Pairs, pair_name
from moireio.system.structure import Structure


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

    def _read(self, path, sizes, spinor):
        keys, blocks = _read_blocks(path)
        n = len(self.structure)
        if len(keys) == 0:
            raise MoireioError("holds no blocks")
        R, i, j = keys[:, :3], keys[:, 3] - 1, keys[:, 4] - 1
        if min(i.min(), j.min()) < 0 or max(i.max(), j.max()) >= n:
            raise MoireioError(f"names an atom outside 1..{n}")
        pairs, order = Pairs.sort(n, i, j, R)
        offsets = block_offsets(pairs.block_elements(sizes))
        data = np.empty(offsets[-1], dtype=np.result_type(blocks[0].dtype, np.float32))
        columns = [permutation(self.basis[name].l) for name in self.structure.species_names]
        columns = [np.concatenate([o, o + len(o)]) if spinor else o for o in columns]
        first, species = pairs.i, self.structure.species
        for p, source in enumerate(order):
            a, b = int(first[p]), int(pairs.j[p])
            block = blocks[source]
            if block.shape != (sizes[a], sizes[b]):
                raise MoireioError(
                    f"the block of {pair_name(a, b, pairs.R[p])} has shape {block.shape}, "
                    f"{(int(sizes[a]), int(sizes[b]))} expected"
                )
            block = block[np.ix_(columns[species[a]], columns[species[b]])]
            data[offsets[p] : offsets[p + 1]] = block.ravel()
        return pairs, data


def _read_blocks(path):
    import h5py

    keys, blocks = [], []
    try:
        with h5py.File(path) as file:
            for name, dataset in file.items():
                keys.append([int(v) for v in json.loads(name)])
                blocks.append(dataset[()])
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise MoireioError(f"is not a file of blocks: {first_line(error)}", path=path) from error
    return np.array(keys, dtype=np.int64).reshape(-1, 5), blocks


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
    return os.path.exists(os.path.join(path, "lat.dat"))


def read(path: str, *, label: str | None = None, predicted: bool = False) -> Calculation:
    """Read a folder; operators are read when they are asked for.

    Parameters
    ----------
    path : str
        The folder.
    label : str, optional
        The name that messages show.
    predicted : bool
        Take the predicted Hamiltonian (``hamiltonians_pred.h5``).

    Returns
    -------
    Calculation
        With structure and basis.

    Raises
    ------
    MoireioError
        If a file is missing or does not fit the others.
    """
    return open_folder(path).calculation(label=label, predicted=predicted)


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
    cell = _table(path, "lat.dat").T
    positions = _table(path, "site_positions.dat").T
    numbers = _table(path, "element.dat").astype(int).ravel()
    if cell.shape != (3, 3) or positions.shape != (len(numbers), 3):
        raise MoireioError("lat.dat, site_positions.dat and element.dat do not fit", path=path)
    shells = _shells(path, len(numbers))
    info = _info(path)
    from ase import Atoms

    if numbers.min() < 1 or numbers.max() > 118:
        raise MoireioError("element.dat has an atomic number outside 1..118", path=path)
    structure = Structure.from_ase(Atoms(numbers=numbers, positions=positions, cell=cell, pbc=True))
    species = {}
    for name, number in zip(structure.species_of_atoms, range(len(numbers)), strict=True):
        basis = species.setdefault(name, SpeciesBasis(l=shells[number]))
        if basis.l != shells[number]:
            raise MoireioError(
                f"orbital_types.dat gives atoms of {name} different shells", path=path
            )
    fermi = info.get("fermi_level")
    files = files_of(path, DeepHFolder.names)
    return DeepHFolder(
        path,
        structure,
        Basis(species),
        bool(info.get("isspinful", False)),
        Electrons(fermi=None if fermi is None else float(fermi)),
        files,
    )


def _table(path, name):
    file = os.path.join(path, name)
    try:
        return np.loadtxt(file, ndmin=2)
    except OSError as error:
        raise MoireioError(
            f"has no {name}", path=path, remedy="expected a DeepH data folder"
        ) from error
    except ValueError as error:
        raise MoireioError(f"is not a table: {first_line(error)}", path=file) from error


def _shells(path, count):
    file = os.path.join(path, "orbital_types.dat")
    try:
        with open(file, encoding="utf-8") as stream:
            lines = [tuple(int(w) for w in line.split()) for line in stream if line.strip()]
    except OSError as error:
        raise MoireioError("has no orbital_types.dat", path=path) from error
    except ValueError as error:
        raise MoireioError(f"is not a table: {first_line(error)}", path=file) from error
    if len(lines) != count:
        raise MoireioError(f"has {len(lines)} lines for {count} atoms", path=file)
    return lines


def _info(path):
    file = os.path.join(path, "info.json")
    if not os.path.exists(file):
        return {}
    try:
        with open(file, encoding="utf-8") as stream:
            return json.load(stream)
    except ValueError as error:
        raise MoireioError(f"is not JSON: {first_line(error)}", path=file) from error
