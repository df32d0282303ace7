"""Levels of matrices that are spread over many processes, by SLEPc and MUMPS under MPI."""

import numpy as np

from moireio.errors import MoireioError
from moireio.solvers.base import SingularError, not_positive
from moireio.solvers.lanczos import NEAREST, TooNearError
from moireio.solvers.pencil import Pencil
from moireio.solvers.petsc_file import write_matrix
from moireio.solvers.search import Search
from moireio.solvers.slepc_link import Link

BEYOND = 8  # levels asked for beyond those needed
# Directions with less of their square outside of the others are noise.
INDEPENDENT = 1e-2
RESIDUAL = 1e-6  # of H x − E S x, largest element of a state being 1, eV
ROUNDS = 50


class SlepcSolver(Search):
    """Levels by Krylov and Schur on LDLᵀ factors that MPI processes share (see `Search`).

    Complex matrices A + iB are solved as the real ones with (A, −B), (B, A): their LDLᵀ costs what
    the LU of the complex ones would, and tells the inertia. There every level is twice, with the
    states x and ix. Levels are counted on both sides at every k, for Krylov spaces of one vector
    miss copies of a level; those are found when the ones that are known are left out.

    Parameters
    ----------
    near : float
        Where the search for the levels begins, eV.
    launcher, python : str, optional
        How the processes are started (see `moireio.solvers.slepc_link.Link`).
    """

    name = "slepc"

    def __init__(self, near=0.0, launcher=None, python=None):
        super().__init__(near, prove=True)
        self._given, self._link = (launcher, python), None
        self._pencil = self._matrices = self._k = self._known = None
        self._copies = 1

    def close(self):
        """End the processes."""
        if self._link is not None:
            self._link.close()
        self._link = self._pencil = self._matrices = self._k = self._known = None

    def _slice(self, problem, first, last):
        """Return some levels with their states."""
        self._known = None
        return super()._slice(problem, first, last)

    def _shifted(self, problem, sigma):
        """Factorise H − σS; return the shift and the number of levels below it."""
        self._load(problem)
        return sigma, self._negative(self._link.ask("factorise", sigma=sigma))

    def _negative(self, answer):
        """Return how many eigenvalues of the complex matrix are negative."""
        count = answer.get("negative", 1)
        # of one level only one copy: it is zero to rounding
        if answer.get("singular") or count % self._copies:
            raise SingularError
        return count // self._copies

    def _found(self, factor, problem, span, block):
        """Find levels next to the shift; a second time, others than before."""
        # there may be more of them on the other side of the shift
        wanted = self._copies * (3 * span.nearest // 2 + BEYOND)
        if self._known is not None and len(self._known[0]) == problem.n_orbitals:
            return self._known
        for _ in range(ROUNDS):
            self._more(factor, wanted)
            levels, states = self._known
            if span.covered(levels):
                return levels, states
            wanted = max(wanted // 4, 2 * BEYOND)
        raise MoireioError(f"the levels near {factor:g} eV do not converge")

    def _more(self, sigma, count):
        """Add the levels next to a shift to those that are known."""
        h, s = self._matrices
        before, out, known = None, self._link.path("found.npy"), None
        if self._known is not None:
            before = self._known[1]
            known = self._link.path("known.npy")
            np.save(known, np.ascontiguousarray(before.T).view(np.float64))
        answer = self._link.ask("levels", count=count, known=known, out=out)
        near = [e for e in answer["energies"] if abs(e - sigma) < NEAREST]
        if near:
            raise TooNearError(near[0])
        found = np.load(out)
        if not len(found):
            raise MoireioError(f"the levels near {sigma:g} eV do not converge")
        fresh = np.ascontiguousarray(found).view(h.dtype).T
        states = _orthonormal(fresh, s, before)
        if before is not None:
            states = np.concatenate([before, states], axis=1)
        # Ritz's: the best that these states allow
        small = states.conj().T @ (h @ states)
        levels, turn = np.linalg.eigh((small + small.conj().T) / 2)
        states = states @ turn
        rest = h @ states - (s @ states if s is not None else states) * levels
        if np.abs(rest).max() > RESIDUAL * max(1.0, np.abs(states).max()):
            raise MoireioError(f"the levels near {sigma:g} eV are inaccurate")
        self._known = levels, states

    def _load(self, problem):
        """Send matrices to the processes, if they are others; check S at first."""
        if self._link is not None and not self._link.alive:
            self.close()
        k = tuple(problem.k)
        if self._k == k and self._pencil.fits(problem):
            return
        self._k = self._known = None
        if self._link is None:
            self._link = Link(*self._given)
        new = self._pencil is None or not self._pencil.fits(problem)
        if new:
            self._pencil = Pencil(problem)
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
        if new and matrices[1] is not None:
            self._check(problem)
        self._matrices, self._k = matrices, k

    def _check(self, problem):
        """Refuse an overlap that is not positive definite."""
        try:
            bad = self._negative(self._link.ask("overlap"))
        except SingularError:
            bad = True
        if bad:
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
