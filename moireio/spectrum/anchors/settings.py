"""When anchors are used, how good their levels must be, and how good they were."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError

if TYPE_CHECKING:
    from moireio.spectrum.anchors.anchor import Anchor

# With fewer k points anchors save no time: of 4732 orbitals they take as long as 25 k points.
LEAST_POINTS, LEAST_POINTS_OF_LARGE, LARGE = 40, 20, 10_000
FEWEST_MARGIN, MOST_MARGIN = 8, 24  # bands beyond each end that anchors have
FEWEST_BEYOND = 4  # beyond an end next to a gap that is wide enough
EXPECTED = 8  # anchors, for the estimate of memory
TOLERANCE = 1e-5  # eV
SAFETY = 0.7  # share of the tolerance that bounds may reach where anchors are chosen
ANCHOR_SHARE = 0.1  # of the tolerance: what the energies of anchors may be wrong by


@dataclass(frozen=True)
class Anchoring:
    """How levels at many k points are found from those at a few.

    Parameters
    ----------
    direct : bool
        Solve every k point by itself.
    tolerance : float
        Largest bound on the error of an energy, eV.
    anchors : mapping of int to sequence of Anchor
        Anchors known from before, by spin channel.
    """

    direct: bool = False
    tolerance: float = TOLERANCE
    anchors: "Mapping[int, Sequence[Anchor]]" = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not (np.isfinite(self.tolerance) and self.tolerance > 0):
            raise MoireioError(f"`tolerance` {self.tolerance:g} eV is not above zero")

    def pays(self, points: int, n_orbitals: int, band_range: tuple[int, int] | None) -> bool:
        """Return whether fewer k points need to be solved.

        Parameters
        ----------
        points : int
            k points.
        n_orbitals : int
            Size of the basis.
        band_range : tuple of two int or None
            First and last band; None for all.

        Returns
        -------
        bool
            Whether the sparse solver should solve anchors only.
        """
        fewest = LEAST_POINTS if n_orbitals < LARGE else LEAST_POINTS_OF_LARGE
        if self.direct or band_range is None or (points < fewest and not self.anchors):
            return False
        width = band_range[1] - band_range[0] + 1 + 2 * margin(band_range)
        return EXPECTED * width < n_orbitals


@dataclass(eq=False)
class Accuracy:
    """How the levels of one spin channel were found, and how accurate they are.

    Parameters
    ----------
    anchors : list of Anchor
        k points that were solved directly for all others, and those known from before.
    factorisations : int
        k points that were solved directly, and counts of levels at others.
    bounds : (nk, nb) array
        On the errors of energies, eV; 0 where a k point was solved directly.
    counted : (nk,) array of int
        Levels below the first band where inertia counted them, −1 elsewhere.
    ratio : float
        Norm of residuals in S⁻¹, as a multiple of the plain norm.
    unused : int
        Anchors known from before that have too few bands.
    notes : list of str
        Why k points that anchors could have saved were solved directly.
    """

    anchors: "list[Anchor]"
    factorisations: int
    bounds: npt.NDArray[np.float64]
    counted: npt.NDArray[np.int64]
    ratio: float = 1.0
    unused: int = 0
    notes: list[str] = field(default_factory=list)

    def line(self, what: str) -> str:
        """Return from how many k points the others follow, and how well.

        Parameters
        ----------
        what : str
            What was found: "levels" or "states".

        Returns
        -------
        str
            A line.
        """
        return (
            f"{what} at {len(self.bounds)} k points from {len(self.anchors)} anchors, "
            f"{self.factorisations} k points solved; errors of energies below "
            f"{self.bounds.max():.1e} eV"
        )


@dataclass(frozen=True, eq=False)
class AnchoredRange:
    """Levels of a range of bands that were found, of which a narrower one is a part.

    Parameters
    ----------
    band_range : tuple of two int
        First and last band.
    energies : dict of int to (nb,) array
        By k point, eV.
    accuracy : Accuracy
        How they were found.
    """

    band_range: tuple[int, int]
    energies: dict[int, npt.NDArray[np.float64]]
    accuracy: Accuracy

    def has(self, points: Sequence[int], band_range: tuple[int, int]) -> bool:
        """Return whether the levels of a range of bands at these k points are among them."""
        inside = self.band_range[0] <= band_range[0] and band_range[1] <= self.band_range[1]
        return inside and sorted(points) == sorted(self.energies)

    def part(
        self, band_range: tuple[int, int]
    ) -> tuple[dict[int, npt.NDArray[np.float64]], Accuracy]:
        """Return the levels of a narrower range of bands, and how accurate they are."""
        start, stop = (band - self.band_range[0] for band in (band_range[0], band_range[1] + 1))
        counted = self.accuracy.counted
        accuracy = replace(
            self.accuracy,
            bounds=self.accuracy.bounds[:, start:stop],
            counted=np.where(counted < 0, counted, counted + start),
        )
        return {p: levels[start:stop] for p, levels in self.energies.items()}, accuracy


def margin(band_range: tuple[int, int]) -> int:
    """Return how many bands beyond each end anchors have.

    Parameters
    ----------
    band_range : tuple of two int
        First and last band that are wanted.

    Returns
    -------
    int
        About half as many as are wanted.
    """
    return min(max((band_range[1] - band_range[0] + 1) // 2, FEWEST_MARGIN), MOST_MARGIN)


def reach(
    band_range: tuple[int, int], n_orbitals: int, beyond: tuple[int, int] | None = None
) -> tuple[int, int]:
    """Return the bands that anchors have.

    Parameters
    ----------
    band_range : tuple of two int
        First and last band that are wanted.
    n_orbitals : int
        Number of all bands.
    beyond : tuple of two int, optional
        Bands below the first and above the last; by default `margin` on each side.

    Returns
    -------
    first, last : int
        With the margin, where there are so many.
    """
    below, above = beyond or (margin(band_range),) * 2
    return max(band_range[0] - below, 0), min(band_range[1] + above, n_orbitals - 1)
