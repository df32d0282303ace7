"""Stacks of layers on a common cell: strain, shifts, corrugation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from moireio.errors import MoireioError
from moireio.moire import plane
from moireio.moire.cells import Cell
from moireio.moire.layers import Layer, usual_distance
from moireio.moire.plane import FloatArray
from moireio.results.moire import Moire, MoireLayer
from moireio.system.structure import Structure

StrainOn = Literal["first", "second", "shared"]
# Share of the mismatch that the layers which keep their axes take.
FIRST_SHARE = {"first": 1.0, "second": 0.0, "shared": 0.5}
VACUUM = 20.0
MAX_ATOMS = 10_000_000
ROUNDING = 1e-6


@dataclass(frozen=True)
class Stacking:
    """Arrangement of the layers of a stack.

    Parameters
    ----------
    pattern : tuple of int, optional
        For each layer 0 (keeps its axes) or 1 (is twisted); by default alternating.
    turned : tuple of bool, optional
        Whether each layer is turned by 180 degrees before the twist; by default none is.
    centre : str, optional
        Point of every layer on the rotation axis, see `Layer.centre`; by default the hexagon
        where a layer has one, else the origin of its cell.
    shifts : dict of int to (float, float), optional
        Displacement of a layer before the twist, in its own lattice vectors.
    interlayer : tuple of float, optional
        Distances of the middle planes of neighbouring layers, Å; one for all, or one for every
        gap. By default those of `usual_distance`.
    corrugation : float
        Amplitude d1 in d(r) = d + 2 d1 Σ cos(G·r), Å.
    vacuum : float
        Empty space between periodic images along z, Å.
    """

    pattern: tuple[int, ...] | None = None
    turned: tuple[bool, ...] | None = None
    centre: str | None = None
    shifts: Mapping[int, tuple[float, float]] | None = None
    interlayer: tuple[float, ...] | None = None
    corrugation: float = 0.0
    vacuum: float = VACUUM


def resolve_pattern(
    layers: Sequence[Layer], pattern: Sequence[int] | None = None
) -> tuple[tuple[int, ...], tuple[int, int]]:
    """Return which layers keep their axes and which are twisted.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    pattern : sequence of int, optional
        For each layer 0 (keeps its axes) or 1 (is twisted); by default alternating.

    Returns
    -------
    pattern : tuple of int
        The pattern, one number for each layer.
    heads : (int, int)
        Indices of the first layer that keeps its axes and the first that is twisted.

    Raises
    ------
    MoireioError
        If the pattern does not fit, or does not begin with 0.
    """
    groups = tuple(n % 2 for n in range(len(layers))) if pattern is None else tuple(pattern)
    if len(groups) != len(layers) or set(groups) != {0, 1} or groups[0] != 0:
        raise MoireioError(
            f"the pattern {''.join(map(str, groups))} does not fit {len(layers)} layers",
            remedy="one digit for each layer, 0 or 1, the first 0, at least one 1",
        )
    return groups, (0, groups.index(1))


def deformations(
    cell: Cell, strain_on: StrainOn, homostrain: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Return how the two kinds of layers of a cell are deformed.

    Parameters
    ----------
    cell : Cell
        The common cell.
    strain_on : {"first", "second", "shared"}
        The layer that takes the mismatch.
    homostrain : (2, 2) array, optional
        Additional strain of the whole structure.

    Returns
    -------
    first, second : (2, 2) arrays
        Deformation gradients F of the layers that keep their axes and of those that are twisted:
        a vector r of the free layer becomes F r. Neither the first nor the whole is rotated.
    """
    share = FIRST_SHARE[strain_on]
    first = np.eye(2) + plane.power(cell.mismatch, -share)
    second = (np.eye(2) + plane.power(cell.mismatch, 1 - share)) @ plane.rotation(cell.angle)
    if homostrain is None:
        return first, second
    whole = np.eye(2) + homostrain
    # (1 + ε) F rotates a layer that is strained already: undo that rotation in both layers.
    _, angle = plane.polar(whole @ first)
    whole = plane.rotation(-float(angle)) @ whole
    return whole @ first, whole @ second


