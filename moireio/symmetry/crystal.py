"""Symmetry operations of a crystal, acting on k points and atoms.

An operation x → W x + t of the crystal (fractional coordinates) turns k into W⁻ᵀ k. Time reversal
turns k into −k.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.system.structure import Structure

SYMPREC = 5e-3  # Å
VACUUM = 20.0  # Å
HIGHEST_ORDER = 12


@dataclass(frozen=True, eq=False)
class Symmetry:
    """One operation, as it acts on k points and atoms.

    Parameters
    ----------
    rotation : (3, 3) array of int
        k' = rotation @ k in fractional coordinates of the reciprocal cell, the sign of time
        reversal included.
    atoms : (N,) array of int
        Atom a goes to atom ``atoms[a]``.
    time_reversal : bool
        Whether time reversal is part of the operation, so that spins turn round.
    spatial : bool
        Whether space is turned or mirrored; time reversal alone does neither.
    """

    rotation: npt.NDArray[np.int64]
    atoms: npt.NDArray[np.int64]
    time_reversal: bool = False
    spatial: bool = False


def identity(structure: Structure) -> Symmetry:
    """Return the identity.

    Parameters
    ----------
    structure : Structure
        The crystal.

    Returns
    -------
    Symmetry
        Every k point and every atom stays.
    """
    return Symmetry(np.eye(3, dtype=int), np.arange(len(structure)))


def point_group(structure: Structure, symprec: float = SYMPREC) -> list[Symmetry]:
    """Find the operations of a crystal that act on its k points.

    Along axes that are not periodic the atoms are put into a large vacuum, so that repeated
    images make no symmetry; operations that mix these axes with periodic ones are left out.

    Parameters
    ----------
    structure : Structure
        The crystal; atoms are alike if their species are.
    symprec : float
        Tolerance of positions, Å.

    Returns
    -------
    list of Symmetry
        A group, the identity first; one operation for each distinct rotation of k.
    """
    import spglib

    pbc = structure.pbc
    cell = _with_vacuum(structure)
    fractional = structure.positions @ np.linalg.inv(cell)
    fractional[:, ~pbc] += 0.5 - fractional[:, ~pbc].mean(axis=0)
    crystal: Any = (cell, fractional, structure.species)
    space_group = spglib.get_symmetry(crystal, symprec=symprec)
    operations = [identity(structure)]
    if space_group is None:
        return operations
    seen = {operations[0].rotation.tobytes()}
    upright = np.eye((~pbc).sum(), dtype=int)

    def turns_over(operation: Any) -> bool:
        return bool((operation[0][np.ix_(~pbc, ~pbc)] != upright).any())

    # Of two operations with the same effect on k, keep the one that leaves the layer upright.
    pairs = zip(space_group["rotations"], space_group["translations"], strict=True)
    for rotation, translation in sorted(pairs, key=turns_over):
        if rotation[np.ix_(pbc, ~pbc)].any() or rotation[np.ix_(~pbc, pbc)].any():
            continue
        rotation_of_k = np.rint(np.linalg.inv(rotation).T).astype(int)
        # Along axes without k points the effect does not matter.
        rotation_of_k[np.ix_(~pbc, ~pbc)] = upright
        if rotation_of_k.tobytes() in seen:
            continue
        moved = fractional @ rotation.T + translation
        atoms = _match(moved, fractional, cell, structure.species, 3 * symprec)
        if atoms is None:
            continue
        seen.add(rotation_of_k.tobytes())
        operations.append(Symmetry(rotation_of_k, atoms, spatial=True))
    return operations if _is_group(operations) else operations[:1]


def _with_vacuum(structure: Structure) -> npt.NDArray[np.float64]:
    """Return a cell whose vectors along open axes are long and at right angles to the others."""
    cell, pbc = structure.cell.copy(), structure.pbc
    if pbc.all():
        return cell
    vt = np.linalg.svd(cell[pbc], full_matrices=True)[2]
    normals = vt[pbc.sum() :]
    heights = structure.positions @ normals.T
    spans = np.ptp(heights, axis=0) if len(heights) else np.zeros(len(normals))
    # lengths differ, so that the box itself has no symmetry of its own
    cell[~pbc] = normals * (spans + VACUUM * (1 + 0.37 * np.arange(len(normals))))[:, None]
    return cell


def _match(
    moved: npt.NDArray[np.float64],
    fractional: npt.NDArray[np.float64],
    cell: npt.NDArray[np.float64],
    species: npt.NDArray[np.int32],
    tolerance: float,
) -> npt.NDArray[np.int64] | None:
    """Return which atom every moved atom lies on, or None if one lies on none."""
    from scipy.spatial import cKDTree

    wrapped = fractional % 1.0 % 1.0
    _, nearest = cKDTree(wrapped, boxsize=1.0).query(moved % 1.0 % 1.0)
    gap = moved - fractional[nearest]
    gap = (gap - np.rint(gap)) @ cell
    close = np.linalg.norm(gap, axis=1).max(initial=0) < tolerance
    alike = (species[nearest] == species).all()
    return nearest if close and alike and len(np.unique(nearest)) == len(species) else None


def _is_group(operations: Sequence[Symmetry]) -> bool:
    keys = {o.rotation.tobytes() for o in operations}
    return all((a.rotation @ b.rotation).tobytes() in keys for a in operations for b in operations)


def with_time_reversal(operations: Sequence[Symmetry]) -> list[Symmetry]:
    """Return operations together with their products with time reversal.

    Parameters
    ----------
    operations : sequence of Symmetry
        A group without time reversal.

    Returns
    -------
    list of Symmetry
        Twice as many.
    """
    reversed_ = [
        Symmetry(-o.rotation, o.atoms, time_reversal=True, spatial=o.spatial) for o in operations
    ]
    return [*operations, *reversed_]


def generators(operations: Sequence[Symmetry]) -> list[Symmetry]:
    """Return a few operations that generate a group.

    Parameters
    ----------
    operations : sequence of Symmetry
        A group, the identity first.

    Returns
    -------
    list of Symmetry
        Generators; the identity is not among them.
    """
    chosen: list[Symmetry] = []
    reached = {operations[0].rotation.tobytes()}
    # rotations of high order first: they generate most of the others
    for operation in sorted(operations, key=lambda o: -_order(o.rotation)):
        if operation.rotation.tobytes() not in reached:
            chosen.append(operation)
            group = generated_group(operations[0], chosen)
            reached = {o.rotation.tobytes() for o in group}
    return chosen


def generated_group(identity: Symmetry, operations: Sequence[Symmetry]) -> list[Symmetry]:
    """Return the group that some operations generate.

    Parameters
    ----------
    identity : Symmetry
        The identity.
    operations : sequence of Symmetry
        Generators, without time reversal.

    Returns
    -------
    list of Symmetry
        The identity first. No two members have the same effect on k; each is a product of the
        generators, atoms included.
    """
    members = {identity.rotation.tobytes(): identity}
    waiting = [identity]
    while waiting:
        first = waiting.pop()
        for second in operations:
            rotation = second.rotation @ first.rotation
            if rotation.tobytes() not in members:
                product = Symmetry(rotation, second.atoms[first.atoms], spatial=True)
                members[rotation.tobytes()] = product
                waiting.append(product)
    return list(members.values())


def _order(rotation: npt.NDArray[np.int64]) -> int:
    """Return the smallest n with rotationⁿ = 1, or 0 if there is none up to `HIGHEST_ORDER`."""
    power = rotation
    for n in range(1, HIGHEST_ORDER + 1):
        if (power == np.eye(3)).all():
            return n
        power = power @ rotation
    return 0
