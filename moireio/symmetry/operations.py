"""Operations of a crystal in space: their matrices, the atoms they move, and their names.

An operation x → g x + t takes atom i to atom j in the cell T: g τ_i + t = τ_j + T.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.symmetry.rotations import axis_and_angle
from moireio.system.structure import Structure

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
