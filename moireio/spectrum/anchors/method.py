"""Levels at many k points from anchors: which anchors, and how good the levels are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.anchor import Anchor
from moireio.spectrum.anchors.bounds import quadratic_bounds
from moireio.spectrum.anchors.completeness import (
    FASTER,
    directions,
    known_ranges,
    widest_known,
)
from moireio.spectrum.anchors.factors import AnchorFactors
from moireio.spectrum.anchors.interpolation import GramSeries, Patch, term_count
from moireio.spectrum.anchors.levels import InterpolatedLevels
from moireio.spectrum.anchors.margins import bands_within, movement, shared_margins, trimmed
from moireio.spectrum.anchors.numbering import BandNumbers
from moireio.spectrum.anchors.patches import chosen_patches, folded, left_out
from moireio.spectrum.anchors.products import BlochProducts
from moireio.spectrum.anchors.proofs import LevelCounts
from moireio.spectrum.anchors.reduced import Grams, RitzLevels
from moireio.spectrum.anchors.regions import Region, Scales
from moireio.spectrum.anchors.settings import ANCHOR_SHARE, SAFETY
from moireio.spectrum.anchors.space import AnchorSpace
from moireio.spectrum.anchors.true_residuals import TrueResiduals

PROVEN = 2e-3  # eV beyond the wanted levels within which none may be missing, at least


@dataclass(eq=False)
class AnchoredLevels:
    """Levels of some bands at many k points of one spin channel.

    Parameters
    ----------
    products : BlochProducts
        H and S.
    k : (nk, 3) array
        Fractional coordinates; those of a mesh are moved to one zone.
    reciprocal : (3, 3) array
        Reciprocal cell, one vector a row, Å⁻¹ with the 2π.
    wanted : tuple of two int
        First and last band (inclusive, from 0).
    solve : callable
        Returns the `Anchor` at a k point, by its index, with some more levels on both sides.
    tolerance : float
        Largest bound on the error of an energy, eV.
    pbc : (3,) array of bool
        Periodic axes.
    most : int
        Anchors, at most.
    threads : int
        Threads for small problems.
    anchors : dict of int to Anchor
        Those known from before, by index of the k point.
    given : set of int
        k points of those that another run found less precisely: energies there are found as at k
        points that have none.
    others : sequence of Anchor
        Those known at other k points.
    lines : sequence of Patch
        Other lines through these k points, along which states change too.
    room : float
        Bytes that H and S times the states of anchors may take.
    factors : AnchorFactors, optional
        Those of anchors, for all sets of k points.
    count : callable, optional
        Returns the number of levels below an energy (eV) at a k point, by its index, or None.

    Attributes
    ----------
    energies, bounds : (nk, nb) arrays
        eV; NaN and ∞ where the anchors do not suffice.
    space : AnchorSpace
        What the states of the anchors span.
    counts : LevelCounts
        At k points that are no anchors.
    patches : list of (Patch, Nodes)
        Lines or a plane in which k varies.
    is_plane : bool
        Whether it is a plane.
    spread : (nk, 3) array
        The k points, Å⁻¹.
    """

    products: BlochProducts
    k: npt.NDArray[np.float64]
    reciprocal: npt.NDArray[np.float64]
    wanted: tuple[int, int]
    solve: Callable[[int], Anchor]
    tolerance: float
    pbc: npt.NDArray[np.bool_] = field(default_factory=lambda: np.ones(3, dtype=bool))
    most: int = 20
    threads: int = 1
    anchors: dict[int, Anchor] = field(default_factory=dict)
    given: set[int] = field(default_factory=set)
    others: Sequence[Anchor] = ()
    lines: Sequence[Patch] = ()
    room: float = np.inf
    factors: AnchorFactors | None = None
    count: Callable[[int, float], int | None] | None = None

    def __post_init__(self) -> None:
        count = self.wanted[1] - self.wanted[0] + 1
        self._unseen: npt.NDArray | None = None
        self.counts = LevelCounts(self.count)
        self._bounded: dict[int, tuple[tuple[float, ...], RitzLevels, npt.NDArray]] = {}
        self.energies = np.full((len(self.k), count), np.nan)
        self.bounds = np.full((len(self.k), count), np.inf)
        given = self.k
        self.k, self.patches = chosen_patches(
            given, self.reciprocal, self.pbc, self.products.turns, self.tolerance
        )
        if self.k is not given:
            places = [folded(a.k[None], self.reciprocal, self.pbc)[0] for a in self.others]
            moves = zip(self.others, places, strict=True)
            self.others = [replace(anchor, k=place) for anchor, place in moves]
        self.spread = self.k @ self.reciprocal
        self._axes = directions(self.spread)
        self.is_plane = any(len(patch.axes) > 1 for patch, _ in self.patches)
        self.space = AnchorSpace(
            self.products,
            self.reciprocal,
            self.wanted,
            [patch for patch, _ in self.patches],
            self._axes,
            lines=self.lines,
            factors=self.factors,
            tolerance=self.tolerance,
            room=self.room,
            threads=self.threads,
        )
        self._true = TrueResiduals(self.space, self.k)

    @property
    def ratio(self) -> float:
        """Norm of residuals in S⁻¹, as a multiple of the plain norm; the largest one measured."""
        return self._true.ratio

    def all_anchors(self) -> list[Anchor]:
        """Return all anchors, those at other k points first."""
        return [*self.others, *self.anchors.values()]

    def add(self, point: int) -> None:
        """Solve a k point, by its index: a new anchor."""
        self._make_room()
        self.anchors[point] = self.solve(point)

    def _make_room(self) -> None:
        """Free products where factors, which are made next, take the memory."""
        if self.products.kind == np.complex64:
            self.space.projections.drop_products()

    def checked(self, anchor: Anchor) -> Anchor:
        """Return an anchor that was just solved as `AnchorSpace.checked` does."""
        return self.space.checked(anchor)

    def accurate(self, anchor: Anchor) -> bool:
        """Return whether the energies of an anchor are right to their share of the tolerance."""
        return self.space.error(anchor) <= ANCHOR_SHARE * self.tolerance

    def responses(
        self, anchor: Anchor
    ) -> tuple[npt.NDArray[np.complexfloating], npt.NDArray[np.float64]] | None:
        """Return how the states of an anchor change with k (see `AnchorSpace.responses`)."""
        return self.space.responses(anchor, self._movement(anchor.k, anchor))

    def margins_at(self, point: int, least: int) -> tuple[int, int]:
        """Return how many bands beyond the first and the last an anchor should have.

        Parameters
        ----------
        point : int
            Index of its k point.
        least : int
            Bands beyond each, at least, unless there is a gap.

        Returns
        -------
        below, above : int
            At most four times as many in all: with these no level is missing half-way to the next
            anchor, if levels are as dense as at the one nearest to it.
        """
        anchors = self.all_anchors()
        if np.isinf(self._movement(self.k[point])):
            return least, least
        if not anchors:
            return 2 * least, 2 * least
        away = [np.linalg.norm((a.k - self.k[point]) @ self.reciprocal) for a in anchors]
        near = anchors[int(np.argmin(away))]
        counts = bands_within(near, self.wanted, self._movement(self.k[point]))
        return shared_margins(counts, least)

    def trimmed(self, anchor: Anchor, least: int) -> Anchor:
        """Return an anchor without levels too far away to be of use (see `margins.trimmed`)."""
        return trimmed(anchor, self.wanted, self._movement(anchor.k, anchor), least)

    @property
    def _follows(self) -> bool:
        """Whether levels beyond those that are wanted are followed as far as anchors have them."""
        return not self.is_plane and self.factors is not None and self.factors.are_kept

    def _movement(self, k: npt.NDArray, *new: Anchor) -> float:
        """Return by how much levels may move from a k to half-way to the next anchors, eV."""
        if not self._follows:
            return np.inf
        anchors = self.all_anchors()
        self.space.measure([*anchors, *new])
        lines = [*(patch for patch, _ in self.patches), *self.lines]
        places = [anchor.k for anchor in anchors]
        return movement(k, lines, places, self.reciprocal, self.space.velocity)

    def scales(self) -> Scales:
        """Return the window of energies, and the width of residuals."""
        anchors, size = self.all_anchors(), self.products.n_orbitals
        return Scales.of(anchors, self.wanted, size, self.is_plane)

    def distances(self) -> npt.NDArray[np.float64]:
        """Return the distance of every k point from the nearest anchor, Å⁻¹."""
        places = np.array([a.k for a in self.all_anchors()]).reshape(-1, 3) @ self.reciprocal
        if not len(places):
            return np.linalg.norm(self.spread, axis=1).max() * 2 - np.linalg.norm(
                self.spread, axis=1
            )
        return np.linalg.norm(self.spread[:, None] - places[None], axis=-1).min(axis=1)

    def _known(self, point: int, levels: RitzLevels, part: slice) -> tuple[float, float] | None:
        """Return energies between which no level is missing; None if those wanted may be."""
        middle = levels.energies[part]
        if self._unseen is not None:
            low, high = self._unseen[:, point]
            if not low < middle[0] <= middle[-1] < high:
                return None
            return float(low), float(high)
        return self.nearest_known(self.k[point], middle)

    def nearest_known(
        self, k: npt.NDArray[np.float64], energies: npt.NDArray[np.float64]
    ) -> tuple[float, float] | None:
        """Return energies around some levels between which no anchor leaves a level out.

        Parameters
        ----------
        k : (3,) array
            Fractional coordinates.
        energies : (c,) array
            Those of the levels, eV, ascending.

        Returns
        -------
        tuple of two float or None
            eV; None where one of the levels may be missing.
        """
        anchors = self.all_anchors()
        places = np.array([anchor.k for anchor in anchors])
        away = np.linalg.norm((places - k) @ self.reciprocal, axis=1)
        ranges = known_ranges(anchors, away, self.space.velocity, self.products.n_orbitals)
        return widest_known(ranges, energies[0], energies[-1])

    def _inside(self, low: float, high: float) -> tuple[float, float]:
        """Return the part of a range of energies inside the window, where levels are looked for."""
        scales = self.scales() if self._unseen is None else self.found.scales
        (lowest, highest), width = scales.window, scales.width
        return max(low, lowest - width), min(high, highest + width)

    def _project(self, k: npt.NDArray) -> Grams:
        return self.space.project(k, self.scales().centre)

    def _bounds_of(
        self, point: int, levels: RitzLevels, part: slice, enough: float = 0.0
    ) -> npt.NDArray[np.float64]:
        """Return bounds on the errors of levels, some of which are wanted."""
        known = self._known(point, levels, part)
        if known is None:
            return np.full(len(levels), np.inf)
        return self.bounds_between(levels, part, known, self._true.ratios[point], enough)

    def bounds_between(
        self,
        levels: RitzLevels,
        part: slice,
        known: tuple[float, float],
        ratio: float,
        enough: float = 0.0,
    ) -> npt.NDArray[np.float64]:
        """Return bounds on the errors of levels.

        Parameters
        ----------
        levels : RitzLevels
            Found at a k point.
        part : slice
            Those that are wanted.
        known : tuple of two float
            Energies between which no level is missing, eV.
        ratio : float
            Norm of their residuals in S⁻¹, as a multiple of the plain norm.
        enough : float
            Bound below which no smaller one is looked for, eV.

        Returns
        -------
        (c,) array
            eV.
        """
        low, high = self._inside(*known)
        products = ratio**2 * levels.enlarged(self._true.check, left_out(self.tolerance))
        rounding = self.space.rounding
        bounds = quadratic_bounds(levels.energies, products, part, (low, high), enough - rounding)
        return bounds + rounding

    def _terms(self, half: npt.NDArray) -> int:
        return term_count(*self.products.turns(half), left_out(self.tolerance))

    def interpolate(self) -> None:
        """Find the small matrices as functions of k, the levels at all k points, and numbers."""
        scales = self.scales()
        regions: list[Region] = []
        for patch, nodes in self.patches:
            region = Region.of(GramSeries(patch, nodes, self._project), scales, self.threads)
            regions += region.parts(self.k, scales, self._terms, self.threads, self._follows)
        self.found = InterpolatedLevels(self.k, regions, scales, self.threads)
        self.numbers = BandNumbers(self.found, self.reciprocal, self.wanted)
        self.numbers.spread(self.anchors, self.others)
        self._bounded.clear()

    def bound(self) -> None:
        """Find the energies that are wanted, with bounds on their errors."""
        self.energies[:], self.bounds[:] = np.nan, np.inf
        self._unseen = self.numbers.unseen(
            self.anchors,
            self.others,
            FASTER * self.space.velocity,
            self.products.n_orbitals,
            self.counts.at,
        )
        for point, levels in self.found.at.items():
            part = self.numbers.part(point)
            if part is not None:
                self.energies[point] = levels.energies[part]
                self.bounds[point] = self._kept_bounds(point, levels, part)
        for point in self.anchors.keys() - self.given:
            # the solver's own error shows in the difference to Ritz values, which are better
            solved = self._solved(point)[0]
            bounds = self.bounds[point] + np.abs(solved - self.energies[point])
            own = ANCHOR_SHARE * self.tolerance + self.space.rounded
            self.bounds[point] = np.fmin(bounds, own)
            self.energies[point] = solved

    def _kept_bounds(self, point: int, levels: RitzLevels, part: slice) -> npt.NDArray[np.float64]:
        """Return bounds on the errors of the wanted levels, those from before where they hold."""
        assert self._unseen is not None
        seen = self._true.check, self.space.rounding, self._true.ratios[point]
        given = (id(levels), part.start, *self._unseen[:, point], *seen)
        if point not in self._bounded or self._bounded[point][0] != given:
            bounds = self._bounds_of(point, levels, part, self.tolerance)[part]
            self._bounded[point] = given, levels, bounds  # the levels, as others may get their id
        return self._bounded[point][2]

    def verify(self) -> None:
        """Compare residuals by interpolation with true ones, and measure their norm in S⁻¹."""
        self._true.begin(self.found, self.numbers, self.anchors)

    def improve(self) -> None:
        """Find the vectors of least residual where Ritz vectors, spoiled by ghosts, do not do."""
        self.found.polish(self._to_improve())
        self.bound()
        self.numbers.renew(self._to_improve())
        if self.numbers.torn and not self.is_plane:  # with levels that are better now
            self.numbers.spread(self.anchors, self.others)
        self.bound()
        while self._true.measure(self.failing()):
            self.bound()

    def _to_improve(self) -> list[int]:
        """Return the k points that fail, those of a plane that lack a proof only left out."""
        points = [p for p in self.failing() if self.numbers.part(p) is not None]
        return [p for p in points if not (self.is_plane and self.lacks_only_proof(p))]

    def _solved(self, point: int) -> tuple[npt.NDArray[np.float64], npt.NDArray]:
        """Return the energies and states of an anchor that are wanted."""
        anchor = self.anchors[point]
        begin = self.wanted[0] - anchor.first
        part = slice(begin, begin + self.energies.shape[1])
        return anchor.energies[part], anchor.states[:, part]

    def _vectors(self, point: int) -> npt.NDArray[np.complex128]:
        """Return the cell-periodic parts of the wanted states; shape (n, nb)."""
        part = self.numbers.part(point)
        inner = self.found.region(point).vectors @ self.found.at[point].vectors[:, part]
        return self.space.vectors(inner)

    def at(
        self, point: int, states: bool = False
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.complex128] | None]:
        """Return the energies at a k point, and the states.

        Parameters
        ----------
        point : int
            Index of the k point.
        states : bool
            Return the states too.

        Returns
        -------
        energies : (nb,) array
            eV.
        states : (n, nb) array or None
            S-orthonormal, in the phases of H(k).
        """
        if point in self.anchors and point not in self.given:
            energies, vectors = self._solved(point)
            return energies, vectors.astype(complex, copy=False) if states else None
        return self.energies[point], self.states(point) if states else None

    def states(self, point: int) -> npt.NDArray[np.complex128]:
        """Return the states that are wanted at a k point, in the phases of H(k).

        Parameters
        ----------
        point : int
            Index of the k point.

        Returns
        -------
        (n, nb) array
            S-orthonormal.
        """
        return self.products.phases(self.k[point])[:, None] * self._vectors(point)

    def numbered(self, point: int) -> tuple[int, npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return all levels that were found at a k point, beyond those that are wanted too.

        Parameters
        ----------
        point : int
            Index of a k point that does not fail.

        Returns
        -------
        first : int
            Number of the first.
        energies : (c,) array
            eV.
        bounds : (c,) array
            On their errors, eV.
        """
        levels, part = self.found.at[point], self.numbers.part(point)
        assert part is not None
        bounds = self._bounds_of(point, levels, part)
        return self.wanted[0] - part.start, levels.energies, bounds

    def failing(self) -> list[int]:
        """Return the k points whose levels are not known well enough."""
        return np.flatnonzero(~(self.bounds.max(axis=1) <= self.tolerance)).tolist()

    def bound_if_complete(self, point: int) -> float:
        """Return the largest bound at a k point if no level is missing there, eV."""
        part = self.numbers.part(point)
        if part is None:
            return np.inf
        known, ratio = (-np.inf, np.inf), self._true.ratios[point]
        bounds = self.bounds_between(self.found.at[point], part, known, ratio, self.tolerance)
        return float(bounds[part].max())

    def lacks_only_proof(self, point: int) -> bool:
        """Return whether levels are good enough at a k point, if none is missing."""
        return self.bound_if_complete(point) <= self.tolerance

    def prove(self, point: int, radius: float) -> bool:
        """Show by counts that no level is missing at a k point, where only that is lacking.

        Parameters
        ----------
        point : int
            Its index.
        radius : float
            Distance of k points for which that should suffice, Å⁻¹.

        Returns
        -------
        bool
            False where counts do not confirm the levels that were found.
        """
        levels, part = self.found.at[point], self.numbers.part(point)
        assert part is not None
        assert self._unseen is not None
        energies, residuals = levels.energies[part], levels.residuals[part]
        largest = self._true.ratios[point] * float(residuals.max())
        least = max(largest**2 / (SAFETY * self.tolerance), PROVEN)
        depth = least + FASTER * self.space.velocity * radius
        low, high = self._unseen[:, point]
        away = float(energies[0] - low), float(high - energies[-1])
        sides = [(side, depth, least) for side in (0, 1) if away[side] < least]
        self._make_room()
        return self.counts.add(point, levels, part, self.wanted[0] - part.start, sides)
