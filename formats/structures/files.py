"""Structure files of other programs; block files and OpenMX inputs besides.

Read: POSCAR, xyz, LAMMPS data, OpenMX's input, block files, and by ASE the formats of `ase_text`;
gzip, bzip2 or xz over any of them. A format is chosen by the suffix or, where that is none of the
known ones, by the text. Of several images the last is taken. Kept: cell, positions, elements,
periodicity, magnetic moments, layers. Lost: everything else.

Written: POSCAR, cif, extended xyz and LAMMPS data (with the layers), OpenMX's ``.dat``, xsf, gen,
FHI-aims's ``geometry.in``, AtomEye's cfg, xsd, ABINIT's ``.abi``, V_Sim's ``.ascii``.
Lost there: the record of how a moiré cell was built, and the order of atoms in POSCAR, which is by
element.
"""

import contextlib
import os
import warnings
from collections.abc import Sequence

import numpy as np

from moireio.blockfile.calculation import is_block_file
from moireio.blockfile.stream import open_source
from moireio.errors import MissingFileError, MoireioError, first_line
from moireio.formats.openmx import dat
from moireio.formats.structures import ase_text, lammps, poscar, xyz
from moireio.formats.structures.text import COMPRESSED, StructureText, plain_name, read_text
from moireio.moire import layers
from moireio.runtime.files import descriptor, write_whole
from moireio.store.containers import kind_of_name
from moireio.system.basis import Basis
from moireio.system.boxes import complete_cell
from moireio.system.periodicity import reach_of, settle_structure
from moireio.system.structure import HIGHEST_NUMBER, Structure

SUFFIXES = {
    ".vasp": "vasp",
    ".poscar": "vasp",
    ".contcar": "vasp",
    ".cif": "cif",
    ".xyz": "extxyz",
    ".extxyz": "extxyz",
    ".lmp": "lammps-data",
    ".lammps": "lammps-data",
    ".data": "lammps-data",
    ".dat": "openmx",
}
# What ASE writes besides.
WRITTEN = {
    ".xsf": "xsf",
    ".gen": "gen",
    ".cfg": "cfg",
    ".xsd": "xsd",
    ".abi": "abinit-in",
    ".ascii": "v-sim",
}
AIMS = "geometry.in"
# Formats whose cell is given by lengths and angles, or is triangular: a left-handed one would
# come back as the right-handed one of the mirror image.
RIGHT_HANDED = ("cif", "v-sim")
READERS = {"vasp": poscar.read, "extxyz": xyz.read, "lammps-data": lammps.read}
READABLE = (
    "POSCAR, cif, xyz, LAMMPS data, OpenMX's input, xsf, input and output of Quantum ESPRESSO, "
    "geometry.in of FHI-aims, XV of SIESTA, gen, cube, res, pdb"
)
# Formats whose readers start programs, open other files, or unpack objects.
REFUSED = {
    ".cell": "a file of CASTEP",
    ".json": "a data base of ASE",
    ".db": "a data base of ASE",
    ".traj": "a trajectory of ASE",
    ".pckl": "a pickle",
    ".pkl": "a pickle",
    ".pickle": "a pickle",
    ".gpw": "a file of GPAW",
    ".fdf": "an input of SIESTA",
}


def kind(path: str) -> str | None:
    """Return the format in which a file of some name is written.

    Parameters
    ----------
    path : str
        A file name.

    Returns
    -------
    str or None
        "block" for a block file, "openmx", or ASE's name of the format; None if the suffix is of
        none that is written.
    """
    if path == "-" or kind_of_name(path) is not None:
        return "block"
    if descriptor(path) is not None or os.path.dirname(path) == "/dev":
        return "block"
    suffix = os.path.splitext(path)[1].lower()
    if os.path.basename(path) == AIMS:
        return "aims"
    if suffix not in (*SUFFIXES, *WRITTEN, *COMPRESSED) and _is_poscar_name(path):
        return "vasp"
    return {**SUFFIXES, **WRITTEN}.get(suffix)


