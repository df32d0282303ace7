"""Writing of SIESTA's matrices, through sisl.

sisl leaves out what SIESTA's files have besides: the Fermi level and, in an HSX, the electrons, the
valence and the last orbital of every atom. They are set here.
"""

from __future__ import annotations

import os
import shutil
import warnings
from typing import Any

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError, first_line
from moireio.formats.assembly.elements import has_imaginary_parts
from moireio.formats.assembly.losses import note_losses, require_orbitals
from moireio.formats.assembly.shells import require_labels
from moireio.formats.siesta.records import Records
from moireio.formats.siesta.stored import BOHR, RYDBERG_EV
from moireio.formats.sisl import objects
from moireio.formats.structures.text import labelled_element
from moireio.runtime.files import require_free, shared_texts, write_text, write_whole
from moireio.runtime.workdirs import work_folder
from moireio.system.basis import ORBITALS, SHELL_LETTERS

SUFFIXES = (".HSX", ".TSHS", ".nc")
LONGEST_LABEL = 20


def write(calculation: Calculation, path: str, *, force: bool = False) -> None:
    """Write ``X.HSX``, ``X.TSHS`` or ``X.nc``, and ``X.ORB_INDX`` with shells and cutoffs.

    Parameters
    ----------
    calculation : Calculation
        With Hamiltonian, and overlap unless its basis is orthogonal.
    path : str
        File to make; its suffix says which.
    force : bool
        Replace files that exist.

    Raises
    ------
    MoireioError
        If the suffix is another, sisl is not installed, or there is no overlap.
    """
    stem, ending = os.path.splitext(path)
    suffix = next((known for known in SUFFIXES if known.lower() == ending.lower()), None)
    if suffix is None:
        raise MoireioError(
            f"has not one of the suffixes {', '.join(SUFFIXES)} of SIESTA's matrices", path=path
        )
    index = f"{stem}.ORB_INDX"
    require_free(path, force=force, inputs=calculation.files)
    structure = calculation.structure
    require_labels(structure, "SIESTA", calculation.label)
    require_orbitals(calculation, "SIESTA")
    for name in dict.fromkeys(structure.species_of_atoms):
        if len(name.encode()) > LONGEST_LABEL or not name.isascii():
            raise MoireioError(
                f"the name {name!r} is no label of SIESTA: {LONGEST_LABEL} ASCII letters at most",
                path=calculation.label,
            )
        number = int(structure.numbers[structure.species_of_atoms.index(name)])
        if suffix != ".nc" and labelled_element(name) != number:
            raise MoireioError(
                f"the name {name!r} does not begin with the symbol of its element, {number}, and "
                f"{suffix[1:]} files have no other sign of it",
                path=calculation.label,
                remedy="write .nc",
            )
        if calculation.basis[name].m is not None and any(calculation.basis[name].l):
            raise MoireioError(
                f"the species {name} has incomplete shells, which SIESTA has not",
                path=calculation.label,
            )
    source = calculation.hamiltonian
    if source.meta.spin != "spinor" and has_imaginary_parts(source):
        raise MoireioError(
            "has a complex Hamiltonian without spin-orbit coupling; SIESTA's is real",
            path=calculation.label,
        )
    beside = shared_texts(
        {index: _index(calculation)},
        [stem + known for known in SUFFIXES if known != suffix],
        force=force,
        inputs=calculation.files,
    )
    hamiltonian = objects.write(calculation)
    with write_whole(path) as part, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # sisl's, about matrices without a diagonal
        if part.isascii():
            _through_sisl(calculation, hamiltonian, part, suffix)
        else:  # sisl's Fortran takes no other names
            with work_folder(".moireio-siesta-") as work:
                own = os.path.join(work, f"x{suffix}")
                _through_sisl(calculation, hamiltonian, own, suffix)
                shutil.copyfile(own, part)
        for name, text in beside.items():
            with write_text(name) as stream:
                stream.write(text)
    note_losses(calculation, f"{suffix[1:]} files")
    known = calculation.electrons is not None and calculation.electrons.fermi is not None
    if suffix != ".HSX" and not known:
        calculation.notes.append(f"the Fermi level is not known: a {suffix[1:]} has 0 eV then")