def build(
    layers: Sequence[Layer],
    cell: Cell,
    strain_on: StrainOn = "shared",
    stacking: Stacking | None = None,
    homostrain: FloatArray | None = None,
) -> tuple[Structure, Moire]:
    """Build a stack of layers on the common cell of two of them.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    cell : Cell
        Common cell of the first layer that keeps its axes and the first that is twisted.
    strain_on : {"first", "second", "shared"}
        The layer that takes their mismatch.
    stacking : Stacking, optional
        Arrangement of the layers.
    homostrain : (2, 2) array, optional
        Additional strain of the whole structure.

    Returns
    -------
    structure : Structure
        The rotation axis at the origin; atoms along a Hilbert curve, so that runs are compact.
    moire : Moire
        Record of the layers.

    Raises
    ------
    MoireioError
        If counts or distances come out wrong, or the stacking does not fit the layers.
    """
    stacking = stacking or Stacking()
    pattern, heads = resolve_pattern(layers, stacking.pattern)
    n_atoms = sum(
        abs(cell.multiples[group]) * len(layer.positions)
        for layer, group in zip(layers, pattern, strict=True)
    )
    if n_atoms > MAX_ATOMS:
        raise MoireioError(
            f"the cell has {n_atoms:,} atoms, {MAX_ATOMS:,} at most can be built",
            remedy="choose a smaller cell",
        )
    gradients = deformations(cell, strain_on, homostrain)
    in_plane = cell.matrices[0] @ layers[heads[0]].lattice @ gradients[0].T
    records = tuple(
        _record(layer, index, cell, heads, group, gradients, in_plane, stacking)
        for index, (layer, group) in enumerate(zip(layers, pattern, strict=True))
    )
    heights, distances = _heights(layers, stacking)
    parts = [
        _atoms(layer, record, height, in_plane, stacking.centre)
        for layer, record, height in zip(layers, records, heights, strict=True)
    ]
    slope = 0.0
    if stacking.corrugation:
        slope = _corrugate(parts, records, len(distances), stacking.corrugation)
    fractional = np.concatenate([p[0] for p in parts])
    z = np.concatenate([p[1] for p in parts])
    symbols = np.concatenate([p[2] for p in parts])
    layer_of_atom = np.concatenate([np.full(len(p[1]), n) for n, p in enumerate(parts)])
    names = list(dict.fromkeys(s for layer in layers for s in layer.symbols))
    species = np.array([names.index(s) for s in symbols])
    height = np.ptp(z) + stacking.vacuum
    bits = max(1, int(np.ceil(np.log2(np.sqrt(np.linalg.det(in_plane)) / 4 + 1))))
    order = np.lexsort((species, layer_of_atom, plane.hilbert_index(fractional, bits)))
    positions = np.column_stack([fractional @ in_plane, z - (z.min() + z.max()) / 2 + height / 2])
    structure = Structure(
        cell=_with_third_vector(in_plane, height),
        positions=positions[order],
        numbers=_numbers(names)[species[order]],
        species=species[order],
        species_names=names,
        pbc=[True, True, False],
        layer=layer_of_atom[order],
    )
    strained = any(np.any(record.strain) for record in records)
    moire = Moire(layers=records, place=strain_on if strained else "none")
    check(structure, layers, moire, slope)
    return structure, moire


def _record(layer, index, cell, heads, group, gradients, in_plane, stacking):
    """Return the record of one layer: its integer matrix, strain and angle."""
    head, gradient = heads[group], gradients[group]
    if index == head:
        matrix = cell.matrices[group]
    else:  # the head of the group has fixed the cell; find the nearest cell of this layer
        matrix = np.round(in_plane @ np.linalg.inv(layer.lattice @ gradient.T)).astype(np.int64)
        gradient = np.linalg.solve(matrix @ layer.lattice, in_plane).T
    strain, angle = plane.polar(gradient)
    if np.abs(strain).max() < 1e-12:
        strain = np.zeros((2, 2))
    shift = np.asarray((stacking.shifts or {}).get(index, (0.0, 0.0)), dtype=float)
    return MoireLayer(
        name=layer.name,
        lattice=layer.lattice,
        matrix=matrix,
        strain=strain,
        angle=float(angle) if abs(angle) > 1e-12 else 0.0,
        turned=bool(stacking.turned[index]) if stacking.turned else False,
        shift=shift @ layer.lattice,
    )


