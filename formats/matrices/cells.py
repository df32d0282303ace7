"""Matrices of the whole cell in memory: a dict {R: matrix}, NumPy arrays or SciPy sparse ones.

Nothing is lost. Element (a, b) of the matrix of R is ⟨a,0|O|b,R⟩; H in eV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.errors import DamagedError, MoireioError
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.elements import (
    OrbitalMap,
    Partners,
    Spinor,
    matrices_from_source,
    source_from_matrices,
)
from moireio.formats.assembly.sites import NO_CENTRES, sites
from moireio.operators.views import ArraySource, stored_as
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

if TYPE_CHECKING:
    from ase import Atoms

Matrices = Mapping[Sequence[int], Any]
LABEL = "matrices"
#: Larger deviations from Hermitian are no rounding, eV and 1.
LIMITS = {"hamiltonian": 1e-3, "overlap": 1e-4}


def read(
    hamiltonian: Matrices | tuple[Matrices, Matrices] | None = None,
    overlap: Matrices | None = None,
    *,
    structure: Structure | Atoms | None = None,
    shells: Mapping[str, Sequence[int]] | Basis | None = None,
    cell: npt.ArrayLike | None = None,
    centres: npt.ArrayLike | None = None,
    spinor: Spinor | None = None,
    partners: Partners = "given",
    fermi: float | None = None,
    source: str = "dft",
    pbc: Sequence[bool] | None = None,
    label: str = LABEL,
) -> Calculation:
    """Return matrices as a calculation.

    Parameters
    ----------
    hamiltonian : dict of R to matrix, or two of them
        eV; R is three integers. Two are up and down of collinear spin.
    overlap : dict of R to matrix, optional
        Without spin. By default it is not known, or 1 where orbitals have no shells.
    structure : Structure or ase.Atoms, optional
        The atoms; orbitals are listed atom after atom.
    shells : dict of str to sequence of int, or Basis, optional
        l of every radial function of each species, m = −l … l; needed with `structure`.
    cell : (3, 3) array, optional
        Lattice vectors as rows, Å, where there are no atoms.
    centres : (n, 3) array, optional
        Cartesian position of each orbital, Å, where there are no atoms.
    spinor : {"blocks", "interleaved", "atoms"}, optional
        How rows are arranged where orbitals have spin: all up before all down; in turn; up before
        down for each atom.
    partners : {"given", "missing", "half"}
        Whether R and −R are both there; only one of each; or H is the sum with the adjoints.
    fermi : float, optional
        Fermi level, eV.
    source : str
        Where the numbers come from: "dft", "tight-binding" …
    pbc : sequence of three bool, optional
        Whether it is periodic along each vector; by default where matrices cross it.
    label : str
        The name that messages show.

    Returns
    -------
    Calculation
        With structure, basis and operators.

    Raises
    ------
    MoireioError
        If the matrices do not fit the orbitals, or are not Hermitian.
    """
    notes = []
    for name, word, words in (
        ("spinor", spinor, (None, *get_args(Spinor))),
        ("partners", partners, get_args(Partners)),
    ):
        if word not in words:
            known = " or ".join(repr(one) for one in words)
            raise MoireioError(f"`{name}` is {word!r}", path=label, remedy=f"{known} expected")
    spin = "spinor" if spinor else "none"
    given = list(hamiltonian) if isinstance(hamiltonian, (tuple, list)) else [hamiltonian]
    given, overlap = [_arrays(one, label) for one in given], _arrays(overlap, label)
    first = next((matrices for matrices in (*given, overlap) if matrices), None)
    if first is None:
        raise MoireioError("has no matrices", path=label)
    if structure is not None:
        atoms = structure if isinstance(structure, Structure) else Structure.from_ase(structure)
        basis = _basis(shells, label)
        orbitals = OrbitalMap.make(atoms, basis, spinor=spinor)
        spinless = OrbitalMap.make(atoms, basis)
    else:
        if cell is None:
            raise MoireioError("has neither `structure` nor `cell`", path=label)
        rows = next(iter(first.values())).shape[0]
        halved = spinor and given[0]
        if halved and rows % 2:
            raise MoireioError(f"has {rows} rows, which are no spinors", path=label)
        n = rows // 2 if halved else rows
        if centres is not None and np.shape(centres) != (n, 3):
            raise MoireioError(f"has centres {np.shape(centres)}, {(n, 3)} expected", path=label)
        atoms, basis, orbitals = sites(
            cell, centres, n, spinor=None if spinor == "atoms" else spinor
        )
        spinless = sites(cell, centres, n)[2]
        if spinor == "atoms":
            orbitals = OrbitalMap.make(atoms, basis, spinor=spinor)
        if centres is None:
            notes.append(NO_CENTRES)
        if overlap is not None:
            basis = Basis(basis.species)
    operators = {}
    if given[0] is not None:
        if len(given) == 2:
            spin = "collinear"
            up, down = given
            cells = sorted({*map(_key, up), *map(_key, down)})
            lists = [_listed(one, cells) for one in (up, down)]
        else:
            cells = sorted(map(_key, given[0]))
            lists = _listed(given[0], cells)
        operators["hamiltonian"] = _operator(
            "hamiltonian", cells, lists, orbitals, label, source, partners, spin
        )
    if overlap is not None:
        cells = sorted(map(_key, overlap))
        operators["overlap"] = _operator(
            "overlap", cells, _listed(overlap, cells), spinless, label, source, partners
        )
    return assemble(
        label,
        atoms,
        basis,
        operators,
        electrons=None if fermi is None else Electrons(fermi=fermi),
        notes=notes,
        pbc=pbc,
    )


def write(
    calculation: Calculation,
    name: str = "hamiltonian",
    *,
    dense: bool = False,
    spinor: Spinor = "atoms",
) -> dict[tuple[int, int, int], Any] | tuple[dict[tuple[int, int, int], Any], ...]:
    """Return the matrices of an operator.

    Parameters
    ----------
    calculation : Calculation
        With the operator.
    name : {"hamiltonian", "overlap", "density"}
        Which.
    dense : bool
        Return NumPy arrays instead of SciPy's CSR.
    spinor : {"atoms", "blocks", "interleaved"}
        How rows are arranged where orbitals have spin; see `read`.

    Returns
    -------
    dict of (R1, R2, R3) to matrix, or two of them
        Both R and −R. Two are up and down of collinear spin.

    Raises
    ------
    MoireioError
        If there is no such operator.
    """
    source = stored_as(calculation.operator(name), "full")
    arranged = spinor if source.meta.spin == "spinor" else None
    orbitals = OrbitalMap.make(calculation.structure, calculation.basis, spinor=arranged)
    cells, listed = matrices_from_source(source, orbitals)
    dicts = tuple(
        {
            (R[0], R[1], R[2]): matrix.toarray() if dense else matrix
            for R, matrix in zip(cells.tolist(), matrices, strict=True)
        }
        for matrices in listed
    )
    return dicts[0] if len(dicts) == 1 else dicts


def _basis(shells: Mapping[str, Sequence[int]] | Basis | None, label: str) -> Basis:
    if shells is None:
        raise MoireioError(
            "has atoms, but no shells", path=label, remedy="give `shells`: the l of each species"
        )
    if isinstance(shells, Basis):
        return shells
    return Basis({name: SpeciesBasis(l=tuple(momenta)) for name, momenta in shells.items()})


def _operator(
    name: str,
    cells: Sequence[tuple[int, ...]],
    matrices: Sequence[Any],
    orbitals: OrbitalMap,
    label: str,
    source: str,
    partners: Partners,
    spin: str = "none",
) -> ArraySource:
    """Return an operator; what is not Hermitian is refused."""
    try:
        return source_from_matrices(
            name,
            cells,
            matrices,
            orbitals,
            label=label,
            spin=spin,
            source=source,
            partners=partners,
            limit=LIMITS[name],
        )
    except DamagedError as error:
        if "differ by" not in error.what:
            raise
        raise MoireioError(
            error.what,
            path=label,
            remedy="it must be Hermitian; where only one of R and -R is given, `partners` is "
            '"missing" (or "half")',
        ) from error


def _arrays(matrices: Matrices | None, label: str) -> Matrices | None:
    """Return matrices by cell, nested lists among them as arrays."""
    if matrices is None:
        return None
    found: dict[Any, Any] = {}
    for R, one in matrices.items():
        array = one if hasattr(one, "shape") else np.asarray(one)
        if array.dtype.kind not in "biufc":
            try:
                array = np.asarray(array, dtype=np.complex128)
            except (TypeError, ValueError) as error:
                raise MoireioError(
                    f"the matrix of R = {R} does not consist of numbers", path=label
                ) from error
        found[R] = array
    shapes = {one.shape for one in found.values()}
    if len(shapes) > 1 or any(len(shape) != 2 or len(set(shape)) > 1 for shape in shapes):
        listed = ", ".join(sorted(" x ".join(map(str, shape)) for shape in shapes))
        raise MoireioError(
            f"has matrices of {listed} elements; square ones of one size expected", path=label
        )
    return found


def _key(cell: Sequence[int]) -> tuple[int, ...]:
    try:
        R = tuple(int(n) for n in np.ravel(cell))
        whole = len(R) == 3 and all(a == b for a, b in zip(R, np.ravel(cell), strict=True))
    except (TypeError, ValueError):
        whole = False
    if not whole:
        raise MoireioError(f"R = {cell} is not three integers", path=LABEL)
    return R


def _listed(matrices: Matrices, cells: Sequence[tuple[int, ...]]) -> list[Any]:
    """Return the matrices of some cells; empty ones where there are none."""
    from scipy.sparse import csr_array

    by_cell = {_key(cell): matrix for cell, matrix in matrices.items()}
    shape = next(iter(by_cell.values())).shape
    return [by_cell[cell] if cell in by_cell else csr_array(shape) for cell in cells]
