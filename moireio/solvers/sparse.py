"""Sparse eigenproblems on factors by Pardiso or SuperLU."""

import numpy as np

from moireio.errors import MoireioError
from moireio.solvers import mkl, pardiso
from moireio.solvers.base import EigenProblem, SingularError, SolverDiagnostics, not_positive
from moireio.solvers.dependent import Restricted, least_eigenvalue, small_vectors
from moireio.solvers.lanczos import lanczos
from moireio.solvers.pencil import Pencil
from moireio.solvers.refined import CHECKED, ROUGHLY, Corrected, ImpreciseError, Refined
from moireio.solvers.search import SLICE, Search
from moireio.solvers.superlu import DenseCounter, SuperLUFactor

# States from which on single precision saves time if solutions need one correction, or a few.
LARGE, LARGEST, FEW = 5000, 30000, 3
DOUBLE, REFINED, CORRECTED = "double", "refined", "corrected"
MOVES = 2  # of the shift, away from a level that is too near for single precision


class SparseSolver(Search):
    """Levels by shift-invert block Lanczos on LDLᴴ factors (see `Search`).

    Parameters
    ----------
    threads : int
        For the factorisation.
    near : float or None
        Where the search for the levels begins, eV; None to guess from a few hundred orbitals.
    single : bool or None
        Factors in single precision, half as large; solutions are corrected, or where states are
        wanted, refined to double precision. None: where only levels of large matrices are wanted.
    prove : bool
        Count on both sides at every k.
    drop : float
        Elements below it are left out (see `moireio.solvers.pencil.Pencil`); energies are corrected
        for them to first order.
    cutoff : float
        Combinations of orbitals with smaller eigenvalues of S are left out.
    """

    def __init__(self, threads=1, near=0.0, *, single=None, prove=False, drop=0.0, cutoff=0.0):
        super().__init__(near, prove)
        self._threads, self._single, self._drop = threads, single, drop
        self._cutoff, self._small = cutoff, (None, None)
        self._mkl = mkl.library() is not None
        self._kind = pardiso.PardisoFactor if self._mkl else SuperLUFactor
        self._counting = pardiso.Counter if self._mkl else DenseCounter
        self._factors, self._counter, self._pencil, self._checked = {}, None, None, False
        self._failed, self._states, self._moves = set(), True, 0
        self._stay, self._lean = False, set()
        self._mode = self._careful

    @property
    def _careful(self):
        """The mode for all but levels."""
        return REFINED if self._single and self._mkl else DOUBLE

    def eigenvalues(self, problem, window=None):
        """Return energies in eV, ascending (see `moireio.solvers.base.Solver`)."""
        return self._in_some_mode(super().eigenvalues, problem, window, False)

    def eigenpairs(self, problem, window=None):
        """Return some levels with their states (see `Search.eigenpairs`)."""
        return self._in_some_mode(super().eigenpairs, problem, window, True)

    def count_below(self, problem, energy):
        """Return how many levels lie below an energy (see `moireio.solvers.base.Solver`)."""
        before, self._mode = self._mode, self._careful
        try:
            return super().count_below(problem, energy)
        except ImpreciseError as error:
            raise _imprecise(problem) from error
        finally:
            self._mode = before

    def _modes(self, problem, states):
        """Return how factors and solutions may be made, a list of which the first is best."""
        rough = not (states or self._cutoff)
        if not self._mkl or self._single is False:
            modes = [DOUBLE]
        elif self._single:
            modes = [CORRECTED, REFINED] if rough else [REFINED]
        elif rough and problem.n_orbitals >= LARGE and not self._prove:
            modes = [CORRECTED, REFINED if self._stay else DOUBLE]
        else:
            modes = [DOUBLE]
        return [mode for mode in modes if mode not in self._failed]

    def _in_some_mode(self, find, problem, window, states):
        """Find levels with factors that are precise enough."""
        self._states = states
        for mode in self._modes(problem, states):
            self._mode = mode
            try:
                return find(problem, window)
            except ImpreciseError:
                self._failed.add(mode)
        raise _imprecise(problem)

    def _guess(self, problem, target):
        """Return the level that is as high among those of some atoms by themselves."""
        self._ready(problem)
        h, s = self._pencil.values(problem)
        return self._pencil.local_level(h, s, target / problem.n_orbitals)

    def _slice(self, problem, first, last):
        """Return some levels, corrected for what was left out, with their states."""
        self._moves = 0
        try:
            levels, states = super()._slice(problem, first, last)
        except MoireioError as error:
            if self._drop:
                raise MoireioError(error.what, remedy="a smaller --drop") from error
            raise
        corrected = self._pencil.corrected(problem, levels, states)
        shift = float(np.abs(corrected - levels).max())
        kept = len(self._pencil.indices) / self._pencil.all
        self.diagnostics = self.diagnostics.merged(
            SolverDiagnostics(kept_fraction=kept, largest_correction=shift)
        )
        return corrected, states

    def use_threads(self, count):
        """Say how many threads are used from here on."""
        if count != self._threads:
            self.release()
            self._threads = count

    @property
    def is_single(self):
        """Whether factors are in single precision."""
        return self._mode != DOUBLE

    def stay_single(self):
        """Where single precision is tried first, take nothing else: there is no memory for it."""
        self._stay = True

    def save_memory(self, double=False):
        """Save memory at the cost of time.

        Parameters
        ----------
        double : bool
            Only with factors in double precision.
        """
        self._lean |= {DOUBLE} if double else {DOUBLE, REFINED, CORRECTED}

    def _sparing(self, mode):
        """Tell whether memory is saved at the cost of time."""
        return bool(self._single) or mode in self._lean

    def release(self):
        """Give the memory of factors back."""
        self._factors, self._counter = {}, None

    def memory(self, problem, bands, states=True, double=False):
        """Return about how many bytes a problem needs.

        Parameters
        ----------
        problem : EigenProblem
            Of which the pattern is analysed.
        bands : int
            How many are wanted.
        states : bool
            Whether they are wanted, or counts at some energy; else their levels only.
        double : bool
            With factors in double precision in any case.

        Returns
        -------
        float
            Bytes: factors, as MKL estimates, matrices and the vectors of Lanczos.
        """
        self._fit(problem)
        self._mode = next(iter(self._modes(problem, states)), DOUBLE)
        factor = self._prepared(self._pencil.is_real(problem))
        factors = factor.memory * (2 if double and self._mode != DOUBLE else 1)
        mode = DOUBLE if double else self._mode
        factorising, solving = self._pencil.memory(
            factor.dtype.itemsize, mode != DOUBLE, self._sparing(mode)
        )
        found = min(problem.n_orbitals, 10 * min(bands, SLICE) + 100)
        vectors = 2 * problem.n_orbitals * found * factor.dtype.itemsize
        return factors + 1.1 * max(factorising, solving + vectors)

    def _shifted(self, problem, sigma):
        """Factorise H − σS; return the factors and the number of levels below σ."""
        self._ready(problem)
        small = self._small_vectors(problem)
        # making H and S again costs little beside factors of large matrices, keeping them memory
        keep = problem.n_orbitals < LARGE and not self._sparing(self._mode)
        if not keep:
            for factor in self._factors.values():
                factor.forget()
        values = self._pencil.shifted(problem, sigma, keep)
        factor = self._factor(values)
        below = self._negative(factor, values)
        if small is None:
            return factor, below
        factor = Restricted(factor, small)
        return factor, factor.negative(below)

    def _found(self, factor, problem, span, block):
        """Find levels by Lanczos."""
        overlap = self._overlap(problem)
        try:
            return self._by_lanczos(factor, overlap, problem, span, block)
        except SingularError:
            near = True
        except ImpreciseError as error:
            near = isinstance(factor, Corrected) and any(
                factor.is_near(vectors, overlap) for vectors in error.args
            )
        self._moves += near
        raise SingularError if near and self._moves <= MOVES else ImpreciseError

    def _by_lanczos(self, factor, overlap, problem, span, block):
        """Find levels, and check those by single precision."""
        levels, states = lanczos(
            factor.solve,
            overlap,
            problem.n_orbitals,
            factor.dtype,
            self._sigma,
            span.covered,
            block,
            dimension=self._count(problem),
            only_levels=not self._states,
        )
        if self._mode == CORRECTED:
            offsets, states = factor.improved(states, overlap)
            return self._sigma + offsets, states
        if isinstance(factor, Refined):
            near = np.argsort(np.abs(levels - self._sigma))[:CHECKED]
            factor.check_count(levels[near] - self._sigma, overlap(states[:, near]))
        return levels, states

    def _count(self, problem):
        """Return how many levels there are."""
        self._fit(problem)
        small = self._small_vectors(problem)
        return problem.n_orbitals - (0 if small is None else small.shape[1])

    def _negative(self, factor, values):
        """Return how many eigenvalues of a matrix that was factorised are negative."""
        count = factor.negative
        if count is not None:
            return count
        if self._counter is None:
            self._counter = self._counting(self._pencil.indptr, self._pencil.indices, self._threads)
        return self._counter(values)

    def _factor(self, values):
        """Return the factors of a matrix of the pattern."""
        factor = self._prepared(not np.iscomplexobj(values))
        factor.factorise(values, keep=factor.n < LARGE)
        if self._mode == DOUBLE:
            return factor
        if self._sparing(self._mode):
            product = mkl.Product(self._pencil.triangle(values), self._threads, upper=True)
        else:
            product = mkl.Product(self._pencil.whole(values), self._threads)
        if self._mode == REFINED:
            return Refined(factor, product)
        if self._single or self._stay:
            return Corrected(factor, product, FEW, Refined(factor, product, ROUGHLY))
        return Corrected(factor, product, 1 if factor.n < LARGEST else FEW)

    def _prepared(self, real):
        """Return what factorises real or complex matrices of the pattern."""
        kind = real, self._mode != DOUBLE
        if kind not in self._factors:
            self._factors = {}  # only one kind at a time: they are large
            self._factors[kind] = self._new_factor(*kind)
        return self._factors[kind]

    def _new_factor(self, real, single):
        """Return what factorises real or complex matrices of the pattern."""
        precision = {"single": True} if single else {}
        indptr, indices = self._pencil.indptr, self._pencil.indices
        return self._kind(indptr, indices, real, self._threads, **precision)

    def _fit(self, problem):
        """Take over the pattern of a problem, if it is another one."""
        if self._pencil is None or not self._pencil.fits(problem):
            self.release()
            self._pencil, self._checked = Pencil(problem, self._drop), False

    def _ready(self, problem):
        """Take over the pattern of a problem; at the first k, S is checked."""
        self._fit(problem)
        if problem.overlap is not None and not self._checked and not self._cutoff:
            self._check_overlap(problem)

    def _check_overlap(self, problem):
        """Look at the smallest eigenvalue of S, once.

        Of large cells at Γ in single precision: their k are much alike, and the real matrix takes
        an eighth of the time.
        """
        large = problem.n_orbitals >= LARGE
        if large:
            problem = EigenProblem(problem.hamiltonian, problem.overlap, np.zeros(3))
        factor = self._rough_overlap(problem) if large and self._mkl else None
        if factor is None:
            values = self._pencil.overlap_values(problem)
            before, self._mode = self._mode, self._careful
            try:
                factor = self._factor(values)
                bad = self._negative(factor, values)
            except SingularError:
                bad = True
            finally:
                self._mode = before
            if bad:
                raise not_positive(problem.k)
        least = least_eigenvalue(factor.solve, factor.n, factor.dtype)
        self.diagnostics, self._checked = (
            self.diagnostics.merged(SolverDiagnostics(min_overlap_eigenvalue=least)),
            True,
        )

    def _rough_overlap(self, problem):
        """Return factors of S in single precision, None if that does not find it positive."""
        *pattern, values = self._pencil.upper_overlap(problem)
        real = not np.iscomplexobj(values)
        factor = pardiso.PardisoFactor(*pattern, real, self._threads, single=True, positive=True)
        try:
            factor.factorise(values)
        except SingularError:
            return None
        return factor

    def _small_vectors(self, problem):
        """Return the eigenvectors of S below the cutoff, None if there are none."""
        if problem.overlap is None or not self._cutoff:
            return None
        if self._small[0] is not problem:
            s = self._pencil.values(problem)[1]
            shifted = s.copy()

            def values(number):
                # the diagonal element is the first of its row
                shifted[self._pencil.indptr[:-1]] = s[self._pencil.indptr[:-1]] - number
                return shifted

            try:
                count = self._negative(self._factor(values(self._cutoff)), shifted)
            except SingularError:  # one of them hits it
                cutoff = self._cutoff * 1.001
                count = self._negative(self._factor(values(cutoff)), shifted)
            least, vectors = self._cutoff, None
            if count:
                found, vectors = small_vectors(
                    lambda number: self._factor(values(number)),
                    problem.n_orbitals,
                    self._cutoff,
                    count,
                )
                least = float(found[0])
            self.diagnostics = self.diagnostics.merged(
                SolverDiagnostics(min_overlap_eigenvalue=least, n_removed=count)
            )
            self._small = problem, vectors
        return self._small[1]

    def _overlap(self, problem):
        """Return the product with S."""
        if problem.overlap is None:
            return np.copy
        matrix, rows, upper = self._pencil.overlap(problem, self._mkl and self._sparing(self._mode))
        product = mkl.Product(matrix, self._threads, upper) if self._mkl else matrix.__matmul__
        return product if len(rows) == 1 else PerSpin(product, rows)


def _imprecise(problem):
    """Return the error where single precision was asked for, and does not suffice."""
    return MoireioError(
        f"single precision does not suffice for {problem.n_orbitals} states",
        remedy="--precision float64",
    )


class PerSpin:
    """Products with a matrix that is the same for each spin and does not mix them.

    Parameters
    ----------
    product : callable
        From (m, b) vectors of one spin to products.
    rows : (spins, m) array of int
        Rows of each spin.
    """

    def __init__(self, product, rows):
        self._product, self._rows = product, rows

    def __call__(self, vectors):
        """Return the product with (n, b) vectors."""
        made = self._product(np.concatenate([vectors[rows] for rows in self._rows], axis=1))
        out = np.empty(vectors.shape, dtype=made.dtype)
        for rows, part in zip(self._rows, np.split(made, len(self._rows), axis=1), strict=True):
            out[rows] = part
        return out
