"""Atoms and orbitals of WannierTools' projectors, and which rows of its matrices are which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from moireio.formats.assembly.elements import OrbitalMap
from moireio.formats.wanniertools.wt_in import ORBITALS, WtIn
from moireio.operators.blocks import block_offsets
from moireio.system.basis import Basis, SpeciesBasis
from moireio.system.structure import Structure

NAME_OF = {place: name for name, place in ORBITALS.items()}


def system_of(
    wt: WtIn, *, orthogonal: bool, spinful: bool
) -> tuple[Structure, Basis, OrbitalMap] | None:
    """Return the structure, the basis and the map of an input whose orbitals are all known.

    Parameters
    ----------
    wt : WtIn
        The input.
    orthogonal : bool
        Whether S = 1.
    spinful : bool
        Whether rows are all up orbitals, then all down ones, or alternate.

    Returns
    -------
    (Structure, Basis, OrbitalMap) or None
        Atoms without orbitals are left out; None where a name of an orbital is not known.
    """
    names = [name for atom in wt.orbitals for name in atom]
    if wt.cell is None or not names or not all(name in ORBITALS for name in names):
        return None
    kept = [atom for atom, orbitals in enumerate(wt.orbitals) if orbitals]
    parts = [_species([ORBITALS[name] for name in wt.orbitals[atom]]) for atom in kept]
    labels: dict[tuple[str, tuple[int, ...], tuple[int, ...] | None], str] = {}
    species: dict[str, SpeciesBasis] = {}
    of_atom = []
    for atom, (basis, _) in zip(kept, parts, strict=True):
        key = wt.names[atom], basis.l, basis.m
        if key not in labels:
            same = sum(label == wt.names[atom] for label, _, _ in labels)
            labels[key] = wt.names[atom] if not same else f"{wt.names[atom]}_{same + 1}"
            species[labels[key]] = basis
        of_atom.append(list(species).index(labels[key]))
    structure = Structure(
        cell=wt.cell,
        positions=wt.positions[kept],
        numbers=wt.numbers[kept],
        species=of_atom,
        species_names=list(species),
        pbc=[True, True, True],
    )
    sizes = np.array([basis.size for basis, _ in parts], dtype=np.int64)
    within = np.concatenate([places for _, places in parts])
    rows = np.repeat(block_offsets(sizes)[:-1], sizes) + within
    return structure, Basis(species, orthogonal), _map(rows, sizes, spinful, wt.alternating)


def _map(
    rows: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64], spinful: bool, alternating: bool
) -> OrbitalMap:
    if not spinful:
        return OrbitalMap(rows, np.ones(len(rows)), sizes)
    up = rows + np.repeat(block_offsets(sizes)[:-1], sizes)
    both = np.stack([up, up + np.repeat(sizes, sizes)], axis=1 if alternating else 0)
    return OrbitalMap(both.ravel(), np.ones(2 * len(rows)), 2 * sizes)


def _species(orbitals: Sequence[tuple[int, int]]) -> tuple[SpeciesBasis, npt.NDArray[np.int64]]:
    """Return the basis of one atom, and the place in it of each orbital as listed."""
    occurrences: dict[tuple[int, int], int] = {}
    radials: dict[tuple[int, int], dict[int, int]] = {}
    for number, (momentum, m) in enumerate(orbitals):
        zeta = occurrences.get((momentum, m), 0)
        occurrences[momentum, m] = zeta + 1
        radials.setdefault((momentum, zeta), {})[m] = number
    whole = all(len(ms) == 2 * momentum + 1 for (momentum, _), ms in radials.items())
    if not whole:  # incomplete shells keep the order in which they are listed
        momenta, numbers = zip(*orbitals, strict=True)
        return SpeciesBasis(momenta, m=numbers), np.arange(len(orbitals))
    places = np.empty(len(orbitals), dtype=np.int64)
    begin = 0
    for (momentum, _), ms in radials.items():
        for m, number in ms.items():
            places[number] = begin + m + momentum
        begin += 2 * momentum + 1
    return SpeciesBasis(tuple(momentum for momentum, _ in radials)), places


def orbital_names(basis: SpeciesBasis) -> list[str]:
    """Return WannierTools' names of the orbitals of a species, in moireio's order.

    Parameters
    ----------
    basis : SpeciesBasis
        Its shells.

    Returns
    -------
    list of str
        "s" stands for orbitals whose l and m are not known, or beyond f.
    """
    if basis.m is not None:
        momenta = basis.l if len(basis.l) == len(basis.m) else (0,) * len(basis.m)
        places = list(zip(momenta, basis.m, strict=True))
    else:
        places = [(momentum, m) for momentum in basis.l for m in range(-momentum, momentum + 1)]
    return [NAME_OF.get(place, "s") for place in places]
