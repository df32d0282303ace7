"""Point groups: names, character tables made from the operations, and labels of irreps.

Tables come from the class algebra (Burnside's method), for single-valued representations and, with
spin, for double-valued ones, so that they need no data. Labels are Mulliken's; those of
double-valued representations are E1/2, E3/2 … by the angular momentum about the main axis
(Altmann and Herzig, 1994).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.symmetry.rotations import axis_and_angle, rotated_spin

SCHOENFLIES = {
    **{"1": "C1", "-1": "Ci", "2": "C2", "m": "Cs", "2/m": "C2h", "222": "D2", "mm2": "C2v"},
    **{"mmm": "D2h", "4": "C4", "-4": "S4", "4/m": "C4h", "422": "D4", "4mm": "C4v"},
    **{"-42m": "D2d", "4/mmm": "D4h", "3": "C3", "-3": "S6", "32": "D3", "3m": "C3v"},
    **{"-3m": "D3d", "6": "C6", "-6": "C3h", "6/m": "C6h", "622": "D6", "6mm": "C6v"},
    **{"-6m2": "D3h", "-62m": "D3h", "6/mmm": "D6h", "23": "T", "m-3": "Th", "432": "O"},
    **{"-43m": "Td", "m-3m": "Oh"},
}
SAME = 1e-6


@dataclass(frozen=True, eq=False)
class PointGroup:
    """A point group and its irreducible representations.

    Parameters
    ----------
    rotations : (n, 3, 3) array
        Cartesian operations, the identity first.
    lattice : (n, 3, 3) array of int
        The same in fractional coordinates.
    spinor : bool
        Whether representations are the double-valued ones.
    """

    rotations: npt.NDArray[np.float64]
    lattice: npt.NDArray[np.int64]
    spinor: bool

    @property
    def name(self) -> str:
        """Schoenflies' symbol and, in parentheses, that of Hermann and Mauguin."""
        import spglib

        found = spglib.get_pointgroup(self.lattice)
        assert found is not None
        symbol = found[0].strip()
        return f"{SCHOENFLIES[symbol]} ({symbol})"

    @cached_property
    def irreps(self) -> tuple[npt.NDArray[np.complex128], list[str]]:
        """Characters (irreps, n) of each operation, and labels."""
        count = len(self.rotations)
        spins = np.array([rotated_spin(g) for g in self.rotations])
        signs = (1, -1) if self.spinor else (1,)
        size = count * len(signs)
        product = np.empty((size, size), dtype=np.int64)
        for a in range(size):
            for b in range(size):
                g = self.rotations[a % count] @ self.rotations[b % count]
                which = int(np.abs(self.rotations - g).max(axis=(1, 2)).argmin())
                if self.spinor:
                    u = spins[a % count] @ spins[b % count] * signs[a // count] * signs[b // count]
                    same = np.abs(spins[which] - u).max() < 1e-3
                    which += 0 if same else count
                product[a, b] = which
        table = _characters(product)
        barred = table[:, count] if self.spinor else table[:, 0]
        kept = np.abs(barred + table[:, 0]) < SAME if self.spinor else np.ones(len(table), bool)
        characters = table[kept][:, :count]
        labels = _labels(self, characters)
        rest = np.round(characters[:, 1:].real.sum(axis=1), 6)
        order = np.lexsort([labels, -rest, np.rint(characters[:, 0].real)])
        return characters[order], [labels[at] for at in order]

    def decompose(self, characters: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], float]:
        """Return how often each irrep is in a representation, and how far it is from their sum.

        Parameters
        ----------
        characters : (n,) array of complex
            Traces of each operation.

        Returns
        -------
        multiplicities : (irreps,) array
            Real numbers, whole where the symmetry is exact.
        deviation : float
            Largest difference of a character from that of the nearest sum of irreps.
        """
        own = np.asarray(characters)
        table, _ = self.irreps
        times = (table.conj() @ own).real / len(own)
        return times, float(np.abs(own - np.rint(times) @ table).max())


def _characters(product: npt.NDArray[np.int64]) -> npt.NDArray[np.complex128]:
    """Return the characters (irreps, elements) of a group from its multiplication table."""
    size = len(product)
    inverse = np.argmax(product == 0, axis=1)
    classes: list[npt.NDArray[np.int64]] = []
    of = np.full(size, -1)
    for a in range(size):
        if of[a] < 0:
            members = np.unique(product[product[np.arange(size), a], inverse])
            of[members] = len(classes)
            classes.append(members)
    count = len(classes)
    # c_i c_j = Σ_k h_ijk c_k; the central characters are common eigenvalues of the h_i
    rng = np.random.default_rng(0)
    weights = rng.normal(size=count)
    matrix = np.zeros((count, count))
    for i, members in enumerate(classes):
        for j, others in enumerate(classes):
            found = of[product[np.ix_(members, others)].ravel()]
            counts = np.bincount(found, minlength=count) / np.array([len(c) for c in classes])
            matrix[j] += weights[i] * counts
    _, vectors = np.linalg.eig(matrix)
    sizes = np.array([len(c) for c in classes])
    central = vectors / vectors[of[0]]  # χ(c) |c| / χ(1), by class
    ratio = central.T / sizes
    dimension = np.sqrt(size / (sizes * np.abs(ratio) ** 2).sum(axis=1))
    table = ratio * dimension[:, None]
    return np.asarray(table[:, of])


