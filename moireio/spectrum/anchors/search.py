"""Which k points become anchors, and where the space of their states is corrected."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from moireio.spectrum.anchors.margins import NEAR
from moireio.spectrum.anchors.method import AnchoredLevels
from moireio.spectrum.anchors.patches import nearest_node
from moireio.spectrum.anchors.settings import SAFETY
from moireio.spectrum.anchors.trials import CAREFUL, bound_at

# By which a correction must lessen residuals at a k point, and bounds on a line, for another one;
# at how many k points of a line at once, and how far apart there
GAINED, GAINED_OF_LINE, AT_ONCE, APART = 2, 2, 4, 0.12
IN_VAIN = 2  # corrections at a k point that did not lessen residuals
FAR_OFF = 500  # bounds, in tolerances, from which on an anchor takes less time than corrections
LEAST_OF_LINE, LEAST = 2, 3  # anchors
# k points farthest from all anchors, at which it is decided whether one more is needed, and where
TESTED, TESTED_OF_PLANE, COMPARED = 3, 2, 3


class AnchorSearch:
    """The search for anchors with which the levels at all k points are good enough.

    Parameters
    ----------
    levels : AnchoredLevels
        Those that are to be found, with the anchors known from before.
    """

    def __init__(self, levels: AnchoredLevels) -> None:
        self.levels = levels
        self._corrected = np.inf  # largest bound before the last corrections

    def _tested(self, point: int) -> float:
        """Return about the largest bound next to a k point whose band numbers are not known yet.

        Where it is too large, what the levels there lack most is added to the space, if factors of
        an anchor are there: much less work than another anchor.
        """
        own = self.levels
        k = nearest_node(own.patches, own.k[point], own.reciprocal)
        value, levels, part = bound_at(own, k)
        in_vain = 0
        while CAREFUL * own.tolerance < value <= FAR_OFF * own.tolerance and levels is not None:
            before = levels.residuals[part].max()
            if own.is_plane or not own.space.correct([(k, levels, part)]):
                break
            value, levels, part = bound_at(own, k, levels.energies[part])
            # a level that was missing may appear, with larger residuals
            in_vain += levels is None or levels.residuals[part].max() > before / GAINED
            if in_vain == IN_VAIN:
                break
        return value

    def choose_anchors(self) -> Iterator[None]:
        """Add anchors until the k points farthest from all of them are good enough.

        Yields
        ------
        None
            After each new one.
        """
        own = self.levels
        while not own.anchors and not any(self._region_at(a.k) for a in own.others):
            self._add(int(np.argmax(own.distances())))
            yield
        while len(own.all_anchors()) < (LEAST if own.is_plane else LEAST_OF_LINE):
            distance = own.distances()
            if distance.max() < NEAR:
                break
            self._add(int(np.argmax(distance)))
            yield
        own.space.take(own.all_anchors())
        while len(own.anchors) < own.most:
            worst = -1.0, -1
            for number, point in enumerate(self._apart(range(len(own.k)), COMPARED)):
                tested = TESTED_OF_PLANE if own.is_plane else TESTED
                if number == tested and worst[0] <= SAFETY * own.tolerance:
                    break
                worst = max(worst, (self._tested(point), point))
                if worst[0] > FAR_OFF * own.tolerance:
                    break
            if worst[0] <= SAFETY * own.tolerance:
                return
            self._add(worst[1])
            own.space.take(own.all_anchors())
            yield

    def _add(self, point: int) -> None:
        self.levels.add(point)
        self._corrected = np.inf

    def _region_at(self, k: npt.NDArray) -> bool:
        """Return whether a k lies in a patch."""
        return any(patch.holds(k) for patch, _ in self.levels.patches)

    def _apart(self, points: Sequence[int], count: int) -> list[int]:
        """Return those of some k points that are farthest from all anchors and from each other."""
        own = self.levels
        distance, found = own.distances()[points], []
        for _ in range(count):
            place = int(np.argmax(distance))
            if distance[place] < NEAR:
                break
            found.append(points[place])
            away = np.linalg.norm(own.spread[points] - own.spread[points[place]], axis=1)
            distance = np.minimum(distance, away)
        return found

    def _correct(self, few: int) -> bool:
        """Add what levels lack where bounds are largest; return False where that is of no use."""
        own = self.levels
        if own.is_plane:
            return False
        values = {point: self._bound(point) for point in own.failing()}
        failing = [point for point, value in values.items() if value > own.tolerance]
        largest = max((values[point] for point in failing), default=np.inf)
        # a few are solved in less time than all levels are found anew
        if len(failing) <= few or not largest < min(self._corrected / GAINED_OF_LINE, np.inf):
            return False
        self._corrected = largest
        chosen: list[int] = []
        least = APART * np.linalg.norm(np.ptp(own.spread, axis=0))
        for point in sorted(failing, key=lambda p: -values[p]):
            away = np.linalg.norm(own.spread[chosen] - own.spread[point], axis=1)
            if len(chosen) < AT_ONCE and away.min(initial=np.inf) > least:
                chosen.append(point)
        wanted = []
        for point in chosen:
            levels, part = own.found.at[point], own.numbers.part(point)
            assert part is not None
            lifted = own.found.region(point).lifted(levels)
            wanted.append((own.k[point], lifted, part))
        return own.space.correct(wanted)

    def _bound(self, point: int) -> float:
        """Return the largest bound; as if no level were missing where counts can show that."""
        own = self.levels
        if own.counts.are_possible and point not in own.counts.refuted:
            return own.bound_if_complete(point)
        return float(own.bounds[point].max())

    def _prove(self, lacking: Sequence[int]) -> bool:
        """Show that no level is missing where only that is lacking; return False if that fails."""
        own = self.levels
        points = [p for p in lacking if p not in own.counts.refuted]
        if not own.counts.are_possible or not points:
            return False
        away = np.linalg.norm(own.spread[points][:, None] - own.spread[points][None], axis=-1)
        if own.is_plane:
            point, radius = points[int(np.argmax(own.distances()[points]))], float(away.max())
        else:  # the middle of the longest row of them
            point, radius = _middle(points, own.spread)
        if not own.prove(point, radius):
            return False
        own.bound()
        return True

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
        own = self.levels
        yield from self.choose_anchors()
        while True:
            own.interpolate()
            own.verify()
            own.bound()
            own.improve()
            if self._correct(few):
                continue
            yield
            while len(failing := own.failing()) > few and len(own.anchors) < own.most:
                lacking = [p for p in failing if own.lacks_only_proof(p)]
                if len(failing) - len(lacking) <= few and self._prove(lacking):
                    continue
                # in a plane all products must be found again: several at a time, and without their
                # states, where anchors have to show only that no level is missing
                proof = lacking if own.is_plane else []
                count = max(len(own.anchors) // 3, 1) if own.is_plane else 1
                refuted = [p for p in failing if p in own.counts.refuted][:1]
                doubtful = proof or own.numbers.torn
                if not doubtful and own.counts.are_possible:
                    doubtful = sorted(set(failing) - set(lacking))
                chosen = refuted or self._apart(doubtful or failing, count)
                if not chosen:
                    return
                for point in chosen:
                    self._add(point)
                    yield
                if not proof:
                    own.space.take(own.all_anchors())
                    break
                own.space.measure(own.all_anchors())
                own.numbers.spread(own.anchors, own.others)
                own.bound()
            else:
                return


def _middle(points: Sequence[int], places: npt.NDArray) -> tuple[int, float]:
    """Return the k point in the middle of the longest row of neighbours, and half its length."""
    rows = np.split(np.array(points), np.flatnonzero(np.diff(points) > 1) + 1)
    lengths = [float(np.linalg.norm(places[row[-1]] - places[row[0]])) for row in rows]
    row, length = rows[int(np.argmax(lengths))], max(lengths)
    away = np.linalg.norm(places[row] - 0.5 * (places[row[0]] + places[row[-1]]), axis=1)
    return int(row[np.argmin(away)]), length / 2
