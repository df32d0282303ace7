"""sisl's Hamiltonians: ``sisl.Hamiltonian`` objects in memory.

Kept: structure, shells, cutoffs, H with every kind of spin, S. Lost: supercells beyond the reach of
H, boundary conditions, radial functions. sisl moves the Fermi level to 0 where it reads SIESTA's
files, so that its energies are not absolute; what it moved by can be given.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from moireio.blockfile.calculation import Calculation
from moireio.errors import MoireioError
from moireio.formats.assembly.assemble import assemble
from moireio.formats.assembly.elements import OrbitalMap, Spinor, matrices_from_source
from moireio.formats.assembly.losses import require_orbitals
from moireio.formats.assembly.orders import NATURAL, SIESTA
from moireio.formats.siesta.stored import Elements
from moireio.operators.blocks import block_offsets
from moireio.results.electrons import Electrons
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import HIGHEST_NUMBER, Structure

LABEL = "sisl.Hamiltonian"


def read(
    hamiltonian: Any, *, fermi: float | None = None, pbc: Sequence[bool] | None = None
) -> Calculation:
    """Take a Hamiltonian of sisl.

    Parameters
    ----------
    hamiltonian : sisl.Hamiltonian
        Any kind of spin but Nambu's. Orbitals without an l count as s; shells may be incomplete, as
        one p_z, and their orbitals in any order.
    fermi : float, optional
        Fermi level, eV, that sisl has subtracted: it is added again. By default energies stay as
        they are, and the Fermi level is not known.
    pbc : sequence of three bool, optional
        Whether the structure is periodic along each vector; by default where pairs cross it.

    Returns
    -------
    Calculation
        In memory.

    Raises
    ------
    MoireioError
        For what is no such Hamiltonian.
    """
    try:
        spin, geometry = hamiltonian.spin, hamiltonian.geometry
        orthogonal = bool(hamiltonian.orthogonal)
        cells = np.asarray(geometry.lattice.sc_off, dtype=np.int64)
        orbitals, _, components = hamiltonian.shape
        parts = [hamiltonian.tocsr(number) for number in range(components)]
    except (AttributeError, TypeError, ValueError) as error:
        raise MoireioError("is no Hamiltonian of sisl", path=LABEL) from error
    if getattr(spin, "is_nambu", False):
        raise MoireioError("has Nambu spinors, which block files have not", path=LABEL)
    home = int(np.flatnonzero(~cells.any(axis=1))[0])
    pattern = sum((_ones(part) for part in parts), _diagonal(orbitals, len(cells), home)).tocoo()
    row, column = pattern.coords if hasattr(pattern, "coords") else (pattern.row, pattern.col)
    values = [np.asarray(part[row, column]).ravel() for part in parts]
    overlap = None if orthogonal else values.pop().real.astype(np.float64)
    spins = _spins(spin, values)
    structure, basis, places, signs, notes = _matter(geometry, orthogonal)
    if fermi is not None:
        one = (column == row + home * orbitals).astype(np.float64) if overlap is None else overlap
        spins = [h + fermi * one if number < 2 else h for number, h in enumerate(spins)]
    cell, column = np.divmod(column, orbitals)
    sign = signs[row] * signs[column]
    elements = Elements(places[row], places[column], cell, cells, orbitals)
    operators = elements.sources(
        structure,
        basis,
        [sign * values for values in spins],
        None if overlap is None else sign * overlap,
        label=LABEL,
        order=NATURAL,
    )
    return assemble(
        LABEL,
        structure,
        basis,
        operators,
        electrons=Electrons(fermi=fermi),
        notes=notes,
        pbc=pbc,
    )


def _ones(matrix: Any) -> Any:
    """Return the pattern of a sparse matrix."""
    found = matrix.copy()
    found.data = np.ones(len(found.data), dtype=np.int32)
    return found


def _diagonal(orbitals: int, cells: int, home: int) -> Any:
    """Return the pattern of on-site energies, which sisl leaves out where they are 0."""
    from scipy.sparse import csr_matrix

    ones = np.ones(orbitals, dtype=np.int32)
    place = np.arange(orbitals), np.arange(orbitals) + home * orbitals
    return csr_matrix((ones, place), (orbitals, orbitals * cells))


def _spins(spin: Any, values: list[np.ndarray]) -> list[np.ndarray]:
    """Return H, or H↑ and H↓, or H↑↑, H↓↓, H↑↓ and H↓↑, from sisl's components."""
    if spin.is_unpolarized or spin.is_polarized:
        return values
    is_complex = values[0].dtype.kind == "c"
    if spin.is_noncolinear:
        mixed = values[2] if is_complex else values[2] + 1j * values[3]
        return [values[0], values[1], mixed, mixed.conj()]
    if is_complex:
        return values
    return [
        values[0] + 1j * values[4],
        values[1] + 1j * values[5],
        values[2] + 1j * values[3],
        values[6] + 1j * values[7],
    ]


