"""Stacks of layers on a common cell: strain, shifts, corrugation, supercells, ribbons."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from moireio.errors import MoireioError
from moireio.moire import layers as layer_table
from moireio.moire import plane
from moireio.results.moire import Moire, MoireLayer
from moireio.system.structure import Structure

PLACES = {"first": 1.0, "second": 0.0, "shared": 0.5}
VACUUM = 20.0
SAME_PLACE = 1e-6


@dataclass(frozen=True)
class Stacking:
    """How layers are put on each other.

    Parameters
    ----------
    pattern : tuple of int, optional
        For each layer 0 (keeps its axes) or 1 (is turned); by default alternating.
    turned : tuple of bool, optional
        Which layers are first turned by 180 degrees; by default none.
    centre : str, optional
        Point of every layer that comes to lie on the axis, see `Layer.centre`; by default the
        hexagon where a layer has one, else the origin of its cell.
    shifts : dict of int to (float, float)
        Displacement of a layer before it is turned, in its own lattice vectors.
    interlayer : tuple of float, optional
        Distances of the middle planes of neighbouring layers, Å.
    corrugation : float
        d1 in d(r) = d + 2 d1 Σ cos(G·r), Å.
    vacuum : float
        Empty space between periodic images along z, Å.
    """

    pattern: tuple | None = None
    turned: tuple | None = None
    centre: str | None = None
    shifts: dict | None = None
    interlayer: tuple | None = None
    corrugation: float = 0.0
    vacuum: float = VACUUM


def deformations(cell, place, homostrain=None):
    """Tell how the two layers of a cell are deformed.

    Parameters
    ----------
    cell : Cell
        The common cell.
    place : {"first", "second", "shared"}
        Which layer takes the mismatch.
    homostrain : (2, 2) array, optional
        Strain of the whole structure on top of it.

    Returns
    -------
    tuple of two (2, 2) arrays
        Gradients F: a vector r of the layer as it is by itself becomes F r. Neither the first nor
        the whole is rotated.
    """
    f = PLACES[place]
    first = np.eye(2) + plane.power(cell.mismatch, -f)
    second = (np.eye(2) + plane.power(cell.mismatch, 1 - f)) @ plane.rotation(cell.angle)
    if homostrain is None:
        return first, second
    whole = np.eye(2) + homostrain
    # (1 + ε) F would turn a layer that is strained already: take that rotation back from both.
    _, angle = plane.polar(whole @ first)
    whole = plane.rotation(-float(angle)) @ whole
    return whole @ first, whole @ second


def build(layers, cell, place="shared", stacking=None, homostrain=None):
    """Build a stack of layers on the common cell of two of them.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    cell : Cell
        Of the first layer that keeps its axes and the first that is turned.
    place : {"first", "second", "shared"}
        Where their mismatch goes.
    stacking : Stacking, optional
        How they are put on each other.
    homostrain : (2, 2) array, optional
        Strain of the whole structure.

    Returns
    -------
    structure : Structure
        The rotation axis at the origin; atoms along a Hilbert curve, so that runs are compact.
    moire : Moire
        How it was built.

    Raises
    ------
    MoireioError
        If counts or distances come out wrong, or the options do not fit the layers.
    """
    stacking = stacking or Stacking()
    pattern, heads = groups(layers, stacking.pattern)
    gradients = deformations(cell, place, homostrain)
    in_plane = cell.matrices[0] @ layers[heads[0]].lattice @ gradients[0].T
    records = tuple(
        _record(layer, index, cell, heads, group, gradients, in_plane, stacking)
        for index, (layer, group) in enumerate(zip(layers, pattern, strict=True))
    )
    heights, distances = _heights(layers, stacking)
    parts = [
        _fill(layer, record, height, in_plane, stacking.centre)
        for layer, record, height in zip(layers, records, heights, strict=True)
    ]
    if stacking.corrugation:
        _corrugate(parts, records, distances, stacking.corrugation)
    fractional = np.concatenate([p[0] for p in parts])
    z = np.concatenate([p[1] for p in parts])
    symbols = np.concatenate([p[2] for p in parts])
    number = np.concatenate([np.full(len(p[1]), n) for n, p in enumerate(parts)])
    names = list(dict.fromkeys(s for layer in layers for s in layer.symbols))
    species = np.array([names.index(s) for s in symbols])
    height = np.ptp(z) + stacking.vacuum
    bits = max(1, int(np.ceil(np.log2(np.sqrt(np.linalg.det(in_plane)) / 4 + 1))))
    order = np.lexsort((species, number, plane.hilbert_index(fractional, bits)))
    positions = np.column_stack([fractional @ in_plane, z - (z.min() + z.max()) / 2 + height / 2])
    structure = Structure(
        cell=_three(in_plane, height),
        positions=positions[order],
        numbers=_numbers(names)[species[order]],
        species=species[order],
        species_names=names,
        pbc=[True, True, False],
        layer=number[order],
    )
    moire = Moire(layers=records, place=_told(place, records))
    check(structure, layers, moire)
    return structure, moire


def groups(layers, pattern=None):
    """Tell which layers keep their axes and which are turned.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    pattern : sequence of int, optional
        0 or 1 for each; by default alternating.

    Returns
    -------
    pattern : tuple of int
        For each layer.
    heads : tuple of int
        The first layer of either kind.

    Raises
    ------
    MoireioError
        If the pattern does not fit, or does not begin with 0.
    """
    pattern = tuple(n % 2 for n in range(len(layers))) if pattern is None else tuple(pattern)
    if len(pattern) != len(layers) or set(pattern) != {0, 1} or pattern[0] != 0:
        raise MoireioError(
            f"the pattern {''.join(map(str, pattern))} does not fit {len(layers)} layers",
            remedy="one digit a layer, 0 or 1, the first 0, at least one 1",
        )
    return pattern, (0, pattern.index(1))


def _record(layer, index, cell, heads, group, gradients, in_plane, stacking):
    """Describe one layer: its integer matrix, strain and angle."""
    head, gradient = heads[group], gradients[group]
    if index == head:
        matrix = cell.matrices[group]
    else:  # another material or the same as the head of its group, on the cell that now stands
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


def _told(place, records):
    return place if any(np.any(r.strain) for r in records) else "none"


def _heights(layers, stacking):
    """Return the height of every middle plane and their distances, Å."""
    pairs = list(pairwise(layers))
    given = stacking.interlayer
    if given is None:
        distances = [layer_table.spacing(a, b) for a, b in pairs]
    else:
        distances = list(given) * (len(pairs) if len(given) == 1 else 1)
    if len(distances) != len(pairs):
        raise MoireioError(
            f"{len(distances)} interlayer distances for {len(layers)} layers",
            remedy=f"give one, or {len(pairs)}",
        )
    for distance, (a, b) in zip(distances, pairs, strict=True):
        if not distance > (a.thickness + b.thickness) / 2:
            raise MoireioError(
                f"an interlayer distance of {distance:g} Å makes {a.name} and {b.name} overlap",
                remedy="it is counted from middle plane to middle plane",
            )
    return np.concatenate([[0.0], np.cumsum(distances)]), distances


def _fill(layer, record, height, in_plane, centre):
    """Place the atoms of a layer; return fractional coordinates, heights, symbols."""
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


def _corrugate(parts, records, distances, d1):
    """Add d(r) = d + 2 d1 Σ cos(φ_b(r)) to every distance, half on either side.

    The phases belong to the beats of the reciprocal vectors b of the two layers (three at 120
    degrees if hexagonal, two otherwise), counted from where both rotation centres meet.
    """
    for gap in range(len(distances)):
        stars = []
        for record in records[gap : gap + 2]:
            lattice = record.lattice @ record.gradient.T
            b = 2 * np.pi * np.linalg.inv(lattice).T
            if plane.kind(record.lattice) == "hexagonal":
                b = np.vstack([b, -b.sum(axis=0)])
            stars.append((b, record.gradient @ record.shift))
        (below, u), (above, v) = stars
        if len(below) != len(above) or np.abs(above - below).max() < 1e-9:
            raise MoireioError(
                "--corrugate needs two neighbouring layers that make a moiré pattern"
            )
        beats = above - below
        phase = below @ u - above @ v
        for n, (fractional, z, _) in enumerate(parts):
            where = fractional @ records[n].cell
            profile = 2 * d1 * np.cos(where @ beats.T + phase).sum(axis=1)
            z += profile / 2 if n > gap else -profile / 2


def _numbers(symbols):
    from ase.data import atomic_numbers

    return np.array([atomic_numbers.get(s, 0) for s in symbols])


def _three(in_plane, height):
    cell = np.zeros((3, 3))
    cell[:2, :2], cell[2, 2] = in_plane, height
    return cell


def check(structure, layers, moire):
    """Check the number of atoms and that none are too close.

    Parameters
    ----------
    structure : Structure
        One moiré cell.
    layers : sequence of Layer
        Of which it was built.
    moire : Moire
        How.

    Raises
    ------
    MoireioError
        If atoms are missing, or two are closer than the layers' own shortest bond allows.
    """
    expected = sum(len(a) * r.multiple for a, r in zip(layers, moire.layers, strict=True))
    if len(structure) != expected:
        raise MoireioError(f"the cell holds {len(structure)} atoms instead of {expected}")
    squeeze = max(0.0, *(-float(plane.principal(r.strain).min()) for r in moire.layers))
    allowed = min(layer.bond for layer in layers) * (1 - squeeze) - SAME_PLACE
    close = structure.closest_pair(allowed)
    if close is not None:
        raise MoireioError(
            f"atoms {close[1]} and {close[2]} are {close[0]:.3f} Å apart, closer than the shortest "
            f"bond of the layers ({allowed:.3f} Å)",
            remedy="give larger distances with --interlayer",
        )


def repeat(structure, moire, counts):
    """Repeat a moiré cell in the plane.

    Parameters
    ----------
    structure : Structure
        One cell.
    moire : Moire
        How it was built.
    counts : (int, int)
        Along the first and second vector.

    Returns
    -------
    structure : Structure
        Cell after cell, the last vector fastest.
    moire : Moire
        With `repeat` set.
    """
    steps = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), -1).reshape(-1, 2)
    shifts = steps @ structure.cell[:2]
    times = len(steps)
    cell = structure.cell.copy()
    cell[:2] *= np.asarray(counts)[:, None]
    optional = {n: getattr(structure, n) for n in ("layer", "magmoms")}
    repeated = replace(
        structure,
        cell=cell,
        positions=(structure.positions + shifts[:, None]).reshape(-1, 3),
        numbers=np.tile(structure.numbers, times),
        species=np.tile(structure.species, times),
        **{n: np.concatenate([v] * times) for n, v in optional.items() if v is not None},
    )
    return repeated, replace(moire, repeat=tuple(int(c) for c in counts))


def ribbon(structure, moire, cells, axis, vacuum=VACUUM):
    """Cut a nanoribbon: some cells wide, open along one vector, periodic along the other.

    Parameters
    ----------
    structure : Structure
        One cell.
    moire : Moire
        How it was built.
    cells : int
        Width of the ribbon, in cells along the open vector.
    axis : {1, 2}
        The lattice vector that is open.
    vacuum : float
        Empty space beside the ribbon, Å.

    Returns
    -------
    structure : Structure
        Its open lattice vector at right angles to the edges.
    moire : Moire
        With `repeat` and `open_axis` set.
    """
    counts = (cells, 1) if axis == 1 else (1, cells)
    wide, moire = repeat(structure, moire, counts)
    along = structure.cell[2 - axis, :2]
    across = np.array([-along[1], along[0]]) / np.linalg.norm(along)
    if across @ structure.cell[axis - 1, :2] < 0:
        across = -across
    reach = wide.positions[:, :2] @ across
    cell = wide.cell.copy()
    cell[axis - 1, :2] = across * (np.ptp(reach) + vacuum)
    positions = wide.positions.copy()
    moved = across * (vacuum / 2 - reach.min())
    positions[:, :2] += moved
    pbc = [True, True, False]
    pbc[axis - 1] = False
    cut = replace(wide, cell=cell, positions=positions, pbc=pbc)
    layers = tuple(replace(r, centre=r.centre + moved) for r in moire.layers)
    return cut, replace(moire, layers=layers, open_axis=axis)
