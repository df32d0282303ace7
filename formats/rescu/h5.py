"""Matrices in real space of RESCU (``option.saveLCAOHam``).

Layout: ``NAME.h5`` holds ``LCAO/Rvec`` and, for each cell, ``LCAO/hamiltonian1`` and
``LCAO/overlap1``, in Hartree and in MATLAB's order of columns, so that HDF5 shows the transposed
matrix. ``NAME.mat`` (MATLAB 7.3, HDF5 too) holds the atoms, the lattice, the l and m of every
orbital and the Fermi level; lengths are Bohr radii. Orbitals are m = −l … l. Kept: structure,
shells, H, S, Fermi level, number of electrons. Lost: radial functions; calculations with spin are
not read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MissingFileError, MoireioError, naming
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.elements import OrbitalMap, source_from_matrices
from moireio.formats.assembly.orders import NATURAL
from moireio.formats.assembly.placing import settled_by_overlap
from moireio.formats.assembly.shells import shells_of_m, structure_and_basis
from moireio.formats.deeph.files import open_hdf5
from moireio.formats.structures.text import atomic_number, plain_name, shown
from moireio.formats.text.streams import beside, first_bytes, require_companions
from moireio.results.electrons import Electrons
from moireio.store.containers import HDF5_SIGNATURE
from moireio.store.hdf5_guard import own_dataset
from moireio.system.basis import Basis
from moireio.system.structure import Structure
from moireio.units import Constants

if TYPE_CHECKING:
    import h5py

HARTREE_EV = 27.21138602
BOHR_ANGSTROM = 0.52917721067
LIMITS = {"hamiltonian": 1e-3, "overlap": 1e-5}
PERIODIC = 1  # a boundary
FARTHEST = 1 << 20
MATLAB = b"MATLAB 7.3 MAT-file"


def detect(path: str) -> bool:
    """Return whether a file holds matrices of RESCU, or describes some.

    Parameters
    ----------
    path : str
        Any path.

    Returns
    -------
    bool
        By its groups.
    """
    start = first_bytes(path, 520)
    if not (start.startswith(HDF5_SIGNATURE) or start.startswith(MATLAB)):
        return False
    try:
        with open_hdf5(path) as file:
            return "LCAO" in file and ("Rvec" in file["LCAO"] or "orbInfo" in file["LCAO"])
    except MoireioError:
        return False


def read(
    path: str,
    *,
    label: str | None = None,
    companions: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
) -> Calculation:
    """Read the matrices of a calculation.

    Parameters
    ----------
    path : str
        ``NAME.h5`` or ``NAME.mat``; the other is found beside it.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        The other, where it lies elsewhere.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.

    Returns
    -------
    Calculation
        With its operators in memory.

    Raises
    ------
    MoireioError
        If a file is missing, damaged, or does not fit the other.
    """
    label = label or path
    matrices, described = _two_files(path, companions, label)
    with _described(described) as file:
        structure, basis = _structure(file, described)
        electrons = _electrons(file, described)
        orbitals = OrbitalMap.make(structure, basis, NATURAL)
    operators = {}
    with open_hdf5(matrices) as file, naming(matrices):
        cells = _cells(file, matrices)
        for name, stem in (("hamiltonian", "hamiltonian"), ("overlap", "overlap")):
            there = sum(key.startswith(stem) for key in file["LCAO"])
            if there == 0:
                continue
            if there != len(cells):
                raise MoireioError(
                    f"has {there} matrices LCAO/{stem}… for {len(cells)} cells",
                    remedy="one for each is read; calculations with spin are not",
                )
            operators[name] = source_from_matrices(
                name,
                cells,
                _Matrices(file, stem, len(cells), len(orbitals), matrices),
                orbitals,
                label=matrices,
                scale=HARTREE_EV if name == "hamiltonian" else 1.0,
                limit=LIMITS[name],
            )
    if not operators:
        raise MoireioError("has no LCAO/hamiltonian1 and no LCAO/overlap1", path=matrices)
    checked = operators.get("overlap", operators.get("hamiltonian"))
    structure, note = settled_by_overlap(structure, checked, label)
    notes = [note] if note else []
    if "hamiltonian" not in operators:
        notes.append("no LCAO/hamiltonian1: H is not known")
    if "overlap" not in operators:
        notes.append("no LCAO/overlap1: S is not known")
    return assemble(
        label,
        structure,
        basis,
        operators,
        electrons=electrons,
        notes=notes,
        files=[matrices, described],
        pbc=pbc,
        constants=Constants(BOHR_ANGSTROM, HARTREE_EV),
        described="the .mat",
    )


def _two_files(path: str, companions: Sequence[str], label: str) -> tuple[str, str]:
    """Return the file of the matrices and the one that describes them."""
    require_companions(companions)
    stem = plain_name(path).rpartition(".")[0]
    of_matrices = not plain_name(path).endswith(".mat")
    wanted = ".mat" if of_matrices else ".h5"
    other = next((c for c in companions if plain_name(c).endswith(wanted)), None)
    other = other or beside(os.path.dirname(path), stem + wanted)
    if other is None:
        what = "the atoms and the orbitals" if of_matrices else "the matrices"
        raise MissingFileError(
            f"has no {stem}{wanted} beside it, which holds {what}",
            path=label,
            remedy="give it in `companions`",
        )
    return (path, other) if of_matrices else (other, path)


@contextlib.contextmanager
def _described(path: str) -> Iterator[h5py.File]:
    if first_bytes(path, 10).startswith(b"MATLAB 5.0"):
        raise MoireioError(
            "is a MATLAB file of version 7 or older",
            path=path,
            remedy="in MATLAB: load it, then save(…, '-v7.3')",
        )
    with open_hdf5(path) as file, naming(path):
        yield file


def _array(file: h5py.File, name: str, path: str, shape: tuple[int | None, ...]) -> Any:
    """Return an array in MATLAB's order: as MATLAB shows it."""
    try:
        dataset = own_dataset(file, name, path)
    except KeyError as error:
        raise MoireioError(f"has no {name}", remedy="a file of RESCU expected") from error
    expected = tuple(reversed(shape))
    fits = len(dataset.shape) == len(expected) and all(
        want in (None, have) for want, have in zip(expected, dataset.shape, strict=True)
    )
    if not fits or dataset.dtype.kind not in "fiu":
        raise DamagedError(f"its {name} is {dataset.dtype} {dataset.shape}, {expected} expected")
    values = np.asarray(dataset[()], dtype=np.float64).T
    if not np.isfinite(values).all():
        raise DamagedError(f"its {name} has a number that is not finite")
    return values


