"""What the parts of a ``.scfout`` say of each other: positions, cutoffs, single elements."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from moireio.errors import DamagedError
from moireio.formats.openmx.matrices import Picker
from moireio.system.basis import Basis
from moireio.system.neighbours import neighbour_list
from moireio.system.pairs import pair_name
from moireio.units import BOHR_ANGSTROM

if TYPE_CHECKING:
    from moireio.formats.openmx.scfout import Scfout

SHIFT = 5e-4  # Bohr, of a pair that overlaps as much as an orbital with itself; 5e-5 are usual
WEAK = 0.02  # norm of an overlap from which on the distance of its pair follows
MOST_PAIRS = 300_000
BORDER = 1e-4  # Å; rounding of a distance at the cutoff


def check_positions(file: Scfout) -> None:
    """Compare positions and cell with the position matrices.

    ⟨iα| r − τ_i |jβ⟩ and its partner differ by (τ_j + R − τ_i) S, so that every overlapping pair
    measures its own distance. For each atom that is done with the nearest neighbour.

    Parameters
    ----------
    file : Scfout
        The open file.

    Raises
    ------
    DamagedError
        If an atom is not where its matrices say.
    """
    header, pairs = file.header, file.pairs
    vectors = header.positions[pairs.j] + pairs.R @ header.cell - header.positions[pairs.i]
    distances = np.linalg.norm(vectors, axis=1)
    distances[(pairs.i == pairs.j) & ~pairs.R.any(axis=1)] = np.inf
    nearest = np.array(
        [
            first + int(distances[first:last].argmin())
            for first, last in zip(pairs.indptr[:-1], pairs.indptr[1:], strict=True)
        ]
    )
    nearest = nearest[np.isfinite(distances[nearest])]
    species = file.structure.species
    kinds = species[pairs.i[nearest]] * (species.max() + 1) + species[pairs.j[nearest]]
    for kind in np.unique(kinds):
        members = nearest[kinds == kind]
        rows, columns = (np.arange(header.orbitals[a[members[0]]]) for a in (pairs.i, pairs.j))
        pick = Picker(file, members, rows, columns)
        overlap = pick.stored(header.matrices_of("overlap")[0])
        norm = (overlap**2).sum(axis=(1, 2))
        with np.errstate(all="ignore"):
            found = np.column_stack(
                [
                    (overlap * (pick.stored(m) - pick.partner(m))).sum(axis=(1, 2)) / norm
                    for m in header.matrices_of("position")
                ]
            )
            gaps = np.abs(found - vectors[members]).max(axis=1)
            allowed = SHIFT / np.minimum(1.0, np.sqrt(norm))
            wrong = np.flatnonzero((norm > WEAK**2) & ~(gaps <= allowed))
        if len(wrong):
            worst = members[wrong[0]]
            name = pair_name(pairs.i[worst], pairs.j[worst], pairs.R[worst])
            raise DamagedError(
                f"{name}: positions and position matrices differ by "
                f"{gaps[wrong[0]] * BOHR_ANGSTROM:.1e} Å",
                path=file.path,
                remedy="the file is damaged; run OpenMX again",
            )


def fitting_basis(file: Scfout) -> tuple[Basis, list[str]]:
    """Return the basis with the cutoffs that fit the neighbour lists.

    OpenMX's neighbours are the atoms closer than the sum of their cutoffs, which it takes from the
    orbital files; the names of the bases only suggest them.

    Parameters
    ----------
    file : Scfout
        The open file.

    Returns
    -------
    basis : Basis
        Without the cutoffs that do not fit.
    notes : list of str
        Why.
    """
    structure, basis = file.structure, file.basis
    names = structure.species_names
    cutoffs = np.array([basis[name].cutoff or np.nan for name in names])
    bad = _unfit(file, cutoffs[:, None] + cutoffs)
    if not bad.any():
        return basis, []
    own = bad.diagonal() if bad.diagonal().any() else bad.any(axis=1)
    wrong = [name for name, unfit in zip(names, own, strict=True) if unfit]
    species = {
        name: replace(entry, cutoff=None) if name in wrong else entry
        for name, entry in basis.species.items()
    }
    listed = ", ".join(basis[name].label for name in wrong)
    return Basis(species), [
        f"the neighbours do not fit the cutoff in the name {listed}: it is left unknown"
    ]


def _unfit(file, reach):
    """Return for which pairs of species the neighbours are not the pairs within reach."""
    header, pairs, species = file.header, file.pairs, file.structure.species
    vectors = header.positions[pairs.j] + pairs.R @ header.cell - header.positions[pairs.i]
    distances = np.linalg.norm(vectors, axis=1) * BOHR_ANGSTROM
    a, b = species[pairs.i], species[pairs.j]
    kinds = len(reach) * a + b
    far = distances > reach[a, b] + BORDER
    n = len(reach) ** 2
    wrong = np.bincount(kinds[far], minlength=n) > 0
    if not wrong.any() and np.isfinite(reach).all() and len(pairs) <= MOST_PAIRS:
        onsite = (pairs.i == pairs.j) & ~pairs.R.any(axis=1)
        inside = ~onsite & (distances < reach[a, b] - BORDER)
        i, j = neighbour_list(file.structure, np.maximum(reach - BORDER, 0.0), "ij")
        there = len(reach) * species[i] + species[j]
        wrong = np.bincount(kinds[inside], minlength=n) != np.bincount(there, minlength=n)
    return wrong.reshape(reach.shape) | wrong.reshape(reach.shape).T
