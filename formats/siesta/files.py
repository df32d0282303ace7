"""SIESTA's matrices: ``X.HSX``, ``X.TSHS``, ``X.nc``.

Layout: see `moireio.formats.siesta.hsx`, `tshs` and `netcdf`. Kept: structure, species, shells, H,
S, Fermi level, number of electrons; from ``SPECIES.ion.xml`` or ``SPECIES.ion`` radial functions
and cutoffs, from ``X.ORB_INDX`` cutoffs (and the shells that a TSHS lacks), from ``X.XV`` atomic
numbers. Lost: density matrices, k mesh, electronic temperature. Energies are absolute, as there.

Unpatched SIESTA writes ``X.HSX`` where its input has ``SaveHS true``, ``X.TSHS`` with
``TS.HS.Save true``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MissingFileError, MoireioError, naming, unreadable
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.shells import parse_shells_option
from moireio.formats.siesta.beside import Beside, find_vectors, look_beside
from moireio.formats.siesta.hsx import read_hsx
from moireio.formats.siesta.hsx_old import is_old, read_hsx_old
from moireio.formats.siesta.netcdf import read_netcdf
from moireio.formats.siesta.stored import BOHR, RYDBERG_EV, Species, Stored
from moireio.formats.siesta.tshs import read_tshs
from moireio.formats.structures.text import labelled_element, plain_name
from moireio.formats.text.streams import expanded
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure
from moireio.units import Constants

USUAL_RESIDUAL = {"hamiltonian": 1e-4, "overlap": 1e-6}
READERS = {".hsx": read_hsx, ".tshs": read_tshs, ".onlys": read_tshs}


def kind_of(path: str) -> str:
    """Return the suffix of a file in small letters, without that of its compression."""
    return os.path.splitext(plain_name(path))[1].lower()


def detect(path: str) -> bool:
    """Return whether a path is a file of SIESTA's matrices.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    bool
        By its name, ``.nc`` also by its contents.
    """
    if not os.path.isfile(path):
        return False
    if kind_of(path) in READERS:
        return True
    if kind_of(path) != ".nc":
        return False
    import h5py

    try:
        content = expanded(path)
        with h5py.File(path if content is None else io.BytesIO(content), "r") as file:
            return "SPARSE" in file and "isc_off" in file["SPARSE"]
    except (OSError, RuntimeError, MoireioError, KeyError, TypeError):
        return False


def read(
    path: str,
    *,
    label: str | None = None,
    companions: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
    shells: str | None = None,
) -> Calculation:
    """Read a file of matrices.

    Parameters
    ----------
    path : str
        ``X.HSX``, ``X.TSHS`` or ``X.nc``, compressed or not.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        Further files: ``ORB_INDX``, ``XV``, ``.ion.xml``. Those beside `path` are found.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.
    shells : str, optional
        Shells of species whose files do not give them, such as sisl's ``.nc``: ``C=s2p1``.

    Returns
    -------
    Calculation
        In memory.

    Raises
    ------
    MoireioError
        If it cannot be read, or a file that it needs is missing.
    DamagedError
        If it is cut short or contradicts itself.
    """
    stored = read_stored(path, label or path, companions)
    beside = look_beside(path, companions, [one.label for one in stored.species or []] or None)
    for name, momenta in parse_shells_option(shells).items():
        beside.species.setdefault(name, Species(name, momenta))
    with naming(label or path):
        structure, basis = _structure_and_basis(stored, beside)
        sources = stored.sources(structure, basis)
    if basis.orthogonal:
        del sources["overlap"]
    notes = list(stored.notes)
    if not stored.cells.any():
        notes.append("the file has no cells R: SIESTA used only Γ")
    return assemble(
        label or path,
        structure,
        basis,
        sources,
        electrons=Electrons(count=stored.electrons, fermi=stored.fermi),
        notes=notes,
        files=(path, *beside.files),
        pbc=pbc,
        usual_residual=USUAL_RESIDUAL,
        constants=Constants(BOHR, 2 * RYDBERG_EV),
        described="a file beside it, as ORB_INDX or XV,",
    )


def read_stored(path: str, label: str, companions: Sequence[str] = ()) -> Stored:
    """Read a file of matrices as it is.

    Parameters
    ----------
    path : str
        The file.
    label : str
        The name that messages show.
    companions : sequence of str
        Among them ``X.XV``, which HSX files of SIESTA 4 need.

    Returns
    -------
    Stored
        Its contents.
    """
    content: bytes | memoryview | None = expanded(path)
    if kind_of(path) == ".nc":
        return read_netcdf(path if content is None else io.BytesIO(content), label)
    if content is None:
        try:
            content = memoryview(np.memmap(path, mode="r"))
        except ValueError as error:  # an empty file
            raise DamagedError("is empty", path=label) from error
        except OSError as error:
            raise unreadable(error, label) from error
    reader = READERS.get(kind_of(path), read_hsx)
    if reader is not read_hsx or not is_old(content, label):
        return reader(content, label)
    vectors = find_vectors(path, companions)
    if vectors is None:
        stem = os.path.splitext(plain_name(path))[0]
        raise MissingFileError(
            f"is an HSX file of SIESTA 4, without lattice and positions, and no {stem}.XV is "
            "beside it",
            path=label,
            remedy="give it in `companions`",
        )
    return read_hsx_old(content, label, vectors)


def _structure_and_basis(stored: Stored, beside: Beside) -> tuple[Structure, Basis]:
    """Return the atoms and their orbitals."""
    count = len(stored.positions)
    labels, species = _labels(stored, beside), dict(beside.species)
    for one in stored.species or []:
        found = species.get(one.label)
        if found is None:
            species[one.label] = one
        elif not one.shells:
            species[one.label] = replace(found, number=found.number or one.number)
        elif found.shells != one.shells:
            raise MoireioError(
                f"gives {one.label} the shells {one.shells}, the files beside it {found.shells}",
                path=stored.path,
                remedy="they are of different runs",
            )
        if one.valence is not None and species[one.label].valence is None:
            species[one.label] = replace(species[one.label], valence=one.valence)
    for label in dict.fromkeys(labels):
        if label not in species or not species[label].shells:
            raise _no_shells(stored.path, label)
    names = list(dict.fromkeys(labels))
    sizes = {name: SpeciesBasis(species[name].shells).size for name in names}
    for atom, name in enumerate(labels):
        if stored.sizes[atom] != sizes[name]:
            raise MoireioError(
                f"has {stored.sizes[atom]} orbitals on atom {atom + 1}, {name}; the files beside "
                f"it say {sizes[name]}",
                path=stored.path,
                remedy="they are of different runs",
            )
    if beside.numbers is not None and len(beside.numbers) != count:
        raise MoireioError(
            f"has {count} atoms, the XV file {len(beside.numbers)}", path=stored.path
        )
    numbers = beside.numbers or [_number(species[name], stored.path) for name in labels]
    for name, number in dict.fromkeys(zip(labels, numbers, strict=True)):
        expected = species[name].number or labelled_element(name)
        if number and expected and number != expected:
            stored.notes.append(
                f"the XV file beside it has the atomic number {number} for {name}: is it of "
                "another run?"
            )
    structure = Structure(
        stored.cell,
        stored.positions,
        numbers,
        [names.index(name) for name in labels],
        names,
        (True, True, True),
    )
    basis = {
        name: SpeciesBasis(
            species[name].shells,
            cutoff=_positive(species[name].cutoff),
            valence=species[name].valence,
            radial=species[name].radial,
        )
        for name in names
    }
    orthogonal = stored.overlap is not None and _is_one(stored)
    return structure, Basis(basis, orthogonal=orthogonal)


def _positive(cutoff: float | None) -> float | None:
    """Return a cutoff; None where the file has 0 or less, as sisl writes for an unknown one."""
    return cutoff if cutoff is not None and cutoff > 0 else None


def _labels(stored: Stored, beside: Beside) -> list[str]:
    """Return the species of every atom."""
    if stored.species is not None and stored.kinds is not None:
        return [stored.species[kind].label for kind in stored.kinds]
    if beside.labels is None:
        if beside.numbers is None or not all(beside.numbers):
            stem = os.path.splitext(plain_name(stored.path))[0]
            raise MoireioError(
                f"does not give the species of its atoms, and no {stem}.ORB_INDX is beside it",
                path=stored.path,
                remedy=f"give it in `companions`; or {stem}.XV, and `shells` as in C=s2p1",
            )
        from ase.data import chemical_symbols

        return [chemical_symbols[number] for number in beside.numbers]
    if beside.sizes != stored.sizes.tolist():
        raise MoireioError(
            "has other numbers of orbitals on its atoms than the ORB_INDX file",
            path=stored.path,
            remedy="they are of different runs",
        )
    return beside.labels


def _no_shells(path: str, of: str) -> MoireioError:
    stem = os.path.splitext(plain_name(path))[0]
    return MoireioError(
        f"does not give the shells of {of}, and neither {stem}.ORB_INDX nor a file "
        "SPECIES.ion.xml is beside it",
        path=path,
        remedy="give one of them in `companions`, or `shells` as in C=s2p1",
    )


def _number(species: Species, path: str) -> int:
    """Return the atomic number of a species, from its label if need be."""
    if species.number is not None:
        return species.number
    number = labelled_element(species.label)
    if number is None:
        raise MoireioError(
            f"has a species {species.label!r}, whose element is unknown",
            path=path,
            remedy="give the XV file or its .ion.xml in `companions`",
        )
    return number


def _is_one(stored: Stored) -> bool:
    """Return whether S is exactly 1."""
    assert stored.overlap is not None
    at = np.flatnonzero(stored.overlap)
    rows = np.repeat(np.arange(len(stored.counts)), stored.counts)[at]
    cell, orbital = np.divmod(stored.columns[at], len(stored.counts))
    diagonal = len(at) == len(stored.counts) and bool((orbital == rows).all())
    return diagonal and not stored.cells[cell].any() and bool((stored.overlap[at] == 1).all())
