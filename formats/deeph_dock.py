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
from dataclasses import dataclass, field, replace

import numpy as np

from moireio.basis import Basis, SpeciesBasis, parse_name
from moireio.blocks import ArraySource, OperatorMeta, scatter, starts, symmetrised
from moireio.errors import MoireioError, first_line
from moireio.pairs import Pairs
from moireio.results import Electrons
from moireio.structure import Structure

FILES = {
    "hamiltonian": ("hamiltonian.h5", "eV"),
    "overlap": ("overlap.h5", "1"),
    "predicted": ("hamiltonian_pred.h5", "eV"),
}


@dataclass(eq=False)
class DockFolder:
    """A structure with operators.

    Parameters
    ----------
    path : str
        The folder.
    structure : Structure
        One species per element.
    basis : Basis
        Without radial functions.
    spinful : bool
        Whether H has spinor blocks.
    electrons : Electrons
        The Fermi level.
    files : dict of str to str
        Paths of the operators that there are.
    """

    path: str
    structure: Structure
    basis: Basis
    spinful: bool
    electrons: Electrons
    files: dict = field(default_factory=dict)

    def operator(self, name, symmetrise=True):
        """Read an operator.

        Parameters
        ----------
        name : str
            Key of `FILES`.
        symmetrise : bool
            Take the mean of every block and its partner's adjoint; the deviation is recorded.

        Returns
        -------
        ArraySource
            In memory.

        Raises
        ------
        MoireioError
            If the file is absent, damaged, or does not fit the structure.
        """
        if name not in self.files:
            raise MoireioError(f"has no {FILES[name][0]}", path=self.path)
        path, unit = self.files[name], FILES[name][1]
        spinor, n = self.spinful and name != "overlap", len(self.structure)
        pairs_in, shapes, bounds, entries = _arrays(path)
        R, i, j = pairs_in[:, :3], pairs_in[:, 3], pairs_in[:, 4]
        if len(i) == 0 or min(i.min(), j.min()) < 0 or max(i.max(), j.max()) >= n:
            raise MoireioError(f"names atoms outside 0..{n - 1}, or none", path=path)
        sizes = self.basis.sizes(self.structure) * (2 if spinor else 1)
        expected = np.stack([sizes[i], sizes[j]], axis=1)
        fits = (shapes == expected).all() and (np.diff(bounds) == expected.prod(axis=1)).all()
        if not fits or bounds[0] != 0 or bounds[-1] != len(entries):
            raise MoireioError("its blocks do not have the sizes of info.json", path=path)
        if not np.isfinite(entries).all():
            raise MoireioError("contains numbers that are not finite", path=path)
        try:
            pairs, order = Pairs.sort(n, i, j, R)
        except MoireioError as error:
            raise MoireioError(error.what, path=path) from error
        data, offsets = np.empty_like(entries), starts(expected.prod(axis=1)[order])
        for size in np.unique(np.diff(offsets)):
            mine = np.flatnonzero(np.diff(offsets) == size)
            source = bounds[order[mine]][:, None] + np.arange(size)
            scatter(data, offsets[mine], entries[source])
        meta = OperatorMeta(
            "overlap" if name == "overlap" else "hamiltonian",
            unit,
            spin="spinor" if spinor else "none",
            dtype=str(data.dtype),
            source="model" if name == "predicted" else "dft",
        )
        source = ArraySource(meta, sizes, pairs, data)
        return symmetrised(source, path) if symmetrise else source


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


def is_folder(path):
    """Tell a folder of DeepH-dock.

    Parameters
    ----------
    path : str
        Any folder.

    Returns
    -------
    bool
        By the names of its files.
    """
    return all(os.path.exists(os.path.join(path, n)) for n in ("POSCAR", "info.json"))


def read(path):
    """Read a folder; operators are read when they are asked for.

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
                raise MoireioError(f"{text} is not what elements_orbital_map says", path=file)
            species[name] = replace(species[name], name=text, cutoff=parsed.cutoff)
    files = {
        name: os.path.join(path, own)
        for name, (own, _) in FILES.items()
        if os.path.exists(os.path.join(path, own))
    }
    electrons = Electrons(fermi=None if fermi is None else float(fermi))
    return DockFolder(path, structure, Basis(species), spinful, electrons, files)
