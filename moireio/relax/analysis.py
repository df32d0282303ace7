"""What a relaxation did to a twisted bilayer: distances, local twist, strain, stacking domains.

All fields are those of smooth layers: at a point, the atoms of a layer at distances r in the plane
have the weights exp(−r²/w²), w = `WIDTH`. Heights are weighted means, of the atoms in the middle of
a layer where it has such: the metals of MoTe2, all atoms of graphene or, as none lies there, of
phosphorene. The deformation is the least-squares fit of an affine map to the displacements (Falk,
Langer, Phys. Rev. E 57, 7192 (1998), with weights). The rotation and the strain at a stacking are
fitted to all atoms within `DISC`, in small cells within a quarter of the moiré length.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.moire import plane
from moireio.relax.stacking import Stackings, stackings
from moireio.results.moire import Moire
from moireio.system.layers import FLAT, layer_normal
from moireio.system.structure import Structure

WIDTH = 1.6  # Å
DISC = 12.0  # Å; radius about a stacking within which its rotation is fitted
REACH = 3.5  # widths
MIDDLE = 0.5  # Å; atoms that are no farther from the middle of their layer lie in it
GRID = 1.2  # Å
LEAST_GRID, MOST_GRID = 72, 140  # points along a lattice vector

FloatArray = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Fields:
    """Fields of two layers at points of the plane.

    The first axis of all arrays but `points` and `registry` is the layer, the lower one first.

    Parameters
    ----------
    points : (..., 2) array
        In the relaxed structure, Å.
    heights : (2, ...) array
        Heights of the middles of the layers, Å.
    displacements : (2, ..., 3) array
        From the structure before, in which the cell is deformed as a whole to that after, Å.
    strains : (2, ..., 2, 2) array
        ε of F = (1 + ε) R(θ) against the layer before, in the axes of the structure.
    rotations : (2, ...) array
        θ, degrees, counter-clockwise.
    registry : (..., 2) array or None
        ψ of `Stackings`; None where the layers have no stackings.
    """

    points: FloatArray
    heights: FloatArray
    displacements: FloatArray
    strains: FloatArray
    rotations: FloatArray
    registry: FloatArray | None

    @property
    def distances(self) -> FloatArray:
        """Height of the upper layer above the lower one, Å."""
        return np.asarray(self.heights[1] - self.heights[0])


@dataclass(frozen=True, eq=False)
class Place:
    """A stacking, and what is found where a cell has it; numbers are means of all such points.

    Parameters
    ----------
    name : str
        As in `Stackings`.
    points : (n, 2) array
        In the relaxed structure, Å.
    distance_before, distance : float
        Distance of the layers, Å.
    rotations : (float, float)
        Rotation of the lower and the upper layer by the relaxation, degrees, counter-clockwise.
    twist : float
        Local twist, degrees, positive in the direction of the cell's own twist.
    strains : (2, n, 2, 2) array
        Strain of the two layers by the relaxation, at every point.
    """

    name: str
    points: FloatArray
    distance_before: float
    distance: float
    rotations: tuple[float, float]
    twist: float
    strains: FloatArray


@dataclass(frozen=True, eq=False)
class RelaxationAnalysis:
    """What a relaxation did to two neighbouring layers.

    Parameters
    ----------
    angle : float
        Twist of the cell, degrees, counter-clockwise.
    places : tuple of Place
        Empty where the layers make no moiré pattern.
    mean_distance_before, mean_distance : float
        Distance of the layers, Å.
    inplane, out_of_plane : (float, float)
        Largest displacement of an atom of either layer in the plane and along z, Å; the mean
        displacement of all atoms is no relaxation and taken away.
    domains_before, domains : dict of str to float
        Share of the area that is nearest to each stacking.
    grid : Fields
        On a mesh of the cell, shape (nx, ny).
    stackings : Stackings or None
        The stackings that the layers can have.
    lower : int
        Number of the lower layer, from 0.
    """

    angle: float
    places: tuple[Place, ...]
    mean_distance_before: float
    mean_distance: float
    inplane: tuple[float, float]
    out_of_plane: tuple[float, float]
    domains_before: dict[str, float]
    domains: dict[str, float]
    grid: Fields
    stackings: Stackings | None
    lower: int = 0

    @property
    def distances(self) -> dict[str, float]:
        """Distance of the layers at every stacking, Å."""
        return {place.name: place.distance for place in self.places}

    @property
    def local_twist(self) -> dict[str, float]:
        """Local twist at every stacking, degrees, positive in the direction of the twist."""
        return {place.name: place.twist for place in self.places}


def analyse(
    before: Structure, after: Structure, moire: Moire | None = None, lower: int = 0
) -> RelaxationAnalysis:
    """Compare a structure before and after its relaxation.

    Parameters
    ----------
    before, after : Structure
        The same atoms in the same order, with `layer`, the layers in the xy plane (see `lying`);
        the cells may differ.
    moire : Moire, optional
        Record of the layers; without it there are no stackings, and no twist.
    lower : int
        Number of the lower layer; the upper one is the next.

    Returns
    -------
    RelaxationAnalysis
        Numbers and maps.

    Raises
    ------
    MoireioError
        If the atoms are not the same, or there are no two layers.
    """
    _check(before, after, lower)
    pair = (lower, lower + 1)
    known = None
    if moire is not None and len(moire.layers) > lower + 1:
        known = stackings(before, (moire.layers[lower], moire.layers[lower + 1]), pair)
    angle = 0.0 if moire is None else _twist(moire, lower)
    moved = displacements(before, after)
    whole = np.asarray(np.linalg.solve(before.cell[:2, :2], after.cell[:2, :2]), np.float64)

    middle = _middle_atoms(before, pair)

    def fields(points: FloatArray, rigid: bool = False, disc: float | None = None) -> Fields:
        if rigid:
            return _fields(before, np.zeros_like(moved), np.eye(2), known, middle, points)
        return _fields(after, moved, whole, known, middle, points, disc)

    places = []
    where = {} if known is None else known.places(before.cell[:2, :2])
    disc = None
    if known is not None and where:
        disc = float(np.clip(known.period / 4, *_disc_limits(known)))
    for name, points in where.items():
        there = np.isfinite(fields(points, rigid=True).distances)
        if not there.any():
            continue  # in the vacuum beside a ribbon
        points = points[there]
        at, rigid = fields(points @ whole), fields(points, rigid=True)
        fitted = fields(points @ whole, disc=disc)
        turned = fitted.rotations.mean(axis=1)
        place = Place(
            name=name,
            points=at.points,
            distance_before=float(rigid.distances.mean()),
            distance=float(at.distances.mean()),
            rotations=(float(turned[0]), float(turned[1])),
            twist=float((angle + turned[1] - turned[0]) * (-1 if angle < 0 else 1)),
            strains=fitted.strains,
        )
        places.append(place)
    mesh = _mesh(after.cell[:2, :2])
    grid = fields(mesh @ after.cell[:2, :2])
    rigid = fields(mesh @ before.cell[:2, :2], rigid=True)
    within = [moved[before.layer == number] for number in pair]
    return RelaxationAnalysis(
        angle=angle,
        places=tuple(places),
        mean_distance_before=float(np.nanmean(rigid.distances)),
        mean_distance=float(np.nanmean(grid.distances)),
        inplane=_both(np.linalg.norm(part[:, :2], axis=1).max() for part in within),
        out_of_plane=_both(np.abs(part[:, 2]).max() for part in within),
        domains_before=_shares(known, rigid) if places else {},
        domains=_shares(known, grid) if places else {},
        grid=grid,
        stackings=known,
        lower=lower,
    )


def lying(structure: Structure, like: Structure | None = None) -> Structure:
    """Return a stack turned so that its layers lie in the xy plane, its third vector out of it.

    Parameters
    ----------
    structure : Structure
        A stack in any orientation.
    like : Structure, optional
        Turn as this one needs it; by default as `structure` itself does.

    Returns
    -------
    Structure
        The same object if its layers lie there already.
    """
    like = structure if like is None else like
    normal = layer_normal(like)
    axis = int(np.argmin(like.pbc)) if like.pbc.sum() == 2 else 2
    if axis == 2 and np.linalg.norm(normal[:2]) < FLAT:
        return structure
    order = [n for n in range(3) if n != axis] + [axis]
    first = like.cell[order[0]] / np.linalg.norm(like.cell[order[0]])
    turn = np.stack([first, np.cross(normal, first), normal], axis=1)
    return replace(
        structure,
        cell=structure.cell[order] @ turn,
        pbc=structure.pbc[order],
        positions=structure.positions @ turn,
    )


def displacements(before: Structure, after: Structure) -> FloatArray:
    """Return by how much the atoms moved.

    Parameters
    ----------
    before, after : Structure
        The same atoms; wrapped into the cell or not.

    Returns
    -------
    (N, 3) array
        Å, from the structure before, deformed with the cell; their mean is zero.
    """
    cell = after.cell
    moved = after.positions - before.positions @ np.linalg.solve(before.cell, cell)
    fractional = moved @ np.linalg.inv(cell)
    moved = moved - np.where(after.pbc, np.round(fractional), 0) @ cell
    return np.asarray(moved - moved.mean(axis=0))


def _check(before: Structure, after: Structure, lower: int) -> None:
    if len(before) != len(after) or not np.array_equal(before.numbers, after.numbers):
        raise MoireioError("the structures before and after have different atoms")
    if before.layer is None or int(before.layer.max(initial=0)) < lower + 1:
        raise MoireioError(
            f"the structure has no layers {lower + 1} and {lower + 2}",
            remedy="two layers are compared",
        )


def _disc_limits(known: Stackings) -> tuple[float, float]:
    """Return the smallest radius that holds atoms in every direction, and the largest, Å."""
    return min(1.05 * float(np.linalg.norm(known.rows[0], axis=1).max()), DISC), DISC


def _twist(moire: Moire, lower: int) -> float:
    angles = [layer.angle for layer in moire.layers]
    return angles[lower + 1] - angles[lower]


def _both(values: Iterable[float]) -> tuple[float, float]:
    first, second = (float(value) for value in values)
    return first, second


def _mesh(cell: FloatArray) -> FloatArray:
    """Return fractional points of a mesh of a cell; shape (nx, ny, 2)."""
    wanted = np.ceil(np.linalg.norm(cell, axis=1) / GRID).astype(int)
    counts = np.clip(wanted, LEAST_GRID, MOST_GRID)
    axes = [(np.arange(n) + 0.5) / n for n in counts]
    return np.stack(np.meshgrid(*axes, indexing="ij"), -1)


def _shares(known: Stackings | None, fields: Fields) -> dict[str, float]:
    """Return the share of the area that is nearest to each stacking; none without stackings."""
    if known is None or fields.registry is None:
        return {}
    registry = fields.registry[np.isfinite(fields.registry).all(axis=-1)]
    nearest = known.nearest(registry)
    counts = np.bincount(nearest, minlength=len(known.domains)) / nearest.size
    return {name: float(n) for name, n in zip(known.domains, counts, strict=True)}


def _middle_atoms(structure: Structure, pair: tuple[int, int]) -> list[tuple[Mask, Mask]]:
    """Return the atoms of two layers, and those in the middle of each: (chosen, middle) masks."""
    found = []
    for number in pair:
        chosen = np.asarray(structure.layer == number)
        still = np.zeros((len(structure), 3))
        points = structure.positions[chosen, :2]
        mean = _layer_fields(structure, still, (chosen, chosen), points, None)[0]
        middle = np.zeros(len(structure), dtype=bool)
        middle[chosen] = np.abs(structure.positions[chosen, 2] - mean) < MIDDLE
        found.append((chosen, middle if middle.any() else chosen))
    return found


def _fields(
    structure: Structure,
    moved: FloatArray,
    whole: FloatArray,
    known: Stackings | None,
    masks: list[tuple[Mask, Mask]],
    points: FloatArray,
    disc: float | None = None,
) -> Fields:
    """Return the fields of two layers at points of a structure whose atoms were displaced.

    With `disc` (Å) all atoms within that radius have the same weight.
    """
    flat = points.reshape(-1, 2)
    parts = [_layer_fields(structure, moved, layer, flat, disc) for layer in masks]
    heights, displaced, gradients = (np.stack(values) for values in zip(*parts, strict=True))
    # The gradient is that of u(r) in the relaxed structure: F = (1 − ∇u)⁻¹, then the whole cell's.
    strains, rotations = plane.polar(np.linalg.inv(np.eye(2) - gradients) @ whole.T)
    registry = None
    if known is not None:
        free = [(flat - u[:, :2]) @ np.linalg.inv(whole) for u in displaced]
        registry = known.registry(free[0], free[1]).reshape(points.shape)
    shape = points.shape[:-1]
    return Fields(
        points=points,
        heights=heights.reshape(2, *shape),
        displacements=displaced.reshape(2, *shape, 3),
        strains=strains.reshape(2, *shape, 2, 2),
        rotations=rotations.reshape(2, *shape),
        registry=registry,
    )


def _layer_fields(
    structure: Structure,
    moved: FloatArray,
    masks: tuple[Mask, Mask],
    points: FloatArray,
    disc: float | None,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return height, displacement and in-plane gradient of one layer at points."""
    chosen, middle = masks
    from scipy.spatial import cKDTree

    reach = REACH * WIDTH if disc is None else disc
    cell = structure.cell[:2, :2]
    atoms = np.flatnonzero(chosen)
    fractional = structure.positions[atoms, :2] @ np.linalg.inv(cell)
    steps = np.floor(fractional) * structure.pbc[:2]
    margin = reach * np.linalg.norm(np.linalg.inv(cell), axis=0)
    images, which = _images(fractional - steps, margin, structure.pbc[:2])
    wrapped = points @ np.linalg.inv(cell)
    base = wrapped - np.floor(wrapped) * structure.pbc[:2]
    weights = cKDTree(base @ cell).sparse_distance_matrix(
        cKDTree(images @ cell), reach, output_type="coo_matrix"
    )
    row, column = weights.row, weights.col
    w = np.exp(-((weights.data / WIDTH) ** 2)) if disc is None else np.ones(len(row))
    apart = (images @ cell)[column] - (base @ cell)[row]
    atom = atoms[which[column]]

    def mean(values: FloatArray, w: FloatArray = w) -> FloatArray:
        summed = np.stack(
            [np.bincount(row, w * v, len(points)) for v in values.reshape(len(w), -1).T], -1
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            return summed / np.bincount(row, w, len(points))[:, None]

    height = mean(structure.positions[atom, 2], w * middle[atom])[:, 0]
    u = moved[atom]
    mean_u, mean_x = mean(u), mean(apart)
    spread = mean(apart[:, :, None] * apart[:, None]).reshape(-1, 2, 2)
    spread = spread - mean_x[:, :, None] * mean_x[:, None]
    joint = mean(u[:, :2, None] * apart[:, None]).reshape(-1, 2, 2)
    joint = joint - mean_u[:, :2, None] * mean_x[:, None]
    # Where a ribbon ends there may be no atoms, or all on a line.
    spread = np.where(np.isfinite(spread), spread, 0.0)
    thin = ~(np.linalg.det(spread) > 1e-3)
    spread[thin], joint[thin] = np.eye(2), np.nan
    return height, mean_u, joint @ np.linalg.inv(spread)


def _images(
    fractional: FloatArray, margin: FloatArray, pbc: Mask
) -> tuple[FloatArray, npt.NDArray[np.intp]]:
    """Return the atoms of a cell and their images within a margin, and which atom each one is."""
    images, which = fractional, np.arange(len(fractional))
    for axis in (0, 1):
        if not pbc[axis]:
            continue
        n = int(np.ceil(margin[axis]))
        shifted = [(images + step * np.eye(2)[axis], which) for step in range(-n, n + 1)]
        images = np.concatenate([s for s, _ in shifted])
        which = np.concatenate([w for _, w in shifted])
        inside = (images[:, axis] > -margin[axis]) & (images[:, axis] < 1 + margin[axis])
        images, which = images[inside], which[inside]
    return images, which
