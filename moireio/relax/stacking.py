"""Stackings of two layers: their names, and where in a moiré cell they are found.

The registry of two layers at a point r of the plane is the difference of its coordinates in the
lattices of both, ψ(r) = r (A₁)⁻¹ − r (A₂)⁻¹ modulo 1, with the rows of A₁ and A₂ the strained and
turned lattice vectors. It runs through every stacking once in a moiré period.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt

from moireio.moire import plane
from moireio.results.moire import MoireLayer
from moireio.system.structure import Structure

COLUMN = 0.7  # Å; atoms of a layer that lie closer to each other, seen from above, are one column
LARGEST_MISMATCH = 0.3  # of the lattice vectors of two layers that can be compared
SADDLES = ((0.5, 0.0), (0.0, 0.5), (0.5, 0.5))
SAME = 0.05  # of a lattice vector: columns are where symmetry puts them
MOST_PLACES = 10_000

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Column:
    """Atoms of one layer above each other, in every cell of the layer.

    Parameters
    ----------
    place : (2,) array
        Their place in the layer's lattice vectors, from the origin of the structure.
    symbols : tuple of str
        Their elements, sorted.
    """

    place: FloatArray
    symbols: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Stackings:
    """The stackings of two layers.

    Parameters
    ----------
    rows : tuple of two (2, 2) arrays
        Lattice vectors of the lower and of the upper layer in the structure, Å; those of the upper
        one are chosen along those of the lower one.
    registries : dict of str to (n, 2) array
        ψ of every stacking; several where symmetry makes them equal, as the saddle points SP.
    """

    rows: tuple[FloatArray, FloatArray]
    registries: dict[str, FloatArray]

    @property
    def domains(self) -> list[str]:
        """Names of the stackings that can fill an area: all but SP."""
        return [name for name in self.registries if name != "SP"]

    @property
    def period(self) -> float:
        """Shortest period of the moiré pattern, Å; infinite where there is none."""
        change = np.linalg.inv(self.rows[0]) - np.linalg.inv(self.rows[1])
        if abs(np.linalg.det(change)) < 1e-12:
            return np.inf
        vectors = np.linalg.inv(change)
        vectors = vectors if np.linalg.det(vectors) > 0 else vectors[::-1]
        return float(np.linalg.norm(plane.reduce(vectors)[0][0]))

    def registry(self, lower: FloatArray, upper: FloatArray) -> FloatArray:
        """Return ψ where points of the two undeformed layers lie above each other.

        Parameters
        ----------
        lower, upper : (..., 2) arrays
            Points of the layers before they were deformed, Å.

        Returns
        -------
        (..., 2) array
            ψ, not reduced modulo 1.
        """
        first, second = (np.linalg.inv(rows) for rows in self.rows)
        return np.asarray(lower @ first - upper @ second)

    def places(self, cell: FloatArray) -> dict[str, FloatArray]:
        """Return where in a cell the stackings are found, before any relaxation.

        Parameters
        ----------
        cell : (2, 2) array
            Rows of the cell, Å.

        Returns
        -------
        dict of str to (n, 2) array
            Points, Å; none where the layers make no moiré pattern.
        """
        change = np.linalg.inv(self.rows[0]) - np.linalg.inv(self.rows[1])
        steps = cell @ change  # whole numbers, but for a ribbon, whose cell holds a vacuum
        if not 0.5 < abs(np.linalg.det(steps)) <= MOST_PLACES:
            return {}
        inverse = np.linalg.inv(steps)
        corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]) @ steps
        low, high = np.floor(corners.min(axis=0)) - 1, np.ceil(corners.max(axis=0)) + 2
        wholes = np.stack(
            np.meshgrid(np.arange(low[0], high[0]), np.arange(low[1], high[1]), indexing="ij"), -1
        ).reshape(-1, 2)
        found = {}
        for name, registries in self.registries.items():
            fractional = (registries[:, None] + wholes).reshape(-1, 2) @ inverse
            inside = ((fractional > -1e-6) & (fractional < 1 - 1e-6)).all(axis=1)
            found[name] = np.unique(np.round(fractional[inside], 9), axis=0) @ cell
        return found

    def nearest(self, registry: FloatArray) -> npt.NDArray[np.int64]:
        """Return which domain a registry belongs to, by the distance that a layer has to slide.

        Saddle points are no domains, but the borders of two.

        Parameters
        ----------
        registry : (..., 2) array
            ψ.

        Returns
        -------
        (...) array of int
            Index in `domains`.
        """
        distances = []
        for registries in (self.registries[name] for name in self.domains):
            apart = registry[..., None, :] - registries
            apart = apart - np.round(apart)
            around = np.array(list(product((-1, 0, 1), repeat=2)))
            vectors = (apart[..., None, :] + around) @ self.rows[0]
            distances.append(np.linalg.norm(vectors, axis=-1).min(axis=(-1, -2)))
        return np.argmin(np.stack(distances, -1), axis=-1)


def stackings(
    structure: Structure, layers: tuple[MoireLayer, MoireLayer], numbers: tuple[int, int]
) -> Stackings | None:
    """Return the stackings that two layers of a structure can have.

    Two hexagonal layers, each with two of its three threefold places occupied, have the names of
    the literature: AA, AB, BA where every place holds one atom (graphene, hBN); MM, MX, XM where
    one place holds one atom M and the other two atoms X; the first letter belongs to the lower
    layer, the second to the atom above it. Layers turned by 180 degrees against each other have 2H
    (M above X and X above M), MM and XX; hBN AA' (B above N and N above B), BB and NN. SP are the
    saddle points between two of the domains. Other layers have AA, and the displacements from it in
    lattice vectors.

    Parameters
    ----------
    structure : Structure
        With `layer`; the atoms before they are relaxed.
    layers : (MoireLayer, MoireLayer)
        Records of the lower and the upper layer.
    numbers : (int, int)
        Their numbers in `structure.layer`.

    Returns
    -------
    Stackings or None
        None where the lattices are too different to compare.
    """
    first, second = (layer.lattice @ layer.gradient.T for layer in layers)
    along = _along(first, second)
    if along is None:
        return None
    rows = (first, along)
    lower, upper = (
        columns(structure, own, number) for own, number in zip(rows, numbers, strict=True)
    )
    if not lower or not upper:
        return None
    hexagonal = all(plane.bravais_class(layer.lattice) == "hexagonal" for layer in layers)
    pair = (_named(lower), _named(upper)) if hexagonal else (None, None)
    if pair[0] is not None and pair[1] is not None:
        named = _threefold(pair[0], pair[1])
        start = next(iter(named.values()))
        named["SP"] = start + np.array(SADDLES)
    else:
        start = (lower[0].place - upper[0].place)[None]
        threefold = {"(1/3,1/3)": [(1 / 3, 1 / 3)], "(2/3,2/3)": [(2 / 3, 2 / 3)], "SP": SADDLES}
        halves = {"(1/2,0)": SADDLES[:1], "(0,1/2)": SADDLES[1:2], "(1/2,1/2)": SADDLES[2:]}
        others = threefold if hexagonal else halves
        named = {"AA": start} | {name: start + np.array(by) for name, by in others.items()}
    return Stackings(rows, named)


def columns(structure: Structure, rows: FloatArray, number: int) -> list[Column]:
    """Return the columns of atoms of one layer.

    Parameters
    ----------
    structure : Structure
        With `layer`.
    rows : (2, 2) array
        Lattice vectors of the layer in the structure, Å.
    number : int
        Its number.

    Returns
    -------
    list of Column
        In the order of the elements in the structure's species, then of their first atoms.
    """
    atoms = np.flatnonzero(structure.layer == number)
    fractional = structure.positions[atoms, :2] @ np.linalg.inv(rows)
    order = np.argsort(structure.species[atoms], kind="stable")
    left, places, counts = order, [], []
    while len(left):
        apart = fractional[left] - fractional[left[0]]
        apart -= np.round(apart)
        near = np.linalg.norm(apart @ rows, axis=1) < COLUMN
        symbols = [structure.species_names[s] for s in structure.species[atoms[left[near]]]]
        places.append(fractional[left[0]] + apart[near].mean(axis=0))
        counts.append({name: symbols.count(name) for name in sorted(set(symbols))})
        left = left[~near]
    n_cells = min((n for count in counts for n in count.values()), default=1)
    return [
        Column(place, tuple(s for s, n in count.items() for _ in range(round(n / n_cells))))
        for place, count in zip(places, counts, strict=True)
    ]


def _along(first: FloatArray, second: FloatArray) -> FloatArray | None:
    """Return the lattice vectors of a second lattice that lie along those of the first."""
    best = np.round(first @ np.linalg.inv(second))
    choices = np.array(list(product((-1, 0, 1), repeat=4))).reshape(-1, 2, 2) + best
    choices = choices[np.abs(np.linalg.det(choices) - 1) < 0.5]
    if not len(choices):
        return None
    misfit = np.linalg.norm(choices @ second - first, axis=(1, 2))
    rows = choices[np.argmin(misfit)] @ second
    lengths = np.linalg.norm(rows, axis=1) / np.linalg.norm(first, axis=1)
    return rows if np.abs(lengths - 1).max() < LARGEST_MISMATCH else None


def _named(found: list[Column]) -> dict[str, Column] | None:
    """Return the two columns of a hexagonal layer, named A and B or M and X; None for others."""
    if len(found) != 2 or sorted(len(c.symbols) for c in found) not in ([1, 1], [1, 2]):
        return None
    step = found[1].place - found[0].place
    apart = 3 * step - np.round(3 * step)
    if np.abs(apart).max() > 3 * SAME or np.abs(step - np.round(step)).max() < 3 * SAME:
        return None
    names = "AB"
    if len(found[0].symbols) != len(found[1].symbols):
        names = "MX"
        found = sorted(found, key=lambda column: len(column.symbols))
    return dict(zip(names, found, strict=True))


def _threefold(lower: dict[str, Column], upper: dict[str, Column]) -> dict[str, FloatArray]:
    """Return ψ of the three threefold stackings by their names."""
    names = [list(lower), list(upper)]
    places = [[c.place for c in side.values()] for side in (lower, upper)]
    parallel = _equal(places[0][1] - places[0][0], places[1][1] - places[1][0])
    if not parallel and any(c["A"].symbols == c["B"].symbols for c in (lower, upper) if "A" in c):
        # Two like columns: their names can be exchanged.
        exchanged = 1 if "A" in upper and upper["A"].symbols == upper["B"].symbols else 0
        places[exchanged].reverse()
        parallel = True
    (a, b), (c, d) = places
    if parallel:
        (p, q), (r, s) = names
        return {p + r: (a - c)[None], p + s: (a - d)[None], q + r: (b - c)[None]}
    (p, q), (r, s) = names
    if names == [["M", "X"]] * 2:
        return {"2H": (a - d)[None], "MM": (a - c)[None], "XX": (b - d)[None]}
    if names == [["A", "B"]] * 2:
        below, above = lower["A"].symbols[0], upper["A"].symbols[0]
        other = lower["B"].symbols[0] + upper["B"].symbols[0]
        return {"AA'": (a - d)[None], below + above: (a - c)[None], other: (b - d)[None]}
    return {p + s: (a - d)[None], p + r: (a - c)[None], q + s: (b - d)[None]}


def _equal(a: FloatArray, b: FloatArray) -> bool:
    apart = a - b
    return bool(np.abs(apart - np.round(apart)).max() < 3 * SAME)