def _matter(
    geometry: Any, orthogonal: bool
) -> tuple[Structure, Basis, np.ndarray, np.ndarray, list[str]]:
    """Return the atoms, their orbitals, where sisl's stand among them, their signs, and notes."""
    names: list[str] = []
    species: dict[str, SpeciesBasis] = {}
    local: list[tuple[np.ndarray, np.ndarray]] = []
    kinds, numbers, plain = {}, [], False
    of_atoms = np.asarray(geometry.atoms.species).tolist()
    for kind, atom in enumerate(geometry.atoms.atom):
        label = str(getattr(atom, "tag", None) or atom.symbol)
        name = label
        while name in species:
            name = f"{label}_{sum(known.split('_')[0] == label for known in species) + 1}"
        orbitals = list(atom.orbitals)
        reach = max((float(one.R) for one in orbitals), default=-1.0)
        cutoff = reach if reach > 0 else None
        if all(hasattr(one, "l") and hasattr(one, "m") for one in orbitals):
            species[name], place, sign = _shells(orbitals, cutoff)
        else:
            plain = True
            species[name] = SpeciesBasis((0,) * len(orbitals), cutoff=cutoff)
            place, sign = np.arange(len(orbitals)), np.ones(len(orbitals))
        local.append((place, sign))
        kinds[kind] = len(names)
        names.append(name)
        number = int(atom.Z) if 0 < int(atom.Z) <= HIGHEST_NUMBER else 0
        numbers.append(number)
    structure = Structure(
        np.asarray(geometry.cell),
        np.asarray(geometry.xyz),
        [numbers[kinds[kind]] for kind in of_atoms],
        [kinds[kind] for kind in of_atoms],
        names,
        (True, True, True),
    )
    notes = ["orbitals without an l are taken as s"] if plain else []
    basis = Basis(species, orthogonal=orthogonal)
    starts = block_offsets(basis.sizes(structure))
    listed = [local[kinds[kind]] for kind in of_atoms]
    places = np.concatenate([at + place for at, (place, _) in zip(starts, listed, strict=False)])
    return structure, basis, places, np.concatenate([sign for _, sign in listed]), notes


def _shells(
    orbitals: Sequence[Any], cutoff: float | None
) -> tuple[SpeciesBasis, np.ndarray, np.ndarray]:
    """Return the shells of an atom, where its orbitals stand among moireio's, and their signs."""
    keys: list[tuple[Any, ...]] = []
    found: list[dict[int, int]] = []  # for each radial function the place of every m
    for place, one in enumerate(orbitals):
        key = tuple(getattr(one, name, None) for name in ("n", "l", "zeta", "P"))
        for known, shell in zip(keys, found, strict=True):
            if known == key and int(one.m) not in shell:
                shell[int(one.m)] = place
                break
        else:
            keys.append(key)
            found.append({int(one.m): place})
    signs = np.array([-1.0 if SIESTA.negative(int(one.m)) else 1.0 for one in orbitals])
    momenta = [int(orbitals[next(iter(shell.values()))].l) for shell in found]
    complete = all(
        sorted(shell) == list(range(-momentum, momentum + 1))
        for shell, momentum in zip(found, momenta, strict=True)
    )
    places = np.arange(len(orbitals))
    if not complete:
        of_each = [int(one.l) for one in orbitals], [int(one.m) for one in orbitals]
        return SpeciesBasis(of_each[0], cutoff=cutoff, m=of_each[1]), places, signs
    places[[shell[m] for shell in found for m in sorted(shell)]] = np.arange(len(orbitals))
    return SpeciesBasis(momenta, cutoff=cutoff), places, signs


