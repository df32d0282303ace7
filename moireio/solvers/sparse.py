"""Sparse eigenproblems: levels around a shift, counted by the inertia of its factors."""

import numpy as np

from moireio.errors import MoireioError
from moireio.solvers import SingularError, not_positive, pardiso
from moireio.solvers.lanczos import BLOCK, NEAREST, TooNearError, lanczos
from moireio.solvers.superlu import DenseCounter, SuperLUFactor

STEPS = 60
CLEAR = 10 * NEAREST  # a gap in which levels can be counted, eV


class SparseSolver:
    """Levels by shift-invert block Lanczos on LDLᴴ factors.

    Which levels they are is known from Sylvester's law: as many eigenvalues of H − σS are negative
    as there are levels below σ. Where a level may have more copies than Lanczos finds, they are
    counted on both sides.

    Parameters
    ----------
    threads : int
        For the factorisation.
    near : float
        Where the search for the levels begins, eV.
    """

    name = "sparse"
    forks = False

    def __init__(self, threads=1, near=0.0):
        self._threads = threads
        mkl = pardiso.library() is not None
        self._kind = pardiso.PardisoFactor if mkl else SuperLUFactor
        self._counting = pardiso.Counter if mkl else DenseCounter
        self._factors, self._counter, self._pencil = {}, None, None
        # the shift, how many levels are thought to lie below it, and a step of the search
        self._sigma, self._below, self._step = near, None, 1.0

    def count_below(self, problem, energy):
        """Return how many levels lie below an energy (see `moireio.solvers.Solver`)."""
        h, s = self._values(problem)
        for shift in (0.0, 1e-7, -1e-7, 3e-6):  # off a level that is hit
            try:
                return self._negative(h - (energy + shift) * s)
            except SingularError:
                continue
        raise MoireioError(f"levels at {energy:g} eV prevent counting", remedy="say --around")

    def energies(self, problem, window=None):
        """Return energies in eV, ascending (see `moireio.solvers.Solver`)."""
        if window is None:
            raise MoireioError("the sparse solver finds some bands, not all", remedy="say --bands")
        return self.pairs(problem, window)[0]

    def pairs(self, problem, window):
        """Return some levels with their states.

        Parameters
        ----------
        problem : EigenProblem
            What to solve.
        window : tuple of two int
            First and last index (inclusive, from 0) of the states wanted.

        Returns
        -------
        energies : (nb,) array
            Ascending, eV.
        states : (n, nb) array
            S-orthonormal.

        Raises
        ------
        MoireioError
            If S is not positive definite, or the levels cannot be separated.
        """
        first, last = window
        h, s = self._values(problem)
        block = BLOCK
        for _ in range(STEPS):
            if self._below is None:
                self._search(problem, (first + last + 1) / 2, (last - first + 1) / 2)
            try:
                factor = self._factor(h - self._sigma * s)
                levels, states = lanczos(
                    factor.solve,
                    self._overlap(problem),
                    problem.size,
                    factor.dtype,
                    self._sigma,
                    lambda found: self._ends(found, first, last, problem.size) is not None,
                    block,
                )
            except (SingularError, TooNearError) as error:
                # to the same side of the level, or to the other
                near = error.args[0] if error.args else self._sigma
                self._sigma = near + (100 if self._sigma > near else -137) * NEAREST
                continue
            start, stop, below = self._counted(problem, levels, first, last, block)
            if below is None:  # more copies of a level than a block has columns
                block = min(2 * block, problem.size)
                continue
            under = int((levels[start:stop] < self._sigma).sum())
            self._below = below + under
            if below <= first and below + stop - start > last:
                wanted = slice(start + first - below, start + last - below + 1)
                self._next(levels[wanted], first)
                return levels[wanted], states[:, wanted]
            self._below = None
        raise MoireioError(f"the levels near {self._sigma:g} eV cannot be separated")

    def _ends(self, levels, first, last, n):
        """Return gaps on both sides of the levels that are wanted.

        Returns
        -------
        start, stop : int
            Between the gaps lie ``levels[start:stop]``; None if the levels do not reach so far, by
            what is thought to lie below the shift.
        """
        if len(levels) == n:
            return 0, n
        guess = self._below - int((levels < self._sigma).sum())
        begin, end = first - guess, last - guess
        if begin < 0 or end >= len(levels):
            return None
        gaps = np.diff(levels)
        start = 0 if guess == 0 else _widest(gaps[:begin])
        stop = len(levels) if guess + len(levels) == n else _widest(gaps[end:])
        if start is None or stop is None:
            return None
        start += guess != 0
        return start, stop if guess + len(levels) == n else end + 1 + stop

    def _counted(self, problem, levels, first, last, block):
        """Count the levels below those that are wanted; where copies may be missing, also above.

        Lanczos finds as many copies of a level as a block has columns, or all if there are fewer.

        Returns
        -------
        start, stop : int
            Which of the levels lie between the gaps outside those that are wanted.
        below : int or None
            Index of the first of them; None if there are more levels than were found.
        """
        start, stop = self._ends(levels, first, last, problem.size)
        if stop - start == problem.size:
            return start, stop, 0
        low = levels[0] - CLEAR if start == 0 else levels[start - 1 : start + 1].mean()
        below = self.count_below(problem, float(low))
        own = levels[start:stop]
        if (own[block - 1 :] - own[: len(own) - block + 1] < CLEAR).any():
            top = stop == len(levels)
            high = levels[-1] + CLEAR if top else levels[stop - 1 : stop + 1].mean()
            if self.count_below(problem, float(high)) - below != stop - start:
                below = None
        return start, stop, below

    def _next(self, levels, first):
        """Choose the shift of the next k point: the widest gap in the middle of these levels."""
        quarter = len(levels) // 4
        middle = levels[quarter : len(levels) - quarter]
        if len(middle) > 1:
            widest = int(np.argmax(np.diff(middle)))
            self._sigma = float((middle[widest] + middle[widest + 1]) / 2)
            self._below = first + quarter + widest + 1
        self._step = max(float(levels[-1] - levels[0]), 1e-2)

    def _search(self, problem, target, tolerance):
        """Move the shift to where about `target` levels lie below it.

        The secant through the last two counts, kept between the best bounds.
        """
        low, high = (-np.inf, -1.0), (np.inf, problem.size + 1.0)
        step = self._step
        for _ in range(STEPS):
            self._below = self.count_below(problem, self._sigma)
            if abs(self._below - target) <= max(tolerance / 2, 1):
                return
            if self._below < target:
                low = self._sigma, self._below
            else:
                high = self._sigma, self._below
            if np.isinf(low[0]) or np.isinf(high[0]):
                step *= 2
                self._sigma += step if self._below < target else -step
                continue
            if high[0] - low[0] < 10 * NEAREST:
                # many copies of one level: from a distance that Lanczos can look from
                self._sigma = low[0] - 100 * NEAREST
                self._below = self.count_below(problem, self._sigma)
                return
            part = (target - low[1]) / (high[1] - low[1])
            self._sigma = low[0] + min(max(part, 0.1), 0.9) * (high[0] - low[0])
        raise MoireioError(f"found no energy with {target:g} levels below it")

    def _negative(self, values):
        """Return how many eigenvalues of a matrix of the pattern are negative."""
        if self._kind is pardiso.PardisoFactor and not np.iscomplexobj(values):
            return self._factor(values).negative
        if self._counter is None:
            self._counter = self._counting(self._pencil.indptr, self._pencil.indices, self._threads)
        return self._counter(values)

    def _factor(self, values):
        """Return the factors of a matrix of the pattern."""
        real = not np.iscomplexobj(values)
        if real not in self._factors:
            pencil = self._pencil
            self._factors[real] = self._kind(pencil.indptr, pencil.indices, real, self._threads)
        self._factors[real].factorise(values)
        return self._factors[real]

    def _values(self, problem):
        """Return the elements of H and S; at the first k, S is checked."""
        if self._pencil is not None and self._pencil.fits(problem):
            return self._pencil.values(problem)
        self._pencil, self._factors, self._counter = Pencil(problem), {}, None
        found = self._pencil.values(problem)
        if problem.overlap is not None:
            try:
                bad = self._negative(found[1])
            except SingularError:
                bad = True
            if bad:
                raise not_positive(problem.k)
        return found

    def _overlap(self, problem):
        """Return the product with S."""
        if problem.overlap is None:
            return np.copy
        upper = self._pencil.overlap(problem)
        lower = upper.conj().T.tocsr()
        lower.setdiag(0)
        return lambda x: upper @ x + lower @ x


