"""Candidates for the common cell of a stack of layers, best first."""

from dataclasses import dataclass

import numpy as np

from moireio.errors import MoireioError
from moireio.moire import cells, plane
from moireio.moire.build import deformations, groups

MAX_ATOMS = 20_000
MAX_STRAIN = 0.005
ANGLE_TOLERANCE = 0.1
STRAIN_TOLERANCE = 1e-3
WIDER = 5.0
MATRIX_FORM = "rows in the lower lattice | in the upper lattice"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A cell with what it costs.

    Parameters
    ----------
    cell : Cell
        The common cell.
    atoms : int
        In it.
    strains : tuple of (2, 2) array
        Of the layers that keep their axes and of those that are turned.
    excess : float
        Largest principal value by which they differ from what was asked for.
    cost : float
        See `moireio.moire.cells.cost`.
    place : str
        Which layer takes the mismatch.
    """

    cell: cells.Cell
    atoms: int
    strains: tuple
    excess: float
    cost: float
    place: str

    @property
    def strain(self):
        """Largest principal strain of any layer, absolute."""
        return max(float(np.abs(plane.principal(s)).max()) for s in self.strains)


@dataclass(frozen=True, eq=False)
class Limits:
    """What a search may return.

    Parameters
    ----------
    window : (float, float)
        Twist angles, degrees.
    max_atoms : int
        In the cell.
    max_strain : float, optional
        Largest principal strain of a layer. By default none where two equal hexagonal or square
        lattices have such a cell in the window, else 0.005.
    place : {"first", "second", "shared"}
        Which layer takes the mismatch.
    max_aspect : float
        Longer over shorter side of the reduced cell.
    """

    window: tuple
    max_atoms: int = MAX_ATOMS
    max_strain: float | None = None
    place: str = "shared"
    max_aspect: float = 4.0


def candidates(layers, limits, pattern=None, progress=None):
    """Search the cells of a stack of layers.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    limits : Limits
        What may be returned.
    pattern : sequence of int, optional
        See `moireio.moire.build.groups`.
    progress : callable, optional
        Called with degrees done.

    Returns
    -------
    list of Candidate
        Best first.
    """
    pattern, heads = groups(layers, pattern)
    first, second = (layers[h].lattice for h in heads)
    area = _area(layers, pattern, heads, limits.max_atoms)
    found = []
    if limits.max_strain is None:
        found = cells.find_exact(first, second, limits.window, area)
    if not found:
        strain = MAX_STRAIN if limits.max_strain is None else limits.max_strain
        # Shared mismatch is halved; the cell may shrink or grow a little with the strain.
        between = strain * (2.05 if limits.place == "shared" else 1.05)
        found = cells.find(
            first,
            second,
            limits.window,
            area * (1 + 2 * between),
            between,
            max_aspect=limits.max_aspect,
            progress=progress,
        )
    else:
        strain = 0.0
    return _ranked(found, layers, pattern, limits, limits.place, strain)


def heterostrained(layers, limits, group, strain, tolerance, pattern=None, progress=None):
    """Search cells in which one layer has a given strain and the other none.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    limits : Limits
        What may be returned; `place` and `max_strain` do not count.
    group : {0, 1}
        Whether the layers that keep their axes are strained, or those that are turned.
    strain : (2, 2) array
        Wanted tensor, in the axes of the structure.
    tolerance : float
        Largest principal value of the difference.
    pattern : sequence of int, optional
        See `moireio.moire.build.groups`.
    progress : callable, optional
        Called with degrees done.

    Returns
    -------
    list of Candidate
        Best first.
    """
    pattern, heads = groups(layers, pattern)
    first, second = (layers[h].lattice for h in heads)
    place = ("first", "second")[group]
    target = strain if group == 1 else plane.power(strain, -1)
    found = cells.find(
        first,
        second,
        limits.window,
        _area(layers, pattern, heads, limits.max_atoms) * 1.1,
        tolerance * 1.1,
        target=target,
        max_aspect=limits.max_aspect,
        progress=progress,
    )
    wanted = [np.zeros((2, 2)), np.zeros((2, 2))]
    wanted[group] = strain
    return _ranked(found, layers, pattern, limits, place, tolerance, wanted)


def describe(candidate):
    """Return a candidate as one line: angle, atoms and the strain of both kinds of layers.

    Parameters
    ----------
    candidate : Candidate
        To be told.

    Returns
    -------
    str
        Such as ``1.0501°, 11908 atoms, no strain``.
    """
    text = f"{candidate.cell.angle:.4f}°, {candidate.atoms} atoms"
    if candidate.strain == 0:
        return f"{text}, no strain"
    parts = []
    for which, strain in zip(("kept", "turned"), candidate.strains, strict=True):
        if np.any(strain):
            xx, yy, xy = 100 * strain[0, 0], 100 * strain[1, 1], 100 * strain[0, 1]
            parts.append(f"{which} layer strained by xx {xx:.4f} yy {yy:.4f} xy {xy:.4f} %")
    return ", ".join([text, *parts])


def _area(layers, pattern, heads, max_atoms):
    """Return the area of the first layer's cell that the number of atoms allows, Å²."""
    density = sum(len(layer) / layers[heads[g]].area for layer, g in zip(layers, pattern, strict=True))
    return max_atoms / density


