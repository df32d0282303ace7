"""Operations of a crystal in space: their matrices, the atoms they move, and their names.

Positions are compared within a tolerance and stay as they are. An operation x → g x + t takes
atom i to atom j in the cell T: g τ_i + t = τ_j + T.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.symmetry.rotations import axis_and_angle
from moireio.system.structure import Structure

TOLERANCE = 1e-2  # Å
PROBES = 24  # atoms that candidates are tried on first
# Anisotropic strain below which a layer counts as hexagonal.
HEXAGONAL_TOLERANCE = 3e-4
_UPRIGHT = ("C3", "C4", "C6", "S3", "S4", "S6")  # about z without saying so


@dataclass(frozen=True, eq=False)
class Operation:
    """An operation of a crystal.

    Parameters
    ----------
    rotation : (3, 3) array
        Cartesian, orthogonal.
    lattice : (3, 3) array of int
        The same in fractional coordinates: f → lattice @ f.
    translation : (3,) array
        t, Å.
    atoms : (N,) array of int
        Atom i goes to atom ``atoms[i]``.
    cells : (N, 3) array of int
        T of each atom i.
    error : float
        Largest distance of a moved atom from the one on which it lies, Å.
    time_reversal : bool
        Whether time reversal is part of the operation.
    """

    rotation: npt.NDArray[np.float64]
    lattice: npt.NDArray[np.int64]
    translation: npt.NDArray[np.float64]
    atoms: npt.NDArray[np.int64]
    cells: npt.NDArray[np.int64]
    error: float = 0.0
    time_reversal: bool = False

    @property
    def is_proper(self) -> bool:
        """Whether it keeps handedness."""
        return bool(np.linalg.det(self.rotation) > 0)

    @property
    def order(self) -> int:
        """The smallest n for which the rotation, n times, does nothing."""
        power = np.eye(3, dtype=np.int64)
        for n in range(1, 13):
            power = power @ self.lattice
            if (power == np.eye(3)).all():
                return n
        raise MoireioError("the operation has no finite order")

    @property
    def name(self) -> str:
        """Schoenflies' symbol with the axis, as C3, C2x, Mz, C2(15°), C2zT, and T."""
        name = _spatial_name(self.rotation)
        if self.time_reversal:
            return "T" if name == "E" else name + "T"
        return name

    def of_k(self, k: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the k point to which it takes another.

        Parameters
        ----------
        k : (..., 3) array
            Fractional.

        Returns
        -------
        (..., 3) array
            Fractional.
        """
        turned = np.asarray(k, dtype=float) @ np.linalg.inv(self.lattice)
        return -turned if self.time_reversal else turned

    def __matmul__(self, first: "Operation") -> "Operation":
        """Return the operation that does `first`, then this one."""
        return Operation(
            self.rotation @ first.rotation,
            self.lattice @ first.lattice,
            self.rotation @ first.translation + self.translation,
            self.atoms[first.atoms],
            self.cells[first.atoms] + first.cells @ self.lattice.T,
            self.error + first.error,
            self.time_reversal != first.time_reversal,
        )

    def shifted(self, cell: npt.ArrayLike, structure: Structure) -> "Operation":
        """Return the operation followed by a lattice translation.

        Parameters
        ----------
        cell : (3,) array of int
            In lattice vectors.
        structure : Structure
            The crystal.

        Returns
        -------
        Operation
            The same rotation about another centre.
        """
        cell = np.asarray(cell, dtype=np.int64)
        return replace(
            self, translation=self.translation + cell @ structure.cell, cells=self.cells + cell
        )

    @property
    def key(self) -> bytes:
        """A key that is the same for operations that differ by a lattice translation only."""
        fix = self.atoms.astype(np.int64).tobytes()
        return self.lattice.tobytes() + fix + bytes([self.time_reversal])


def identity(structure: Structure) -> Operation:
    """Return the identity.

    Parameters
    ----------
    structure : Structure
        The crystal.

    Returns
    -------
    Operation
        E.
    """
    return _identity(len(structure))


def _identity(count: int) -> Operation:
    return Operation(
        np.eye(3),
        np.eye(3, dtype=np.int64),
        np.zeros(3),
        np.arange(count),
        np.zeros((count, 3), dtype=np.int64),
    )


def time_reversal(structure: Structure) -> Operation:
    """Return time reversal, T = −iσ_y K or K.

    Parameters
    ----------
    structure : Structure
        The crystal.

    Returns
    -------
    Operation
        T.
    """
    return replace(identity(structure), time_reversal=True)


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
    rotation = _cartesian(structure.cell, lattice)
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


def generated_operations(operations: Sequence[Operation]) -> list[Operation]:
    """Return the group that operations generate, up to lattice translations.

    Parameters
    ----------
    operations : sequence of Operation
        At least one.

    Returns
    -------
    list of Operation
        The identity first.
    """
    unit = _identity(len(operations[0].atoms))
    members, waiting = {unit.key: unit}, [unit]
    while waiting:
        one = waiting.pop()
        for other in operations:
            made = other @ one
            if made.key not in members:
                members[made.key] = made
                waiting.append(made)
    return list(members.values())


def chosen_operations(available: Sequence[Operation], names: Iterable[str]) -> list[Operation]:
    """Return the operations that a user names.

    Parameters
    ----------
    available : sequence of Operation
        A group, with time reversal where it may be chosen.
    names : iterable of str
        Such as C3, C2x, C2z, Mz, I, T. For half turns and mirrors with axes in the plane, x and y
        also stand for the axis that is nearest.

    Returns
    -------
    list of Operation
        One for each name.

    Raises
    ------
    MoireioError
        If the crystal has no such operation.
    """
    chosen = []
    for name in names:
        name = name[:-1] if name[-1:].lower() == "z" and name[:2].upper() in _UPRIGHT else name
        exact = [o for o in available if o.name.lower() == name.lower()]
        found = min(exact, key=lambda o: o.error, default=None) or _nearest(available, name)
        if found is None:
            known = ", ".join(dict.fromkeys(o.name for o in available if o.name != "E"))
            raise MoireioError(
                f"the crystal has no operation {name}",
                remedy=f"it has {known or 'none'}; a larger `position_tolerance` may find more",
            )
        chosen.append(found)
    return chosen


def _nearest(available: Sequence[Operation], name: str) -> Operation | None:
    """Return the half turn or mirror whose axis in the plane is nearest to x or y."""
    reverses = name.upper().endswith("T") and len(name) > 1
    stem = name[:-1] if reverses else name
    if stem[:-1].upper() not in ("C2", "M") or stem[-1:] not in ("x", "y"):
        return None
    target = 0.0 if stem[-1] == "x" else 90.0
    best = None
    for operation in available:
        axis, angle = axis_and_angle(operation.rotation)
        alike = abs(angle - np.pi) < 1e-3 and abs(axis[2]) < 1e-2
        alike = alike and operation.is_proper == (stem[0].upper() == "C")
        if not alike or operation.time_reversal != reverses:
            continue
        off = abs((_direction(axis) - target + 90) % 180 - 90)
        if best is None or off < best[0] - 1e-6:
            best = (off, operation)
    return best[1] if best else None


def _direction(axis: npt.NDArray[np.float64]) -> float:
    """Return the angle of an axis in the plane from x, degrees, from 0 to 180."""
    return float(np.degrees(np.arctan2(axis[1], axis[0])) % 180)


def _spatial_name(rotation: npt.NDArray[np.float64]) -> str:
    """Return the name of an operation of O(3)."""
    axis, angle = axis_and_angle(rotation)
    proper = np.linalg.det(rotation) > 0
    if angle < 1e-3:
        return "E" if proper else "I"
    turns = round(360 / float(np.degrees(angle)) * 1e6) / 1e6
    if not proper:  # −1 times a turn by θ is a mirror and a turn by θ − 180°
        if abs(turns - 2) < 1e-2:
            return "M" + _axis_name(axis, half=True)
        turns = 360 / (180 - float(np.degrees(angle)))
        axis = -axis
    letter = "C" if proper else "S"
    order = round(turns)
    name = f"{letter}{order}"
    if abs(turns - 2) < 1e-2:
        return name + _axis_name(axis, half=True)
    upright = abs(abs(axis[2]) - 1) < 1e-3
    text = "" if upright else _axis_name(axis * np.sign(axis[np.abs(axis).argmax()]))
    backwards = axis[2] < -1e-6 if upright else axis[np.abs(axis).argmax()] < 0
    return f"{name}{text}^-1" if backwards else f"{name}{text}"


def _axis_name(axis: npt.NDArray[np.float64], half: bool = False) -> str:
    """Return the name of an axis: x, y, z, an angle in the plane from x, or components."""
    for letter, unit in zip("xyz", np.eye(3), strict=True):
        if abs(axis @ unit) > np.cos(np.radians(0.05)):
            return letter
    if abs(axis[2]) < 1e-2:
        direction = _direction(axis) if half else float(np.degrees(np.arctan2(axis[1], axis[0])))
        return f"({direction:.4g}°)"
    return "(" + ",".join(f"{v:.3g}" for v in axis) + ")"


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
                yield lattice, rotation


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


def cyclic(operation: Operation) -> list[Operation]:
    """Return the powers of an operation, the identity first.

    Parameters
    ----------
    operation : Operation
        Any.

    Returns
    -------
    list of Operation
        A group up to lattice translations.
    """
    return generated_operations([operation])
