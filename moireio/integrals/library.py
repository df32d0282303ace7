"""Where the radial functions of a structure's orbitals come from.

A library is a folder of OpenMX's ``.pao`` files, or a block file or model file whose basis has
radial functions. Where none is given, a model that comes with moireio serves if it fits.
"""

from dataclasses import replace

from ase.data import chemical_symbols

from moireio.errors import MoireioError
from moireio.models import shipped as models
from moireio.system.basis import Basis

FORMATS = ("moireio", models.FORMAT)


class BasisOfFile:
    """The basis that a block file brings along.

    Parameters
    ----------
    basis : Basis
        With radial functions.
    label : str
        The file.
    fallback : bool
        Serves only species that lack radial functions and whose basis it has.
    """

    def __init__(self, basis, label, fallback=False):
        self._basis, self.label, self.fallback = basis, label, fallback

    def default(self, species, element):
        """Return the name of the basis of a species.

        Parameters
        ----------
        species, element : str
            What is wanted; the species comes first.

        Returns
        -------
        str or None
            Such as ``Mo7.0-s3p2d1``.
        """
        found = self._of(species, element)
        return None if found is None else found.name

    def find(self, species, element, name):
        """Return the basis of a species.

        Parameters
        ----------
        species, element : str
            What it is for.
        name : str
            Which it must be.

        Returns
        -------
        SpeciesBasis
            With radial functions.

        Raises
        ------
        MoireioError
            If it is another, or has no radial functions.
        """
        found = self._of(species, element)
        if found is None or found.radial is None:
            raise MoireioError(f"has no radial functions for {element}", path=self.label)
        if found.name != name:
            raise MoireioError(f"has {found.label} for {element}, not {name}", path=self.label)
        return found

    def _of(self, species, element):
        known = self._basis.species
        return known.get(species, known.get(element))


def shipped_library(structure):
    """Return the orbitals of a model that comes with moireio.

    Parameters
    ----------
    structure : Structure
        Whose elements are wanted.

    Returns
    -------
    BasisOfFile or None
        None if there is no such model.
    """
    path = models.model_with(structure.element_symbols)
    return None if path is None else BasisOfFile(models.shipped()[path], path, fallback=True)


def complete(structure, basis, names, library, label):
    """Return a basis with radial functions for every species of a structure.

    Parameters
    ----------
    structure : Structure
        The atoms.
    basis : Basis or None
        What the source brings along.
    names : dict of str to str
        Basis names by species that the user gave.
    library : PaoFolder, BasisOfFile or None
        Where radial functions are looked up.
    label : str
        The source, for messages.

    Returns
    -------
    Basis
        Complete.

    Raises
    ------
    MoireioError
        If a name is missing, or two sources disagree.
    """
    extra = sorted(set(names) - set(structure.species_names))
    if extra:
        raise MoireioError(f"has no species {extra[0]}, which --basis names", path=label)
    elements = dict(zip(structure.species_of_atoms, structure.element_symbols, strict=True))
    known = basis.species if basis is not None else {}
    if basis is not None and basis.orthogonal:
        raise MoireioError("its orbitals are orthonormal: S is 1", path=label)
    out = {}
    for species in structure.species_names:
        element = elements.get(species, species)
        out[species] = _one(
            species, element, known.get(species), names.get(species), library, label
        )
    return Basis(out)


def with_radial(basis, elements, names, library, label):
    """Return a basis with the radial functions of a library.

    Parameters
    ----------
    basis : Basis
        What is completed.
    elements : dict of str to int
        Atomic number of every species.
    names : dict of str to str
        Basis names by species that the user gave, where the basis has none.
    library : PaoFolder or BasisOfFile
        Where they are looked up.
    label : str
        What the basis belongs to, for messages.

    Returns
    -------
    Basis
        Complete.
    """
    return Basis(
        {
            name: _one(name, chemical_symbols[elements[name]], own, names.get(name), library, label)
            for name, own in basis.species.items()
        }
    )


def _one(species, element, stored, given, library, label):
    own = stored.name if stored is not None else None
    if given and own and given != own:
        raise MoireioError(
            f"species {species} has the basis {own}, but --basis says {given}", path=label
        )
    has_radial = stored is not None and stored.radial is not None
    if library is not None and library.fallback:
        wanted = given or own or library.default(species, element)
        if has_radial or wanted != library.default(species, element):
            library = None
    if has_radial and library is None:
        return stored
    name = given or own or (library.default(species, element) if library is not None else None)
    if name is None:
        raise MoireioError(
            f"no basis for species {species}",
            path=label,
            remedy=f"give --basis {species}=NAME, with a name such as {element}7.0-s2p2d1",
        )
    if library is None:
        raise MoireioError(
            f"has no radial functions for species {species} ({name})",
            path=label,
            remedy="give --pao with the folder of OpenMX's .pao files",
        )
    found = library.find(species, element, name)
    if has_radial and not stored.same_radial(found):
        raise MoireioError(
            f"the radial functions of species {species} differ from those in {library.label}",
            path=label,
            remedy="leave --pao out to use those of the file",
        )
    if stored is not None and stored.l != found.l:
        raise MoireioError(f"the orbitals of species {species} are not {name}", path=label)
    if stored is not None and stored.valence is not None:
        found = replace(found, valence=stored.valence)
    return found