def write(calculation: Calculation) -> Any:
    """Make a Hamiltonian of sisl.

    Parameters
    ----------
    calculation : Calculation
        With a Hamiltonian; without overlap only if its basis is orthogonal.

    Returns
    -------
    sisl.Hamiltonian
        Energies as in the calculation, in eV; sisl's own readers move the Fermi level to 0.

    Raises
    ------
    MoireioError
        If there is no Hamiltonian or overlap, or sisl is not installed.
    """
    try:
        import sisl
    except ImportError as error:
        raise MoireioError(
            "needs the package sisl to write SIESTA's files and sisl's objects",
            remedy="pip install 'moireio[siesta]'",
        ) from error
    structure, basis = calculation.structure, calculation.basis
    require_orbitals(calculation, "sisl")
    source, overlap = calculation.hamiltonian, calculation.overlap
    if overlap is None and not basis.orthogonal:
        raise MoireioError(
            "has no overlap, and its orbitals are not orthogonal",
            path=calculation.label,
            remedy="compute it with the command overlap",
        )
    spinor = source.meta.spin == "spinor"
    orbitals = _map(structure, basis, "blocks" if spinor else None)
    cells, matrices = matrices_from_source(source, orbitals)
    reach = np.abs(cells).max(axis=0, initial=0)
    listed = []
    if overlap is not None:
        of_overlap, listed = matrices_from_source(overlap, _map(structure, basis))
        reach = np.maximum(reach, np.abs(of_overlap).max(axis=0, initial=0))
    lattice = sisl.Lattice(structure.cell, nsc=(2 * reach + 1).tolist())
    geometry = sisl.Geometry(structure.positions, _atoms(sisl, structure, basis), lattice=lattice)
    n = geometry.no

    def row(cells: np.ndarray, matrices: Sequence[Any]) -> Any:
        return _supercell(geometry, cells, matrices, n)

    if spinor:
        quarters = {
            (s, t): [one[s * n : (s + 1) * n, t * n : (t + 1) * n] for one in matrices[0]]
            for s in (0, 1)
            for t in (0, 1)
        }
        up, down, mixed, other = (row(cells, quarters[key]) for key in _QUARTERS)
        parts = [up.real, down.real, mixed.real, mixed.imag]
        parts += [up.imag, down.imag, other.real, other.imag]
    else:
        parts = [row(cells, listing) for listing in matrices]
    kind = {"none": "unpolarized", "collinear": "polarized", "spinor": "spin-orbit"}
    s = None if overlap is None else row(of_overlap, listed[0])
    return sisl.Hamiltonian.fromsp(
        geometry, parts, S=s, spin=sisl.Spin(kind[source.meta.spin]), orthogonal=s is None
    )


def _map(structure: Structure, basis: Basis, spinor: Spinor | None = None) -> OrbitalMap:
    """Return where sisl's orbitals stand, and their signs; those of incomplete shells are alike."""
    incomplete = [name for name in structure.species_names if basis[name].m is not None]
    whole = {name: one for name, one in basis.species.items() if name not in incomplete}
    plain = {name: SpeciesBasis((0,) * basis[name].size) for name in incomplete}
    found = OrbitalMap.make(structure, Basis({**whole, **plain}), SIESTA, spinor=spinor)
    signs = {name: [1 - 2.0 * SIESTA.negative(m) for m in basis[name].m or ()] for name in plain}
    of_ours = [signs.get(name, np.ones(basis[name].size)) for name in structure.species_of_atoms]
    return replace(found, signs=found.signs * np.tile(np.concatenate(of_ours), 2 if spinor else 1))


_QUARTERS = ((0, 0), (1, 1), (0, 1), (1, 0))


def _supercell(geometry: Any, cells: np.ndarray, matrices: Sequence[Any], n: int) -> Any:
    """Return one matrix (n, n_s n) whose columns are the orbitals of sisl's supercell."""
    from scipy.sparse import csr_matrix

    rows, columns, values = [], [], []
    for cell, matrix in zip(cells, matrices, strict=True):
        found = matrix.tocoo()
        rows.append(found.row)
        columns.append(found.col + int(geometry.lattice.sc_index(cell)) * n)
        values.append(found.data)
    place = np.concatenate(rows), np.concatenate(columns)
    return csr_matrix((np.concatenate(values), place), (n, n * geometry.n_s))


def _atoms(sisl: Any, structure: Structure, basis: Basis) -> list[Any]:
    """Return sisl's atoms; n and zeta, which moireio does not know, count the shells of each l."""
    made = {}
    for name in dict.fromkeys(structure.species_of_atoms):
        species = basis[name]
        reach = species.cutoff or -1.0
        seen: Counter[tuple[int, int]] = Counter()
        orbitals = []
        for momentum, m in _each(species):
            seen[momentum, m] += 1
            orbitals.append(
                sisl.AtomicOrbital(n=momentum + 1, l=momentum, m=m, zeta=seen[momentum, m], R=reach)
            )
        number = int(structure.numbers[structure.species_of_atoms.index(name)])
        made[name] = sisl.Atom(number, orbitals, tag=name)
    return [made[name] for name in structure.species_of_atoms]


def _each(species: SpeciesBasis) -> list[tuple[int, int]]:
    """Return l and m of every orbital."""
    if species.m is None:
        return [(momentum, m) for momentum in species.l for m in range(-momentum, momentum + 1)]
    if len(species.l) == len(species.m):
        return list(zip(species.l, species.m, strict=True))
    raise MoireioError("has incomplete shells whose l is not given orbital by orbital")