def _widest(gaps):
    """Return the number of the widest gap, None if none is wide enough."""
    if len(gaps) == 0 or gaps.max() < CLEAR:
        return None
    return int(np.argmax(gaps))


class Pencil:
    """The common pattern of H(k) and S(k): upper triangles with the whole diagonal.

    Parameters
    ----------
    problem : EigenProblem
        At any k.
    """

    def __init__(self, problem):
        self._sums = problem.hamiltonian, problem.overlap
        n = problem.size
        codes = []
        for one in self._sums:
            if one is None:
                codes.append(np.arange(n) * (n + 1))
                continue
            indptr, indices = one.upper_pattern()
            codes.append(np.repeat(np.arange(n), np.diff(indptr)) * n + indices)
        diagonal = np.arange(n) * (n + 1)
        same = codes[0].shape == codes[1].shape and (codes[0] == codes[1]).all()
        if same and np.isin(diagonal, codes[0], assume_unique=True).all():
            union, self._places = codes[0], (None, None)
        else:
            union = np.unique(np.concatenate([*codes, diagonal]))
            self._places = tuple(np.searchsorted(union, c) for c in codes)
        self.indptr = np.searchsorted(union, np.arange(n + 1) * n)
        self.indices = union - np.repeat(np.arange(n), np.diff(self.indptr)) * n
        self._count = len(union)
        self._last = None, None

    def fits(self, problem):
        """Tell whether a problem has this pattern."""
        return problem.hamiltonian is self._sums[0] and problem.overlap is self._sums[1]

    def values(self, problem):
        """Return the elements of H and S at a problem's k, in the common pattern."""
        if self._last[0] is not problem:
            self._last = problem, self._assemble(problem)
        return self._last[1]

    def _assemble(self, problem):
        out = []
        for one, place in zip(self._sums, self._places, strict=True):
            found = np.ones(len(self.indptr) - 1) if one is None else one.upper_values(problem.k)
            if place is not None:
                whole = np.zeros(self._count, dtype=found.dtype)
                whole[place] = found
                found = whole
            out.append(found.astype(np.complex128 if found.dtype.kind == "c" else np.float64))
        return out

    def overlap(self, problem):
        """Return the upper triangle of S."""
        from scipy.sparse import csr_array

        n = len(self.indptr) - 1
        return csr_array((self.values(problem)[1], self.indices, self.indptr), shape=(n, n))
