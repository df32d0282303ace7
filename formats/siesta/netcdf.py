"""SIESTA's ``.nc`` (CDF.Save, and sisl's): NetCDF 4, which is HDF5.

Layout: ``nsc``, ``cell`` and ``xa`` (Bohr), ``lasto``, ``Ef`` and ``Qtot``; in SPARSE ``n_col``,
``list_col``, ``isc_off``, ``S`` and ``H`` (spin components, elements; Ry); in BASIS ``basis`` (the
species of every atom) and a group for each species, with ``orbnl_l`` and radial functions where
SIESTA wrote it.
"""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from moireio.errors import DamagedError, MoireioError, first_line
from moireio.formats.siesta.stored import BOHR, RYDBERG_EV, Species, Stored, require_sizes
from moireio.store.hdf5_guard import own_dataset, own_object

LARGEST = 1 << 31  # elements


def read_netcdf(stream: Any, path: str) -> Stored:
    """Read a NetCDF file.

    Parameters
    ----------
    stream : str or binary file
        The file.
    path : str
        Its name, for messages.

    Returns
    -------
    Stored
        Its contents.

    Raises
    ------
    MoireioError
        If it is not such a file.
    DamagedError
        If it contradicts itself.
    """
    try:
        with h5py.File(stream, "r") as file:
            return _stored(file, path)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        if isinstance(error, MoireioError):
            raise
        raise DamagedError(f"cannot be read as NetCDF 4: {first_line(error)}", path=path) from error


def _stored(file: h5py.File, path: str) -> Stored:
    for name in ("SPARSE", "BASIS"):
        if name not in file or not isinstance(own_object(file, name, path), h5py.Group):
            raise MoireioError(
                f"has no group {name}", path=path, remedy="SIESTA's .nc or one of sisl expected"
            )
    cell = _array(file, "cell", path).reshape(3, 3)
    positions = _array(file, "xa", path)
    last = _whole(file, "lasto", path)
    atoms = len(last)
    sparse = file["SPARSE"]
    counts = _whole(sparse, "n_col", path)
    columns = _whole(sparse, "list_col", path) - 1
    cells = _whole(sparse, "isc_off", path)
    hamiltonian = _array(sparse, "H", path) if "H" in sparse else None
    components = 1 if hamiltonian is None else len(hamiltonian)
    require_sizes(atoms, len(counts), components, path, 12 * max(len(counts), 1))
    overlap = _array(sparse, "S", path)
    shapes = {"xa": (positions, (atoms, 3)), "isc_off": (cells, (len(cells), 3))}
    shapes["S"] = (overlap, (len(columns),))
    if hamiltonian is not None:
        shapes["H"] = (hamiltonian, (components, len(columns)))
        unit = _text(sparse["H"].attrs.get("unit", "Ry"))
        if unit != "Ry":
            raise MoireioError(f"has H in {unit!r}, Ry expected", path=path)
    for name, (array, expected) in shapes.items():
        if array.shape != expected:
            raise DamagedError(f"{name} is {array.shape}, {expected} expected", path=path)
    if counts.size == 0 or counts.min() < 0:
        raise DamagedError("n_col has a negative number", path=path)
    species, kinds = _basis(file["BASIS"], atoms, path)
    fermi = _array(file, "Ef", path).ravel() if "Ef" in file else np.zeros(0)
    charge = _array(file, "Qtot", path).ravel() if "Qtot" in file else np.zeros(0)
    stored = Stored(
        path,
        cell * BOHR,
        positions * BOHR,
        np.diff(last, prepend=0),
        cells,
        counts,
        columns,
        overlap,
        hamiltonian,
        fermi=float(fermi[0]) * RYDBERG_EV if len(fermi) and np.isfinite(fermi[0]) else None,
        electrons=float(charge[0]) if len(charge) and charge[0] > 0 else None,
        species=species,
        kinds=kinds,
    )
    if len(fermi) > 1 and fermi[0] != fermi[1]:
        stored.notes.append("the Fermi level of spin down is left out: it differs from that of up")
    return stored


def _basis(
    group: h5py.Group, atoms: int, path: str
) -> tuple[list[Species] | None, npt.NDArray[np.int64]]:
    """Return the species and that of every atom; none where shells are not known."""
    kinds = _whole(group, "basis", path) - 1
    found: dict[int, Species] = {}
    for name in group:
        entry = own_object(group, name, path)
        if not isinstance(entry, h5py.Group):
            continue
        label = _text(entry.attrs.get("Label", name)).strip() or name
        number = _number(entry, "Atomic_number", 0)
        shells: tuple[int, ...] = ()
        if "orbnl_l" in entry:
            shells = tuple(int(v) for v in _whole(entry, "orbnl_l", path))
        elif _number(entry, "Number_of_orbitals", 0) == 1:
            shells = (0,)
        cutoff = None
        if "cutoff" in entry:
            cutoff = float(_array(entry, "cutoff", path).max()) * BOHR
        found[_number(entry, "ID", len(found) + 1) - 1] = Species(
            label,
            shells,
            number=abs(number),
            cutoff=cutoff,
        )
    if len(kinds) != atoms or not set(kinds.tolist()) <= set(found):
        raise DamagedError("BASIS does not name the species of every atom", path=path)
    order = sorted(found)
    return [found[kind] for kind in order], np.searchsorted(order, kinds)


def _number(group: h5py.Group, name: str, default: int) -> int:
    return int(np.ravel(group.attrs.get(name, default))[0])


def _array(group: h5py.Group, name: str, path: str) -> npt.NDArray[np.float64]:
    dataset = own_dataset(group, name, path)
    if dataset.dtype.kind not in "fiu" or dataset.size > LARGEST:
        raise DamagedError(f"{name} is no array of numbers", path=path)
    return np.asarray(dataset[()], dtype=np.float64)


def _whole(group: h5py.Group, name: str, path: str) -> npt.NDArray[np.int64]:
    dataset = own_dataset(group, name, path)
    if dataset.dtype.kind not in "iu" or dataset.size > LARGEST:
        raise DamagedError(f"{name} is no array of whole numbers", path=path)
    return np.asarray(dataset[()], dtype=np.int64)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
