"""Sparse eigenproblems on factors by Pardiso or SuperLU."""

import functools

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.solvers import mkl, pardiso
from moireio.solvers.base import (
    EigenProblem,
    NotPositiveError,
    SingularError,
    SolverCapabilities,
    SolverDiagnostics,
    not_positive,
    too_large,
)
from moireio.solvers.factoriser import Factoriser
from moireio.solvers.lanczos import LEVELS, MOST, ROUGHLY, NotConvergedError, lanczos
from moireio.solvers.mixed_precision import (
    CHECKED,
    ROUGH,
    CorrectedFactor,
    ImpreciseError,
    RecycledResidualFactor,
    RoughFactor,
    imprecise,
    sure_count,
)
from moireio.solvers.near_dependence import (
    ProjectedFactor,
    small_eigenvectors,
    smallest_eigenvalue,
)
from moireio.solvers.options import SparseOptions
from moireio.solvers.pencil import Pencil, ProductPerSpin
from moireio.solvers.search import GUESSED, SLICE, BadShiftError, InertiaSearch

# Orbitals from which on single precision saves time if solutions need one correction, or a few.
LARGE, LARGEST, FEW = 5000, 30000, 3
# Orbitals from which on k are so much alike that S is looked at, and levels are counted to begin
# with, at Γ in single precision: of a real matrix that takes an eighth of the time.
ALIKE = 2000
RESOLVED = 1e-4  # an eigenvalue of S that is surely above zero in single precision
# Factors in double precision; factors in single precision, with solutions that are refined to
# double precision by recycled residuals; factors in single precision, with solutions that are
# corrected a few times, and levels by Ritz's method in double precision; the same, with solutions
# that are not corrected, for errors from ROUGH_ENERGY on.
DOUBLE, SINGLE_RECYCLED, SINGLE_RITZ = "double", "single, recycled residuals", "single, Ritz"
SINGLE_ROUGH, ROUGH_ENERGY = "single, not corrected", 1e-7  # eV
MOVES = 2  # of the shift, away from a level that is too near for single precision
AWAY = 0.05  # eV, where solutions that are not corrected are too imprecise
PATIENCE = 16  # blocks without another level, by factors of which solutions are not corrected


