"""Sparse eigenproblems: levels around a shift, counted by the inertia of its factors."""

import numpy as np

from moireio.errors import MoireioError
from moireio.solvers import not_positive, pardiso
from moireio.solvers.lanczos import NEAREST, TooNearError, lanczos
from moireio.solvers.superlu import DenseCounter, SuperLUFactor

STEPS = 60


class SparseSolver:
    """Levels by shift-invert block Lanczos on LDLᴴ factors.

    Which levels they are is known from Sylvester's law: as many eigenvalues of H − σS are negative
    as there are levels below σ.

    Parameters
    ----------
    threads : int
        For the factorisation.
    """

    name = "sparse"
    forks = False

    def __init__(self, threads=1):
        self._threads = threads
        mkl = pardiso.library() is not None
        self._kind = pardiso.PardisoFactor if mkl else SuperLUFactor
        self._counting = pardiso.Counter if mkl else DenseCounter
        self._factors, self._counter, self._pencil = {}, None, None
        self.sigma = 0.0
        self.scale = 1.0

    def count_below(self, problem, energy):
        """Return how many levels lie below an energy (see `moireio.solvers.Solver`)."""
        h, s = self._pencil_of(problem).values(problem)
        return self._negative(h - energy * s, energy)

    def _negative(self, values, sigma=0.0):
        """Return how many eigenvalues of a matrix of the pattern are negative."""
        if self._kind is pardiso.PardisoFactor and not np.iscomplexobj(values):
            return self._factor(values, sigma).negative
        if self._counter is None:
            self._counter = self._counting(self._pencil.indptr, self._pencil.indices, self._threads)
        return self._counter(values)

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
        """
        first, last = window
        target, tolerance = (first + last + 1) / 2, (last - first + 1) / 2
        for _ in range(STEPS):
            below = self._towards(problem, target, tolerance)
            sigma = self.sigma
            h, s = self._pencil.values(problem)
            factor = self._factor(h - sigma * s, sigma)

            def enough(levels, below=below, sigma=sigma):
                under = int((levels < sigma).sum())
                return below - under <= first and below + len(levels) - under > last

            try:
                levels, states = lanczos(
                    factor.solve,
                    self._overlap(problem),
                    problem.size,
                    factor.dtype,
                    sigma,
                    enough,
                )
                break
            except TooNearError as error:
                # to the other side of the level, or further from it
                near = error.args[0]
                self.sigma = near + (100 if sigma > near else -137) * NEAREST
            except MoireioError as error:
                if "positive" in error.what:
                    raise not_positive(problem.k) from error
                raise
        else:
            raise MoireioError(f"every shift near {self.sigma:g} eV hits a level")
        start = first - (below - int((levels < sigma).sum()))
        wanted = slice(start, start + last - first + 1)
        levels, states = levels[wanted], states[:, wanted]
        # the next k point begins in the widest gap in the middle of these levels
        middle = levels[len(levels) // 4 : 3 * len(levels) // 4 + 2]
        if len(middle) > 1:
            widest = int(np.argmax(np.diff(middle)))
            self.sigma = float((middle[widest] + middle[widest + 1]) / 2)
            self.scale = max(float(levels[-1] - levels[0]), 1e-3)
        return levels, states

    def _towards(self, problem, target, tolerance):
        """Choose a shift with about `target` levels below it; return their number.

        The secant through the last two counts, kept between the best bounds.
        """
        low, high = (-np.inf, -1.0), (np.inf, problem.size + 1.0)
        width = self.scale
        for _ in range(STEPS):
            below = self.count_below(problem, self.sigma)
            if abs(below - target) <= max(tolerance / 2, 1):
                return below
            if below < target:
                low = self.sigma, below
            else:
                high = self.sigma, below
            if np.isinf(low[0]) or np.isinf(high[0]):
                width *= 2
                self.sigma += width if below < target else -width
                continue
            part = (target - low[1]) / (high[1] - low[1])
            part = min(max(part, 0.1), 0.9)
            self.sigma = low[0] + part * (high[0] - low[0])
            if high[0] - low[0] < 1e-7:  # a level with more copies than were asked for
                return self.count_below(problem, self.sigma)
        if self._negative(self._pencil.values(problem)[1]):
            raise not_positive(problem.k)
        raise MoireioError(f"found no energy with {target:g} levels below it")

    def _factor(self, values, sigma):
        """Return the factors of H − σS."""
        real = not np.iscomplexobj(values)
        if real not in self._factors:
            pencil = self._pencil
            self._factors[real] = self._kind(pencil.indptr, pencil.indices, real, self._threads)
        factor = self._factors[real]
        factor.factorise(values)
        if factor.perturbed:
            raise MoireioError(f"H − σS is singular at σ = {sigma:g} eV", remedy="say --around")
        return factor

    def _pencil_of(self, problem):
        if self._pencil is None or not self._pencil.fits(problem):
            self._pencil, self._factors, self._counter = Pencil(problem), {}, None
        return self._pencil

    def _overlap(self, problem):
        """Return the product with S."""
        if problem.overlap is None:
            return np.copy
        upper = self._pencil.overlap(problem)
        lower = upper.conj().T.tocsr()
        lower.setdiag(0)
        return lambda x: upper @ x + lower @ x


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

    def fits(self, problem):
        """Tell whether a problem has this pattern."""
        return problem.hamiltonian is self._sums[0] and problem.overlap is self._sums[1]

    def values(self, problem):
        """Return the elements of H and S at a problem's k, in the common pattern."""
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
