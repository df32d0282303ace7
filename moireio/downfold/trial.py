"""Trial orbitals: some orbitals of some species, as the states of an energy window have them.

A basis has several radial functions of one l. The trial orbital takes the combination of them that
holds most of the states in the window: v that maximises vᵀ M v / vᵀ s v, where M is the sum over
states, k, atoms of the species and m of (S C)(S C)† in these functions, and s their overlap.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.projection.groups import orbital_rows
from moireio.system.basis import ORBITALS, SHELL_LETTERS, Basis, SpeciesBasis
from moireio.system.structure import Structure

Orbital = tuple[int, int]  # l, m
#: (l, m) of names such as "pz", and of all orbitals of "p".
NAMES: dict[str, list[Orbital]] = {
    name: [(SHELL_LETTERS.index(shell), m - SHELL_LETTERS.index(shell))]
    for shell, names in ORBITALS.items()
    for m, name in enumerate(names)
} | {
    letter: [(degree, m) for m in range(-degree, degree + 1)]
    for degree, letter in enumerate(SHELL_LETTERS)
}


def parse_projections(text: str) -> dict[str, list[Orbital]]:
    """Read trial orbitals such as ``Mo:d,Te:s+p`` or ``C:pz``.

    Parameters
    ----------
    text : str
        Species, a colon, and names of orbitals or letters of shells joined by ``+``; several
        species are joined by commas.

    Returns
    -------
    dict of str to list of (int, int)
        l and m of the orbitals of each species, ascending.

    Raises
    ------
    MoireioError
        If it is something else.
    """
    found: dict[str, list[Orbital]] = {}
    for part in text.split(","):
        species, colon, words = (word.strip() for word in part.partition(":"))
        orbitals = []
        for word in words.split("+"):
            if not colon or not species or word.strip() not in NAMES:
                raise MoireioError(
                    f"{part.strip()!r} is no trial orbital",
                    remedy="expected as C:pz or Mo:d,Te:s+p; orbitals are " + " ".join(NAMES),
                )
            orbitals += NAMES[word.strip()]
        if species in found or len(set(orbitals)) < len(orbitals):
            raise MoireioError(f"{text!r} has trial orbitals twice")
        found[species] = sorted(orbitals)
    return found


@dataclass(frozen=True, eq=False)
class TrialOrbitals:
    """The trial orbitals of a calculation.

    Parameters
    ----------
    structure : Structure
        The atoms that have some.
    basis : Basis
        Those of each species.
    atoms : (n,) array of int64
        Atom of the whole structure that each belongs to.
    rows : list of (n_radial,) arrays of int64
        Rows of H of its radial functions.
    kinds : list of (str, int)
        Its species and l.
    kept : (N,) array of int64
        Atoms of the whole structure that are in `structure`.
    """

    structure: Structure
    basis: Basis
    atoms: npt.NDArray[np.int64]
    rows: list[npt.NDArray[np.int64]]
    kinds: list[tuple[str, int]]
    kept: npt.NDArray[np.int64]

    @classmethod
    def make(
        cls,
        structure: Structure,
        basis: Basis,
        projections: Mapping[str, Sequence[Orbital]],
        copies: int,
        label: str,
    ) -> TrialOrbitals:
        """Find the trial orbitals among those of a calculation.

        Parameters
        ----------
        structure, basis : Structure, Basis
            Those of the calculation.
        projections : mapping of str to sequence of (int, int)
            l and m by species.
        copies : int
            2 for spinors.
        label : str
            The file, for messages.

        Returns
        -------
        TrialOrbitals
            Atom after atom; of spinors up, then down ones of each.

        Raises
        ------
        MoireioError
            If the calculation has no such species or orbital.
        """
        for species, orbitals in projections.items():
            if species not in structure.species_names:
                known = ", ".join(structure.species_names)
                raise MoireioError(
                    f"has no species {species}", path=label, remedy=f"its species are {known}"
                )
            if not orbitals:
                raise MoireioError(f"no trial orbital of {species} is named", path=label)
        of_row = list(
            zip(*(v.tolist() for v in orbital_rows(structure, basis, copies)), strict=True)
        )
        where: dict[tuple[int, int, int, int], list[int]] = {}
        for row, key in enumerate(of_row):
            where.setdefault(key, []).append(row)
        atoms, rows, kinds, kept = [], [], [], []
        for atom, name in enumerate(structure.species_of_atoms):
            if name not in projections:
                continue
            kept.append(atom)
            for spin in range(copies):
                for degree, m in projections[name]:
                    mine = where.get((atom, degree, m, spin))
                    if mine is None:
                        raise MoireioError(
                            f"{name} ({basis[name].label}) has no orbital with l = {degree}, "
                            f"m = {m}",
                            path=label,
                        )
                    atoms.append(atom)
                    rows.append(np.array(mine, dtype=np.int64))
                    kinds.append((name, degree))
        names = [name for name in structure.species_names if name in projections]
        part = Structure(
            structure.cell,
            structure.positions[kept],
            structure.numbers[kept],
            [names.index(structure.species_of_atoms[atom]) for atom in kept],
            names,
            structure.pbc,
            None if structure.layer is None else structure.layer[kept],
            None if structure.magmoms is None else structure.magmoms[kept],
        )
        listed = {name: _species_basis(projections[name]) for name in names}
        return cls(
            part,
            Basis(listed, orthogonal=True),
            np.array(atoms, dtype=np.int64),
            rows,
            kinds,
            np.array(kept, dtype=np.int64),
        )

    def __len__(self) -> int:
        """Return the number of trial orbitals, spin included."""
        return len(self.rows)

    def columns(
        self,
        n_orbitals: int,
        populations: Mapping[tuple[str, int], npt.NDArray[Any]],
        overlaps: Mapping[tuple[str, int], npt.NDArray[np.float64]],
    ) -> npt.NDArray[np.float64]:
        """Return their coefficients.

        Parameters
        ----------
        n_orbitals : int
            Rows of H.
        populations : mapping of (str, int) to array
            M of each species and l.
        overlaps : mapping of (str, int) to array
            s of each species and l.

        Returns
        -------
        (n_orbitals, n) array
            Normalised.
        """
        from scipy.linalg import eigh

        best = {}
        for kind, population in populations.items():
            vector = eigh(population, overlaps[kind])[1][:, -1]
            best[kind] = vector * np.sign(vector[np.abs(vector).argmax()])
        out = np.zeros((n_orbitals, len(self)))
        for column, (mine, kind) in enumerate(zip(self.rows, self.kinds, strict=True)):
            out[mine, column] = best[kind]
        return out


def _species_basis(orbitals: Sequence[Orbital]) -> SpeciesBasis:
    """Return the basis of some orbitals: whole shells, or one l and m for each."""
    degrees = sorted({degree for degree, _ in orbitals})
    whole = [(degree, m) for degree in degrees for m in range(-degree, degree + 1)]
    if list(orbitals) == whole:
        return SpeciesBasis(tuple(degrees))
    listed = tuple(degree for degree, _ in orbitals)
    return SpeciesBasis(listed, m=tuple(m for _, m in orbitals))