class SparseSolver(InertiaSearch):
    """Levels by shift-invert block Lanczos on LDLᴴ factors (see `InertiaSearch`).

    Parameters
    ----------
    options : SparseOptions
        Its options. In single precision solutions are corrected, or where states are wanted,
        refined to double precision, unless `accuracy` permits less.
    sigma : float, optional
        Energy at which the search for the levels begins, eV; by default it is guessed from a few
        hundred orbitals.
    """

    name = "sparse"
    Options = SparseOptions
    capabilities = SolverCapabilities(
        finds_range=True, counts_levels=True, forks=True, own_threads=True
    )

    def __init__(self, options: SparseOptions, sigma: float | None = None):
        super().__init__(sigma, options.verify_count)
        self.options = options
        self._mkl = mkl.library() is not None
        self._threads = 1
        self._pencil = self._factoriser = None
        self._overlap_checked = False
        self._removed = None, None  # a problem, and the eigenvectors of S that it leaves out
        self._failed: set[tuple[str, bool]] = set()  # modes, and whether matrices were real
        self._states, self._moves = True, 0
        # modes in which memory is saved at the cost of time; whether there is none for DOUBLE
        self._economical: set[str] = set()
        self._only_single = False
        self._mode = self._careful_mode

    @property
    def mode(self) -> str:
        """How the last levels were found: DOUBLE, or one of those that begin with SINGLE."""
        return self._mode

    @property
    def _single(self):
        """Whether single precision was asked for throughout."""
        return self.options.precision == "float32"

    @property
    def _careful_mode(self):
        """The mode for states and counts."""
        return SINGLE_RECYCLED if self._single and self._mkl else DOUBLE

    def eigenvalues(
        self, problem: EigenProblem, band_range: tuple[int, int] | None = None
    ) -> npt.NDArray:
        """Return energies in eV, ascending (see `moireio.solvers.base.Solver`)."""
        return self._in_some_mode(super().eigenvalues, problem, band_range, False)

    def eigenpairs(
        self, problem: EigenProblem, band_range: tuple[int, int] | None = None
    ) -> tuple[npt.NDArray, npt.NDArray]:
        """Return energies and states (see `moireio.solvers.base.Solver`)."""
        return self._in_some_mode(super().eigenpairs, problem, band_range, True)

    def count_below(self, problem: EigenProblem, energy: float) -> int:
        """Return the number of levels below an energy (see `moireio.solvers.base.Solver`).

        For large cells by factors in single precision, where these are sure.
        """
        count = self.quick_count(problem, energy)
        if count is not None:
            return count
        before, self._mode = self._mode, self._careful_mode
        try:
            return super().count_below(problem, energy)
        except ImpreciseError as error:
            raise imprecise(problem) from error
        finally:
            self._mode = before

    def quick_count(self, problem: EigenProblem, energy: float) -> int | None:
        """Return the number of levels below an energy by factors in single precision.

        Parameters
        ----------
        problem : EigenProblem
            H and S.
        energy : float
            eV.

        Returns
        -------
        int or None
            None where these are not sure, and for small cells.
        """
        return self._single_precision_count(problem, energy)

    def _single_precision_count(self, problem, energy):
        """See `quick_count`."""
        options = self.options
        small = problem.n_orbitals < ALIKE or not self._mkl
        if small or options.precision == "float64" or options.overlap_cutoff:
            return None
        self._prepare(problem)
        keep = problem.n_orbitals < LARGE
        if not keep:
            self._factoriser.forget()
        values = self._pencil.shifted(problem, energy, keep)
        try:
            factor = self._factoriser.factorise(values, single=True, keep=keep)
        except SingularError:
            return None
        triangle = self._pencil.triangle(values)
        return sure_count(factor, mkl.Product(triangle, self._threads, upper=True))

    def _modes(self, problem, states):
        """Return the modes in which levels may be found, the best one first."""
        only_levels = not (states or self.options.overlap_cutoff)
        if not self._mkl or self.options.precision == "float64":
            modes = [DOUBLE]
        elif self._single:
            modes = [SINGLE_RITZ, SINGLE_RECYCLED] if only_levels else [SINGLE_RECYCLED]
        elif only_levels and problem.n_orbitals >= LARGE and not self.options.verify_count:
            modes = [SINGLE_RITZ, SINGLE_RECYCLED if self._only_single else DOUBLE]
        else:
            modes = [DOUBLE]
        if self._may_be_rough(problem):
            careful = SINGLE_RECYCLED if self._only_single else DOUBLE
            modes = [SINGLE_ROUGH, *(careful if mode == DOUBLE else mode for mode in modes)]
        return [mode for mode in modes if (mode, problem.is_real) not in self._failed]

    def _may_be_rough(self, problem):
        """Return whether solutions need not be corrected."""
        options = self.options
        careful = options.precision == "float64" or options.verify_count or options.overlap_cutoff
        large = problem.n_orbitals >= ALIKE and self._mkl
        return large and options.accuracy >= ROUGH_ENERGY and not careful

    def _in_some_mode(self, find, problem, band_range, states):
        """Find levels with factors that are precise enough."""
        self._states = states
        for mode in self._modes(problem, states):
            self._mode = mode
            try:
                return find(problem, band_range)
            except ImpreciseError:
                self._failed.add((mode, problem.is_real))
        raise imprecise(problem)

    def _guess(self, problem, first, last):
        """Return an energy, eV, perhaps among the levels `first` to `last`.

        The level that is as high among those of some atoms by themselves; for large cells one
        that has the right number of levels below it at Γ.
        """
        self._prepare(problem)
        # where factors are as quick as those that only count, the first ones may do both
        gamma = _at_gamma(problem)
        quick = problem.is_real or not gamma.is_real
        counts = quick and self._mode not in (DOUBLE, SINGLE_RECYCLED)
        alike = self._mkl and problem.n_orbitals >= ALIKE and not counts
        if alike:
            problem = gamma
        share = (first + last + 1) / 2 / problem.n_orbitals
        local = self._pencil.local_levels(*self._pencil.values(problem))
        if not alike:
            if len(local.energies) == problem.n_orbitals:
                return local.level(share)
            self._distribution = local  # for the first counts
            return _first_energy(local, share)
        return self._counted_guess(problem, local, first, last)

    def _counted_guess(self, problem, local, first, last):
        """Return an energy among levels of a problem, by counts in single precision."""
        pattern = self._pencil.indptr, self._pencil.indices
        factor = pardiso.PardisoFactor(*pattern, problem.is_real, self._threads, single=True)

        def counted(sigma):
            factor.factorise(self._pencil.shifted(problem, sigma, problem.n_orbitals < LARGE))
            if factor.negative is None:
                raise SingularError
            return None, factor.negative

        tolerance, n = (last - first + 1) / 4, problem.n_orbitals
        level = _first_energy(local, (first + last + 1) / 2 / n)
        self._sigma, self._step, self._distribution = level, GUESSED, local
        try:
            self._approach(counted, first, last, n, tolerance)
        except (SingularError, MoireioError):  # where it got to
            pass
        finally:
            self._distribution = None
            factor.close()
        return self._sigma

    def _slice(self, problem, first, last):
        """Return some levels, corrected for what was left out, with their states."""
        self._moves, self._tried = 0, []
        try:
            levels, states = super()._slice(problem, first, last)
        except MoireioError as error:
            if self.options.drop:
                raise MoireioError(error.what, remedy="a smaller `drop`") from error
            raise
        corrected = self._pencil.corrected(problem, levels, states)
        self._note(
            kept_fraction=len(self._pencil.indices) / self._pencil.n_elements,
            largest_correction=float(np.abs(corrected - levels).max()),
        )
        return corrected, states

    def _note(self, **properties):
        """Add to the diagnostics."""
        self.diagnostics = self.diagnostics.merged(SolverDiagnostics(**properties))

    def use_threads(self, count: int) -> None:
        """Set the number of threads (see `moireio.solvers.base.Solver`)."""
        if count != self._threads:
            self._threads = count
            if self._pencil is not None:
                self._factoriser = Factoriser(self._pencil, count)

    def _free_factors(self):
        if self._pencil is not None and len(self._pencil.indptr) > LARGE:
            self._factoriser.forget()

    def _give_away(self):
        return self._factoriser.give_away()

    def close(self) -> None:
        """Free the memory of matrices and factors."""
        self._pencil = self._factoriser = self._last = None
        self._removed = None, None

    def memory(self, problem: EigenProblem, bands: int, states: bool) -> float:
        """Return about how many bytes a problem takes (see `moireio.solvers.base.Solver`).

        Factors, as MKL estimates from the pattern, matrices and the vectors of Lanczos.
        """
        return self._memory(problem, bands, states)

    def fit(self, problem: EigenProblem, bands: int, states: bool, limit: float) -> None:
        """Save memory as far as a limit demands (see `moireio.solvers.base.Solver`)."""
        if self.memory(problem, bands, states) > limit:
            self._economical |= {DOUBLE, SINGLE_RECYCLED, SINGLE_RITZ, SINGLE_ROUGH}
        need = self.memory(problem, bands, states)
        if need > limit:
            remedy = "raise `memory`"
            if self._mode == DOUBLE and self._mkl:
                remedy = f"set `precision` to float32, which needs about half, or {remedy}"
            raise too_large(self.name, problem.n_orbitals, need, limit, remedy)
        if self._memory(problem, bands, states, double=True) > limit:
            self._economical.add(DOUBLE)
        if self._memory(problem, bands, states, double=True) > limit:
            self._only_single = True

    def _memory(self, problem, bands, states, double=False):
        """Return about how many bytes a problem takes, in any case with factors as of DOUBLE."""
        self._take_pattern(problem)
        self._mode = next(iter(self._modes(problem, states)), DOUBLE)
        factor = self._factoriser.prepared(problem.is_real, self._mode != DOUBLE)
        factors = factor.memory * (2 if double and self._mode != DOUBLE else 1)
        mode = DOUBLE if double else self._mode
        factorising, solving = self._pencil.memory(
            factor.dtype.itemsize,
            mode != DOUBLE,
            self._is_economical(mode),
            problem.products is not None,
        )
        columns = min(problem.n_orbitals, 10 * min(bands, SLICE) + 100)
        vectors = 2 * problem.n_orbitals * columns * factor.dtype.itemsize
        return factors + 1.1 * max(factorising, solving + vectors)

    def _is_economical(self, mode):
        """Return whether memory is saved at the cost of time."""
        return self._single or mode in self._economical

    def _factorised(self, problem, sigma):
        """Factorise H − σS; return the factors and the number of levels below σ."""
        self._last = None
        self._prepare(problem)
        removed = self._removed_vectors(problem)
        # making H and S again costs little beside factors of large matrices, keeping them memory
        keep = problem.n_orbitals < LARGE and not self._is_economical(self._mode)
        if not keep:
            self._factoriser.forget()
        values = self._pencil.shifted(problem, sigma, keep)
        own = problem.products and functools.partial(problem.products.shifted, sigma=sigma)
        if own and not keep and self._mode != DOUBLE:  # only factors are made of them
            values = values.astype(np.complex64 if np.iscomplexobj(values) else np.float32)
        factor = self._factor(values, own)
        below = self._factoriser.negative(factor, values)
        if removed is None:
            return factor, below
        factor = ProjectedFactor(factor, removed)
        return factor, factor.negative(below)

    def _levels_around(self, factor, problem, span, block):
        """Return the levels around the shift, and their states."""
        overlap = self._overlap(problem)
        try:
            return self._by_lanczos(factor, overlap, problem, span, block)
        except NotPositiveError as error:
            raise not_positive(problem.k) from error
        except SingularError:
            near = True
        except ImpreciseError as error:
            if isinstance(factor, RoughFactor):
                raise self._other_shift(span) from error
            near = isinstance(factor, CorrectedFactor) and any(
                factor.is_near(vectors, overlap) for vectors in error.args
            )
        self._moves += near
        raise SingularError if near and self._moves <= MOVES else ImpreciseError

    def _other_shift(self, span, levels=()):
        """Return the exception after which another shift is tried, or none any more.

        Errors of single precision are some times as large where an eigenvalue of a diagonal block,
        of atoms that are next to each other, is close to the shift.
        """
        self._tried.append(self._sigma)
        self._moves += 1
        if self._moves > MOVES:
            return ImpreciseError()
        other = span.other_shift(np.asarray(levels, dtype=float), AWAY)
        if np.abs(other - np.array(self._tried)).min() < AWAY / 2:  # to the other side
            other = 2 * self._tried[0] - self._sigma
        return BadShiftError(other)

    def _by_lanczos(self, factor, overlap, problem, span, block):
        """Find levels, and check those by single precision."""
        rough = self._mode == SINGLE_ROUGH
        exact = self._states and self.options.accuracy < ROUGH_ENERGY
        try:
            levels, states = lanczos(
                factor.solve,
                overlap,
                problem.n_orbitals,
                factor.dtype,
                self._sigma,
                span.covered,
                block,
                dimension=self._n_levels(problem),
                tolerances=ROUGHLY if rough else None if exact else LEVELS,
                most=8 * span.n_nearest + 200 if rough else MOST,
                patience=PATIENCE if rough else None,
            )
        except NotConvergedError as error:
            if not rough:
                raise
            raise self._other_shift(span, error.levels) from error
        if rough or self._mode == SINGLE_RITZ:
            offsets, states = factor.improved(states, overlap)
            return self._sigma + offsets, states
        if isinstance(factor, RecycledResidualFactor):
            near = np.argsort(np.abs(levels - self._sigma))[:CHECKED]
            factor.check_count(levels[near] - self._sigma, overlap(states[:, near]))
        return levels, states

    def _n_levels(self, problem):
        """Return the number of all levels."""
        self._take_pattern(problem)
        removed = self._removed_vectors(problem)
        return problem.n_orbitals - (0 if removed is None else removed.shape[1])

    def _factor(self, values, product=None):
        """Return the factors of a matrix of the pattern, with solutions as the mode demands."""
        n = len(self._pencil.indptr) - 1
        factor = self._factoriser.factorise(values, self._mode != DOUBLE, keep=n < LARGE)
        if self._mode == DOUBLE:
            return factor
        if product is None:
            upper = self._is_economical(self._mode)
            matrix = (self._pencil.triangle if upper else self._pencil.whole)(values)
            product = mkl.Product(matrix, self._threads, upper)
        if self._mode == SINGLE_ROUGH:
            return RoughFactor(factor, product, self.options.accuracy)
        if self._mode == SINGLE_RECYCLED:
            return RecycledResidualFactor(factor, product)
        if self._single or self._only_single:
            fallback = RecycledResidualFactor(factor, product, ROUGH)
            return CorrectedFactor(factor, product, FEW, fallback)
        return CorrectedFactor(factor, product, 1 if n < LARGEST else FEW)

    def _take_pattern(self, problem):
        """Take over the pattern of a problem, if it is another one."""
        if self._pencil is None or not self._pencil.fits(problem):
            self.close()
            self._pencil = Pencil(problem, self.options.drop)
            self._factoriser = Factoriser(self._pencil, self._threads)
            self._overlap_checked = False

    def _prepare(self, problem):
        """Take over the pattern of a problem; at the first k, S is checked."""
        self._take_pattern(problem)
        if problem.overlap is not None and not self._overlap_checked:
            if not self.options.overlap_cutoff:
                self._check_overlap(problem)
            self._overlap_checked = True

    def _check_overlap(self, problem):
        """Look at the smallest eigenvalue of S, of large cells at Γ and in single precision."""
        alike = problem.n_orbitals >= ALIKE
        if alike:
            problem = _at_gamma(problem)
        smallest = self._single_precision_estimate(problem) if alike and self._mkl else 0.0
        if not smallest > RESOLVED:
            values = self._pencil.overlap_values(problem)
            before, self._mode = self._mode, self._careful_mode
            try:
                factor = self._factor(values)
                not_definite = self._factoriser.negative(factor, values) > 0
            except SingularError:
                not_definite = True
            finally:
                self._mode = before
            if not_definite:
                raise not_positive(problem.k)
            smallest = smallest_eigenvalue(factor.solve, factor.n, factor.dtype)
        self._note(min_overlap_eigenvalue=smallest)

    def _single_precision_estimate(self, problem):
        """Return the smallest eigenvalue of S, zero if single precision does not find S positive.

        A factor of a matrix that has a small eigenvalue below zero may exist; then the size of
        this is what is returned.
        """
        *pattern, values = self._pencil.upper_overlap(problem)
        real = not np.iscomplexobj(values)
        factor = pardiso.PardisoFactor(*pattern, real, self._threads, single=True, positive=True)
        try:
            factor.factorise(values)
            return smallest_eigenvalue(factor.solve, factor.n, factor.dtype)
        except SingularError:
            return 0.0
        finally:
            factor.close()

    def _removed_vectors(self, problem):
        """Return the eigenvectors of S below the cutoff, None if there are none."""
        cutoff = self.options.overlap_cutoff
        if problem.overlap is None or not cutoff:
            return None
        if self._removed[0] is not problem:
            s = self._pencil.values(problem)[1]
            shifted = s.copy()
            diagonal = self._pencil.indptr[:-1]  # the first element of each row

            def factors(number):
                shifted[diagonal] = s[diagonal] - number
                return self._factor(shifted)

            try:
                count = self._factoriser.negative(factors(cutoff), shifted)
            except SingularError:  # one of the eigenvalues hits it
                count = self._factoriser.negative(factors(cutoff * 1.001), shifted)
            smallest, vectors = cutoff, None
            if count:
                values, vectors = small_eigenvectors(factors, problem.n_orbitals, cutoff, count)
                smallest = float(values[0])
            self._note(min_overlap_eigenvalue=smallest, n_removed=count)
            self._removed = problem, vectors
        return self._removed[1]

    def _overlap(self, problem):
        """Return the product with S."""
        if problem.overlap is None:
            return np.copy
        if problem.products is not None and not self._pencil.repeats():
            return problem.products.overlap
        economical = self._mkl and self._is_economical(self._mode)
        matrix, rows, upper = self._pencil.overlap(problem, economical)
        product = mkl.Product(matrix, self._threads, upper) if self._mkl else matrix.__matmul__
        return product if len(rows) == 1 else ProductPerSpin(product, rows)


def _first_energy(local, share):
    """Return an energy below which a share of all levels lies, about; in a gap if one is near.

    In a gap single precision is most precise, and a count there holds for levels on both sides.
    """
    energy = local.gap(share)
    return local.level(share) if energy is None else energy


def _at_gamma(problem):
    """Return a problem with k = 0."""
    return EigenProblem(problem.hamiltonian, problem.overlap, np.zeros(3))
