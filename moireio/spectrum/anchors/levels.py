"""Levels at all k points, from the small matrices as functions of k."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import svd

from moireio.runtime.threads import blas_threads
from moireio.spectrum.anchors.continuity import Place
from moireio.spectrum.anchors.interpolation import GramSeries, Patch
from moireio.spectrum.anchors.reduced import (
    Grams,
    RitzLevels,
    polished,
    refined_levels,
    ritz_levels,
)

SNAPSHOTS = 24  # nodes whose levels span the space of a patch
DROPPED = 1e-5  # singular values of the levels at the nodes, for the space of a patch


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
    """

    patch: Patch
    whole: GramSeries
    vectors: npt.NDArray[np.complex128]
    series: GramSeries

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

    def levels(self, k: npt.NDArray, scales: Scales, refined: bool = False) -> RitzLevels:
        """Return the levels at a k point.

        Parameters
        ----------
        k : (3,) array
            In the patch.
        scales : Scales
            Which levels.
        refined : bool
            Vectors of least residual, instead of Ritz's.

        Returns
        -------
        RitzLevels
            With vectors in the smaller space.
        """
        find = refined_levels if refined else ritz_levels
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


class InterpolatedLevels:
    """Levels at k points that lie in regions.

    Parameters
    ----------
    k : (nk, 3) array
        Fractional coordinates.
    regions : sequence of Region
        With indices of their k points.
    scales : Scales
        Which levels.
    threads : int
        Threads, which take k points of their own.

    Attributes
    ----------
    at : dict of int to RitzLevels
        Levels by k point.
    region_of : dict of int to int
        Index of the region of each k point.
    """

    def __init__(
        self, k: npt.NDArray, regions: Sequence[Region], scales: Scales, threads: int = 1
    ) -> None:
        self.k, self.regions, self.scales, self._threads = k, list(regions), scales, threads
        self._refined: set[int] = set()
        self.region_of = {
            point: number
            for number, region in enumerate(regions)
            for point in region.patch.points.tolist()
        }
        points = sorted(self.region_of)
        with blas_threads(1), ThreadPoolExecutor(threads) as pool:
            found = pool.map(lambda p: self.region(p).levels(k[p], scales), points)
            self.at = dict(zip(points, found, strict=True))

    def region(self, point: int) -> Region:
        """Return the region of a k point."""
        return self.regions[self.region_of[point]]

    def refine(self, points: Sequence[int]) -> list[int]:
        """Find the levels at k points that ghosts may have spoiled once more.

        Parameters
        ----------
        points : sequence of int
            Indices of the k points.

        Returns
        -------
        list of int
            Those where that was not done before.
        """
        fresh = [point for point in dict.fromkeys(points) if point not in self._refined]
        self._refined.update(fresh)

        def one(point: int) -> RitzLevels:
            return self.region(point).levels(self.k[point], self.scales, refined=True)

        if fresh:
            with blas_threads(1), ThreadPoolExecutor(self._threads) as pool:
                self.at.update(zip(fresh, pool.map(one, fresh), strict=True))
        return fresh

    def polish(self, points: Sequence[int]) -> None:
        """Make the residuals of the levels at some k points smaller.

        Parameters
        ----------
        points : sequence of int
            Indices of the k points.
        """

        def one(point: int) -> RitzLevels:
            grams = self.region(point).series.at(self.k[point])
            return polished(grams, self.at[point], self.scales.width)

        with blas_threads(1), ThreadPoolExecutor(self._threads) as pool:
            for point, levels in zip(points, pool.map(one, points), strict=True):
                if len(levels) == len(self.at[point]):
                    self.at[point] = levels
