"""Parts of k space, each with a small space for the levels in it."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import svd

from moireio.runtime.threads import blas_threads
from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.continuity import Place
from moireio.spectrum.anchors.interpolation import GramSeries, Patch
from moireio.spectrum.anchors.moving import DEGREE, NODES, MovingSpace
from moireio.spectrum.anchors.reduced import (
    Grams,
    RitzLevels,
    polished,
    refined_levels,
    ritz_levels,
)

SNAPSHOTS = 24  # nodes whose levels span the space of a patch
DROPPED = 1e-5  # singular values of the levels at the nodes, for the space of a patch
REACH_OF_PLANE = 0.5
WIDTH, NARROWEST, WIDEST = 0.25, 2e-3, 0.05  # share of the margin's energies; eV
PARTS, FEWEST = 6, 6  # parts of a line, and k points of each, about


@dataclass(frozen=True)
class Scales:
    """Energies by which levels of interest are known from others.

    Parameters
    ----------
    window : tuple of two float
        Lowest and highest energy, eV.
    width : float
        Largest residual of a level, eV.
    """

    window: tuple[float, float]
    width: float

    @classmethod
    def of(
        cls, anchors: Sequence[Anchor], wanted: tuple[int, int], n_orbitals: int, plane: bool
    ) -> "Scales":
        """Return those of the bands that anchors have.

        On lines as wide as anchors know levels, which shows where these go on: what is not followed
        may come back unseen. In a plane the outer ones would be lost soon.

        Parameters
        ----------
        anchors : sequence of Anchor
            One at least.
        wanted : tuple of two int
            First and last band that are wanted (inclusive, from 0).
        n_orbitals : int
            Number of all levels.
        plane : bool
            k varies in a plane.

        Returns
        -------
        Scales
            The window reaches beyond the wanted levels as far as anchors do in the mean, in a plane
            half as far.
        """
        ends = np.array([anchor.range(wanted) for anchor in anchors])
        lower = [e[1] - e[0] for a, e in zip(anchors, ends, strict=True) if a.first]
        upper = [
            e[3] - e[2]
            for a, e in zip(anchors, ends, strict=True)
            if a.first + len(a.energies) < n_orbitals
        ]
        margin = float(min([*lower, *upper], default=WIDEST / WIDTH))
        outer = float(np.mean([ends[:, 1] - ends[:, 0], ends[:, 3] - ends[:, 2]]))
        outer *= REACH_OF_PLANE if plane else 1
        low, high = float(ends[:, 1].min()) - outer, float(ends[:, 2].max()) + outer
        return cls((low, high), min(max(WIDTH * margin, NARROWEST), WIDEST))

    @property
    def centre(self) -> float:
        """Middle of the window, eV."""
        return 0.5 * (self.window[0] + self.window[1])


@dataclass(frozen=True, eq=False)
class Region:
    """A patch with the products of the anchors' space, and of a smaller one for its levels.

    Parameters
    ----------
    patch : Patch
        Its k points.
    whole : GramSeries
        Products of the anchors' space.
    vectors : (m, c) array
        The smaller space.
    series : GramSeries
        Its products.
    moving : MovingSpace, optional
        A part of the smaller space for each k, in which levels are looked for first.
    careful : bool
        Find the vectors of least residual there, which ghosts do not spoil: some ten times the work
        of Ritz's.
    """

    patch: Patch
    whole: GramSeries
    vectors: npt.NDArray[np.complex128]
    series: GramSeries
    moving: MovingSpace | None = None
    careful: bool = False

    @classmethod
    def of(cls, whole: GramSeries, scales: Scales, threads: int) -> "Region":
        """Return a region, its smaller space that of the levels at the nodes.

        Parameters
        ----------
        whole : GramSeries
            Products of the anchors' space.
        scales : Scales
            Which levels.
        threads : int
            Threads, which take nodes of their own.

        Returns
        -------
        Region
            With both.
        """
        with blas_threads(1), ThreadPoolExecutor(threads) as pool:
            nodes = whole.at_nodes[:SNAPSHOTS]  # those of a plane differ most at the beginning
            found = pool.map(lambda grams: _at_node(grams, scales), nodes)
            vectors = np.concatenate([levels.vectors for levels in found], axis=1)
        u, sizes, _ = svd(vectors, full_matrices=False)
        smaller = u[:, sizes > DROPPED * sizes.max(initial=1)]
        return cls(whole.patch, whole, smaller, whole.inside(smaller))

    def parts(
        self,
        k: npt.NDArray[np.float64],
        scales: Scales,
        terms: Callable[[npt.NDArray], int],
        threads: int,
        careful: bool = False,
    ) -> "list[Region]":
        """Return the parts of a line that has many k points, with a space each; else the region.

        The levels at a few k points of a part span those between (see `MovingSpace`): a third of
        the size of the region's space. Most of the time for a k point is its small eigenproblem.

        Parameters
        ----------
        k : (nk, 3) array
            Fractional coordinates; those of the region in their order along the line.
        scales : Scales
            Which levels.
        terms : callable
            Returns how many nodes products need on a line, from its half.
        threads : int
            Threads, which take nodes of their own.
        careful : bool
            That of the parts.

        Returns
        -------
        list of Region
            They touch: each holds the last k point of the one before it.
        """
        patch = self.patch
        pieces = np.array_split(patch.points, max(min(len(patch.points) // FEWEST, PARTS), 1))
        if len(patch.axes) != 1 or len(pieces) < 2:
            return [self]
        last = [float(patch.coordinates(k[piece[-1]])[0]) for piece in pieces]
        first = min(-1.0, float(patch.coordinates(k[pieces[0][0]])[0]))
        ends = np.array([first, *last])
        half, middles = np.diff(ends) / 2, (ends[1:] + ends[:-1]) / 2
        count = terms(half.max() * patch.axes[0])
        places = [*(middles[:, None] + half[:, None] * NODES[:-1]).ravel(), ends[-1]]

        def levels_at(x: float) -> npt.NDArray[np.complex128]:
            return _at_node(self.series.at(patch.centre + x * patch.axes[0]), scales).vectors

        def part(number: int) -> "Region":
            centre = patch.centre + middles[number] * patch.axes[0]
            own = Patch(centre, half[number] * patch.axes, pieces[number])
            near = found[number * DEGREE : (number + 1) * DEGREE + 1]
            moving = MovingSpace(self.series, own, near, count)
            return replace(self, patch=own, moving=moving, careful=careful)

        with blas_threads(1), ThreadPoolExecutor(threads) as pool:
            found = list(pool.map(levels_at, places))
            return list(pool.map(part, range(len(pieces))))

    def levels(self, k: npt.NDArray, scales: Scales, refined: bool = False) -> RitzLevels:
        """Return the levels at a k point.

        Parameters
        ----------
        k : (3,) array
            In the patch.
        scales : Scales
            Which levels.
        refined : bool
            Look in the whole smaller space of the region, not only in the part for this k.

        Returns
        -------
        RitzLevels
            With vectors in the smaller space.
        """
        find = refined_levels if refined or self.careful else ritz_levels
        if self.moving is not None and not refined:
            found = find(self.moving.grams(k), scales.window, scales.width)
            return replace(found, vectors=self.moving.at(k) @ found.vectors)
        return find(self.series.at(k), scales.window, scales.width)

    def place(self, k: npt.NDArray, levels: RitzLevels) -> Place:
        """Return levels with their images under S in the smaller space."""
        return Place.of(k, levels, self.series.overlap(k))

    def lifted(self, levels: RitzLevels) -> RitzLevels:
        """Return levels with vectors in the anchors' space."""
        return RitzLevels(levels.energies, self.vectors @ levels.vectors, levels.products)


def _at_node(grams: Grams, scales: Scales) -> RitzLevels:
    """Return levels whose ghosts are gone, but not those that ghosts spoiled altogether."""
    levels = ritz_levels(grams, scales.window, scales.width)
    return polished(grams, levels, scales.width)