def _heights(layers, stacking):
    """Return the height of every middle plane and their distances, Å."""
    pairs = list(pairwise(layers))
    if stacking.interlayer is None:
        distances = [usual_distance(lower, upper) for lower, upper in pairs]
    else:
        distances = list(stacking.interlayer)
        if len(distances) == 1:
            distances *= len(pairs)
    if len(distances) != len(pairs):
        raise MoireioError(
            f"{len(distances)} interlayer distances for {len(layers)} layers",
            remedy=f"give one, or {len(pairs)}",
        )
    for distance, (lower, upper) in zip(distances, pairs, strict=True):
        if not distance > (lower.thickness + upper.thickness) / 2:
            raise MoireioError(
                f"at an interlayer distance of {distance:g} Å {lower.name} and {upper.name} "
                "overlap",
                remedy="it is counted from middle plane to middle plane",
            )
    return np.concatenate([[0.0], np.cumsum(distances)]), distances


def _atoms(layer, record, height, in_plane, centre):
    """Return fractional coordinates, heights and symbols of the atoms of a layer."""
    gradient = record.gradient
    motif = layer.positions[:, :2] - layer.centre(centre or layer.default_centre)
    if record.turned:
        motif = -motif
    offsets = (motif + record.shift) @ gradient.T @ np.linalg.inv(in_plane)
    points = plane.supercell_points(record.matrix)
    fractional = (points[:, None] + offsets).reshape(-1, 2) % 1
    fractional[fractional > 1 - 1e-9] = 0.0
    count = len(points)
    z = np.tile(height + layer.positions[:, 2], count)
    return fractional, z, np.tile(np.array(layer.symbols), count)


def _corrugate(parts, records, n_gaps, d1):
    """Add d(r) = d + 2 d1 Σ cos(φ_b(r)) to every distance, half on either side.

    The phases belong to the beats of the reciprocal vectors b of the two layers (three at 120
    degrees if hexagonal, two otherwise), counted from the point where both rotation centres meet.
    Returns a bound of the slope dz/dr of every layer.
    """
    slope = 0.0
    for gap in range(n_gaps):
        stars = []
        for record in records[gap : gap + 2]:
            lattice = record.lattice @ record.gradient.T
            b = 2 * np.pi * np.linalg.inv(lattice).T
            if plane.bravais_class(record.lattice) == "hexagonal":
                b = np.vstack([b, -b.sum(axis=0)])
            stars.append((b, record.gradient @ record.shift))
        (below, u), (above, v) = stars
        if len(below) != len(above) or np.abs(above - below).max() < 1e-9:
            raise MoireioError(
                "a corrugation needs two neighbouring layers that make a moiré pattern"
            )
        beats = above - below
        phase = below @ u - above @ v
        for n, (fractional, z, _) in enumerate(parts):
            points = fractional @ records[n].cell
            profile = 2 * d1 * np.cos(points @ beats.T + phase).sum(axis=1)
            z += profile / 2 if n > gap else -profile / 2
        slope += abs(d1) * float(np.linalg.norm(beats, axis=1).sum())
    return slope


def _numbers(symbols):
    from ase.data import atomic_numbers

    return np.array([atomic_numbers.get(s, 0) for s in symbols])


def _with_third_vector(in_plane, height):
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2, 2] = in_plane, height
    return cell


def check(structure: Structure, layers: Sequence[Layer], moire: Moire, slope: float = 0.0) -> None:
    """Check the number of atoms and their distances.

    Parameters
    ----------
    structure : Structure
        One moiré cell.
    layers : sequence of Layer
        The layers of which it was built.
    moire : Moire
        Record of the layers.
    slope : float
        Largest slope dz/dr of a corrugated layer, which shortens bonds by that share at most.

    Raises
    ------
    MoireioError
        If atoms are missing, or two are closer than the shortest bond of the layers allows.
    """
    expected = sum(len(a) * r.multiple for a, r in zip(layers, moire.layers, strict=True))
    if len(structure) != expected:
        raise MoireioError(f"the cell holds {len(structure)} atoms instead of {expected}")
    squeeze = max(0.0, *(-float(plane.principal(r.strain).min()) for r in moire.layers))
    allowed = min(layer.bond for layer in layers) * max(0.0, 1 - squeeze - slope) - ROUNDING
    close = structure.closest_pair(allowed)
    if close is not None:
        raise MoireioError(
            f"atoms {close[1]} and {close[2]} are {close[0]:.3f} Å apart, closer than the shortest "
            f"bond of the layers ({allowed:.3f} Å)",
            remedy="give larger distances with `interlayer`",
        )