def read(path: str, *, pbc: Sequence[bool] | None = None) -> Structure:
    """Read a structure.

    Parameters
    ----------
    path : str
        A block file or a structure file.
    pbc : sequence of three bool, optional
        Whether a structure file is periodic along each vector; by default not along a vacuum
        (`moireio.system.periodicity`). Block files determine it themselves.

    Returns
    -------
    Structure
        One species per element, except for block files with other species.

    Raises
    ------
    MoireioError
        If it cannot be read.

    Warns
    -----
    UserWarning
        As `read_foreign`, and if a vacuum makes the structure not periodic.
    """
    if is_block_file(path):
        with open_source(path) as file:
            return file.structure
    structure, basis = read_foreign(path)
    structure, text = settle_structure(structure, reach_of(basis, structure), pbc)
    if text is not None:
        warnings.warn(f"{path}: {text}", UserWarning, stacklevel=2)
    return structure


def read_foreign(path: str) -> tuple[Structure, Basis | None]:
    """Read a structure file of another program.

    Parameters
    ----------
    path : str
        A file of one of the formats in the description of this module.

    Returns
    -------
    structure : Structure
        With layers where an xyz file has an integer column ``layer``, or the molecule-IDs of a
        LAMMPS data file are layers; periodic as in the file, for
        `moireio.system.periodicity.settle_structure` to decide.
    basis : Basis or None
        As an OpenMX input names it, without radial functions.

    Raises
    ------
    MoireioError
        If it cannot be read.

    Warns
    -----
    UserWarning
        If the file has several structures, or no lattice.
    """
    structure, basis, _ = _read(path)
    return structure, basis


def _read(path):
    """Return structure, basis, and half of the last digit of the lattice vectors in the file."""
    found = _parse(path)
    if isinstance(found, StructureText):
        return _assemble(found, path), None, found.precision
    with _naming(path):
        basis, elements = found.basis()
        structure = found.structure(elements)
    if found.cell is None:
        _say_boxed(path)
    return structure, basis, found.cell_digit / 2


def _is_poscar_name(path):
    name = os.path.basename(path).upper()
    return "POSCAR" in name or "CONTCAR" in name


def _format(name, text):
    """Return the format of a text; None if it is of none that is read."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix]
    if suffix not in ase_text.SUFFIXES and _is_poscar_name(name):
        return "vasp"
    if dat.looks_like(text):  # NAME.dat#, NAME.in
        return "openmx"
    form = ase_text.format_of(name, text)
    if form is not None:
        return form
    looks = {"lammps-data": lammps, "extxyz": xyz, "vasp": poscar}
    return next((form for form, module in looks.items() if module.looks_like(text)), None)


def _parse(path):
    """Return the contents of a structure file, or of an OpenMX input."""
    if not os.path.exists(path):
        raise MissingFileError("no such file or folder", path=path)
    name = plain_name(path)
    suffix = os.path.splitext(name)[1].lower()
    if suffix in REFUSED:
        raise MoireioError(
            f"is {REFUSED[suffix]}, which is not read",
            path=path,
            remedy="convert it to cif, POSCAR or extended xyz",
        )
    text = read_text(path)
    form = _format(name, text)
    if form == "openmx":
        with _naming(path):
            return dat.parse(text, path)
    if form is None:
        raise MoireioError(
            "is none of the structure files that are read",
            path=path,
            remedy=f"convert it to one of: {READABLE}",
        )
    found = READERS[form](text, path) if form in READERS else ase_text.read(text, path, form)
    if found.images > 1:
        warnings.warn(
            f"{path}: the last of {found.images} structures is taken", UserWarning, stacklevel=2
        )
    return found


@contextlib.contextmanager
def _naming(path):
    """Name the file, and what can be done, in errors of a structure."""
    try:
        yield
    except MoireioError as error:
        remedy = error.remedy or "correct the lattice or the coordinates in the file"
        raise MoireioError(error.what, path=error.path or path, remedy=remedy) from error


def _assemble(found, path):
    """Return the structure of a text."""
    from ase.data import chemical_symbols

    if len(found.numbers) == 0:
        raise MoireioError("holds no atoms", path=path, remedy="a structure has at least one")
    if not 0 <= np.min(found.numbers) <= np.max(found.numbers) <= HIGHEST_NUMBER:
        raise MoireioError(
            f"names an element of a number outside 0 to {HIGHEST_NUMBER}",
            path=path,
            remedy="correct the elements",
        )
    numbers, first, species = np.unique(found.numbers, return_index=True, return_inverse=True)
    order = np.argsort(first)  # species in the order of their first atoms
    layer = None if found.layer is None else np.unique(found.layer, return_inverse=True)[1]
    with _naming(path):
        cell, periodic = found.cell, np.ones(3, dtype=bool)
        if not cell.any(axis=1).all():
            cell, periodic = complete_cell(cell, found.positions)
        structure = Structure(
            cell=cell,
            positions=found.positions,
            numbers=found.numbers,
            species=np.argsort(order)[species],
            species_names=[chemical_symbols[n] for n in numbers[order]],
            pbc=periodic if found.pbc is None else found.pbc & periodic,
            layer=layer,
            magmoms=found.magmoms,
        )
    if not periodic.any():
        _say_boxed(path)
    return structure


def _say_boxed(path):
    warnings.warn(
        f"{path}: has no lattice: taken as a molecule, in a box with pbc F F F",
        UserWarning,
        stacklevel=4,
    )


def read_layer(name: str, *, pbc: Sequence[bool] | None = None) -> layers.Layer:
    """Return a layer of the table, or that of a file.

    Parameters
    ----------
    name : str
        A known layer or a structure file; a file of that name comes first.
    pbc : sequence of three bool, optional
        As for `read`.

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
        if is_block_file(name):
            return layers.from_structure(read(name), label, path=name)
        structure, basis, precision = _read(name)
        # No remark: a layer is open along its normal in any case.
        structure, _ = settle_structure(structure, reach_of(basis, structure), pbc)
        return layers.from_structure(structure, label, name, precision)
    layer = layers.named(name)
    if layer is None:
        raise MoireioError(
            "is neither a file nor a known layer",
            path=name,
            remedy="known: " + ", ".join(layers.table_names()),
        )
    return layer


