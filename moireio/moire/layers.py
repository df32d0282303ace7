"""Single layers: from a table of well-known ones, or from any structure."""

import os
import warnings
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache

import numpy as np

from moireio.errors import MoireioError
from moireio.moire import plane
from moireio.moire.plane import FloatArray
from moireio.system.layers import joined_positions
from moireio.system.structure import Structure

CENTRES = ("hexagon", "atom", "bond", "cell")
# Lattice vectors, Å: differences that mean nothing; the largest that is taken for rounding; none.
SAME = 1e-7
LARGEST_ROUNDING = 2e-3
EXACT = 1e-11


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer, periodic in x and y.

    Parameters
    ----------
    name : str
        Name in messages and files.
    lattice : (2, 2) array
        Lattice vectors as rows, Å, right-handed, the first along x; hexagonal ones at 60 degrees.
    symbols : tuple of str
        Elements of the atoms of one cell.
    positions : (n, 3) array
        Cartesian positions, Å; z counts from the middle plane between the outermost atoms.
    spacing : float, optional
        Distance of the middle planes of two like layers, Å.
    source : str
        Source of the numbers.
    """

    name: str
    lattice: FloatArray
    symbols: tuple[str, ...]
    positions: FloatArray
    spacing: float | None = None
    source: str = ""

    def __len__(self) -> int:
        """Return the number of atoms in one cell."""
        return len(self.symbols)

    @property
    def thickness(self) -> float:
        """Distance of the outermost atoms along z, Å."""
        return float(np.ptp(self.positions[:, 2]))

    @property
    def area(self) -> float:
        """Area of one cell, Å²."""
        return float(np.linalg.det(self.lattice))

    @cached_property
    def bravais_class(self) -> str:
        """Bravais class of the lattice, one of `plane.BRAVAIS_CLASSES`."""
        return plane.bravais_class(self.lattice)

    @cached_property
    def bond(self) -> float:
        """Shortest distance of two atoms, Å."""
        return float(np.sqrt(self._neighbours()[0]))

    def _neighbours(self):
        """Return the smallest squared distance of two atoms, and the vectors from the first atom.

        The vectors to its neighbours come in order of their lengths.
        """
        steps = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 2, indexing="ij"), -1).reshape(-1, 2)
        shifts = np.pad(steps @ plane.reduce(self.lattice)[0], ((0, 0), (0, 1)))
        delta = self.positions[None, :, None] + shifts - self.positions[:, None, None]
        squared = (delta**2).sum(-1)
        squared[squared < 1e-12] = np.inf
        order = np.argsort(squared[0].reshape(-1), kind="stable")
        return squared.min(), delta[0].reshape(-1, 3)[order]

    def centre(self, name: str) -> FloatArray:
        """Return a point to rotate the layer about.

        Parameters
        ----------
        name : {"hexagon", "atom", "bond", "cell"}
            The empty threefold site of a hexagonal layer, the first atom, the middle of a bond of
            the first atom, or the origin of the cell.

        Returns
        -------
        (2,) array
            Cartesian, Å.

        Raises
        ------
        MoireioError
            If the layer has no such point.
        """
        first = self.positions[0, :2]
        if name == "cell":
            return np.zeros(2)
        if name == "atom":
            return first.copy()
        if name == "bond":
            aside = [d[:2] for d in self._neighbours()[1] if np.hypot(*d[:2]) > 0.1]
            return first + aside[0] / 2
        if name != "hexagon":
            raise MoireioError(f"{name!r} is no centre", remedy="use one of: " + ", ".join(CENTRES))
        if self.bravais_class == "hexagonal":
            inverse = np.linalg.inv(self.lattice)
            for third in (2, 1):
                site = first + np.full(2, third / 3) @ self.lattice
                offsets = (self.positions[:, :2] - site) @ inverse
                offsets = (offsets - np.round(offsets)) @ self.lattice
                if np.hypot(*offsets.T).min() > 0.3:
                    return site
        raise MoireioError(
            f"layer {self.name} has no empty hexagon", remedy="use `centre` atom, bond or cell"
        )

    @property
    def default_centre(self) -> str:
        """Name of the centre that is used by default."""
        try:
            self.centre("hexagon")
        except MoireioError:
            return "cell"
        return "hexagon"

    def same_lattice(self, other: "Layer") -> bool:
        """Return whether another layer has the same lattice.

        Parameters
        ----------
        other : Layer
            The other layer.

        Returns
        -------
        bool
            True if the lattice vectors agree within 1e-9 Å.
        """
        return bool(np.abs(self.lattice - other.lattice).max() < 1e-9)


@lru_cache(maxsize=1)
def _table():
    import tomllib

    with open(os.path.join(os.path.dirname(__file__), "layers.toml"), "rb") as stream:
        entries = tomllib.load(stream)
    names = {}
    for name, entry in entries.items():
        for alias in (name, *entry.get("aliases", ())):
            names[alias.lower()] = name
    return entries, names


def table_names() -> list[str]:
    """Return the names of the layers in the table.

    Returns
    -------
    list of str
        Names without aliases.
    """
    return list(_table()[0])


def named(name: str) -> Layer | None:
    """Return a layer of the table.

    Parameters
    ----------
    name : str
        Name or alias, in upper or lower case.

    Returns
    -------
    Layer or None
        None if the table has no such name.
    """
    entries, names = _table()
    entry = names.get(name.lower())
    return None if entry is None else _from_table(entry, entries[entry])


def _from_table(name, entry):
    (bravais_class, constants), *_ = entry["lattice"].items()
    if bravais_class == "hexagonal":
        lattice = constants * np.array([[1, 0], [0.5, np.sqrt(3) / 2]])
    else:
        lattice = np.diag(np.asarray(constants, dtype=float))
    fractions = np.array([[float(Fraction(v)) for v in row[1:3]] for row in entry["atoms"]])
    heights = np.array([[float(row[3])] for row in entry["atoms"]])
    return Layer(
        name=name,
        lattice=lattice,
        symbols=tuple(row[0] for row in entry["atoms"]),
        positions=np.hstack([fractions @ lattice, heights]),
        spacing=entry["spacing"],
        source=entry["source"],
    )


def from_structure(
    structure: Structure, name: str, path: str | None = None, precision: float = 0.0
) -> Layer:
    """Make a layer from a periodic structure.

    Parameters
    ----------
    structure : Structure
        One layer, the two lattice vectors along which it is periodic in the xy plane.
    name : str
        Name of the layer.
    path : str, optional
        The file, for messages.
    precision : float
        Half of the last digit of the lattice vectors in the file, Å; 0 if all digits are there.

    Returns
    -------
    Layer
        Rotated so that its first lattice vector lies along x. A lattice that differs from a
        hexagonal, square or rectangular one by the rounding of its digits becomes that.

    Warns
    -----
    UserWarning
        If the lattice was changed.

    Raises
    ------
    MoireioError
        If the structure is empty, not periodic in two directions, or tilted out of the plane.
    """
    path = path or name
    cell = structure.cell
    if len(structure) == 0:
        raise MoireioError("holds no atoms", path=path)
    if structure.pbc.sum() < 2:
        raise MoireioError(
            "is not periodic along two of its vectors: no lattice of a layer", path=path
        )
    if not structure.pbc[:2].all():  # the vacuum lies along the first or the second vector
        order = np.argsort(~structure.pbc, kind="stable")
        structure = replace(structure, cell=structure.cell[order], pbc=structure.pbc[order])
        cell = structure.cell
    if np.abs(cell[:2, 2]).max() > 1e-6 * np.abs(cell[:2]).max():
        raise MoireioError(
            "does not have the two lattice vectors of its layer in the xy plane",
            path=path,
            remedy="rotate the structure",
        )
    lattice = cell[:2, :2].copy()
    positions = joined_positions(structure)
    positions[:, 2] -= (positions[:, 2].min() + positions[:, 2].max()) / 2
    if np.linalg.det(lattice) < 0:
        lattice[1] = -lattice[1]
    cosine = lattice[0] @ lattice[1] / np.prod(np.linalg.norm(lattice, axis=1))
    if not -1e-6 <= cosine <= 0.5 + 1e-6:
        if plane.bravais_class(lattice) == "hexagonal" and abs(cosine + 0.5) < 1e-6:
            lattice[1] += lattice[0]  # 120 to 60 degrees, the first vector as in the file
        else:
            lattice = plane.reduce(lattice)[0]
    angle = np.degrees(np.arctan2(lattice[0, 1], lattice[0, 0]))
    rotation = plane.rotation(-angle if abs(angle) > 1e-12 else 0.0)
    positions[:, :2] = positions[:, :2] @ rotation.T
    lattice = lattice @ rotation.T
    lattice[0, 1] = 0.0
    tolerance = min(max(4 * precision, SAME), LARGEST_ROUNDING)
    symmetric, bravais_class = plane.snapped(lattice, tolerance, 2 * precision)
    difference = float(np.abs(symmetric - lattice).max())
    if difference > EXACT:
        positions[:, :2] = positions[:, :2] @ np.linalg.inv(lattice) @ symmetric
        lattice = symmetric
        constants = " × ".join(f"{v:.10g}" for v in dict.fromkeys(np.diag(symmetric).round(12)))
        if bravais_class == "hexagonal":
            constants = f"{symmetric[0, 0]:.10g}"
        warnings.warn(
            f"{path}: the lattice is taken as {bravais_class}, {constants} Å; it differs from that "
            f"by {difference:.1g} Å, the rounding of its digits",
            UserWarning,
            stacklevel=2,
        )
    symbols = structure.element_symbols
    return Layer(name, lattice, tuple(symbols), positions, source=str(path))


def usual_distance(lower: Layer, upper: Layer) -> float:
    """Return the usual distance of the middle planes of two neighbouring layers.

    Parameters
    ----------
    lower, upper : Layer
        The layers.

    Returns
    -------
    float
        Å. The empty space between the layers is the mean of the gaps in their own crystals, but no
        less than the shorter bond: in a moiré pattern atoms also meet head on.

    Raises
    ------
    MoireioError
        If the spacing of one of them is not known.
    """
    spacings = []
    for layer in (lower, upper):
        if layer.spacing is None:
            raise MoireioError(
                "the distance to the next layer is not known",
                path=layer.source or layer.name,
                remedy="give `interlayer`",
            )
        spacings.append(layer.spacing)
    gap = (spacings[0] - lower.thickness + spacings[1] - upper.thickness) / 2
    gap = max(gap, min(lower.bond, upper.bond))
    return gap + (lower.thickness + upper.thickness) / 2
