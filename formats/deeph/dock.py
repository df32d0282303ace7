"""DeepH-dock's data folders.

Layout: ``POSCAR``; ``info.json`` (``spinful``, ``fermi_energy_eV``, ``elements_orbital_map``: the l
of each radial function by element); ``hamiltonian.h5`` (eV) and ``overlap.h5`` with ``atom_pairs``
(n, 5: R1, R2, R3, i, j from 0), ``chunk_shapes`` (n, 2), ``chunk_boundaries`` (n + 1) and
``entries`` (flat). Orbitals are ordered m = −l … l, spinor blocks have all up orbitals before the
down ones: moireio's own order. Kept: all of these, and the names of bases under ``basis`` where a
folder has them. What is not known there: cutoffs beyond such names, radial functions.
"""

import json
import os
from dataclasses import replace
from typing import ClassVar

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError, first_line
from moireio.formats.deeph.common import DataFolder, files_of
from moireio.operators.blocks import block_offsets, scatter
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis, SpeciesBasis, parse_name
from moireio.system.pairs import Pairs
from moireio.system.structure import Structure


class DockFolder(DataFolder):
    """A folder of DeepH-dock."""

    names: ClassVar[dict] = {
        "hamiltonian": "hamiltonian.h5",
        "overlap": "overlap.h5",
        "predicted": "hamiltonian_pred.h5",
    }
    described: ClassVar[tuple[str, ...]] = ("POSCAR", "info.json")

    def _read(self, path, sizes, spinor):
        n = len(self.structure)
        listed, shapes, bounds, entries = _arrays(path)
        R, i, j = listed[:, :3], listed[:, 3], listed[:, 4]
        if len(i) == 0 or min(i.min(), j.min()) < 0 or max(i.max(), j.max()) >= n:
            raise MoireioError(f"names atoms outside 0..{n - 1}, or none")
        expected = np.stack([sizes[i], sizes[j]], axis=1)
        fits = (shapes == expected).all() and (np.diff(bounds) == expected.prod(axis=1)).all()
        if not fits or bounds[0] != 0 or bounds[-1] != len(entries):
            raise MoireioError("its blocks do not have the sizes of info.json")
        pairs, order = Pairs.sort(n, i, j, R)
        data, offsets = np.empty_like(entries), block_offsets(expected.prod(axis=1)[order])
        for size in np.unique(np.diff(offsets)):
            mine = np.flatnonzero(np.diff(offsets) == size)
            source = bounds[order[mine]][:, None] + np.arange(size)
            scatter(data, offsets[mine], entries[source])
        return pairs, data


def _arrays(path):
    import h5py

    names = ("atom_pairs", "chunk_shapes", "chunk_boundaries", "entries")
    try:
        with h5py.File(path) as file:
            values = [file[name][()] for name in names]
    except (OSError, KeyError) as error:
        raise MoireioError(f"is not a file of blocks: {first_line(error)}", path=path) from error
    n = len(values[0])
    if [v.shape for v in values[:3]] != [(n, 5), (n, 2), (n + 1,)] or values[3].ndim != 1:
        raise MoireioError("its arrays do not fit each other", path=path)
    return values


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
    return all(os.path.exists(os.path.join(path, n)) for n in DockFolder.described)


def read(path: str, *, label: str | None = None, predicted: bool = False) -> Calculation:
    """Read a folder; operators are read when they are asked for.

    Parameters
    ----------
    path : str
        The folder.
    label : str, optional
        The name that messages show.
    predicted : bool
        Take the predicted Hamiltonian (``hamiltonian_pred.h5``).

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
    import ase.io

    file, poscar = os.path.join(path, "info.json"), os.path.join(path, "POSCAR")
    try:
        with open(file, encoding="utf-8") as stream:
            info = json.load(stream)
    except OSError as error:
        raise MoireioError("has no info.json", path=path) from error
    except ValueError as error:
        raise MoireioError(f"is not JSON: {first_line(error)}", path=file) from error
    try:
        structure = Structure.from_ase(ase.io.read(poscar, format="vasp"))
    except Exception as error:  # ASE's readers raise whatever the file makes them
        raise MoireioError(f"cannot be read: {first_line(error)}", path=poscar) from error
    try:
        shells = {k: tuple(int(n) for n in v) for k, v in info["elements_orbital_map"].items()}
        species = {n: SpeciesBasis(shells[n]) for n in structure.species_names}
        fermi = info.get("fermi_energy_eV")
        spinful = bool(info["spinful"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise MoireioError(f"lacks or has a wrong {error}", path=file) from error
    for name, text in (info.get("basis") or {}).items():
        if name in species:
            parsed, _ = parse_name(text)
            if parsed.l != species[name].l:
                raise MoireioError(f"{text} is not that of elements_orbital_map", path=file)
            species[name] = replace(species[name], name=text, cutoff=parsed.cutoff)
    files = files_of(path, DockFolder.names)
    electrons = Electrons(fermi=None if fermi is None else float(fermi))
    return DockFolder(path, structure, Basis(species), spinful, electrons, files)