def _labels(group: PointGroup, characters: npt.NDArray[np.complex128]) -> list[str]:
    """Return labels of irreps."""
    marks = _Marks(group.rotations)
    texts = []
    for chi in characters:
        texts.append(marks.spin(chi) if group.spinor else marks.mulliken(chi))
    # what is still the same gets a number
    out = list(texts)
    ranks = [marks.rank(chi) for chi in characters]
    for text in {t for t in texts if texts.count(t) > 1}:
        alike = [at for at, other in enumerate(texts) if other == text]
        for number, at in enumerate(sorted(alike, key=ranks.__getitem__), 1):
            out[at] = f"{number}{text}"
    return out


class _Marks:
    """The operations of a group by which irreps are labelled."""

    def __init__(self, rotations: npt.NDArray[np.float64]) -> None:
        self.main: int | None = None
        self.order = 1
        self.inversion = self.mirror = self.second = None
        kinds = []
        for at, g in enumerate(rotations):
            axis, angle = axis_and_angle(g)
            proper = np.linalg.det(g) > 0
            kinds.append((proper, axis, angle))
            turns = round(2 * np.pi / angle) if angle > 1e-3 else 1
            forward = axis[2] > 1e-6 or (abs(axis[2]) < 1e-6 and tuple(axis[1::-1]) > (0, 0))
            better = turns > self.order or (turns == self.order > 1 and abs(axis[2]) > 0.99)
            if proper and forward and better and (turns > self.order or self._flat(kinds)):
                self.main, self.order = at, turns
        for at, (proper, axis, angle) in enumerate(kinds):
            quarter = not proper and abs(angle - np.pi / 2) < 1e-3
            if self.order == 2 and quarter and axis[np.abs(axis).argmax()] > 0:
                self.main, self.order = at, 4  # S4 and D2d
        main = kinds[self.main][1] if self.main is not None else np.array([0.0, 0, 1])
        best: tuple[Any, ...] = ()
        for at, (proper, axis, angle) in enumerate(kinds):
            along = self.main is None or abs(axis @ main) > 0.99
            if not proper and angle < 1e-3:
                self.inversion = at
            elif not proper and abs(angle - np.pi) < 1e-3 and along:
                self.mirror = at
            elif abs(angle - np.pi) < 1e-3 and abs(axis @ main) < 1e-2:
                # axes before mirrors, and of these the one that holds x, or is nearest to it
                place = proper, round(abs(axis[0 if proper else 1]), 3), *np.round(axis, 3)
                if self.second is None or place > best:
                    self.second, best = at, place
        self.three_axes = self.order == 2 and bool(best) and bool(best[0])  # D2 and D2h
        places = [(round(angle, 3), proper, *np.round(axis, 3)) for proper, axis, angle in kinds]
        rest = sorted(range(len(kinds)), key=places.__getitem__)
        self._sequence = [at for at in (self.main, self.mirror) if at is not None] + rest

    def rank(self, chi: npt.NDArray[np.complex128]) -> tuple[list[float], list[float]]:
        """Return by what irreps of one label are numbered, whatever the order of operations.

        Complex conjugates follow each other, first the one of positive angular momentum.
        """
        own, conjugate = (
            [round(float(np.angle(c * np.exp(-1e-4j))), 2) for c in values[self._sequence]]
            for values in (chi, chi.conj())
        )
        return min(own, conjugate), own

    def _flat(self, kinds: Sequence[Any]) -> bool:
        """Return whether the main axis so far is not z."""
        return self.main is None or abs(kinds[self.main][1][2]) < 0.99

    def mulliken(self, chi: npt.NDArray[np.complex128]) -> str:
        """Return Mulliken's label of a single-valued irrep."""
        dimension = round(chi[0].real)
        sign = chi[self.main] / dimension if self.main is not None else 1.0
        if dimension == 1:
            real = abs(sign.imag if isinstance(sign, complex) else np.imag(sign)) < 1e-6
            letter = ("A" if np.real(sign) > 0 else "B") if real else "E"
            number = ""
            if real and self.second is not None:
                number = "1" if chi[self.second].real > 0 else "2"
            if self.three_axes:  # B1, B2, B3 are even about the axes z, y, x
                even = bool(np.real(sign) > 0), bool(chi[self.second].real > 0)
                return {(True, True): "A", (True, False): "B1", (False, False): "B2"}.get(
                    even, "B3"
                ) + self._parity(chi)
        else:
            letter, number = {2: "E", 3: "T"}.get(dimension, "?"), ""
            if letter == "E" and self.order in (5, 6):
                number = "1" if chi[self.main].real > 0 else "2"
            if letter == "T" and self.second is not None:
                number = "1" if chi[self.second].real > 0 else "2"
        if dimension == 1 and letter == "E" and self.order == 6:
            number = "1" if np.real(sign) > 0 else "2"
        return letter + number + self._parity(chi)

    def spin(self, chi: npt.NDArray[np.complex128]) -> str:
        """Return the label of a double-valued irrep."""
        dimension = round(chi[0].real)
        j = 1
        if self.main is not None:
            turns = np.angle(chi[self.main]) if dimension == 1 else None
            if dimension == 1:
                j = round(abs(float(turns or 0)) * self.order / np.pi)
            elif self.order > 2:
                values = [2 * np.cos(np.pi * m / self.order) for m in (1, 3, 5)]
                j = (1, 3, 5)[int(np.abs(np.array(values) - chi[self.main].real).argmin())]
        letter = {1: "E", 2: "E", 4: "F"}.get(dimension, "?")
        if dimension == 1 and np.abs(chi.imag).max() < 1e-6:
            letter = "A"
        return f"{letter}{j}/2" + self._parity(chi, spin=True)

    def _parity(self, chi: npt.NDArray[np.complex128], spin: bool = False) -> str:
        if self.inversion is not None:
            return "g" if chi[self.inversion].real > 0 else "u"
        if self.mirror is not None and not spin and abs(chi[self.mirror].imag) < 1e-6:
            return "'" if chi[self.mirror].real > 0 else "''"
        return ""


