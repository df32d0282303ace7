"""Structures to train on: slid and displaced bilayers, displaced twisted cells."""

from dataclasses import dataclass, field, replace

import numpy as np

from moireio.moire import build, cells


@dataclass(frozen=True, eq=False)
class Sample:
    """One structure of a training set.

    Parameters
    ----------
    name : str
        Unique in the set, fit for a folder.
    structure : Structure
        The atoms.
    origin : dict
        Plain values that tell how it was made.
    """

    name: str
    structure: object
    origin: dict = field(default_factory=dict)


def displaced(structure, amplitude, random):
    """Displace every atom by a random vector.

    Parameters
    ----------
    structure : Structure
        The atoms.
    amplitude : float
        Longest displacement, Å; vectors are uniform in the ball of that radius.
    random : numpy.random.Generator
        Where the numbers come from.

    Returns
    -------
    Structure
        A new one.
    """
    direction = random.normal(size=(len(structure), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = amplitude * np.cbrt(random.random((len(structure), 1)))
    return replace(structure, positions=structure.positions + length * direction)


def slid(layers, cell, grid, supercell, amplitude, seed, stacking=None, place="shared"):
    """Yield bilayers with the turned layers slid over a grid, atoms displaced.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    cell : Cell
        Their common cell; 1×1 for like layers.
    grid : (int, int)
        Steps along the lattice vectors of the turned layers.
    supercell : (int, int)
        Common cells in each structure.
    amplitude : float
        Longest displacement, Å.
    seed : int
        Each structure has its own random numbers, from this and its place on the grid.
    stacking : Stacking, optional
        How the layers lie on each other otherwise.
    place : {"first", "second", "shared"}
        Which layer takes the mismatch.

    Yields
    ------
    Sample
        Called ``slide_I_J``.
    """
    stacking = stacking or build.Stacking()
    pattern, _ = build.groups(layers, stacking.pattern)
    change = np.diag(np.asarray(supercell, dtype=np.int64))
    wide = cells.Cell(change @ cell.matrices, cell.angle, cell.mismatch)
    for i in range(grid[0]):
        for j in range(grid[1]):
            u, v = i / grid[0], j / grid[1]
            shifts = dict(stacking.shifts or {})
            for number, group in enumerate(pattern):
                if group:
                    a, b = shifts.get(number, (0.0, 0.0))
                    shifts[number] = (a + u, b + v)
            own = replace(stacking, shifts=shifts)
            structure, _ = build.build(layers, wide, place, own)
            random = np.random.default_rng([seed, 0, i, j])
            origin = {"kind": "slide", "slide": [u, v], "supercell": list(supercell)}
            yield Sample(f"slide_{i:02d}_{j:02d}", displaced(structure, amplitude, random), origin)


def twisted(layers, cell, label, copies, amplitude, seed, stacking=None, place="shared"):
    """Yield twisted cells with their atoms displaced.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    cell : Cell
        The twisted cell.
    label : str
        Of the cell, such as ``2-1``.
    copies : int
        How many, each displaced differently.
    amplitude : float
        Longest displacement, Å.
    seed : int
        Each structure has its own random numbers, from this, its cell and its number.
    stacking : Stacking, optional
        How the layers lie on each other.
    place : {"first", "second", "shared"}
        Which layer takes the mismatch.

    Yields
    ------
    Sample
        Called ``twist_LABEL_N``.
    """
    structure, moire = build.build(layers, cell, place, stacking)
    key = [int(v) for v in np.asarray(cell.matrices).ravel() & 0xFFFFFFFF]
    for number in range(copies):
        random = np.random.default_rng([seed, 1, *key, number])
        origin = {"kind": "twist", "label": label, "angle": moire.layers[-1].angle, "copy": number}
        yield Sample(f"twist_{label}_{number:03d}", displaced(structure, amplitude, random), origin)
