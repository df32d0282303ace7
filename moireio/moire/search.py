"""Candidates for the common cell of a stack of layers, best first."""

from dataclasses import dataclass, replace

import numpy as np

from moireio.errors import MoireioError
from moireio.moire import cells, plane
from moireio.moire.build import PLACES, deformations, groups

MAX_ATOMS = 20_000
MAX_STRAIN = 0.005
ANGLE_TOLERANCE = 0.1
STRAIN_TOLERANCE = 1e-3
WIDEST = 0.02
FIRST_ATOMS = 500
GROWTH = 1.5
KEPT = 1000
STRAIN_COST = 1e-3
ANGLE_COST = 0.05
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
        See `cost`.
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
    enough : int
        How many of the best cells are wanted.
    """

    window: tuple
    max_atoms: int = MAX_ATOMS
    max_strain: float | None = None
    place: str = "shared"
    max_aspect: float = 4.0
    enough: int = 1


def cost(angle, strain, atoms, fewest, target=None):
    """Weigh a cell: 0.1 % of strain, 0.05 degrees off and twice the atoms count the same.

    Parameters
    ----------
    angle : float or (n,) array
        Its twist, degrees.
    strain : float or (n,) array
        Largest principal strain beyond what is wanted.
    atoms : int or (n,) array
        Its atoms.
    fewest : int
        Atoms of the smallest candidate.
    target : float, optional
        Wanted angle, degrees.

    Returns
    -------
    float or (n,) array
        Small is good.
    """
    off = 0.0 if target is None else abs(angle - target)
    return strain / STRAIN_COST + off / ANGLE_COST + np.log2(atoms / fewest)


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
        Best first. At least `enough` of them are the best that exist, if there are so many.
    """
    pattern, heads = groups(layers, pattern)
    first, second = (layers[h].lattice for h in heads)
    if limits.max_strain is None:
        area = _area(layers, pattern, heads, limits.max_atoms)
        found = cells.find_exact(first, second, limits.window, area)
        if found:
            return _ranked(found, layers, pattern, limits, limits.place, 0.0)
    strain = MAX_STRAIN if limits.max_strain is None else limits.max_strain

    def search(above, max_atoms, window, strain):
        # Shared mismatch is halved; the cell may shrink or grow a little with the strain.
        between = strain * (2.05 if limits.place == "shared" else 1.05)
        area = _area(layers, pattern, heads, max_atoms) * (1 + 2 * between)
        found = cells.find(first, second, window, area, between, max_aspect=limits.max_aspect)
        return _ranked(found, layers, pattern, limits, limits.place, strain, above=above)

    return _deepen(search, limits, strain, progress)


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
        As of `candidates`.
    """
    pattern, heads = groups(layers, pattern)
    first, second = (layers[h].lattice for h in heads)
    place = ("first", "second")[group]
    target = strain if group == 1 else plane.power(strain, -1)
    wanted = [np.zeros((2, 2)), np.zeros((2, 2))]
    wanted[group] = strain

    def search(above, max_atoms, window, tolerance):
        area = _area(layers, pattern, heads, max_atoms) * 1.1
        options = {"target": target, "max_aspect": limits.max_aspect}
        found = cells.find(first, second, window, area, tolerance * 1.1, **options)
        return _ranked(found, layers, pattern, limits, place, tolerance, wanted, above)

    return _deepen(search, limits, tolerance, progress)


def _deepen(search, limits, strain, progress):
    """Search ever larger cells, with less strain and closer to the angle, while they can compete.

    A larger cell costs more, so that it has less left for strain and angle than the worst of the
    best so far; what lies beyond is not searched.
    """
    (low, high), atoms, done = limits.window, 0, []
    target = _target(limits)
    while atoms < limits.max_atoms:
        left = np.inf
        if len(done) >= limits.enough:
            fewest = min(c.atoms for c in done)
            left = done[limits.enough - 1].cost - np.log2(atoms / fewest)
            if left <= 0:
                break
        window = (low, high)
        if target is not None:
            window = (max(low, target - left * ANGLE_COST), min(high, target + left * ANGLE_COST))
        more = min(max(FIRST_ATOMS, int(GROWTH * atoms)), limits.max_atoms)
        more = limits.max_atoms if limits.enough > KEPT else more  # everything is wanted
        done += search(atoms, more, window, min(strain, left * STRAIN_COST))
        if done:
            fewest = min(c.atoms for c in done)
            done = [_priced(c, fewest, target) for c in done]
            done.sort(key=lambda c: (round(c.cost, 9), c.atoms, c.cell.angle))
        if progress:
            progress(
                (high - low) * (np.log(more) - np.log(max(atoms, 1))) / np.log(limits.max_atoms)
            )
        atoms = more
    return done


def _target(limits):
    low, high = limits.window
    return (low + high) / 2 if high - low < 2 * ANGLE_TOLERANCE + 1e-9 else None


def _priced(one, fewest, target):
    return replace(one, cost=cost(one.cell.angle, one.excess, one.atoms, fewest, target))


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
    density = sum(
        len(layer) / layers[heads[g]].area for layer, g in zip(layers, pattern, strict=True)
    )
    return max_atoms / density


def _atoms(layers, pattern, heads, multiples):
    total = 0
    for layer, group in zip(layers, pattern, strict=True):
        head = layers[heads[group]]
        ratio = 1.0 if layer.resembles(head) else head.area / layer.area
        total += len(layer) * max(1, round(multiples[group] * ratio))
    return total


def _ranked(found, layers, pattern, limits, place, max_strain, wanted=None, above=0):
    """Keep the best of what the limits allow, of more atoms than `above`; the best first."""
    if not found:
        return []
    _, heads = groups(layers, pattern)
    mismatch = np.array([cell.mismatch for cell in found])
    f = PLACES[place]
    strains = np.stack([plane.power(mismatch, -f), plane.power(mismatch, 1 - f)], 1)
    strains[np.abs(strains).max(axis=(2, 3)) < 1e-12] = 0.0
    wanted = np.zeros((2, 2, 2)) if wanted is None else np.array(wanted)
    excess = np.abs(plane.principal(strains - wanted)).max(axis=(1, 2))
    atoms = np.array([_atoms(layers, pattern, heads, cell.multiples) for cell in found])
    keep = (excess <= max_strain * (1 + 1e-9) + 1e-10) & (atoms <= limits.max_atoms)
    keep &= atoms > above
    if not keep.any():
        return []
    angle = np.array([cell.angle for cell in found])
    price = cost(angle, excess, atoms, atoms[keep].min(), _target(limits))
    order = np.lexsort((angle, atoms, np.round(price, 9)))
    return [
        Candidate(
            cell=_standard(layers, heads, found[n]),
            atoms=int(atoms[n]),
            strains=tuple(strains[n]),
            excess=float(excess[n]),
            cost=float(price[n]),
            place=place,
        )
        for n in order[keep[order]][: max(KEPT, limits.enough)]
    ]


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
        raise MoireioError(
            f"this cell needs more strain: {describe(one)}", remedy="raise --max-strain"
        )
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


def nothing(limits, strained=False, nearest=None):
    """Return the error that no cell lies within the limits.

    Parameters
    ----------
    limits : Limits
        Of the search.
    strained : bool
        A strain was asked for.
    nearest : Candidate, optional
        The best beyond the tolerance.

    Returns
    -------
    MoireioError
        To be raised.
    """
    low, high = limits.window
    text = f"no common cell between {low:g}° and {high:g}° with at most {limits.max_atoms} atoms"
    if strained:
        near = "" if nearest is None else f"; the nearest: {describe(nearest)}"
        return MoireioError(
            f"{text} has that strain{near}",
            remedy="raise --strain-tolerance or --max-atoms",
        )
    return MoireioError(
        f"{text} has so little strain",
        remedy="raise --max-atoms, --max-strain or --angle-tolerance",
    )
