"""Band numbers of the levels at all k points, from the anchors on."""

import heapq
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from moireio.runtime.threads import blas_threads
from moireio.spectrum.anchors.anchor import CLEAR, Anchor, in_a_gap
from moireio.spectrum.anchors.completeness import nearest_unseen
from moireio.spectrum.anchors.continuity import CONTINUED, DEEPEST, Place, follow, shares_of
from moireio.spectrum.anchors.levels import InterpolatedLevels
from moireio.spectrum.anchors.proofs import confirmed, spread_from_counts
from moireio.spectrum.anchors.reduced import RitzLevels
from moireio.spectrum.anchors.regions import Region

NEIGHBOURS = 6  # of a k point of a mesh
DIRECT, HALVING, THOROUGH = 0, 1, 2  # how much is done for one step
HALVINGS = 3  # of a step, before levels are refined
HALVED = 2  # halvings of every step where numbers disagree
SAME = 1e-9  # difference of two k points, fractional coordinates


class BandNumbers:
    """Numbers of the levels at all k points.

    Parameters
    ----------
    found : InterpolatedLevels
        The levels.
    reciprocal : (3, 3) array
        Reciprocal cell, one vector a row, Å⁻¹.
    wanted : tuple of two int
        First and last band (inclusive, from 0) that must go on from one k point to the next.

    Attributes
    ----------
    torn : list of int
        k points where they do not, or whose numbers disagree with those from another anchor.
    """

    def __init__(
        self, found: InterpolatedLevels, reciprocal: npt.NDArray, wanted: tuple[int, int]
    ) -> None:
        self._found, self._reciprocal, self._wanted = found, reciprocal, wanted
        self._spread = found.k @ reciprocal
        self._first: dict[int, int] = {}
        self._previous: dict[int, int] = {}
        self._root: dict[int, int] = {}
        self._places: dict[int, Place] = {}
        self._lost: dict[tuple[int, int], tuple[tuple[RitzLevels, ...], npt.NDArray]] = {}
        self.torn: list[int] = []

    def part(self, point: int) -> slice | None:
        """Return which of the levels at a k point are wanted.

        Parameters
        ----------
        point : int
            Index of the k point.

        Returns
        -------
        slice or None
            None where they are not known for sure.
        """
        if point not in self._first or point in self.torn:
            return None
        start = self._wanted[0] - self._first[point]
        stop = self._wanted[1] + 1 - self._first[point]
        return slice(start, stop) if start >= 0 and stop <= len(self._found.at[point]) else None

    def spread(self, anchors: Mapping[int, Anchor], others: Sequence[Anchor]) -> None:
        """Give a number to all levels.

        Parameters
        ----------
        anchors : mapping of int to Anchor
            Those at k points of the set.
        others : sequence of Anchor
            Those at other k points.
        """
        for known in (self._first, self._previous, self._root):
            known.clear()
        for anchor in [*anchors.values(), *others]:
            same = np.abs(self._found.k - anchor.k).max(axis=1) < SAME
            for point in np.flatnonzero(same).tolist():
                if point in self._found.at:
                    self._first[point] = anchor.first_of(self._found.at[point], self._wanted)
        sure = set(self._first)
        with blas_threads(1):
            for anchor in others:
                self._start_from(anchor)
            edges = self.edges()
            doubtful = self._go_on(edges) - sure
            if doubtful:  # once more, in shorter steps
                for point in doubtful:
                    for known in (self._first, self._previous, self._root):
                        known.pop(point, None)
                doubtful = self._go_on(edges, HALVED) - sure
        self.torn = sorted(doubtful)

    def _go_on(self, edges: dict[int, list[tuple[float, int]]], halved: int = 0) -> set[int]:
        """Go on from the k points with numbers along the shortest ways; return doubtful ones.

        Each k point has its number from one neighbour. Where two trees, each from an anchor, meet,
        their numbers must agree, and around each step that was no easy one. Of steps that are not
        easy others are tried first.
        """
        queue: list[tuple[int, float, int, int]] = []
        away = dict.fromkeys(self._first, 0.0)
        hard: set[int] = set()  # k points that no easy step reached
        agreed: set[tuple[int, int]] = set()  # pairs of trees
        refused: dict[tuple[int, int], set[int]] = {}  # k points where they could not be compared
        doubtful: set[int] = set()

        def push(here: int) -> None:
            for length, there in edges.get(here, ()):
                heapq.heappush(queue, (DIRECT, away[here] + length, here, there))

        for point in self._first:
            self._root.setdefault(point, point)
            push(point)
        while queue:
            effort, length, here, there = heapq.heappop(queue)
            known = there in self._first
            if known:
                trees = self._root[here], self._root[there]
                pair = min(trees), max(trees)
                easy = trees[0] == trees[1] or pair in agreed
                if self._previous.get(here) == there or self._previous.get(there) == here:
                    continue
                if easy and (effort > DIRECT or not {here, there} & hard):
                    continue
            first = self._step(here, there, effort, halved)
            if first is None:
                if effort < THOROUGH:
                    heapq.heappush(queue, (effort + 1, length, here, there))
                elif known:
                    refused.setdefault(pair, set()).update((here, there))
            elif not known:
                self._first[there], self._previous[there] = first, here
                self._root[there], away[there] = self._root[here], length
                if effort > DIRECT:
                    hard.add(there)
                push(there)
            elif first != self._first[there]:
                doubtful |= self._doubtful(here) | self._doubtful(there)
                agreed.add(pair)
            else:
                agreed.add(pair)
        for pair, points in refused.items():
            if pair not in agreed and pair[0] != pair[1]:
                doubtful |= points
        return doubtful | (set(self._found.at) - set(self._first))

    def _step(self, here: int, there: int, effort: int, halved: int) -> int | None:
        """Return the number of the first level at a neighbouring k point, if that will do."""
        if effort == DIRECT:
            return self._follow(here, there, halved, halved)
        if effort == HALVING:
            return self._follow(here, there, HALVINGS + halved, halved)
        self.renew([here, there])
        return self._follow(here, there, DEEPEST, halved, refined=True)

    def _doubtful(self, point: int) -> set[int]:
        """Return all k points whose numbers come from the same step from an anchor."""
        while self._previous.get(self._previous.get(point, -1)) is not None:
            point = self._previous[point]
        followers: dict[int, list[int]] = {}
        for there, here in self._previous.items():
            followers.setdefault(here, []).append(there)
        found, queue = set(), [point]
        while queue:
            found.add(queue[-1])
            queue += followers.get(queue.pop(), [])
        return found

    def renew(self, points: Sequence[int]) -> None:
        """Find the levels at k points once more, and number them as before.

        Parameters
        ----------
        points : sequence of int
            Indices of the k points.
        """
        old = {point: (self._found.at[point], self.part(point)) for point in points}
        for point in self._found.refine(points):
            before, part = old[point]
            if part is None or len(before) < 2:
                continue
            energy = in_a_gap(before.energies, part.start, part.stop)
            below = self._first[point] + int((before.energies < energy).sum())
            after = self._found.at[point].energies
            self._first[point] = below - int((after < energy).sum())
            # levels that are new between the gap and those that are wanted: it was none
            near = before.energies[part.start]
            low, high = min(energy, near) + CLEAR, max(energy, near) - CLEAR
            known, now = (int(((e > low) & (e < high)).sum()) for e in (before.energies, after))
            if known != now and point not in self.torn:
                self.torn.append(point)

    def _start_from(self, anchor: Anchor) -> None:
        """Give numbers to the k point nearest to an anchor that is none of them."""
        found = self._found
        for region in found.regions:
            if not region.patch.holds(anchor.k):
                continue
            points = region.patch.points
            away = np.linalg.norm(self._spread[points] - anchor.k @ self._reciprocal, axis=1)
            point = int(points[np.argmin(away)])
            if point in self._first:
                continue

            def place(k: npt.NDArray, region: Region = region) -> Place:
                return region.place(k, region.levels(k, found.scales, refined=True))

            found.refine([point])
            here, there = place(anchor.k), region.place(found.k[point], found.at[point])
            begin = anchor.first_of(here.levels, self._wanted)
            first = follow(here, there, begin, self._wanted, place)
            if first is not None:
                self._first[point] = first

    def edges(self) -> dict[int, list[tuple[float, int]]]:
        """Return neighbouring k points, with their distances, Å⁻¹."""
        edges: dict[int, list[tuple[float, int]]] = {}

        def add(a: int, b: int) -> None:
            length = float(np.linalg.norm(self._spread[a] - self._spread[b]))
            edges.setdefault(a, []).append((length, b))
            edges.setdefault(b, []).append((length, a))

        regions = self._found.regions
        if len(regions) == 1 and len(regions[0].patch.axes) == 2:
            from scipy.spatial import cKDTree

            points = regions[0].patch.points
            near = min(NEIGHBOURS + 1, len(points))
            _, index = cKDTree(self._spread[points]).query(self._spread[points], near)
            rows = np.reshape(index, (len(points), -1)).tolist()
            for a, b in {(min(a, b), max(a, b)) for a, row in enumerate(rows) for b in row}:
                if a != b:
                    add(int(points[a]), int(points[b]))
            return edges
        for number, region in enumerate(regions):
            points = region.patch.points.tolist()
            for a, b in pairwise(points):
                add(a, b)
            previous = points[0] - 1
            joined = self._found.region_of.get(previous) == number - 1
            if joined and region.patch.holds(self._found.k[previous]):
                add(previous, points[0])
        return edges

    def unseen(
        self,
        anchors: Mapping[int, Anchor],
        others: Sequence[Anchor],
        speed: float,
        n_orbitals: int,
        counts: Mapping[int, Sequence[tuple[float, int]]] | None = None,
    ) -> npt.NDArray[np.float64]:
        """Return the energies of the nearest levels that may be missing at all k points.

        Parameters
        ----------
        anchors : mapping of int to Anchor
            Those at k points of the set.
        others : sequence of Anchor
            Those at other k points.
        speed : float
            By which levels come nearer, eV Å.
        n_orbitals : int
            Number of all levels.
        counts : mapping of int to sequence of (float, int), optional
            Energies, eV, and how many levels were counted below each, at other k points.

        Returns
        -------
        (2, nk) array
            Below the wanted levels and above them, eV; infinite at the ends of the spectrum.
        """
        levels, places = self._found.at, self._spread
        numbered = [point for point in levels if self.part(point) is not None]
        starts: list[tuple[int, npt.NDArray, tuple[float, float]]] = []
        for point, anchor in anchors.items():
            part = self.part(point) if point in levels else None
            if part is not None:
                seen = anchor.seen(levels[point], part, self._wanted, n_orbitals)
                starts.append((point, places[point], seen))
        for anchor in others if numbered else ():
            place = anchor.k @ self._reciprocal
            away = np.linalg.norm(places[numbered] - place, axis=1)
            starts.append((numbered[int(np.argmin(away))], place, anchor.ends(n_orbitals)))
        lost: dict[tuple[int, int], tuple[float, float]] = {}

        def nearest_lost(here: int, there: int) -> tuple[float, float]:
            """Return the nearest levels below (with other sign) and above that do not go on."""
            part = self.part(here)
            if part is None:
                return -np.inf, -np.inf
            if (here, there) not in lost:
                gone, energies = self.lost(here, there), levels[here].energies
                above, below = energies[part.stop :], -energies[: part.start]
                ends = below[gone[: part.start]], above[gone[part.stop :]]
                # a wanted one lost where none is new: a level is missing, among nearly equal ones
                own = energies[part][gone[part]]
                if len(own) and self.lost(there, here).sum() < gone.sum():
                    ends = np.append(ends[0], -own), np.append(ends[1], own)
                low, high = (float(end.min(initial=np.inf)) for end in ends)
                lost[here, there] = low, high
            return lost[here, there]

        edges = self.edges()

        def nearest(
            side: int, known: list[tuple[int, npt.NDArray, float]]
        ) -> npt.NDArray[np.float64]:
            sign = 2 * side - 1
            begin = [(point, place, sign * energy) for point, place, energy in known]

            def next_lost(here: int, there: int) -> float:
                return nearest_lost(here, there)[side]

            return sign * nearest_unseen(begin, places, edges, next_lost, speed)

        below, above = (
            [(point, place, seen[side]) for point, place, seen in starts] for side in (0, 1)
        )
        proven = []
        for point, pairs in (counts or {}).items():
            part = self.part(point) if point in levels else None
            if part is not None:
                own, ends = levels[point], levels[point].energies[part][[0, -1]]
                sides = confirmed(own, part, self._first[point], pairs)
                proven.append((point, places[point], sides, (float(ends[0]), float(ends[1]))))
        with blas_threads(1):
            return np.stack(spread_from_counts((below, above), proven, nearest))

    def lost(self, here: int, there: int) -> npt.NDArray[np.bool_]:
        """Return which levels at a k point do not go on at a neighbouring one.

        Parameters
        ----------
        here, there : int
            Indices of the k points.

        Returns
        -------
        (c,) array of bool
            True for those of the first that do not.
        """
        levels = self._found.at[here], self._found.at[there]
        known = self._lost.get((here, there))
        if known is None or known[0][0] is not levels[0] or known[0][1] is not levels[1]:
            shares = shares_of(*self._ends(here, there))
            known = self._lost[here, there] = levels, shares.sum(axis=1) < CONTINUED
        return known[1]

    def _place(self, point: int) -> Place:
        """Return the levels at a k point with their images."""
        found = self._places.get(point)
        if found is None or found.levels is not self._found.at[point]:
            found = self._found.region(point).place(self._found.k[point], self._found.at[point])
            self._places[point] = found
        return found

    def _ends(self, here: int, there: int) -> tuple[Place, Place]:
        """Return the levels at two neighbouring k points in one space."""
        found, region = self._found, self._shared(here, there)
        own, other = found.region(here), found.region(there)
        if own.series is other.series:
            return self._place(here), self._place(there)
        return (
            _lifted(found.k[here], found.at[here], own, region),
            _lifted(found.k[there], found.at[there], other, region),
        )

    def _shared(self, here: int, there: int) -> Region:
        """Return the region that holds two neighbouring k points: see `edges`."""
        number = self._found.region_of
        return self._found.regions[max(number[here], number[there])]

    def _follow(
        self, here: int, there: int, depth: int, halved: int, refined: bool = False
    ) -> int | None:
        """Return the number of the first level at a neighbouring k point."""
        found, region = self._found, self._shared(here, there)

        def between(k: npt.NDArray) -> Place:
            levels = region.levels(k, found.scales, refined=refined)
            if found.region(here).series is found.region(there).series:
                return region.place(k, levels)
            return _lifted(k, levels, region, region)

        ends = self._ends(here, there)
        return follow(*ends, self._first[here], self._wanted, between, depth, halved)


def _lifted(k: npt.NDArray, levels: RitzLevels, own: Region, region: Region) -> Place:
    """Return levels of a region in the space that all regions share."""
    return Place.of(k, own.lifted(levels), region.whole.overlap(k))