def _integers(values: npt.NDArray[np.float64], name: str) -> npt.NDArray[np.int64]:
    if not (np.abs(values) < FARTHEST).all() or (values != np.round(values)).any():
        raise DamagedError(f"its {name} are no integers")
    return values.astype(np.int64)


def _cells(file: h5py.File, path: str) -> npt.NDArray[np.int64]:
    if "LCAO" not in file:
        raise MoireioError("has no group LCAO", remedy="written with option.saveLCAOHam = true")
    return _integers(_array(file, "LCAO/Rvec", path, (None, 3)), "LCAO/Rvec")


class _Matrices:
    """One matrix a cell, read when it is asked for."""

    def __init__(self, file: h5py.File, stem: str, count: int, rows: int, path: str) -> None:
        self._file, self._stem, self._count = file, stem, count
        self._rows, self._path = rows, path

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, cell: int) -> npt.NDArray[np.float64]:
        if not 0 <= cell < self._count:
            raise IndexError
        name = f"LCAO/{self._stem}{cell + 1}"
        return _array(self._file, name, self._path, (self._rows, self._rows))


def _structure(file: h5py.File, path: str) -> tuple[Structure, Basis]:
    cell = BOHR_ANGSTROM * _array(file, "domain/latvec", path, (3, 3))
    positions = BOHR_ANGSTROM * _array(file, "atom/xyz", path, (None, 3))
    which = _integers(np.ravel(_array(file, "atom/element", path, (None, None))), "atom/element")
    species = _species(file, path)
    if len(which) != len(positions) or which.min() < 1 or which.max() > len(species):
        raise DamagedError(
            f"has {len(positions)} atoms, elements of {len(which)} and {len(species)} species"
        )
    labels = [species[number - 1] for number in which]
    numbers = [atomic_number(name) or 0 for name in labels]
    info = {
        name: _integers(np.ravel(_array(file, f"LCAO/orbInfo/{name}", path, (None, None))), name)
        for name in ("Aorb", "Lorb", "Morb")
    }
    atoms = info["Aorb"] - 1
    if len({len(v) for v in info.values()}) != 1 or (np.diff(atoms) < 0).any():
        raise DamagedError("its LCAO/orbInfo does not list the orbitals atom after atom")
    shells = []
    for atom in range(len(positions)):
        mine = atoms == atom
        one = shells_of_m(info["Lorb"][mine].tolist(), f"atom {atom + 1}")
        if info["Morb"][mine].tolist() != [m for v in one for m in range(-v, v + 1)]:
            raise DamagedError(f"the orbitals of atom {atom + 1} are not m = -l ... l")
        shells.append(one)
    if sum(map(len, (np.flatnonzero(atoms == a) for a in range(len(positions))))) != len(atoms):
        raise DamagedError("its LCAO/orbInfo has orbitals of atoms that there are not")
    boundary = np.ravel(_array(file, "domain/boundary", path, (None, None)))
    along = [bool(value == PERIODIC) for value in boundary] if len(boundary) == 3 else [True] * 3
    return structure_and_basis(cell, positions, numbers, labels, shells, pbc=along)


def _species(file: h5py.File, path: str) -> list[str]:
    """Return the names of the elements: one text, or references to several."""
    import h5py

    try:
        dataset = own_dataset(file, "element/species", path)
    except KeyError as error:
        raise MoireioError("has no element/species", remedy="a file of RESCU expected") from error
    parts = [dataset]
    if dataset.dtype.kind == "O":
        listed = np.ravel(dataset[()])
        if not all(isinstance(one, h5py.Reference) and one for one in listed):
            raise DamagedError("its element/species are no references")
        parts = [file[one] for one in listed]
    names = []
    for part in parts:
        if not isinstance(part, h5py.Dataset) or part.dtype.kind != "u" or part.size > 20:
            raise DamagedError("its element/species are no names of elements")
        name = "".join(chr(int(code)) for code in np.ravel(part[()]))
        if atomic_number(name) is None:
            raise MoireioError(f"its species {shown(name)} is no element")
        names.append(name)
    return names


def _electrons(file: h5py.File, path: str) -> Electrons:
    fermi = count = None
    if "energy" in file and "EFermi" in file["energy"]:
        fermi = float(_array(file, "energy/EFermi", path, (1, 1)).item()) * HARTREE_EV
    if "atom" in file and "nvalence" in file["atom"]:
        count = float(_array(file, "atom/nvalence", path, (None, None)).sum())
    return Electrons(count=count, fermi=fermi)
