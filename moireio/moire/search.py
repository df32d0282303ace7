"""Candidates for the common cell of a stack of layers, best first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.moire import cells, plane
from moireio.moire.build import FIRST_SHARE, StrainOn, deformations, resolve_pattern
from moireio.moire.cells import Cell
from moireio.moire.layers import Layer
from moireio.moire.plane import FloatArray
from moireio.runtime.progress import Progress

MAX_ATOMS = 20_000
MAX_STRAIN = 0.005
NARROW = 0.2  # degrees: a range of angles no wider than this has its middle as the target
WIDEST_TOLERANCE = 0.02
FIRST_ATOMS = 500
GROWTH = 1.5
KEPT = 1000
STRAIN_COST = 1e-3
ANGLE_COST = 0.05


@dataclass(frozen=True, eq=False)
class Candidate:
    """A common cell and its cost.

    Parameters
    ----------
    cell : Cell
        The common cell.
    atoms : int
        Number of atoms in it.
    strains : (array, array)
        Strain of the layers that keep their axes and of those that are twisted, (2, 2) each.
    excess : float
        Largest principal value of the difference between these and the wanted strains.
    cost : float
        See the function `cost`.
    strain_on : {"first", "second", "shared"}
        The layer that takes the mismatch.
    """

    cell: Cell
    atoms: int
    strains: tuple[FloatArray, FloatArray]
    excess: float
    cost: float
    strain_on: StrainOn

    @property
    def strain(self) -> float:
        """Largest absolute principal strain of any layer."""
        return max(float(np.abs(plane.principal(s)).max()) for s in self.strains)


@dataclass(frozen=True, eq=False)
class Limits:
    """Limits of a search for cells.

    Parameters
    ----------
    angles : (float, float)
        Lowest and highest twist angle, degrees.
    max_atoms : int
        Largest number of atoms in the cell.
    max_strain : float, optional
        Largest principal strain of a layer. By default 0 where two equal hexagonal or square
        lattices have such a cell in the range of angles, else 0.005.
    strain_on : {"first", "second", "shared"}
        The layer that takes the mismatch.
    max_aspect : float
        Largest ratio of the longer to the shorter side of the reduced cell.
    n_best : int
        Number of cells that are wanted; they are certain to be the best.
    """

    angles: tuple[float, float]
    max_atoms: int = MAX_ATOMS
    max_strain: float | None = None
    strain_on: StrainOn = "shared"
    max_aspect: float = 4.0
    n_best: int = 1


def cost(
    angle: npt.ArrayLike,
    strain: npt.ArrayLike,
    atoms: npt.ArrayLike,
    fewest: int,
    target: float | None = None,
) -> Any:
    """Return the cost of a cell: 0.1 % of strain, 0.05 degrees off and twice the atoms weigh alike.

    Parameters
    ----------
    angle : float or (n,) array
        Twist angle, degrees.
    strain : float or (n,) array
        Largest principal value of the difference from the wanted strain.
    atoms : int or (n,) array
        Number of atoms.
    fewest : int
        Number of atoms of the smallest candidate.
    target : float, optional
        Wanted angle, degrees.

    Returns
    -------
    float or (n,) array
        The smaller the better.
    """
    off = 0.0 if target is None else np.abs(np.subtract(angle, target))
    weights = np.divide(strain, STRAIN_COST) + off / ANGLE_COST
    return weights + np.log2(np.divide(atoms, fewest))


def candidates(
    layers: Sequence[Layer],
    limits: Limits,
    pattern: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[Candidate]:
    """Search common cells of a stack of layers.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    limits : Limits
        Limits of the search.
    pattern : sequence of int, optional
        See `moireio.moire.build.resolve_pattern`.
    progress : Progress, optional
        Called with the numbers of atoms up to which cells were searched.

    Returns
    -------
    list of Candidate
        Best first. The first `Limits.n_best` are the best that exist, if there are so many.
    """
    pattern, heads = resolve_pattern(layers, pattern)
    first, second = (layers[h].lattice for h in heads)
    if limits.max_strain is None:
        area = _area(layers, pattern, heads, limits.max_atoms)
        exact = cells.find_exact(first, second, limits.angles, area)
        if not exact and _target(limits) is not None:
            exact = cells.find_untwisted(first, second, limits.angles)
        if exact:
            return _ranked(exact, layers, pattern, limits, limits.strain_on, 0.0)
    max_strain = MAX_STRAIN if limits.max_strain is None else limits.max_strain

    def search(above, max_atoms, angles, strain):
        # Shared mismatch is halved; the cell may shrink or grow a little with the strain.
        mismatch = strain * (2.05 if limits.strain_on == "shared" else 1.05)
        area = _area(layers, pattern, heads, max_atoms) * (1 + 2 * mismatch)
        common = cells.find(first, second, angles, area, mismatch, max_aspect=limits.max_aspect)
        return _ranked(common, layers, pattern, limits, limits.strain_on, strain, above=above)

    return _deepen(search, limits, max_strain, progress)


def heterostrained(
    layers: Sequence[Layer],
    limits: Limits,
    group: int,
    strain: FloatArray,
    strain_tolerance: float,
    pattern: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> list[Candidate]:
    """Search cells in which one layer has a given strain and the other none.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    limits : Limits
        Limits of the search, without `strain_on` and `max_strain`.
    group : {0, 1}
        The strained layers: 0 for those that keep their axes, 1 for those that are twisted.
    strain : (2, 2) array
        Wanted tensor, in the axes of the structure.
    strain_tolerance : float
        Largest principal value of the difference from it.
    pattern : sequence of int, optional
        See `moireio.moire.build.resolve_pattern`.
    progress : Progress, optional
        Called with the numbers of atoms up to which cells were searched.

    Returns
    -------
    list of Candidate
        Best first, see `candidates`.
    """
    pattern, heads = resolve_pattern(layers, pattern)
    first, second = (layers[h].lattice for h in heads)
    strain_on: StrainOn = "second" if group else "first"
    target = strain if group == 1 else plane.power(strain, -1)
    wanted = [np.zeros((2, 2)), np.zeros((2, 2))]
    wanted[group] = strain

    def search(above, max_atoms, angles, tolerance):
        area = _area(layers, pattern, heads, max_atoms) * 1.1
        options = {"target": target, "max_aspect": limits.max_aspect}
        common = cells.find(first, second, angles, area, tolerance * 1.1, **options)
        return _ranked(common, layers, pattern, limits, strain_on, tolerance, wanted, above)

    return _deepen(search, limits, strain_tolerance, progress)


Search = Callable[[int, int, tuple[float, float], float], list[Candidate]]


def _deepen(search: Search, limits, strain, progress):
    """Search ever larger cells, with less strain and closer to the angle, while they can compete.

    A larger cell costs more, which leaves less for strain and angle if it is to beat the worst of
    the best so far; cells beyond that are not searched.
    """
    (low, high), atoms = limits.angles, 0
    best: list[Candidate] = []
    target = _target(limits)
    while atoms < limits.max_atoms:
        margin = np.inf
        if len(best) >= limits.n_best:
            fewest = min(c.atoms for c in best)
            margin = best[limits.n_best - 1].cost - np.log2(atoms / fewest)
            if margin <= 0:
                break
        angles = (low, high)
        if target is not None:
            off = margin * ANGLE_COST
            angles = (max(low, target - off), min(high, target + off))
        more = min(max(FIRST_ATOMS, int(GROWTH * atoms)), limits.max_atoms)
        more = limits.max_atoms if limits.n_best > KEPT else more  # everything is wanted
        best += search(atoms, more, angles, min(strain, margin * STRAIN_COST))
        if best:
            fewest = min(c.atoms for c in best)
            best = [_priced(c, fewest, target) for c in best]
            best.sort(key=lambda c: (round(c.cost, 9), c.atoms, c.cell.angle))
        if progress:
            progress(more - atoms, limits.max_atoms)
        atoms = more
    return best


def _target(limits):
    """Return the wanted angle, the middle of a narrow range; None for a wide one."""
    low, high = limits.angles
    return (low + high) / 2 if high - low < NARROW + 1e-9 else None


def _priced(candidate, fewest, target):
    price = cost(candidate.cell.angle, candidate.excess, candidate.atoms, fewest, target)
    return replace(candidate, cost=price)


def describe(candidate: Candidate) -> str:
    """Return one line on a candidate: angle, atoms and the strain of both kinds of layers.

    Parameters
    ----------
    candidate : Candidate
        The cell.

    Returns
    -------
    str
        Such as ``1.0501°, 11908 atoms, no strain``.
    """
    text = f"{candidate.cell.angle:.4f}°, {candidate.atoms} atoms"
    if candidate.strain == 0:
        return f"{text}, no strain"
    parts = []
    for which, strain in zip(("untwisted", "twisted"), candidate.strains, strict=True):
        if np.any(strain):
            xx, yy, xy = 100 * strain[0, 0], 100 * strain[1, 1], 100 * strain[0, 1]
            parts.append(f"{which} layer strained by xx {xx:.4f} yy {yy:.4f} xy {xy:.4f} %")
    return ", ".join([text, *parts])


def _area(layers, pattern, heads, max_atoms):
    """Return the area of the first layer in a cell with the largest number of atoms, Å²."""
    density = sum(
        len(layer) / layers[heads[g]].area for layer, g in zip(layers, pattern, strict=True)
    )
    return max_atoms / density


def _atoms(layers, pattern, heads, multiples):
    """Return the number of atoms of a cell."""
    total = 0
    for layer, group in zip(layers, pattern, strict=True):
        head = layers[heads[group]]
        ratio = 1.0 if layer.same_lattice(head) else head.area / layer.area
        total += len(layer) * max(1, round(multiples[group] * ratio))
    return total


def _ranked(common, layers, pattern, limits, strain_on, max_strain, wanted=None, above=0):
    """Return the best cells within the limits that have more atoms than `above`, best first."""
    if not common:
        return []
    _, heads = resolve_pattern(layers, pattern)
    mismatch = np.array([cell.mismatch for cell in common])
    share = FIRST_SHARE[strain_on]
    strains = np.stack([plane.power(mismatch, -share), plane.power(mismatch, 1 - share)], 1)
    strains[np.abs(strains).max(axis=(2, 3)) < 1e-12] = 0.0
    wanted = np.zeros((2, 2, 2)) if wanted is None else np.array(wanted)
    excess = np.abs(plane.principal(strains - wanted)).max(axis=(1, 2))
    atoms = np.array([_atoms(layers, pattern, heads, cell.multiples) for cell in common])
    keep = (excess <= max_strain * (1 + 1e-9) + 1e-10) & (atoms <= limits.max_atoms)
    keep &= atoms > above
    if not keep.any():
        return []
    angle = np.array([cell.angle for cell in common])
    price = cost(angle, excess, atoms, atoms[keep].min(), _target(limits))
    order = np.lexsort((angle, atoms, np.round(price, 9)))
    first = layers[heads[0]].lattice
    return [
        Candidate(
            cell=cells.standard(first, common[n]),
            atoms=int(atoms[n]),
            strains=tuple(strains[n]),
            excess=float(excess[n]),
            cost=float(price[n]),
            strain_on=strain_on,
        )
        for n in order[keep[order]][: max(KEPT, limits.n_best)]
    ]


def fixed(
    layers: Sequence[Layer], cell: Cell, limits: Limits, pattern: Sequence[int] | None = None
) -> Candidate:
    """Return the candidate of a given cell.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    cell : Cell
        The common cell.
    limits : Limits
        Only `max_strain`, if any, and `strain_on` are used.
    pattern : sequence of int, optional
        See `moireio.moire.build.resolve_pattern`.

    Returns
    -------
    Candidate
        Its cost is 0.

    Raises
    ------
    MoireioError
        If a layer would be strained by more than allowed.
    """
    pattern, heads = resolve_pattern(layers, pattern)
    strains = [plane.polar(f)[0] for f in deformations(cell, limits.strain_on)]
    first, second = (s if np.abs(s).max() > 1e-12 else np.zeros((2, 2)) for s in strains)
    excess = max(float(np.abs(plane.principal(s)).max()) for s in (first, second))
    atoms = _atoms(layers, pattern, heads, cell.multiples)
    candidate = Candidate(cell, atoms, (first, second), excess, 0.0, limits.strain_on)
    if limits.max_strain is not None and excess > limits.max_strain:
        raise MoireioError(
            f"this cell needs more strain: {describe(candidate)}", remedy="raise `max_strain`"
        )
    return candidate


def best(
    layers: Sequence[Layer],
    limits: Limits,
    pattern: Sequence[int] | None = None,
    progress: Progress | None = None,
) -> Candidate:
    """Return the best common cell of a stack of layers.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    limits : Limits
        Limits of the search.
    pattern : sequence of int, optional
        See `moireio.moire.build.resolve_pattern`.
    progress : Progress, optional
        See `candidates`.

    Returns
    -------
    Candidate
        The first of `candidates`.

    Raises
    ------
    MoireioError
        If there is none.
    """
    ranked = candidates(layers, limits, pattern, progress)
    if not ranked:
        raise no_cell(limits)
    return ranked[0]


def no_cell(
    limits: Limits, strained: bool = False, nearest: Candidate | None = None
) -> MoireioError:
    """Return the error that no cell lies within the limits.

    Parameters
    ----------
    limits : Limits
        Limits of the search.
    strained : bool
        Whether a strain was wanted.
    nearest : Candidate, optional
        The best cell beyond the tolerance.

    Returns
    -------
    MoireioError
        The error, for the caller to raise.
    """
    low, high = limits.angles
    text = f"no common cell between {low:g}° and {high:g}° with at most {limits.max_atoms} atoms"
    if strained:
        near = "" if nearest is None else f"; the nearest: {describe(nearest)}"
        return MoireioError(
            f"{text} has that strain{near}",
            remedy="raise `strain_tolerance` or `max_atoms`",
        )
    return MoireioError(
        f"{text} has so little strain",
        remedy="raise `max_atoms` or `max_strain`, or search a wider range of `angle`",
    )
