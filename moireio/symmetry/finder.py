"""The operations that a crystal has in space.

Positions are compared within a tolerance and stay as they are.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import numpy.typing as npt

from moireio.symmetry.operations import Operation, generated_operations, identity
from moireio.symmetry.rotations import axis_and_angle
from moireio.system.neighbours import reduced
from moireio.system.structure import Structure

TOLERANCE = 1e-2  # Å
PROBES = 24  # atoms that candidates are tried on first
# Anisotropic strain below which a layer counts as hexagonal.
HEXAGONAL_TOLERANCE = 3e-4


def crystal_operations(structure: Structure, tolerance: float = TOLERANCE) -> list[Operation]:
    """Find the operations that take a crystal to itself, time reversal aside.

    Parameters
    ----------
    structure : Structure
        The crystal; atoms are alike if their species are.
    tolerance : float
        How far a moved atom may lie from the one that it replaces, Å.

    Returns
    -------
    list of Operation
        The identity first; one for each rotation and each translation that is none of the lattice.
        They are a group up to lattice translations.
    """
    finder = _Finder(structure, tolerance)
    found = [identity(structure)]
    for lattice, rotation in _lattice_rotations(structure, tolerance):
        found += [
            operation
            for operation in finder.operations(lattice, rotation)
            if operation.key != found[0].key
        ]
    return _largest_group(found)


def operations_of_rotation(
    structure: Structure, lattice: npt.ArrayLike, tolerance: float = TOLERANCE
) -> list[Operation]:
    """Find the operations of a crystal with a given rotation.

    Parameters
    ----------
    structure : Structure
        The crystal.
    lattice : (3, 3) array of int
        The rotation in fractional coordinates.
    tolerance : float
        Å.

    Returns
    -------
    list of Operation
        One for each translation that is none of the lattice; the most exact first. None if the
        cell does not have this rotation.
    """
    lattice = np.asarray(lattice, dtype=np.int64)
    rotation = _cartesian(upright_cell(structure), lattice)
    if rotation is None:
        return []
    return _Finder(structure, tolerance).operations(lattice, rotation)


def threefold_lattice(structure: Structure) -> npt.NDArray[np.int64] | None:
    """Return the turn by 120° of a hexagonal layer, counter-clockwise seen from +z.

    Parameters
    ----------
    structure : Structure
        Periodic along two vectors.

    Returns
    -------
    (3, 3) array of int, or None
        In fractional coordinates; None if the cell does not have it.
    """
    pbc = structure.pbc
    if pbc.sum() != 2:
        return None
    for lattice, rotation in _lattice_rotations(structure, TOLERANCE):
        axis, angle = axis_and_angle(rotation)
        if np.linalg.det(rotation) > 0 and abs(angle - 2 * np.pi / 3) < 1e-3 and axis[2] > 0.99:
            return lattice
    return None


def _cartesian(
    cell: npt.NDArray[np.float64], lattice: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64] | None:
    """Return the orthogonal matrix of a rotation of the lattice; None where it is a strain too."""
    turn = cell.T @ lattice @ np.linalg.inv(cell.T)
    u, stretches, vt = np.linalg.svd(turn)
    if np.ptp(stretches) > 2 * HEXAGONAL_TOLERANCE:
        return None
    return np.asarray(u @ vt)


def _lattice_rotations(
    structure: Structure, tolerance: float
) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]]:
    """Yield the operations of O(3) that take the lattice to itself, fractional and Cartesian."""
    cell, pbc = upright_cell(structure), structure.pbc
    periodic, is_open = np.flatnonzero(pbc), np.flatnonzero(~pbc)
    change = np.eye(3, dtype=np.int64)
    change[np.ix_(periodic, periodic)] = reduced(cell[periodic])
    cell = change @ cell
    back = np.rint(np.linalg.inv(change)).astype(np.int64)
    lengths = np.linalg.norm(cell, axis=1)
    reach = 1 if len(periodic) == 3 else 2
    entries = list(product(range(-reach, reach + 1), repeat=len(periodic)))
    columns = []
    for axis in periodic:  # images of each vector that are as long as it
        images = np.array(entries) @ cell[periodic]
        alike = np.abs(np.linalg.norm(images, axis=1) / lengths[axis] - 1) < 1e-3
        columns.append(np.array(entries)[alike])
    for choice in product(*columns):
        block = np.stack(choice, axis=1) if len(periodic) else np.zeros((0, 0), dtype=int)
        if len(periodic) and abs(round(np.linalg.det(block))) != 1:
            continue
        for signs in product((1, -1), repeat=len(is_open)):
            lattice = np.zeros((3, 3), dtype=np.int64)
            lattice[np.ix_(periodic, periodic)] = block
            lattice[is_open, is_open] = signs
            rotation = _cartesian(cell, lattice)
            if rotation is not None:
                yield change.T @ lattice @ back.T, rotation


def upright_cell(structure: Structure) -> npt.NDArray[np.float64]:
    """Return the cell with vectors along open axes at right angles to all others.

    Parameters
    ----------
    structure : Structure
        The crystal.

    Returns
    -------
    (3, 3) array
        Å; the vectors along periodic axes are those of the structure.
    """
    cell, pbc = structure.cell.copy(), structure.pbc
    if pbc.all():
        return cell
    normals = np.linalg.svd(cell[pbc], full_matrices=True)[2][pbc.sum() :]
    for normal, axis in zip(normals, np.flatnonzero(~pbc), strict=True):
        length = np.linalg.norm(cell[axis])
        cell[axis] = normal * length * (1 if normal @ cell[axis] >= 0 else -1)
    return cell


class _Finder:
    """Finds translations that complete rotations to operations of a crystal."""

    def __init__(self, structure: Structure, tolerance: float) -> None:
        from scipy.spatial import cKDTree

        self._structure, self._tolerance = structure, tolerance
        self._cell, pbc = upright_cell(structure), structure.pbc
        self._inverse = np.linalg.inv(self._cell)
        fractional = structure.positions @ self._inverse
        # open axes: one period holds all atoms, and more room than the tolerance
        span = np.ptp(fractional, axis=0) if len(fractional) else np.zeros(3)
        self._period = np.where(pbc, 1.0, 4 * span + 1.0)
        self._scale = np.linalg.norm(self._cell, axis=1)
        self._trees, self._members = [], []
        for kind in range(len(structure.species_names)):
            members = np.flatnonzero(structure.species == kind)
            points = self._folded(fractional[members])
            self._members.append(members)
            box = self._period * self._scale
            self._trees.append(cKDTree(points, boxsize=box) if len(members) else None)
        counts = [len(m) or len(structure) + 1 for m in self._members]
        self._rarest = int(np.argmin(counts))
        rng = np.random.default_rng(0)
        count = len(structure)
        self._probes = rng.choice(count, min(PROBES, count), replace=False)

    def _folded(self, fractional: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        folded = fractional % self._period % self._period
        return np.asarray(folded * self._scale)

    def _nearest(
        self, moved: npt.NDArray[np.float64], species: npt.NDArray[np.integer]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the nearest atom of the same species, and its distance; Cartesian points."""
        fractional = moved @ self._inverse
        atoms = np.zeros(len(moved), dtype=np.int64)
        for kind in np.unique(species):
            here = np.flatnonzero(species == kind)
            _, nearest = self._trees[kind].query(self._folded(fractional[here]))
            atoms[here] = self._members[kind][nearest]
        gap = (moved - self._structure.positions[atoms]) @ self._inverse
        gap = (gap - self._cells(gap)) @ self._cell
        return atoms, np.linalg.norm(gap, axis=1)

    def _cells(self, gap: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return the lattice translations in gaps, fractional."""
        return np.rint(gap) * self._structure.pbc

    def operations(
        self, lattice: npt.NDArray[np.int64], rotation: npt.NDArray[np.float64]
    ) -> list[Operation]:
        """Return the operations with a rotation, the most exact first."""
        positions, species = self._structure.positions, self._structure.species
        pbc = self._structure.pbc
        rarest = self._members[self._rarest]
        turned = positions @ rotation.T
        translations = positions[rarest] - turned[rarest[0]]
        # along open axes the mean stays
        mean = (positions.mean(axis=0) - turned.mean(axis=0)) @ self._inverse
        fractional = translations @ self._inverse
        off = (fractional - mean) * ~pbc @ self._cell
        alive = np.linalg.norm(off, axis=1) < 2 * self._tolerance
        fractional[:, ~pbc] = mean[~pbc]
        translations = (fractional @ self._cell)[alive]
        for probe in self._probes:
            if not len(translations):
                return []
            moved = turned[probe] + translations
            _, distance = self._nearest(moved, np.full(len(moved), species[probe]))
            translations = translations[distance < 2 * self._tolerance]
        found: list[Operation] = []
        for translation in translations:
            operation = self._complete(lattice, rotation, turned, translation)
            if operation is not None:
                found.append(operation)
        found.sort(key=lambda o: o.error)
        distinct: dict[bytes, Operation] = {}
        for operation in found:
            distinct.setdefault(operation.key, operation)
        return list(distinct.values())

    def _complete(
        self,
        lattice: npt.NDArray[np.int64],
        rotation: npt.NDArray[np.float64],
        turned: npt.NDArray[np.float64],
        translation: npt.NDArray[np.float64],
    ) -> Operation | None:
        """Return an operation whose translation fits all atoms best, or None."""
        structure = self._structure
        atoms, _ = self._nearest(turned + translation, structure.species)
        if len(np.unique(atoms)) != len(atoms):
            return None
        gap = turned + translation - structure.positions[atoms]
        cells = self._cells(gap @ self._inverse)
        rest = gap - cells @ self._cell
        mean = rest.mean(axis=0)
        error = float(np.linalg.norm(rest - mean, axis=1).max(initial=0))
        if error > self._tolerance:
            return None
        return Operation(
            rotation, lattice, translation - mean, atoms, cells.astype(np.int64), error
        )


def _largest_group(found: list[Operation]) -> list[Operation]:
    """Return operations that are a group: all, or those that the most exact of them generate."""
    keys = {o.key for o in found}
    if all((a @ b).key in keys for a in found for b in found):
        return found
    group = found[:1]
    for operation in sorted(found[1:], key=lambda o: o.error):
        if operation.key in {o.key for o in group}:
            continue
        larger = generated_operations([*group[1:], operation])
        if {o.key for o in larger} <= keys:
            group = larger
    return group
