"""Radial functions of a structure's orbitals from libraries.

A library is a folder of OpenMX's ``.pao`` files, or a block file or model file whose basis has
radial functions. Where none is given, a model that comes with moireio serves if it fits.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from ase.data import chemical_symbols

from moireio.errors import MoireioError
from moireio.models import shipped as models
from moireio.system.basis import (
    Basis,
    SpeciesBasis,
    is_contracted,
    parse_name,
    shell_counts,
)
from moireio.system.structure import Structure

FORMATS = ("moireio", models.FORMAT)


class RadialLibrary(Protocol):
    """A collection of radial functions."""

    label: str
    fallback: bool
    """Whether it serves only species that lack radial functions and whose basis it has."""

    def default(self, species: str, element: str) -> str | None:
        """Return the name of the basis of a species, if the library has only one."""

    def find(self, species: str, element: str, name: str) -> SpeciesBasis:
        """Return the basis of a species by its name, with radial functions."""

    def known(self, species: str, element: str) -> list[str]:
        """Return the names of what the library has for a species, for messages."""


class BasisOfFile:
    """The basis of a block file or model file, as a library.

    Parameters
    ----------
    basis : Basis
        With radial functions.
    label : str
        The file, for messages.
    fallback : bool
        Serve only species that lack radial functions and whose basis is this one.
    """

    def __init__(self, basis: Basis, label: str, fallback: bool = False):
        self._basis, self.label, self.fallback = basis, label, fallback

    def default(self, species: str, element: str) -> str | None:
        """Return the name of the basis of a species.

        Parameters
        ----------
        species, element : str
            Names under which the basis is looked up; the species comes first.

        Returns
        -------
        str or None
            Such as ``Mo7.0-s3p2d1``; None if the file has no basis for it.
        """
        entry = self._entry(species, element)
        return None if entry is None else entry.name

    def find(self, species: str, element: str, name: str) -> SpeciesBasis:
        """Return the basis of a species.

        Parameters
        ----------
        species, element : str
            Names under which the basis is looked up; the species comes first.
        name : str
            Name that the basis must have.

        Returns
        -------
        SpeciesBasis
            With radial functions.

        Raises
        ------
        MoireioError
            If it has another name, or no radial functions.
        """
        entry = self._entry(species, element)
        if entry is None or entry.radial is None:
            raise MoireioError(f"has no radial functions for {element}", path=self.label)
        if entry.name != name:
            raise MoireioError(f"has {entry.label} for {element}, not {name}", path=self.label)
        return entry

    def known(self, species: str, element: str) -> list[str]:
        """Return the name of the file's basis of a species.

        Parameters
        ----------
        species, element : str
            Names under which the basis is looked up; the species comes first.

        Returns
        -------
        list of str
            Empty where there is none.
        """
        name = self.default(species, element)
        return [] if name is None else [name]

    def _entry(self, species, element):
        entries = self._basis.species
        return entries.get(species, entries.get(element))


def shipped_library(structure: Structure) -> BasisOfFile | None:
    """Return the orbitals of a model that comes with moireio.

    Parameters
    ----------
    structure : Structure
        A structure whose elements are wanted.

    Returns
    -------
    BasisOfFile or None
        None if no such model has all the elements.
    """
    path = models.model_with(structure.element_symbols)
    return None if path is None else BasisOfFile(models.shipped()[path], path, fallback=True)


def complete_basis(
    structure: Structure,
    stored: Basis | None,
    basis: Mapping[str, str],
    pao: RadialLibrary | None,
    label: str,
) -> Basis:
    """Return a basis with radial functions for every species of a structure.

    Parameters
    ----------
    structure : Structure
        The atoms.
    stored : Basis or None
        Basis that is stored with the structure.
    basis : dict of str to str
        Names of bases by species, from the user.
    pao : PaoFolder, BasisOfFile or None
        Library of radial functions.
    label : str
        File of the structure, for messages.

    Returns
    -------
    Basis
        Complete.

    Raises
    ------
    MoireioError
        If a name is missing, or two sources disagree.
    """
    extra = sorted(set(basis) - set(structure.species_names))
    if extra:
        raise MoireioError(f"has no species {extra[0]}, which `basis` names", path=label)
    if stored is not None and stored.orthogonal:
        raise MoireioError("its orbitals are orthonormal: S is 1", path=label)
    elements = dict(zip(structure.species_of_atoms, structure.element_symbols, strict=True))
    entries = stored.species if stored is not None else {}
    completed = {}
    for species in structure.species_names:
        element = elements.get(species, species)
        completed[species] = _complete_species(
            species, element, entries.get(species), basis.get(species), pao, label
        )
    return Basis(completed)


def with_radial(
    stored: Basis,
    numbers: Mapping[str, int],
    basis: Mapping[str, str],
    pao: RadialLibrary | None,
    label: str,
) -> Basis:
    """Return a basis with the radial functions of a library.

    Parameters
    ----------
    stored : Basis
        The basis without radial functions.
    numbers : dict of str to int
        Atomic number of every species.
    basis : dict of str to str
        Names of bases by species, from the user, where the stored basis has none.
    pao : PaoFolder, BasisOfFile or None
        Library of radial functions.
    label : str
        File of the basis, for messages.

    Returns
    -------
    Basis
        Complete.
    """
    return Basis(
        {
            species: _complete_species(
                species, chemical_symbols[numbers[species]], entry, basis.get(species), pao, label
            )
            for species, entry in stored.species.items()
        }
    )


def _complete_species(species, element, stored, given, library, label):
    stored_name = stored.name if stored is not None else None
    # The optimised orbitals (C_1-s1p1) replace contracted ones (C6.0-s2>1p2>1): the same orbitals.
    replaced = given and stored_name and is_contracted(stored_name) and not is_contracted(given)
    if given and stored_name and given != stored_name and not replaced:
        raise MoireioError(
            f"species {species} has the basis {stored_name}, but `basis` gives {given}", path=label
        )
    has_radial = stored is not None and stored.radial is not None
    if library is not None and library.fallback:
        default = library.default(species, element)
        if has_radial or (given or stored_name or default) != default:
            library = None
    if has_radial and library is None:
        return stored
    name = given or stored_name or _default(species, element, stored, library)
    if name is None:
        raise MoireioError(
            f"no basis for species {species}",
            path=label,
            remedy=_remedy(species, element, stored, library),
        )
    if library is None:
        raise MoireioError(
            f"has no radial functions for species {species} ({name})",
            path=label,
            remedy="give `pao` with the folder of OpenMX's .pao files",
        )
    entry = library.find(species, element, name)
    if has_radial and not stored.same_radial(entry):
        raise MoireioError(
            f"the radial functions of species {species} differ from those in {library.label}",
            path=label,
            remedy="leave `pao` out to use those of the file",
        )
    if stored is not None and stored.l != entry.l:
        raise MoireioError(f"the orbitals of species {species} are not {name}", path=label)
    if stored is not None and stored.valence is not None:
        return replace(entry, valence=stored.valence)
    return entry


def _default(species, element, stored, library):
    """Return the basis that a library has by default, if it fits the orbitals that are stored."""
    name = None if library is None else library.default(species, element)
    if name is not None and stored is not None and parse_name(name)[0].l != stored.l:
        return None
    return name


def _remedy(species, element, stored, library):
    """Return the remedy for a species without a basis."""
    known = [] if library is None else library.known(species, element)
    shells = shell_counts(stored.l) if stored is not None else "s2p2d1"
    if known:
        names = [name if "-" in name else f"{name}-{shells}" for name in known]
        return f"{library.label} has {', '.join(known)}: give `basis` {species}={names[0]} or alike"
    where = (
        "" if library is None or library.fallback else f"{library.label} has none of {element}: "
    )
    return (
        f"{where}give `basis` {species}=NAME, an orbital file and its shells as in Mo7.0-s3p2d1, "
        "and `pao`, the folder of that file"
    )
