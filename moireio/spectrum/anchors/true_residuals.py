"""Residuals by true products: how far interpolated ones are off, and their norm in S⁻¹."""

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.levels import InterpolatedLevels
from moireio.spectrum.anchors.norms import norm_ratio
from moireio.spectrum.anchors.numbering import BandNumbers
from moireio.spectrum.anchors.space import WORST, AnchorSpace


class TrueResiduals:
    """Residuals of the wanted levels at one k point of each region, where they are largest.

    Parameters
    ----------
    space : AnchorSpace
        With H and S.
    k : (nk, 3) array
        Fractional coordinates.

    Attributes
    ----------
    check : float
        Largest difference of residuals by interpolation and by true products, eV.
    ratios : (nk,) array
        Norm of the residuals in S⁻¹, as a multiple of the plain norm, 1 at least: measured in the
        region of a k point, or the largest on its line.
    ratio : float
        The largest of them.
    """

    def __init__(self, space: AnchorSpace, k: npt.NDArray[np.float64]) -> None:
        self._space, self._k = space, k
        self._regions: set[int] = set()  # where norms were measured
        self.check, self.ratio, self.ratios = 0.0, 1.0, np.ones(len(k))

    def begin(
        self, found: InterpolatedLevels, numbers: BandNumbers, anchors: Collection[int]
    ) -> None:
        """Compare residuals in all regions, and measure the norm of the largest on each line.

        Parameters
        ----------
        found : InterpolatedLevels
            Levels that were just found.
        numbers : BandNumbers
            Their numbers.
        anchors : collection of int
            k points whose energies are not taken from these levels.
        """
        self._found, self._numbers, self._anchors = found, numbers, anchors
        self._regions.clear()
        for line in {id(region.whole): region.whole for region in found.regions}.values():
            own = [n for n, region in enumerate(found.regions) if region.whole is line]
            points = [point for n in own if (point := self._worst(n)) is not None]
            residuals = {point: self._at(point) for point in points}
            if not points or self._space.products.orthogonal:
                continue
            worst = max(points, key=lambda p: np.linalg.norm(residuals[p], axis=0).max())
            for number in own:
                self.ratios[found.regions[number].patch.points] = 1.0
            self._measure(worst, residuals[worst], own)

    def measure(self, points: Sequence[int]) -> bool:
        """Measure norms in the regions of some k points.

        Parameters
        ----------
        points : sequence of int
            Their indices.

        Returns
        -------
        bool
            Whether there was anything new to measure.
        """
        if self._space.products.orthogonal:
            return False
        regions = {self._found.region_of[p] for p in points if p in self._found.region_of}
        new = sorted(regions - self._regions)
        self._regions.update(new)
        for number in new:
            point = self._worst(number)
            if point is not None:
                self._measure(point, self._at(point), [number, *self._not_measured(number)])
        return bool(new)

    def _not_measured(self, number: int) -> list[int]:
        """Return the other regions of a line where norms were not measured yet."""
        regions = self._found.regions
        rest = set(range(len(regions))) - self._regions
        return sorted(n for n in rest if regions[n].whole is regions[number].whole)

    def _worst(self, number: int) -> int | None:
        """Return the k point of a region, by its number, with the largest residual."""
        points = [
            p
            for p in self._found.regions[number].patch.points.tolist()
            if p not in self._anchors and self._numbers.part(p) is not None
        ]
        return max(points, key=self._largest_at, default=None)

    def _largest_at(self, point: int) -> float:
        return float(self._found.at[point].residuals[self._numbers.part(point)].max())

    def _at(self, point: int) -> npt.NDArray[np.complex128]:
        """Return the residuals of the wanted levels, (n, nb); note how far others are off."""
        levels = self._found.at[point].part(self._numbers.part(point))
        inner = self._found.region(point).vectors @ levels.vectors
        residuals = self._space.residuals(self._k[point], levels, self._space.vectors(inner))
        norms = np.linalg.norm(residuals, axis=0)
        self.check = max(self.check, float(np.abs(norms - levels.residuals).max()))
        return residuals

    def _measure(self, point: int, residuals: npt.NDArray, regions: Sequence[int]) -> None:
        """Measure the norm of the largest residuals at a k point, for some regions."""
        largest = np.argsort(-np.linalg.norm(residuals, axis=0))[:WORST]
        ratio = norm_ratio(self._space.products, self._k[point], residuals[:, largest])
        self.ratio = max(self.ratio, ratio)
        for number in regions:
            points = self._found.regions[number].patch.points
            own = number == self._found.region_of[point]
            self.ratios[points] = max(1.0, ratio if own else max(ratio, self.ratios[points].max()))