def _through_sisl(calculation: Calculation, hamiltonian: Any, part: str, suffix: str) -> None:
    from sisl.io.siesta import hsxSileSiesta, ncSileSiesta, tshsSileSiesta

    electrons = calculation.electrons
    fermi = electrons.fermi if electrons else None
    count = electrons.count if electrons else None
    try:
        if suffix == ".nc":
            sile = ncSileSiesta(part, "w")
            options = {"Ef": fermi or 0.0, "Qtot": count or 0.0}
            sile.write_hamiltonian(hamiltonian, **options)
            sile.close()
        elif suffix == ".HSX":
            hsxSileSiesta(part, "w").write_hamiltonian(hamiltonian)
            _complete_hsx(calculation, part)
        else:
            tshsSileSiesta(part, "w").write_hamiltonian(hamiltonian)
            _set(part, 6, "f8", 0, [(fermi or 0.0) / RYDBERG_EV, count or 0.0])
    except MoireioError:
        raise
    except Exception as error:  # whatever sisl raises
        raise MoireioError(
            f"sisl cannot write it: {first_line(error)}", path=calculation.label
        ) from error


def _complete_hsx(calculation: Calculation, path: str) -> None:
    """Set Fermi level, electrons, valence and last orbitals in an HSX of sisl."""
    structure, basis, electrons = calculation.structure, calculation.basis, calculation.electrons
    fermi = electrons.fermi if electrons else None
    count = (electrons.count if electrons else None) or basis.valence(structure)
    level = np.finfo(np.float64).max if fermi is None else fermi / RYDBERG_EV
    _set(path, 3, "f8", 9, [level, count or 0.0])
    last = np.cumsum(basis.sizes(structure))
    _set(path, 4, "i4", -len(last), last)
    order = list(dict.fromkeys(structure.species_of_atoms))
    for kind, name in enumerate(order):
        valence = basis[name].valence
        if valence is not None:
            _set(path, 5, "u1", 32 * kind + LONGEST_LABEL, np.array([valence]).view("u1"))


def _set(path: str, number: int, dtype: str, begin: int, values: Any) -> None:
    """Set numbers in a record of a file, from the one at `begin` on."""
    with open(path, "r+b") as stream:
        content = stream.read(1 << 26)
        records = Records(content, path)
        for _ in range(number):
            records.next("the header")
        at = len(content) - records.left + 4
        length = len(records.next("the header"))
        size = np.dtype(dtype).itemsize
        stream.seek(at + (begin * size if begin >= 0 else length + begin * size))
        stream.write(np.asarray(values, dtype=dtype).tobytes())


def _index(calculation: Calculation) -> str:
    """Return shells and cutoffs as ``ORB_INDX`` has them, in its columns."""
    structure, basis = calculation.structure, calculation.basis
    total = int(basis.sizes(structure).sum())
    lines = [
        f"{total:7d} {total:7d} = orbitals in unit cell and supercell.\n",
        "    io    ia is   spec iao  n  l  m  z  p          sym      rc    isc     iuo",
    ]
    order = list(dict.fromkeys(structure.species_of_atoms))
    row = 0
    for atom, name in enumerate(structure.species_of_atoms, 1):
        species = basis[name]
        reach = (species.cutoff or 0.0) / BOHR
        seen: dict[int, int] = {}
        within = 0
        for momentum in species.l:
            seen[momentum] = seen.get(momentum, 0) + 1
            letters = ORBITALS.get(SHELL_LETTERS[momentum])
            for m in range(-momentum, momentum + 1):
                row, within = row + 1, within + 1
                symbol = letters[m + momentum] if letters else f"{SHELL_LETTERS[momentum]}{m}"
                lines.append(
                    f"{row:6d} {atom:5d} {order.index(name) + 1:2d} {name:>6s} {within:3d}"
                    f" {momentum + 1:2d} {momentum:2d} {m:2d} {seen[momentum]:2d}  F"
                    f"{symbol:>13s}{reach:8.3f}  0  0  0{row:6d}"
                )
    return "\n".join(lines) + "\n"