def write(
    path: str,
    structure: Structure,
    basis: Basis | None = None,
    comment: str = "",
    spin_orbit: bool = False,
) -> None:
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
    spin_orbit : bool
        Spinors with spin-orbit coupling in an OpenMX input.

    Raises
    ------
    MoireioError
        If the format is unknown or has no spin-orbit coupling, or the file cannot be written.
    """
    form = kind(path)
    if spin_orbit and form != "openmx":
        raise MoireioError(
            "only an OpenMX input has spin-orbit coupling", path=path, remedy="write a .dat"
        )
    with write_whole(path) as part:
        if form == "openmx":
            from moireio.formats.openmx import dat_write

            name = os.path.splitext(os.path.basename(path))[0]
            settings = dat_write.OpenMXSettings(name=name, spin_orbit=spin_orbit)
            text = dat_write.text(structure, settings, basis)
            with open(part, "w", encoding="utf-8") as stream:
                stream.write(text)
        elif form == "lammps-data":
            with open(part, "w", encoding="utf-8") as stream:
                stream.write(lammps.text(structure, comment))
        else:
            _write_ase(part, form, structure, comment)


def _write_ase(path, form, structure, comment):
    import ase.io

    atoms = structure.to_ase()
    atoms.set_tags(None)
    if form in RIGHT_HANDED and np.linalg.det(structure.cell) < 0:
        atoms.cell[2] *= -1  # the same lattice
    options = {}
    if form == "vasp":
        options = {"sort": True, "direct": True}
    elif form == "extxyz":
        if structure.layer is not None:
            atoms.set_array("layer", structure.layer + 1)
        if comment:
            atoms.info["comment"] = comment
    try:
        if form == "aims":  # ASE takes no stream for it
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                ase.io.write(path, atoms, format=form)
            return
        with open(path, "wb" if form == "cif" else "w") as stream:
            ase.io.write(stream, atoms, format=form, **options)
    except OSError:
        raise
    except Exception as error:
        raise MoireioError(
            f"cannot be written as {form}: {first_line(error)}", path=os.path.basename(path)
        ) from error