def common_origin(
    rotations: Sequence[npt.NDArray[np.float64]],
    translations: Sequence[npt.NDArray[np.float64]],
    cell: npt.NDArray[np.float64],
    periodic: npt.NDArray[np.bool_],
    tolerance: float = 0.1,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]] | None:
    """Find a point that all operations of a group keep, up to lattice translations.

    Parameters
    ----------
    rotations, translations : sequences of (3, 3) and (3,) arrays
        x → g x + t, Å.
    cell : (3, 3) array
        Å.
    periodic : (3,) array of bool
        Along which lattice vectors.
    tolerance : float
        Å.

    Returns
    -------
    origin : (3,) array
        Å, the one nearest to the origin among those found.
    cells : (n, 3) array of int
        Lattice translations that make each operation one about the origin.

    None if there is no such point: the group is not symmorphic.
    """
    inverse = np.linalg.inv(cell)
    axes = np.flatnonzero(periodic)
    steps = np.array(list(np.ndindex(*(3,) * len(axes)))) - 1
    chosen = _generators(rotations)
    best: tuple[float, npt.NDArray[np.float64], npt.NDArray[np.int64]] | None = None
    for combination in np.ndindex(*(len(steps),) * len(chosen)):
        rows, values = [], []
        for at, step in zip(chosen, combination, strict=True):
            shift = np.zeros(3)
            shift[axes] = steps[step]
            rows.append(np.eye(3) - rotations[at])
            inside = translations[at] @ inverse
            inside -= np.rint(inside) * periodic
            values.append((inside + shift) @ cell)
        origin = np.zeros(3)
        if rows:
            matrix, target = np.concatenate(rows), np.concatenate(values)
            origin[:] = np.linalg.lstsq(matrix, target, rcond=1e-6)[0]
            if np.abs(matrix @ origin - target).max() > tolerance:
                continue
        needed = [
            ((np.eye(3) - g) @ origin - t) @ inverse
            for g, t in zip(rotations, translations, strict=True)
        ]
        cells = np.rint(needed)
        rest = np.array(needed) - cells
        outside = np.abs(cells[:, ~periodic]).max(initial=0) > 0
        if outside or np.abs(rest @ cell).max() > tolerance:
            continue
        distance = float(np.linalg.norm(origin @ inverse * periodic @ cell))
        if best is None or distance < best[0] - 1e-6:
            best = (distance, origin, cells.astype(np.int64))
    return None if best is None else best[1:]


def _generators(rotations: Sequence[npt.NDArray[np.float64]]) -> list[int]:
    """Return places of a few operations that generate a group."""
    reached = [np.eye(3)]
    chosen: list[int] = []
    order = sorted(range(len(rotations)), key=lambda at: -_order(rotations[at]))
    for at in order:
        if any(np.abs(rotations[at] - g).max() < 1e-6 for g in reached):
            continue
        chosen.append(at)
        waiting = [np.eye(3)]
        reached = [np.eye(3)]
        while waiting:
            one = waiting.pop()
            for other in chosen:
                made = rotations[other] @ one
                if all(np.abs(made - g).max() > 1e-6 for g in reached):
                    reached.append(made)
                    waiting.append(made)
    return chosen


def _order(rotation: npt.NDArray[np.float64]) -> int:
    power = rotation
    for n in range(1, 13):
        if np.abs(power - np.eye(3)).max() < 1e-6:
            return n
        power = power @ rotation
    return 0
