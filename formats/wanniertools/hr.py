"""WannierTools' Hamiltonians: the dense form (as Wannier90's ``_hr.dat``) and the sparse one.

Sparse layout: a comment; the number of elements; the number of orbitals, spin included; in newer
files the number of lattice vectors; then ``R1 R2 R3 i j Re Im`` for each element, eV (Hartree where
``Package`` is OPENMX). The overlap of a basis that is not orthogonal is a file of the same form
(``Overlapfile``). Spinor rows are all up orbitals, then all down ones, unless ``Package`` is one
whose functions alternate. ``wt.in`` beside the file gives lattice, atoms and orbitals.

Kept: H, S, structure, shells by the names of the projectors, the Fermi level. Lost: what else
``wt.in`` asks for.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MissingFileError, MoireioError, naming
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.elements import OrbitalMap, Spinor, source_from_matrices
from moireio.formats.assembly.sites import NO_CENTRES, sites
from moireio.formats.foreign import describe_file
from moireio.formats.structures import files as structure_files
from moireio.formats.structures.text import plain_name, shown
from moireio.formats.text.streams import beside
from moireio.formats.text.tables import NumberFile
from moireio.formats.wannier90 import files as wannier90_files
from moireio.formats.wannier90.matrices import read_hr
from moireio.formats.wanniertools.orbitals import system_of
from moireio.formats.wanniertools.sparse import (
    LIMIT,
    SparseMatrices,
    read_sparse,
    set_spin_rule,
    spin_rows,
)
from moireio.formats.wanniertools.write import write_calculation
from moireio.formats.wanniertools.wt_in import WtIn, read_wt_in
from moireio.results.electrons import Electrons
from moireio.system.structure import Structure
from moireio.units import HARTREE_EV

SPARSE = "a sparse Hamiltonian of WannierTools"
INPUT = "an input of WannierTools"
USUAL_RESIDUAL = {"hamiltonian": 1e-5, "overlap": 1e-5}


def detect(path: str) -> bool:
    """Return whether a file is a Hamiltonian or an input of WannierTools.

    Parameters
    ----------
    path : str
        Any file or folder.

    Returns
    -------
    bool
        By its first lines. A dense Hamiltonian is one of WannierTools if a ``wt.in`` beside it
        names it, and no ``.win`` of Wannier90 is there.
    """
    kind = describe_file(path)
    if kind in (SPARSE, INPUT) or (kind is None and _looks_sparse(path)):
        return True
    if kind not in (None, wannier90_files.HR) or not os.path.isfile(path):
        return False
    wt, broken = _input_of(path)
    if kind is None:  # damaged, but named
        return wt is not None
    folder = glob.escape(os.path.dirname(path))
    return (wt or broken) is not None and not glob.glob(os.path.join(folder, "*.win"))


def _looks_sparse(path: str) -> bool:
    """Return whether a file has the first lines of the sparse form."""
    if not os.path.isfile(path):
        return False
    try:
        with NumberFile(path) as file:
            file.line("a comment")
            for _ in range(2):
                file.whole("a count", 1)
            words = file.line("an element").split("!")[0].split()
            if len(words) == 1:
                words = file.line("an element").split()
        return len(words) == 7 and all("." in word and float(word) < 1e9 for word in words[5:])
    except (MoireioError, ValueError):
        return False


def read(
    path: str,
    *,
    label: str | None = None,
    companions: Sequence[str] = (),
    pbc: Sequence[bool] | None = None,
) -> Calculation:
    """Read a Hamiltonian with its ``wt.in``.

    Parameters
    ----------
    path : str
        The Hamiltonian, or ``wt.in`` itself.
    label : str, optional
        The name that messages show.
    companions : sequence of str
        ``wt.in``, the overlap, or a structure file, where they are not beside it.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.

    Returns
    -------
    Calculation
        With the atoms and shells of ``wt.in``; with sites for the orbitals where it does not give
        them. Its operators are in memory.

    Raises
    ------
    MoireioError
        If a file is missing or does not fit the others.
    DamagedError
        If one is cut short or contradicts itself.
    """
    notes: list[str] = []
    path, wt, overlap_path, structure_path = _files(path, companions)
    structure = None
    if structure_path is not None:
        structure = structure_files.read_foreign(structure_path)[0]
    if wt is not None and overlap_path is None and "overlapfile" in wt.values:
        notes.append(
            "its Overlapfile is left out, as WannierTools does without Orthogonal_Basis = F: S = 1"
        )
    h, dense, n = _read_hamiltonian(path, wt)
    spinful = wt is not None and wt.spinful
    if wt is not None and spinful and not wt.known_package:
        notes.append(
            f"Package {shown(wt.values['package'])} is not known: all up orbitals are taken to "
            "come before the down ones"
        )
    if spinful and n % 2:
        raise MoireioError(
            f"has SOC, but {path} has {n} orbitals, an odd number", path=wt.path if wt else path
        )
    count = n // 2 if spinful else n
    system = None
    if wt is not None:
        with naming(wt.path):
            system = system_of(wt, orthogonal=overlap_path is None, spinful=spinful)
        without = sum(not one for one in wt.orbitals)
        if system is not None and without:
            notes.append(
                f"{without} of {len(wt.names)} atoms of {wt.path} have no orbitals and are left out"
            )
        listed = sum(len(atom) for atom in wt.orbitals)
        if wt.orbitals and listed != count:
            raise MoireioError(
                f"its projectors are {listed} orbitals, but {path} has {n}"
                + (" with both spins" if spinful else ""),
                path=wt.path,
                remedy="SOC or PROJECTORS is that of another Hamiltonian",
            )
    if system is None:
        if overlap_path is not None:
            raise MoireioError(
                "has an overlap, but the orbitals of its atoms are not known",
                path=path,
                remedy="wt.in with ATOM_POSITIONS and PROJECTORS has them",
            )
        with naming(path if wt is None else wt.path):
            system = _without_projectors(path, wt, structure, count, spinful, notes)
    atoms, basis, orbitals = system
    if spinful:
        set_spin_rule(h, orbitals, path, notes)
    scale = 1.0
    if not dense and wt is not None and "openmx" in wt.values.get("package", "").lower():
        scale = HARTREE_EV
        notes.append("Package is OPENMX: the numbers are read as Hartree")
    spin = "spinor" if spinful else "none"
    operators = {
        "hamiltonian": source_from_matrices(
            "hamiltonian",
            h.cells,
            h.matrices,
            orbitals,
            label=path,
            spin=spin,
            scale=scale,
            source="tight-binding",
            limit=LIMIT,
        )
    }
    files = [path, *([wt.path] if wt is not None else [])]
    files += [] if structure_path is None else [structure_path]
    if overlap_path is not None:
        files.append(overlap_path)
        operators["overlap"] = _overlap(overlap_path, orbitals, n, spinful)
    fermi = None if wt is None else wt.fermi
    return assemble(
        label or path,
        atoms,
        basis,
        operators,
        electrons=None if fermi is None else Electrons(fermi=fermi),
        notes=notes,
        files=files,
        pbc=pbc,
        usual_residual=USUAL_RESIDUAL,
        described="wt.in",
    )


def _files(path: str, companions: Sequence[str]) -> tuple[str, WtIn | None, str | None, str | None]:
    """Return the Hamiltonian, its input, its overlap and a structure file for the lattice."""
    given: dict[str, str] = {}
    wt = read_wt_in(path) if describe_file(path) == INPUT else None
    named = None if wt is None else wt.values.get("hrfile", "wannier90_hr.dat")
    for companion in companions:
        if not os.path.exists(companion):
            raise MissingFileError(path=companion)
        if named and os.path.basename(named) in (
            plain_name(companion),
            os.path.basename(companion),
        ):
            given["hamiltonian"] = companion
            continue
        kind = describe_file(companion)
        sparse = kind == SPARSE or (kind is None and _looks_sparse(companion))
        given["input" if kind == INPUT else "overlap" if sparse else "structure"] = companion
    if wt is not None and named is not None:
        path = given.get("hamiltonian") or _named_by(wt.path, named)
    else:
        found, broken = given.get("input"), None
        if found is None:
            found, broken = _input_of(path)
        if found is None and broken is not None:
            raise broken
        wt = None if found is None else read_wt_in(found)
    overlap = given.get("overlap")
    if overlap is None and wt is not None and not _orthogonal(wt):
        if "overlapfile" not in wt.values:
            raise MissingFileError(
                "has Orthogonal_Basis = F, but names no Overlapfile",
                path=wt.path,
                remedy="give the overlap in `companions`",
            )
        overlap = _named_by(wt.path, wt.values["overlapfile"], os.path.dirname(path))
    return path, wt, overlap, given.get("structure")


def _orthogonal(wt: WtIn) -> bool:
    return "orthogonal_basis" not in wt.values or wt.flag("orthogonal_basis")


def _named_by(path: str, name: str, other_folder: str | None = None) -> str:
    """Return a file, compressed or not, that an input names, beside it or in another folder."""
    folders = (os.path.dirname(path), *(() if other_folder is None else (other_folder,)))
    found = next((file for folder in folders if (file := beside(folder, name))), None)
    if found is not None:
        return found
    raise MissingFileError(
        f"names {name}, which is not there",
        path=path,
        remedy="put it beside this file, or give it in `companions`",
    )


def _input_of(path: str) -> tuple[str | None, MoireioError | None]:
    """Return the ``wt.in…`` in the same folder whose ``Hrfile`` a Hamiltonian is.

    Else what is wrong with a ``wt.in`` that cannot be read: it may be the one.
    """
    folder, name = os.path.dirname(path), plain_name(path)
    broken = None
    for found in sorted(glob.glob(os.path.join(glob.escape(folder), "wt.in*"))):
        whole = plain_name(found) == "wt.in"
        try:
            if describe_file(found) != INPUT and not whole:
                continue
            wt = read_wt_in(found)
            if "hrfile" not in wt.values and describe_file(found) != INPUT:
                raise MoireioError("has no &TB_FILE", path=found)
        except MoireioError as error:
            error.remedy = error.remedy or "an input of WannierTools is expected"
            broken = error if whole else broken
            continue
        named = os.path.basename(wt.values.get("hrfile", "wannier90_hr.dat"))
        if named in (name, os.path.basename(path)):
            return found, None
    return None, broken


def _read_hamiltonian(path: str, wt: WtIn | None) -> tuple[SparseMatrices, bool, int]:
    """Return H, whether the file is dense, and its number of orbitals."""
    if describe_file(path) == wannier90_files.HR and not (
        wt is not None and wt.flag("is_sparse_hr", "is_sparse") and _looks_sparse(path)
    ):
        from scipy.sparse import csr_array

        found = read_hr(path).weighted(None)
        matrices = [csr_array(matrix) for matrix in found.hamiltonian]
        return SparseMatrices(found.cells, matrices), True, found.n
    h, n = read_sparse(path)
    return h, False, n


def _without_projectors(
    path: str,
    wt: WtIn | None,
    structure: Structure | None,
    count: int,
    spinful: bool,
    notes: list[str],
) -> Any:
    """Return sites for orbitals that no input describes."""
    cell = None if wt is None else wt.cell
    if wt is not None and cell is None and structure is None:
        raise MoireioError(
            "has no card LATTICE",
            path=wt.path,
            remedy="add the lattice vectors, or give a structure file in `companions`",
        )
    centres = None
    if cell is not None and wt is not None and wt.orbitals:
        atoms = np.repeat(np.arange(len(wt.names)), [len(one) for one in wt.orbitals])
        centres = wt.positions[atoms]
        notes.append("projectors that are no s, p, d or f orbitals are read as s functions")
    elif structure is not None:
        cell = np.array(structure.cell) if cell is None else cell
        if len(structure) == count:
            centres = structure.positions
            notes.append("each orbital is at the atom of the same number in the structure given")
    if cell is None:
        notes.append(
            "no wt.in beside it has its name in Hrfile: the lattice vectors are not known, "
            "cubic ones of 1 Å stand for them (give it or a structure file with `companions`)"
        )
        cell = np.eye(3)
    if wt is None:
        notes.append("without wt.in: read as orbitals without spin")
    if centres is None:
        notes.append(NO_CENTRES)
    spinor: Spinor | None = None
    if spinful:
        spinor = "interleaved" if wt is not None and wt.alternating else "blocks"
    return sites(cell, centres, count, spinor=spinor)


def _overlap(path: str, orbitals: OrbitalMap, n: int, spinful: bool) -> Any:
    """Return S without spin."""
    s, rows = read_sparse(path)
    if rows not in (n, n // 2 if spinful else n):
        raise MoireioError(f"has {rows} orbitals, but the Hamiltonian has {n}", path=path)
    spinless = orbitals
    matrices = s.matrices
    if spinful:
        up, _ = spin_rows(orbitals)
        if rows == n:
            matrices = [matrix[up][:, up] for matrix in matrices]
        sizes = orbitals.sizes // 2
        atoms = np.repeat(np.arange(len(sizes)), orbitals.sizes)[orbitals.rows[up]]
        first = np.cumsum(sizes) - sizes
        spinless = OrbitalMap(orbitals.rows[up] - first[atoms], orbitals.signs[up], sizes)
    return source_from_matrices(
        "overlap", s.cells, matrices, spinless, label=path, source="tight-binding", limit=LIMIT
    )


def write(
    calculation: Calculation,
    path: str,
    *,
    force: bool = False,
    form: str = "sparse",
    orthogonalise: str | None = None,
    digits: int | None = None,
) -> None:
    """Write a Hamiltonian, its overlap where S is not 1, and ``wt.in`` beside it.

    Parameters
    ----------
    calculation : Calculation
        With H, not collinear; remarks are added to its notes.
    path : str
        The Hamiltonian.
    force : bool
        Replace what exists.
    form : {"sparse", "dense"}
        How H is listed; the dense form has no overlap.
    orthogonalise : str, optional
        Mesh of k points for Löwdin's orthogonalisation, as ``12x12x1``, where S is not 1.
    digits : int, optional
        Digits after the point; by default all digits of double precision.

    Raises
    ------
    MoireioError
        If spin is collinear, S is not 1 in the dense form, or a file exists.
    """
    write_calculation(
        calculation,
        path,
        force=force,
        form=form,
        orthogonalise=orthogonalise,
        digits=digits,
    )
