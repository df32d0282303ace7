"""The search for levels by their index: where to shift, and whether none is missing."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.solvers.base import EigenProblem, SingularError, Solver, SolverDiagnostics
from moireio.solvers.lanczos import BLOCK, NEAREST, TooNearError
from moireio.solvers.pencil import LocalLevels

STEPS = 60
CLEAR = 10 * NEAREST  # a gap in which levels can be counted, eV
GUESSED = 0.25  # half of the first step from a guess, eV
# Levels found from one shift. More are cut into slices, each ending in a gap within the seam.
SLICE, SEAM = 300, 10
INSIDE = 0.05  # how far inside a gap shifts are at least, where it is wide, eV
FARTHEST = 8  # steps, at most, where the distribution of levels is about known
ASTRAY = 50  # how many levels a shift may lie beside where it should


class BadShiftError(Exception):
    """Levels cannot be found from a shift; `args` holds a better one, eV."""


class InertiaSearch(Solver):
    """Levels by shift-invert, chosen by their index.

    The index follows from Sylvester's law of inertia: as many eigenvalues of H − σS are negative as
    there are levels below σ. That at the shift comes with its factors. Where copies of a level may
    be missing, and on request, levels are also counted on both sides of those that were found.

    Parameters
    ----------
    sigma : float or None
        Energy at which the search for the levels begins, eV; None to guess.
    verify_count : bool
        Count on both sides at every k.
    """

    def __init__(self, sigma: float | None, verify_count: bool):
        self._verify_count = verify_count
        self.diagnostics = SolverDiagnostics()
        # the shift, and a step of the search
        self._sigma, self._step = sigma, 1.0
        self._distribution: LocalLevels | None = None  # of all levels, about
        self.keep_factor = False
        self._last = None
        # whether levels beyond those that are wanted are returned too, and the number of the first
        self._more, self._first_found = False, 0

    @abstractmethod
    def _factorised(self, problem, sigma):
        """Factorise H − σS; return the factors and the number of levels below σ."""

    def _free_factors(self):
        """Free the memory of factors that are not needed any more, where it is large."""

    def _give_away(self):
        """Make new factors beside the last ones; return the bytes that these take, about."""
        return 0.0

    def _guess(self, problem, first, last):
        """Return an energy, eV, perhaps among the levels `first` to `last`."""
        return 0.0

    def _n_levels(self, problem):
        """Return the number of all levels."""
        return problem.n_orbitals

    @abstractmethod
    def _levels_around(self, factor, problem, span, block):
        """Return the levels around the shift, until `span` is content, and their states.

        A larger `block` finds copies of a level that were missing.
        """

    def count_below(self, problem: EigenProblem, energy: float) -> int:
        """Return the number of levels below an energy (see `moireio.solvers.base.Solver`)."""
        for shift in (0.0, 1e-7, -1e-7, 3e-6):  # off a level that is hit
            try:
                return self._factorised(problem, energy + shift)[1]
            except SingularError:
                continue
        raise MoireioError(
            f"levels at {energy:g} eV prevent counting", remedy="choose another energy"
        )

    def eigenpairs_and_more(
        self, problem: EigenProblem, band_range: tuple[int, int]
    ) -> tuple[npt.NDArray, npt.NDArray, int]:
        """Return levels with their states, and those beyond both ends that were found on the way.

        Parameters
        ----------
        problem : EigenProblem
            H and S.
        band_range : tuple of two int
            First and last band that must be among them (inclusive, from 0).

        Returns
        -------
        energies : (c,) array
            eV, ascending.
        states : (n, c) array
            S-orthonormal.
        first : int
            Number of the first level.
        """
        self._more, self._first_found = band_range[1] - band_range[0] < SLICE, band_range[0]
        try:
            return *self.eigenpairs(problem, band_range), self._first_found
        finally:
            self._more = False

    def respond(self, vectors: npt.NDArray) -> npt.NDArray | None:
        """Return solutions of (H − σS) x = b with the factors of the last k.

        They are kept after `eigenpairs` where `keep_factor` is set, until others are made.

        Parameters
        ----------
        vectors : (n, c) array
            b, one in a column, in the phases of H(k).

        Returns
        -------
        (n, c) array or None
            x, in the precision of the factors; None where none were kept.
        """
        return None if self._last is None else _solutions(self._last, vectors)

    def keep_factors(self) -> tuple[Callable[[npt.NDArray], npt.NDArray], float] | None:
        """Return the factors of the last k, which stay when others are made.

        Returns
        -------
        respond : callable
            As `respond`, for as long as it is referred to.
        size : float
            Bytes that the factors take, about.
            Instead of both None where none were kept.
        """
        factor, self._last = self._last, None
        return None if factor is None else (partial(_solutions, factor), self._give_away())

    def free_factors(self) -> None:
        """Free the factors that were kept for `respond`."""
        self._last = None
        self._free_factors()

    def eigenvalues(
        self, problem: EigenProblem, band_range: tuple[int, int] | None = None
    ) -> npt.NDArray:
        """Return energies in eV, ascending (see `moireio.solvers.base.Solver`)."""
        return np.concatenate([levels for levels, _ in self._slices(problem, band_range)])

    def eigenpairs(
        self, problem: EigenProblem, band_range: tuple[int, int] | None = None
    ) -> tuple[npt.NDArray, npt.NDArray]:
        """Return energies and states (see `moireio.solvers.base.Solver`)."""
        levels, states = zip(*self._slices(problem, band_range), strict=True)
        if len(levels) == 1:
            return levels[0], states[0]
        return np.concatenate(levels), np.concatenate(states, axis=1)

    def _slices(self, problem, band_range):
        """Yield levels with their states, some hundreds at a time, in ascending order."""
        first, last = (0, self._n_levels(problem) - 1) if band_range is None else band_range
        begin = None
        while first <= last:
            levels, states = self._slice_to_gap(problem, first, last)
            begin = begin or (self._sigma, self._step)
            first += len(levels)
            # as many levels farther as there were in the upper half
            self._sigma = float(2 * levels[-1] - levels[len(levels) // 2])
            yield levels, states
        self._sigma, self._step = begin

    def _slice_to_gap(self, problem, first, last):
        """Return the levels from `first` on, to `last` or to a gap, so that no level is cut."""
        seam = SEAM
        while True:
            stop = min(last, first + SLICE + seam - 1)
            levels, states = self._slice(problem, first, stop)
            if stop == last:
                return levels, states
            gap = _widest(np.diff(levels[SLICE - 1 :]))
            if gap is not None:
                return levels[: SLICE + gap], states[:, : SLICE + gap]
            seam *= 4

    def _slice(self, problem, first, last):
        """Return the levels `first` to `last` from one shift, and their states."""
        block = BLOCK
        for _ in range(STEPS):
            try:
                factor, below = self._shift_into(problem, first, last)
                count = self._n_levels(problem)
                if last >= count:
                    raise MoireioError(f"there are {count} levels only, without those left out")
                span = _Span(self._sigma, below, first, last, count, block, self._verify_count)
                levels, states = self._levels_around(factor, problem, span, block)
                self._last = factor if self.keep_factor else None
                factor = None  # its memory, for counts
            except (SingularError, TooNearError) as error:
                # to the same side of the level, or to the other
                level = error.args[0] if error.args else self._sigma
                self._sigma = level + (100 if self._sigma > level else -137) * NEAREST
                continue
            except BadShiftError as error:
                (self._sigma,) = error.args
                continue
            if not span.covered(levels) or any(
                self.count_below(problem, energy) != index for energy, index in span.checks(levels)
            ):
                block = min(2 * block, count)  # more copies of a level than columns
                continue
            wanted = slice(first - span.index(levels), last + 1 - span.index(levels))
            self._choose_next_shift(levels[wanted])
            if self._more:
                self._first_found = span.index(levels)
                return levels, states
            return levels[wanted], states[:, wanted]
        raise MoireioError(f"the levels near {self._sigma:g} eV cannot be separated")

    def _choose_next_shift(self, levels):
        """Choose the shift of the next k point: in a wide gap of these levels.

        Elsewhere than in the middle, by energy, many levels beyond the nearer end are found before
        the farther one.
        """
        if len(levels) > 1:
            gaps, middle = np.diff(levels), 0.5 * (levels[0] + levels[-1])
            inside = np.minimum(gaps / 2, np.maximum(INSIDE, gaps / 4))
            shifts = np.clip(middle, levels[:-1] + inside, levels[1:] - inside)
            found = _levels_within(levels, shifts)
            self._sigma = float(shifts[np.argmax(gaps * (len(levels) / found) ** 2)])
        self._step = max(float(levels[-1] - levels[0]), 1e-2)

    def _shift_into(self, problem, first, last):
        """Move the shift into the levels `first` to `last`, or near them; factorise there.

        Returns
        -------
        factor : object
            Factor of H − σS.
        below : int
            Number of levels below the shift.
        """
        tolerance = 3 * (last - first + 1) / 4
        if self._sigma is None:
            self._sigma, self._step = self._guess(problem, first, last), GUESSED
            tolerance /= 3
        try:
            return self._approach(
                lambda sigma: self._factorised(problem, sigma),
                first,
                last,
                problem.n_orbitals,
                tolerance,
            )
        finally:
            self._distribution = None

    def _approach(self, factorised, first, last, n_orbitals, tolerance):
        """Move the shift into the levels `first` to `last`, or near them.

        The secant through the last two counts, kept between the best bounds.

        Parameters
        ----------
        factorised : callable
            From a shift to factors, and the number of levels below it.
        first, last : int
            Levels.
        n_orbitals : int
            Rows of H.
        tolerance : float
            How many levels the present shift may lie off their middle.

        Returns
        -------
        factor : object
            Factors at the shift.
        below : int
            Number of levels below the shift.
        """
        wanted, target = last - first + 1, (first + last + 1) / 2
        tolerance = max(min(tolerance, ASTRAY), 1)
        low, high = (-np.inf, -1.0), (np.inf, n_orbitals + 1.0)
        step = self._step
        for _ in range(STEPS):
            factor, below = factorised(self._sigma)
            if abs(below - target) <= tolerance:
                return factor, below
            factor = None  # its memory
            # having to move, as near as what Lanczos then needs is least
            tolerance = max(min(wanted / 4, ASTRAY), 1)
            if below < target:
                low = self._sigma, below
            else:
                high = self._sigma, below
            if np.isinf(low[0]) or np.isinf(high[0]):
                step *= 2
                self._sigma += self._move(below, target, n_orbitals, step)
                continue
            if high[0] - low[0] < 10 * NEAREST:
                # many copies of one level: from a distance that Lanczos can look from
                self._sigma = low[0] - 100 * NEAREST
                return factorised(self._sigma)
            part = (target - low[1]) / (high[1] - low[1])
            self._sigma = low[0] + min(max(part, 0.1), 0.9) * (high[0] - low[0])
        raise MoireioError(f"found no energy with {target:g} levels below it")

    def _move(self, below, target, n_orbitals, step):
        """Return by how much to move a shift towards a number of levels below it.

        Parameters
        ----------
        below, target : float
            Levels below it, and how many there should be.
        n_orbitals : int
            All levels.
        step : float
            About how far where nothing is known of the levels, eV.

        Returns
        -------
        float
            eV.
        """
        sign = 1.0 if below < target else -1.0
        if self._distribution is None:
            return sign * step
        shares = target / n_orbitals, self._sigma, below / n_orbitals
        away = abs(self._distribution.level(*shares) - self._sigma)
        return sign * float(np.clip(away, step / FARTHEST, FARTHEST * step))


def _levels_within(levels, shifts):
    """Return about how many levels are as near to shifts as the farther end of some levels is."""
    quarter = max(len(levels) // 4, 1)
    widths = levels[quarter] - levels[0], levels[-1] - levels[-1 - quarter]
    beyond = np.abs(levels[0] + levels[-1] - 2 * shifts)
    low, high = (quarter / max(width, NEAREST) for width in widths)
    return len(levels) + beyond * np.where(2 * shifts < levels[0] + levels[-1], low, high)


def _solutions(factor, vectors):
    """Return solutions by factors, those of complex vectors by real ones too."""
    if factor.dtype.kind == "f" and vectors.dtype.kind == "c":
        return factor.solve(vectors.real.copy()) + 1j * factor.solve(vectors.imag.copy())
    return factor.solve(vectors)


class _Span:
    """Which of the levels around a shift are wanted, and whether those found suffice.

    Parameters
    ----------
    sigma : float
        The shift, eV.
    below : int
        Number of levels below it.
    first, last : int
        Index of the first and the last level that is wanted.
    n : int
        Number of all levels.
    block : int
        Lanczos finds as many copies of a level, or all if there are fewer.
    verify_count : bool
        Count on both sides in any case.
    """

    def __init__(self, sigma, below, first, last, n, block, verify_count):
        self._sigma, self._below, self._n = sigma, below, n
        self._first, self._last = first, last
        self._block, self._verify_count = block, verify_count

    @property
    def n_nearest(self):
        """About how many levels nearest to the shift hold those that are wanted."""
        count = 2 * max(self._last + 1 - self._below, self._below - self._first, 1)
        return min(count, self._n)

    def index(self, levels):
        """Return the index of the first level that was found."""
        return self._below - int((levels < self._sigma).sum())

    def covered(self, levels):
        """Return whether the levels that were found reach far enough on both sides."""
        if len(levels) == self._n:
            return True
        begin = self._first - self.index(levels)
        end = self._last - self.index(levels)
        if begin < 0 or end >= len(levels):
            return False
        return not self._unsure(levels) or self._gaps(levels) is not None

    def checks(self, levels):
        """Return energies and how many levels must lie below each, if the levels are complete."""
        if len(levels) == self._n or not self._unsure(levels):
            return []
        start, stop = self._gaps(levels)
        index = self.index(levels)
        checks = []
        if index + start > 0:
            checks.append((float(levels[start - 1 : start + 1].mean()), index + start))
        if index + stop < self._n:
            checks.append((float(levels[stop - 1 : stop + 1].mean()), index + stop))
        return checks

    def other_shift(self, levels, away):
        """Return another shift, as near to the middle of the wanted levels.

        Parameters
        ----------
        levels : (m,) array
            Those that were found, ascending, eV.
        away : float
            Distance from the present shift, eV, where levels do not give one.

        Returns
        -------
        float
            The middle of the widest gap among those in the middle, but for the gap of the present
            shift.
        """
        index, quarter = self.index(levels), (self._last - self._first + 1) // 4
        begin, end = self._first + quarter - index, self._last - quarter - index
        middle = levels[max(begin, 0) : max(end + 1, 0)]
        gaps = np.diff(middle)
        gaps[(middle[:-1] < self._sigma) & (self._sigma < middle[1:])] = 0
        if gaps.max(initial=0) > 2 * CLEAR:
            return float(middle[np.argmax(gaps) :][:2].mean())
        return self._sigma + (away if 2 * self._below < self._first + self._last + 1 else -away)

    def _unsure(self, levels):
        """Return whether copies of a level may be missing."""
        other = self._block - 1
        copies = levels[other:] - levels[: max(len(levels) - other, 0)]
        return self._verify_count or bool((copies < CLEAR).any())

    def _gaps(self, levels):
        """Return start and stop of the levels between the widest gaps on both sides, or None."""
        index = self.index(levels)
        gaps = np.diff(levels)
        begin, end = self._first - index, self._last - index
        start = 0 if index == 0 else _widest(gaps[:begin])
        stop = len(levels) if index + len(levels) == self._n else _widest(gaps[end:])
        if start is None or stop is None:
            return None
        start += index != 0
        return start, stop if index + len(levels) == self._n else end + 1 + stop


def _widest(gaps):
    """Return the number of the widest gap, None if none is wide enough."""
    if len(gaps) == 0 or gaps.max() < CLEAR:
        return None
    return int(np.argmax(gaps))
