"""Levels at many k points from anchors: which anchors, and how good the levels are."""

import heapq
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.linalg import svd

from moireio.runtime.threads import blas_threads
from moireio.spectrum.anchors.basis import joined
from moireio.spectrum.anchors.bounds import quadratic_bounds
from moireio.spectrum.anchors.continuity import DEEPEST, Place, follow
from moireio.spectrum.anchors.interpolation import GramSeries, Patch, node_count
from moireio.spectrum.anchors.norms import norm_ratio
from moireio.spectrum.anchors.patches import folded, plane, straight_lines
from moireio.spectrum.anchors.products import BlochProducts
from moireio.spectrum.anchors.reduced import (
    Grams,
    RitzLevels,
    polished,
    refined_levels,
    ritz_levels,
)

SAFETY = 0.5  # share of the tolerance that bounds may reach where anchors are chosen
LEAST = 3  # anchors
TESTED = 2  # k points farthest from all anchors at which that is decided
DROPPED = 1e-5  # singular values of the levels at the nodes, for the space of a patch
WIDTH, NARROWEST, WIDEST = 0.25, 2e-3, 0.05  # share of the margin's energies; eV
NEIGHBOURS = 6  # of a k point of a mesh


@dataclass(frozen=True, eq=False)
class Anchor:
    """Levels at a k point that was solved directly.

    Parameters
    ----------
    k : (3,) array
        Fractional coordinates.
    energies : (c,) array
        eV, ascending.
    states : (n, c) array
        S-orthonormal, in the phases of H(k).
    first : int
        Number (from 0) of the first level, as counted by inertia.
    """

    k: npt.NDArray[np.float64]
    energies: npt.NDArray[np.float64]
    states: npt.NDArray
    first: int

    def covers(self, wanted: tuple[int, int]) -> bool:
        """Return whether there are levels on both sides of those that are wanted."""
        return self.first < wanted[0] and wanted[1] < self.first + len(self.energies) - 1

    def range(self, wanted: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return the lowest energy, the first and the last that is wanted, and the highest."""
        begin, end = wanted[0] - self.first, wanted[1] - self.first
        e = self.energies
        return float(e[0]), float(e[begin]), float(e[end]), float(e[-1])


@dataclass(eq=False)
class _Region:
    """A patch with the products of the anchors' space, and of a smaller one for its levels."""

    patch: Patch
    whole: GramSeries
    vectors: npt.NDArray  # the smaller space in the larger one
    series: GramSeries


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
    others : sequence of Anchor
        Those known at other k points.

    Attributes
    ----------
    energies, bounds : (nk, nb) arrays
        eV; NaN and ∞ where the anchors do not suffice.
    ratio : float
        Norm of the residuals in S⁻¹, as a multiple of the plain norm, where it was measured.
    check : float
        Largest difference of residuals by interpolation and by true products, eV.
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
    others: Sequence[Anchor] = ()
    ratio: float = 1.0
    check: float = 0.0

    def __post_init__(self) -> None:
        count = self.wanted[1] - self.wanted[0] + 1
        self._basis: npt.NDArray | None = None
        self._joined = 0
        self.energies = np.full((len(self.k), count), np.nan)
        self.bounds = np.full((len(self.k), count), np.inf)
        self._regions: list[_Region] = []
        self._region_of: dict[int, int] = {}
        self._levels: dict[int, RitzLevels] = {}
        self._refined: set[int] = set()
        self._first: dict[int, int] = {}
        self._patches = self._choose_patches()
        self._spread = self.k @ self.reciprocal
        self.n_projections = 0

    # ------------------------------------------------------------------ anchors

    def _all_anchors(self) -> list[Anchor]:
        return [*self.others, *self.anchors.values()]

    def _add(self, point: int) -> None:
        self.anchors[point] = self.solve(point)

    def _extend_basis(self) -> npt.NDArray:
        """Add what is new among the anchors' states to the basis."""
        anchors = self._all_anchors()
        for anchor in anchors[self._joined :]:
            states = self.products.phases(anchor.k).conj()[:, None] * anchor.states
            self._basis = joined(self._basis, states)
        self._joined = len(anchors)
        assert self._basis is not None
        return self._basis

    def _scales(self) -> tuple[tuple[float, float], float, float]:
        """Return the window of energies, the width of residuals and the zero of energy, eV."""
        ends = np.array([anchor.range(self.wanted) for anchor in self._all_anchors()])
        margin = float(min((ends[:, 1] - ends[:, 0]).min(), (ends[:, 3] - ends[:, 2]).min()))
        outer = float(np.mean([ends[:, 1] - ends[:, 0], ends[:, 3] - ends[:, 2]]))
        low, high = float(ends[:, 1].min()) - outer / 2, float(ends[:, 2].max()) + outer / 2
        width = min(max(WIDTH * margin, NARROWEST), WIDEST)
        return (low, high), width, 0.5 * (low + high)

    def _distances(self) -> npt.NDArray[np.float64]:
        """Return the distance of every k point from the nearest anchor, Å⁻¹."""
        places = np.array([a.k for a in self._all_anchors()]).reshape(-1, 3) @ self.reciprocal
        if not len(places):
            return np.linalg.norm(self._spread, axis=1).max() * 2 - np.linalg.norm(
                self._spread, axis=1
            )
        return np.linalg.norm(self._spread[:, None] - places[None], axis=-1).min(axis=1)

    def _project(self, k: npt.NDArray) -> Grams:
        """Return the products of the basis at a k, by true products with H and S."""
        assert self._basis is not None
        energy = self._scales()[2]
        w, y = self.products(k, self._basis, energy)
        self.n_projections += 1
        return Grams.of(self._basis, w, y, energy, self.threads)

    def _tested(self, point: int) -> float:
        """Return about the largest bound at a k point whose band numbers are not known yet."""
        window, width, _ = self._scales()
        with blas_threads(1):
            levels = refined_levels(self._project(self.k[point]), window, width)
        count = self.wanted[1] - self.wanted[0] + 1
        nearest = min(
            self._all_anchors(),
            key=lambda a: np.linalg.norm((a.k - self.k[point]) @ self.reciprocal),
        )
        begin = self.wanted[0] - nearest.first
        target = nearest.energies[begin : begin + count]
        if len(levels) < count:
            return np.inf
        shifts = range(len(levels) - count + 1)
        start = min(shifts, key=lambda s: np.abs(levels.energies[s : s + count] - target).sum())
        part = slice(start, start + count)
        bounds = quadratic_bounds(levels.energies, self.ratio**2 * levels.products, part)
        return float(bounds[part].max())

    def choose_anchors(self) -> Iterator[None]:
        """Add anchors until the k points farthest from all of them are good enough.

        Yields
        ------
        None
            After each new one.
        """
        while not self.anchors and not any(self._region_at(a.k) for a in self.others):
            self._add(int(np.argmax(self._distances())))
            yield
        while len(self._all_anchors()) < LEAST:
            self._add(int(np.argmax(self._distances())))
            yield
        self._extend_basis()
        while len(self.anchors) < self.most:
            worst = -1.0, -1
            for point in self._farthest():
                worst = max(worst, (self._tested(point), point))
                if not np.isfinite(worst[0]):
                    break
            if worst[0] <= SAFETY * self.tolerance:
                return
            self._add(worst[1])
            self._extend_basis()
            yield

    def _region_at(self, k: npt.NDArray) -> bool:
        """Return whether a k lies in a patch."""
        return any(patch.holds(k) for patch, _ in self._patches)

    def _farthest(self) -> list[int]:
        """Return some k points far from all anchors and from each other."""
        distance = self._distances()
        points: list[int] = []
        for _ in range(TESTED):
            point = int(np.argmax(distance))
            if distance[point] < 1e-9:
                break
            points.append(point)
            away = np.linalg.norm(self._spread - self._spread[point], axis=1)
            distance = np.minimum(distance, away)
        return points

    # ------------------------------------------------------------------ levels at all k

    def _choose_patches(self) -> list[tuple[Patch, tuple[int, ...]]]:
        """Return lines or a plane with their nodes, whichever needs fewer; move k for a plane."""
        lines = [(line, self._counts(line)) for line in straight_lines(self.k)]
        inside = sum(len(line.points) for line, _ in lines)
        cost = sum(np.prod(counts) for _, counts in lines) + len(self.k) - inside
        moved = folded(self.k, self.reciprocal, self.pbc)
        whole = plane(moved)
        if whole is not None:
            counts = self._counts(whole)
            if np.prod(counts) < cost:
                self.k = moved
                places = [folded(a.k[None], self.reciprocal, self.pbc)[0] for a in self.others]
                moves = zip(self.others, places, strict=True)
                self.others = [replace(anchor, k=place) for anchor, place in moves]
                return [(whole, counts)]
        return lines

    def _counts(self, patch: Patch) -> tuple[int, ...]:
        # products of H V with itself have twice the phases
        return tuple(node_count(2 * self.products.reach(axis)) for axis in patch.axes)

    def interpolate(self) -> None:
        """Find the small matrices as functions of k, and the levels at all k points."""
        self._regions, self._region_of = [], {}
        self._levels.clear()
        self._refined.clear()
        window, width, _ = self._scales()
        for patch, counts in self._patches:
            whole = GramSeries(patch, counts, self._project)
            vectors = self._smaller(whole, window, width)
            region = _Region(patch, whole, vectors, whole.inside(vectors))
            self._region_of.update(dict.fromkeys(patch.points.tolist(), len(self._regions)))
            self._regions.append(region)
        points = sorted(self._region_of)
        with blas_threads(1), ThreadPoolExecutor(self.threads) as pool:
            found = pool.map(lambda p: self._levels_at(self._region_of[p], self.k[p]), points)
            self._levels.update(zip(points, found, strict=True))

    def _smaller(self, whole: GramSeries, window: tuple[float, float], width: float) -> npt.NDArray:
        """Return the space of the levels at the nodes of a patch."""
        with blas_threads(1), ThreadPoolExecutor(self.threads) as pool:
            found = list(pool.map(lambda g: refined_levels(g, window, width), whole.at_nodes))
        u, sizes, _ = svd(np.concatenate([f.vectors for f in found], axis=1), full_matrices=False)
        return u[:, sizes > DROPPED * sizes.max(initial=1)]

    def _levels_at(self, region: int, k: npt.NDArray, refined: bool = False) -> RitzLevels:
        """Return the converged levels at a k of a patch."""
        window, width, _ = self._scales()
        find = refined_levels if refined else ritz_levels
        return find(self._regions[region].series.at(k), window, width)

    def _refine(self, point: int) -> None:
        """Find the levels at a k point that ghosts may have spoiled once more."""
        if point not in self._refined:
            self._refined.add(point)
            self._levels[point] = self._levels_at(self._region_of[point], self.k[point], True)

    def number(self) -> list[int]:
        """Give band numbers to all levels, from the anchors on.

        Returns
        -------
        list of int
            k points where the levels that are wanted do not continue those next to them.
        """
        self._first.clear()
        edges = self._edges()
        queue: list[tuple[float, int, int]] = []
        for point, anchor in self.anchors.items():
            if point in self._levels:
                self._first[point] = _first_of(anchor, self._levels[point], self.wanted)
        for anchor in self.others:
            self._start_from(anchor)
        for point in self._first:
            queue += [(length, point, other) for length, other in edges.get(point, ())]
        heapq.heapify(queue)
        torn: set[int] = set()
        checked: set[tuple[int, int]] = set()
        while queue:
            _, here, there = heapq.heappop(queue)
            edge = min(here, there), max(here, there)
            if edge in checked:
                continue
            checked.add(edge)
            first = self._follow(here, there, 0)
            if first is None:
                self._renew(here)
                self._renew(there)
                first = self._follow(here, there, DEEPEST)
            if there not in self._first:
                if first is None:
                    checked.discard(edge)  # from the other side, perhaps
                    torn.add(there)
                    continue
                self._first[there] = first
                torn.discard(there)
                for length, other in edges[there]:
                    heapq.heappush(queue, (length, there, other))
            elif first != self._first[there]:
                torn |= {p for p in (here, there) if p not in self.anchors}
        return sorted(torn | (set(self._levels) - set(self._first)))

    def _start_from(self, anchor: Anchor) -> None:
        """Give numbers to the k point nearest to an anchor that is none of them."""
        for number, region in enumerate(self._regions):
            if not region.patch.holds(anchor.k):
                continue
            points = region.patch.points
            away = np.linalg.norm(self._spread[points] - anchor.k @ self.reciprocal, axis=1)
            point = int(points[np.argmin(away)])
            if point in self._first:
                continue

            def place(k: npt.NDArray, region: int = number) -> Place:
                series = self._regions[region].series
                return Place(k, self._levels_at(region, k, True), series.overlap(k))

            with blas_threads(1):
                here = place(anchor.k)
                self._refine(point)
                there = Place(
                    self.k[point], self._levels[point], region.series.overlap(self.k[point])
                )
                begin = _first_of(anchor, here.levels, self.wanted)
                first = follow(here, there, begin, self.wanted, place)
            if first is not None:
                self._first[point] = first

    def _edges(self) -> dict[int, list[tuple[float, int]]]:
        """Return neighbouring k points, with their distances."""
        edges: dict[int, list[tuple[float, int]]] = {}

        def add(a: int, b: int) -> None:
            length = float(np.linalg.norm(self._spread[a] - self._spread[b]))
            edges.setdefault(a, []).append((length, b))
            edges.setdefault(b, []).append((length, a))

        if len(self._regions) == 1 and len(self._regions[0].patch.axes) == 2:
            from scipy.spatial import cKDTree

            points = self._regions[0].patch.points
            near = min(NEIGHBOURS + 1, len(points))
            _, index = cKDTree(self._spread[points]).query(self._spread[points], near)
            pairs = {(min(a, b), max(a, b)) for a, row in enumerate(index.tolist()) for b in row}
            for a, b in pairs:
                if a != b:
                    add(int(points[a]), int(points[b]))
            return edges
        for number, region in enumerate(self._regions):
            points = region.patch.points.tolist()
            for a, b in pairwise(points):
                add(a, b)
            previous = points[0] - 1
            if self._region_of.get(previous) == number - 1 and region.patch.holds(self.k[previous]):
                add(previous, points[0])
        return edges

    def _renew(self, point: int) -> None:
        """Find the levels at a k point once more, and number them as before."""
        with blas_threads(1):
            if point not in self._first or point in self._refined:
                self._refine(point)
                return
            before, part = self._levels[point], self._part(point)
            self._refine(point)
        if part is None:
            return
        middle = before.energies[part]
        widest = int(np.argmax(np.diff(middle))) if len(middle) > 1 else 0
        energy = middle[widest] if len(middle) < 2 else 0.5 * (middle[widest] + middle[widest + 1])
        below = self._first[point] + int((before.energies < energy).sum())
        self._first[point] = below - int((self._levels[point].energies < energy).sum())

    def _follow(self, here: int, there: int, depth: int) -> int | None:
        """Return the number of the first level at a neighbouring k point."""
        region = self._region_of[there]
        same = self._region_of[here] == region
        part = self._regions[region]

        def place(k: npt.NDArray, levels: RitzLevels, own: bool) -> Place:
            if same:
                return Place(k, levels, part.series.overlap(k))
            vectors = levels.vectors
            source = part if own else self._regions[self._region_of[here]]
            lifted = RitzLevels(levels.energies, source.vectors @ vectors, levels.products)
            return Place(k, lifted, part.whole.overlap(k))

        def between(k: npt.NDArray) -> Place:
            return place(k, self._levels_at(region, k, True), True)

        with blas_threads(1):
            return follow(
                place(self.k[here], self._levels[here], False),
                place(self.k[there], self._levels[there], True),
                self._first[here],
                self.wanted,
                between,
                depth,
            )

    def bound(self) -> None:
        """Find the energies that are wanted, with bounds on their errors."""
        self.energies[:], self.bounds[:] = np.nan, np.inf
        for point, levels in self._levels.items():
            part = self._part(point)
            if part is None:
                continue
            products = self.ratio**2 * levels.products
            self.energies[point] = levels.energies[part]
            self.bounds[point] = quadratic_bounds(levels.energies, products, part)[part]
        for point, anchor in self.anchors.items():
            begin = self.wanted[0] - anchor.first
            self.energies[point] = anchor.energies[begin : begin + self.energies.shape[1]]
            self.bounds[point] = 0.0

    def _part(self, point: int) -> slice | None:
        """Return which of the levels at a k point are wanted."""
        if point not in self._first:
            return None
        start = self.wanted[0] - self._first[point]
        stop = start + self.energies.shape[1]
        return slice(start, stop) if start >= 0 and stop <= len(self._levels[point]) else None

    def verify(self) -> None:
        """Compare residuals by interpolation with true ones, and measure their norm in S⁻¹."""
        for number in range(len(self._regions)):
            points = [
                p
                for p in self._regions[number].patch.points.tolist()
                if p not in self.anchors and self._part(p) is not None
            ]
            if not points:
                continue
            point = max(points, key=lambda p: self.bounds[p].max())
            levels, part = self._levels[point], self._part(point)
            assert part is not None
            energies = levels.energies[part]
            x = self._vectors(point)
            w, y = self.products(self.k[point], x)
            residuals = w - y * energies
            norms = np.linalg.norm(residuals, axis=0)
            self.check = max(self.check, float(np.abs(norms - levels.residuals[part]).max()))
            if not self.products.orthogonal:
                self.ratio = max(self.ratio, norm_ratio(self.products, self.k[point], residuals))

    def improve(self) -> None:
        """Find the vectors of least residual where Ritz vectors, spoiled by ghosts, do not do."""
        width = self._scales()[1]

        def polish(point: int) -> RitzLevels:
            grams = self._regions[self._region_of[point]].series.at(self.k[point])
            return polished(grams, self._levels[point], width)

        for step in range(2):
            points = [p for p in self.failing() if self._part(p) is not None]
            if step:
                for point in points:
                    self._renew(point)
            else:
                with blas_threads(1), ThreadPoolExecutor(self.threads) as pool:
                    for point, levels in zip(points, pool.map(polish, points), strict=True):
                        if len(levels) == len(self._levels[point]):
                            self._levels[point] = levels
            self.bound()

    def _vectors(self, point: int) -> npt.NDArray[np.complex128]:
        """Return the cell-periodic parts of the wanted states; shape (n, nb)."""
        assert self._basis is not None
        part = self._part(point)
        region = self._regions[self._region_of[point]]
        inner = region.vectors @ self._levels[point].vectors[:, part]
        with blas_threads(self.threads):
            return self._basis @ inner

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
        if point in self.anchors:
            anchor = self.anchors[point]
            begin = self.wanted[0] - anchor.first
            part = slice(begin, begin + self.energies.shape[1])
            return anchor.energies[part], anchor.states[:, part] if states else None
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

    def failing(self) -> list[int]:
        """Return the k points whose levels are not known well enough."""
        return np.flatnonzero(~(self.bounds.max(axis=1) <= self.tolerance)).tolist()

    def run(self, few: int) -> Iterator[None]:
        """Find all levels; add anchors where they do not suffice.

        Parameters
        ----------
        few : int
            k points that may be left for direct solutions.

        Yields
        ------
        None
            After each new anchor, and each time that all levels were found.
        """
        yield from self.choose_anchors()
        while True:
            self.interpolate()
            torn = self.number()
            self.bound()
            self.verify()
            self.improve()
            failing = self.failing()
            yield
            if len(failing) <= few or len(self.anchors) >= self.most:
                return
            distance = self._distances()
            chosen = max(torn or failing, key=lambda p: distance[p])
            self._add(chosen)
            self._extend_basis()
            yield


def _first_of(anchor: Anchor, levels: RitzLevels, wanted: tuple[int, int]) -> int:
    """Return the number of the first of the levels that were found at an anchor."""
    begin, end = wanted[0] - anchor.first, wanted[1] + 1 - anchor.first
    inner = anchor.energies[max(begin - 1, 0) : end + 1]
    widest = int(np.argmax(np.diff(inner)))
    energy = 0.5 * (inner[widest] + inner[widest + 1])
    below = anchor.first + int((anchor.energies < energy).sum())
    return below - int((levels.energies < energy).sum())
