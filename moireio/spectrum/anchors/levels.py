"""Levels at all k points, from the small matrices as functions of k."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy.typing as npt

from moireio.runtime.threads import blas_threads
from moireio.spectrum.anchors.reduced import RitzLevels, polished
from moireio.spectrum.anchors.regions import Region, Scales


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
