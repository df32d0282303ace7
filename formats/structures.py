"""Structure files of other programs, by ASE; block files and OpenMX inputs besides.

Read: whatever ASE reads (its first or only image), block files, OpenMX's ``.dat``. Kept: cell,
positions, elements, periodicity, initial magnetic moments. Lost: everything else.

Written: POSCAR, cif, extended xyz (with the layers), LAMMPS data (its cell is turned into LAMMPS's
own axes), OpenMX's ``.dat``, and what else ASE recognises by the suffix. Lost there: the record of
how a moiré cell was built, and the order of atoms in POSCAR, which is by element.
"""

import os
from dataclasses import replace

from moireio.blockfile.calculation import is_block_file
from moireio.blockfile.stream import open_source
from moireio.errors import MissingFileError, MoireioError, first_line
from moireio.moire import layers
from moireio.runtime.files import descriptor, write_whole
from moireio.store.containers import kind_of_name
from moireio.system.basis import Basis
from moireio.system.structure import Structure

SUFFIXES = {
    ".vasp": "vasp",
    ".poscar": "vasp",
    ".cif": "cif",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".lmp": "lammps-data",
    ".lammps": "lammps-data",
    ".data": "lammps-data",
    ".dat": "openmx",
}


def kind(path: str) -> str | None:
    """Return the format that a file name asks for.

    Parameters
    ----------
    path : str
        A file name.

    Returns
    -------
    str or None
        "block" for a block file, "openmx", or the name of a format that ASE writes; None if the
        suffix is unknown.
    """
    if path == "-" or kind_of_name(path) is not None:
        return "block"
    if descriptor(path) is not None or os.path.dirname(path) == "/dev":
        return "block"
    base, suffix = os.path.basename(path), os.path.splitext(path)[1].lower()
    if base.upper().startswith(("POSCAR", "CONTCAR")):
        return "vasp"
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    from ase.io.formats import UnknownFileTypeError, filetype, ioformats

    try:
        form = filetype(path, read=False, guess=True) if suffix else None
    except (UnknownFileTypeError, OSError):
        return None
    return form if form in ioformats and ioformats[form].can_write else None


def read(path: str) -> Structure:
    """Read a structure.

    Parameters
    ----------
    path : str
        A block file or a structure file.

    Returns
    -------
    Structure
        One species per element, except for block files with other species.

    Raises
    ------
    MoireioError
        If it cannot be read.
    """
    if is_block_file(path):
        with open_source(path) as file:
            return file.structure
    return read_foreign(path)[0]


def read_foreign(path: str) -> tuple[Structure, Basis | None]:
    """Read a structure file of another program.

    Parameters
    ----------
    path : str
        What ASE reads, or OpenMX's ``.dat``.

    Returns
    -------
    structure : Structure
        With layers where the file has an array ``layer``.
    basis : Basis or None
        As a ``.dat`` names it, without radial functions.

    Raises
    ------
    MoireioError
        If it cannot be read.
    """
    if not os.path.exists(path):
        raise MissingFileError("no such file or folder", path=path)
    if path.lower().endswith(".dat"):
        return _read_openmx(path)
    import ase.io

    try:
        atoms = ase.io.read(path)
        if atoms.cell.rank == 2:  # a layer without a third vector
            atoms.center(vacuum=10.0, axis=2)
            atoms.pbc = (*atoms.pbc[:2], False)
    except Exception as error:  # ASE's readers raise whatever the file makes them
        raise MoireioError(
            f"cannot be read as a structure: {first_line(error)}", path=path
        ) from error
    if atoms.cell.rank < 3:
        raise MoireioError("has no lattice", path=path, remedy="a layer needs two lattice vectors")
    structure = Structure.from_ase(atoms)
    layer = atoms.arrays.get("layer")
    if layer is not None and layer.shape == (len(atoms),) and layer.dtype.kind in "iu":
        structure = replace(structure, layer=layer)
    return structure, None


def _read_openmx(path):
    import numpy as np
    from ase.data import atomic_numbers

    from moireio.formats.openmx import dat

    text = dat.read(path)
    if text.cell is None or text.positions is None:
        raise MoireioError("has no cell or no atoms", path=path)
    basis, elements = text.basis()
    names = list(text.species)
    numbers = {name: atomic_numbers.get(elements[name], 0) for name in names}
    structure = Structure(
        cell=text.cell,
        positions=text.positions,
        numbers=np.array([numbers[s] for s in text.symbols]),
        species=np.array([names.index(s) for s in text.symbols]),
        species_names=names,
        pbc=[True] * 3,
    )
    return structure, basis


def read_layer(name: str) -> layers.Layer:
    """Return a layer of the table, or that of a file.

    Parameters
    ----------
    name : str
        A known layer or a structure file; a file of that name comes first.

    Returns
    -------
    Layer
        Ready to be stacked.

    Raises
    ------
    MoireioError
        If it is neither, or holds no layer.
    """
    if os.path.exists(name):
        label = os.path.splitext(os.path.basename(name.rstrip("/")))[0]
        return layers.from_structure(read(name), label, path=name)
    layer = layers.named(name)
    if layer is None:
        raise MoireioError(
            "is neither a file nor a known layer",
            path=name,
            remedy="known: " + ", ".join(layers.table_names()),
        )
    return layer


def write(path: str, structure: Structure, basis: Basis | None = None, comment: str = "") -> None:
    """Write a structure; it appears whole or not at all.

    Parameters
    ----------
    path : str
        File name, whose suffix chooses the format.
    structure : Structure
        What to write.
    basis : Basis, optional
        For OpenMX.
    comment : str
        A line for formats that have one.

    Raises
    ------
    MoireioError
        If the format is unknown or the file cannot be written.
    """
    form = kind(path)
    with write_whole(path) as part:
        if form == "openmx":
            from moireio.formats.openmx import dat_write

            name = os.path.splitext(os.path.basename(path))[0]
            text = dat_write.text(structure, dat_write.OpenMXSettings(name=name), basis)
            with open(part, "w", encoding="utf-8") as stream:
                stream.write(text)
        else:
            _write_ase(part, form, structure, comment)


def _write_ase(path, form, structure, comment):
    import ase.io

    atoms = structure.to_ase()
    atoms.set_tags(None)
    options = {}
    if form == "vasp":
        options = {"sort": True, "direct": True}
    elif form == "lammps-data":
        order = dict.fromkeys(structure.element_symbols)
        options = {"specorder": list(order), "masses": True}
    elif form == "extxyz":
        if structure.layer is not None:
            atoms.set_array("layer", structure.layer)
        atoms.info["comment"] = comment
    try:
        ase.io.write(path, atoms, format=form, **options)
    except OSError:
        raise
    except Exception as error:
        raise MoireioError(
            f"cannot be written as {form}: {first_line(error)}", path=os.path.basename(path)
        ) from error