def _atoms(layers, pattern, heads, multiples):
    total = 0
    for layer, group in zip(layers, pattern, strict=True):
        head = layers[heads[group]]
        ratio = 1.0 if layer.resembles(head) else head.area / layer.area
        total += len(layer) * max(1, round(multiples[group] * ratio))
    return total


def _ranked(found, layers, pattern, limits, place, max_strain, wanted=None):
    """Keep what the limits allow; the best first."""
    _, heads = groups(layers, pattern)
    wanted = wanted or [np.zeros((2, 2))] * 2
    low, high = limits.window
    target = (low + high) / 2 if high - low < 2 * ANGLE_TOLERANCE + 1e-9 else None
    kept = []
    for cell in found:
        atoms = _atoms(layers, pattern, heads, cell.multiples)
        if atoms > limits.max_atoms:
            continue
        strains = tuple(plane.polar(f)[0] for f in deformations(cell, place))
        strains = tuple(s if np.abs(s).max() > 1e-12 else np.zeros((2, 2)) for s in strains)
        excess = max(
            float(np.abs(plane.principal(s - w)).max())
            for s, w in zip(strains, wanted, strict=True)
        )
        if excess <= max_strain * (1 + 1e-9) + 1e-10:
            kept.append((_standard(layers, heads, cell), atoms, strains, excess))
    if not kept:
        return []
    fewest = min(atoms for _, atoms, _, _ in kept)
    ranked = [
        Candidate(*one, cells.cost(one[0].angle, one[3], one[1], fewest, target), place)
        for one in kept
    ]
    return sorted(ranked, key=lambda c: (c.cost, c.atoms, c.cell.angle))


def _standard(layers, heads, cell):
    first, second = (layers[h].lattice for h in heads)
    return cells.standard(first, second, cell)


def given(layers, cell, limits, pattern=None):
    """Return a candidate for a cell that is fixed already.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    cell : Cell
        The common cell.
    limits : Limits
        `max_strain`, if any, and `place` count.
    pattern : sequence of int, optional
        See `moireio.moire.build.groups`.

    Returns
    -------
    Candidate
        Of cost 0.

    Raises
    ------
    MoireioError
        If a layer would be strained by more than allowed.
    """
    pattern, heads = groups(layers, pattern)
    strains = tuple(plane.polar(f)[0] for f in deformations(cell, limits.place))
    strains = tuple(s if np.abs(s).max() > 1e-12 else np.zeros((2, 2)) for s in strains)
    excess = max(float(np.abs(plane.principal(s)).max()) for s in strains)
    one = Candidate(
        cell, _atoms(layers, pattern, heads, cell.multiples), strains, excess, 0.0, limits.place
    )
    if limits.max_strain is not None and excess > limits.max_strain:
        raise MoireioError(f"this cell needs more strain: {describe(one)}", remedy="raise --max-strain")
    return one


def best(layers, limits, pattern=None, progress=None):
    """Return the best cell of a stack of layers.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    limits : Limits
        What may be returned.
    pattern : sequence of int, optional
        See `moireio.moire.build.groups`.
    progress : callable, optional
        Called with degrees done.

    Returns
    -------
    Candidate
        The first of `candidates`.

    Raises
    ------
    MoireioError
        If there is none.
    """
    found = candidates(layers, limits, pattern, progress)
    if not found:
        raise nothing(limits)
    return found[0]


def nothing(limits, nearest=None):
    """Return the error that no cell lies within the limits.

    Parameters
    ----------
    limits : Limits
        Of the search.
    nearest : Candidate, optional
        The best beyond the tolerance.

    Returns
    -------
    MoireioError
        To be raised.
    """
    low, high = limits.window
    text = f"no common cell between {low:g}° and {high:g}° with at most {limits.max_atoms} atoms"
    if nearest is not None:
        return MoireioError(
            f"{text} has that strain; the nearest: {describe(nearest)}",
            remedy="raise --strain-tolerance or --max-atoms",
        )
    return MoireioError(
        f"{text} has so little strain",
        remedy="raise --max-atoms, --max-strain or --angle-tolerance",
    )

