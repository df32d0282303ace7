"""Structures to train on: slid and displaced bilayers, displaced twisted cells."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.moire import build
from moireio.moire.cells import Cell
from moireio.moire.layers import Layer, usual_distance
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


@dataclass(frozen=True)
class Variation:
    """How structures of one stacking differ, besides displaced atoms.

    Parameters
    ----------
    copies : int
        Structures of each stacking.
    distances : (float, float)
        Range of what is added to the distances of the layers, Å; drawn uniformly.
    strain : float
        Largest strain of the cell in the plane; the three components are drawn uniformly.
    """

    copies: int
    distances: tuple[float, float] = (0.0, 0.0)
    strain: float = 0.0

    def draw(
        self, layers: Sequence[Layer], stacking: build.Stacking, random: np.random.Generator
    ) -> tuple[build.Stacking, npt.NDArray[np.float64]]:
        """Draw the arrangement and the strain of one structure.

        Parameters
        ----------
        layers : sequence of Layer
            From the bottom to the top.
        stacking : Stacking
            The arrangement that is varied.
        random : numpy.random.Generator
            Source of random numbers.

        Returns
        -------
        stacking : Stacking
            With a distance for every gap.
        strain : (2, 2) array
            Strain of the whole structure.
        """
        usual = stacking.interlayer or [usual_distance(a, b) for a, b in pairwise(layers)]
        gaps = list(usual) * (len(layers) - 1 if len(usual) == 1 else 1)
        drawn = [gap + float(random.uniform(*self.distances)) for gap in gaps]
        xx, yy, xy = random.uniform(-self.strain, self.strain, 3)
        return replace(stacking, interlayer=tuple(drawn)), np.array([[xx, xy], [xy, yy]])


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
    variation: Variation | None = None,
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
    variation : Variation, optional
        How several structures of each stacking differ; by default there is one.

    Yields
    ------
    StructureSample
        Named ``slide_I_J``, with a variation ``slide_I_J_N``.
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
            arranged = replace(stacking, shifts=shifts)
            origin = {"kind": "slide", "slide": [u, v], "supercell": list(supercell)}
            name = f"slide_{i:02d}_{j:02d}"
            if variation is None:
                structure, _ = build.build(layers, wide, strain_on, arranged)
                random = np.random.default_rng([seed, 0, i, j])
                yield StructureSample(name, displaced(structure, amplitude, random), origin)
            for copy in range(variation.copies if variation else 0):
                random = np.random.default_rng([seed, 2, i, j, copy])
                varied, strain = variation.draw(layers, arranged, random)
                structure, _ = build.build(layers, wide, strain_on, varied, strain)
                drawn = {"interlayer": list(varied.interlayer), "strain": strain.tolist()}
                yield StructureSample(
                    f"{name}_{copy:03d}",
                    displaced(structure, amplitude, random),
                    origin | drawn | {"copy": copy},
                )
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
