"""Structures to train on: slid and displaced bilayers, displaced twisted cells."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from moireio.moire import build
from moireio.moire.cells import Cell
from moireio.moire.layers import Layer
from moireio.runtime.progress import Progress
from moireio.system.structure import Structure


@dataclass(frozen=True, eq=False)
class StructureSample:
    """One structure of a training set.

    Parameters
    ----------
    name : str
        Unique in the set, fit for a folder.
    structure : Structure
        The atoms.
    origin : dict
        Plain values that record how it was made.
    """

    name: str
    structure: Structure
    origin: Mapping[str, Any] = field(default_factory=dict)


def displaced(structure: Structure, amplitude: float, random: np.random.Generator) -> Structure:
    """Displace every atom by a random vector.

    Parameters
    ----------
    structure : Structure
        The atoms.
    amplitude : float
        Longest displacement, Å; vectors are uniform in the ball of that radius.
    random : numpy.random.Generator
        Source of random numbers.

    Returns
    -------
    Structure
        A new structure.
    """
    direction = random.normal(size=(len(structure), 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    length = amplitude * np.cbrt(random.random((len(structure), 1)))
    return replace(structure, positions=structure.positions + length * direction)


def slid(
    layers: Sequence[Layer],
    cell: Cell,
    grid: tuple[int, int],
    supercell: tuple[int, int],
    amplitude: float,
    seed: int,
    stacking: build.Stacking | None = None,
    strain_on: build.StrainOn = "shared",
    progress: Progress | None = None,
) -> Iterator[StructureSample]:
    """Yield bilayers with the twisted layers slid over a grid, atoms displaced.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    cell : Cell
        Their common cell; 1×1 for like layers.
    grid : (int, int)
        Steps along the lattice vectors of the twisted layers.
    supercell : (int, int)
        Common cells in each structure.
    amplitude : float
        Longest displacement of an atom, Å.
    seed : int
        Seed of the random numbers; each structure adds its place on the grid.
    stacking : Stacking, optional
        Arrangement of the layers before they slide.
    strain_on : {"first", "second", "shared"}
        The layer that takes the mismatch.
    progress : Progress, optional
        Called after every structure.

    Yields
    ------
    StructureSample
        Named ``slide_I_J``.
    """
    stacking = stacking or build.Stacking()
    pattern, _ = build.resolve_pattern(layers, stacking.pattern)
    change = np.diag(np.asarray(supercell, dtype=np.int64))
    wide = Cell(change @ cell.matrices, cell.angle, cell.mismatch)
    for i in range(grid[0]):
        for j in range(grid[1]):
            u, v = i / grid[0], j / grid[1]
            shifts = dict(stacking.shifts or {})
            for layer, group in enumerate(pattern):
                if group:
                    a, b = shifts.get(layer, (0.0, 0.0))
                    shifts[layer] = (a + u, b + v)
            structure, _ = build.build(layers, wide, strain_on, replace(stacking, shifts=shifts))
            random = np.random.default_rng([seed, 0, i, j])
            origin = {"kind": "slide", "slide": [u, v], "supercell": list(supercell)}
            name = f"slide_{i:02d}_{j:02d}"
            yield StructureSample(name, displaced(structure, amplitude, random), origin)
            if progress:
                progress(1, grid[0] * grid[1])


def twisted(
    layers: Sequence[Layer],
    cells: Mapping[str, Cell],
    copies: int,
    amplitude: float,
    seed: int,
    stacking: build.Stacking | None = None,
    strain_on: build.StrainOn = "shared",
    progress: Progress | None = None,
) -> Iterator[StructureSample]:
    """Yield twisted cells with their atoms displaced.

    Parameters
    ----------
    layers : sequence of Layer
        From the bottom to the top.
    cells : dict of str to Cell
        Twisted cells by a label such as ``2-1``.
    copies : int
        Number of structures of each cell, each displaced differently.
    amplitude : float
        Longest displacement of an atom, Å.
    seed : int
        Seed of the random numbers; each structure adds its cell and its number.
    stacking : Stacking, optional
        Arrangement of the layers.
    strain_on : {"first", "second", "shared"}
        The layer that takes the mismatch.
    progress : Progress, optional
        Called after every structure.

    Yields
    ------
    StructureSample
        Named ``twist_LABEL_N``.
    """
    for label, cell in cells.items():
        structure, moire = build.build(layers, cell, strain_on, stacking)
        key = [int(v) for v in np.asarray(cell.matrices).ravel() & 0xFFFFFFFF]
        angle = moire.layers[-1].angle
        for copy in range(copies):
            random = np.random.default_rng([seed, 1, *key, copy])
            origin = {"kind": "twist", "label": label, "angle": angle, "copy": copy}
            name = f"twist_{label}_{copy:03d}"
            yield StructureSample(name, displaced(structure, amplitude, random), origin)
            if progress:
                progress(1, copies * len(cells))
