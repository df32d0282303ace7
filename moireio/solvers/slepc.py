"""Levels of matrices that are spread over many processes, by SLEPc and MUMPS under MPI."""

import numpy as np

from moireio.errors import MoireioError
from moireio.solvers.base import EigenProblem, SingularError, SolverCapabilities, not_positive
from moireio.solvers.lanczos import NEAREST, TooNearError
from moireio.solvers.options import SlepcOptions
from moireio.solvers.pencil import Pencil
from moireio.solvers.petsc_file import write_matrix
from moireio.solvers.search import InertiaSearch
from moireio.solvers.slepc_link import Link

BEYOND = 8  # levels asked for beyond those needed
# Directions with a smaller share of their square outside of the others are noise.
INDEPENDENT = 1e-2
RESIDUAL = 1e-6  # of H x − E S x, largest element of a state being 1, eV
ROUNDS = 50


class SlepcSolver(InertiaSearch):
    """Levels by Krylov and Schur on LDLᵀ factors that MPI processes share (see `InertiaSearch`).

    Complex matrices A + iB are solved as the real ones with (A, −B), (B, A): their LDLᵀ costs as
    much as the LU of the complex ones, and gives the inertia. There every level is twice, with the
    states x and ix. Levels are counted on both sides at every k, for Krylov spaces of one vector
    miss copies of a level; those are found when the ones that are known are left out.

    Parameters
    ----------
    options : SlepcOptions
        Its options.
    sigma : float, optional
        Energy at which the search for the levels begins, eV; by default 0.
    """

    name = "slepc"
    Options = SlepcOptions
    capabilities = SolverCapabilities(finds_range=True, counts_levels=True, elsewhere=True)

    def __init__(self, options: SlepcOptions, sigma: float | None = None):
        super().__init__(sigma, verify_count=True)
        self.options, self._link = options, None
        self._pencil: Pencil | None = None
        self._matrices = self._k = self._eigenpairs = None
        self._copies = 1

    def close(self) -> None:
        """End the processes."""
        if self._link is not None:
            self._link.close()
        self._link = self._pencil = self._matrices = self._k = self._eigenpairs = None

    def memory(self, problem: EigenProblem, bands: int, states: bool) -> float:
        """Return about how many bytes matrices and states take in this process.

        Factors are in the memory of the processes under MPI.
        """
        itemsize = 8 if problem.is_real else 16
        held, solving = self._take_pattern(problem).memory(itemsize, False, False)
        return max(held, solving + 2 * bands * problem.n_orbitals * itemsize)

    def _slice(self, problem, first, last):
        """Return some levels with their states."""
        self._eigenpairs = None
        return super()._slice(problem, first, last)

    def _factorised(self, problem, sigma):
        """Factorise H − σS; return the shift and the number of levels below it."""
        self._load(problem)
        return sigma, self._negative(self._link.ask("factorise", sigma=sigma))

    def _negative(self, answer):
        """Return the number of negative eigenvalues of the complex matrix."""
        count = answer.get("negative", 1)
        # of one level only one copy: it is zero to rounding
        if answer.get("singular") or count % self._copies:
            raise SingularError
        return count // self._copies

    def _levels_around(self, factor, problem, span, block):
        """Find levels next to the shift; a second time, others than before."""
        # there may be more of them on the other side of the shift
        wanted = self._copies * (3 * span.n_nearest // 2 + BEYOND)
        if self._eigenpairs is not None and len(self._eigenpairs[0]) == problem.n_orbitals:
            return self._eigenpairs
        for _ in range(ROUNDS):
            self._more(factor, wanted)
            levels, states = self._eigenpairs
            if span.covered(levels):
                return levels, states
            wanted = max(wanted // 4, 2 * BEYOND)
        raise MoireioError(f"the levels near {factor:g} eV do not converge")

    def _more(self, sigma, count):
        """Add the levels next to a shift to those that are known."""
        h, s = self._matrices
        before, out, deflated = None, self._link.path("found.npy"), None
        if self._eigenpairs is not None:
            before = self._eigenpairs[1]
            deflated = self._link.path("known.npy")
            np.save(deflated, np.ascontiguousarray(before.T).view(np.float64))
        answer = self._link.ask("levels", count=count, deflated=deflated, out=out)
        too_near = [e for e in answer["energies"] if abs(e - sigma) < NEAREST]
        if too_near:
            raise TooNearError(too_near[0])
        rows = np.load(out)
        if not len(rows):
            raise MoireioError(f"the levels near {sigma:g} eV do not converge")
        fresh = np.ascontiguousarray(rows).view(h.dtype).T
        states = _orthonormal(fresh, s, before)
        if before is not None:
            states = np.concatenate([before, states], axis=1)
        # Ritz's method: the best levels that these states allow
        projected = states.conj().T @ (h @ states)
        levels, turn = np.linalg.eigh((projected + projected.conj().T) / 2)
        states = states @ turn
        rest = h @ states - (s @ states if s is not None else states) * levels
        if np.abs(rest).max() > RESIDUAL * max(1.0, np.abs(states).max()):
            raise MoireioError(f"the levels near {sigma:g} eV are inaccurate")
        self._eigenpairs = levels, states

    def _load(self, problem):
        """Send matrices to the processes, if they are others; check S at first."""
        if self._link is not None and not self._link.alive:
            self.close()
        k = tuple(problem.k)
        if self._k == k and self._pencil.fits(problem):
            return
        self._k = self._eigenpairs = None
        if self._link is None:
            self._link = Link(self.options.launcher, self.options.python)
        self._take_pattern(problem)
        values = self._pencil.values(problem)
        kind = np.result_type(*values)
        matrices = [self._pencil.whole(v.astype(kind, copy=False)) for v in values]
        if problem.overlap is None:
            matrices[1] = None
        self._copies = 2 if kind.kind == "c" else 1
        names = []
        for name, matrix in zip("hs", matrices, strict=True):
            names.append(None if matrix is None else self._link.path(f"{name}.bin"))
            if matrix is not None:
                write_matrix(names[-1], matrix, self._copies == 2, self._link.index)
        self._link.ask(
            "load", h=names[0], s=names[1], n=self._copies * problem.n_orbitals, copies=self._copies
        )
        if not self._overlap_checked and matrices[1] is not None:
            self._check(problem)
        self._overlap_checked = True
        self._matrices, self._k = matrices, k

    def _take_pattern(self, problem):
        """Return the pattern of a problem; take it over, if it is another one."""
        if self._pencil is None or not self._pencil.fits(problem):
            self._pencil, self._overlap_checked = Pencil(problem), False
        return self._pencil

    def _check(self, problem):
        """Refuse an overlap that is not positive definite."""
        try:
            not_definite = self._negative(self._link.ask("overlap")) > 0
        except SingularError:
            not_definite = True
        if not_definite:
            self._pencil = None
            raise not_positive(problem.k)


def _orthonormal(vectors, overlap, before=None):
    """Return S-orthonormal vectors that span some, as far as they are independent.

    Parameters
    ----------
    vectors : (n, m) array
        The vectors.
    overlap : (n, n) sparse array or None
        S.
    before : (n, b) array, optional
        S-orthonormal vectors to which they are to be orthogonal.

    Returns
    -------
    (n, at most m) array
        Together with `before` S-orthonormal.
    """

    def product(a):
        return a if overlap is None else overlap @ a

    vectors = vectors / np.sqrt(np.einsum("ij,ij->j", vectors.conj(), product(vectors)).real)
    for least in (INDEPENDENT, 0.5):
        for _ in range(0 if before is None else 2):
            vectors = vectors - before @ (before.conj().T @ product(vectors))
        size, turn = np.linalg.eigh(vectors.conj().T @ product(vectors))
        kept = size > least
        vectors = vectors @ (turn[:, kept] / np.sqrt(size[kept]))
    return vectors
