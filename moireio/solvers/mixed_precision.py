"""Factors in single precision, whose solutions are corrected in double precision."""

import numpy as np

from moireio.errors import MoireioError
from moireio.solvers.base import SingularError

# States on which an answer is checked, largest error of a level (eV), and the change of the inverse
# among states next to the shift, relative to itself, that single precision may make.
CHECKED, MAX_ERROR, MAX_CHANGE = 8, 1e-9, 0.3
# Largest relative error of a solution with which levels are found, and the number of corrections
# for it. The first correction gives the size of the error; errors are taken to shrink by it, but
# for CAUTION, until a second correction gives the rate.
NOISE, MAX_CORRECTIONS, CAUTION = 1e-5, 8, 10
# With so small a Rayleigh quotient, eV, a solution is mostly the state of a level at the shift.
NEAR = 1e-3
STEPS, EXACT, ROUGH = 30, 1e-12, 1e-6
# From here on a residual that was only updated is as good as one computed anew.
UPDATED = 1e-9
RECYCLED = 48  # directions
IMPROVEMENTS = 3  # steps of inverse iteration
# Largest relative error of solutions that are not corrected, for vectors in which states next to
# the shift prevail. With 2e-3 70 levels were found, with 8e-3 40.
NOISY = 4e-3
# Vectors and steps of the inverse iteration by which a count is made sure, and the largest error
# beside an eigenvalue whose sign is sure.
PROBES, ITERATIONS, SURE = 8, 5, 0.4
INDEPENDENT = 1e-10  # share of the square of a direction that must be left


class ImpreciseError(Exception):
    """Factors in single precision do not suffice; `args` may hold the last solutions."""


def imprecise(problem):
    """Return the error where single precision was asked for, and does not suffice."""
    return MoireioError(
        f"single precision does not suffice for {problem.n_orbitals} orbitals",
        remedy="set `precision` to float64",
    )


def sure_count(factor, product):
    """Return the number of eigenvalues of a Hermitian matrix A below zero, if that is sure.

    Factors in single precision are those of some A + E. What E does to the eigenvalues λ next to
    zero is seen on their vectors x, by inverse iteration: b − Ax = Ex where (A + E)x = b. It cannot
    change their signs where this is small beside λx.

    Parameters
    ----------
    factor : PardisoFactor
        In single precision.
    product : callable
        From (n, b) vectors to the products with A, in double precision.

    Returns
    -------
    int or None
        None where it is not sure.
    """
    count = factor.negative
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(factor.n, min(PROBES, factor.n))).astype(factor.dtype)
    for _ in range(ITERATIONS):
        solutions = factor.solve(np.linalg.qr(vectors)[0])
        if not np.isfinite(solutions).all():
            return None
        vectors = solutions.astype(factor.dtype)
    right = np.linalg.qr(vectors)[0]
    inverse = right.conj().T @ factor.solve(right)
    largest, turn = np.linalg.eigh((inverse + inverse.conj().T) / 2)
    right = right @ turn
    solutions = factor.solve(right).astype(factor.dtype)
    error = (right - product(solutions)) / np.linalg.norm(solutions, axis=0)
    if not np.isfinite(error).all():
        return None
    change = np.linalg.norm(error, 2) * np.abs(largest).max()
    return count if change < SURE else None


class CorrectedFactor:
    """Factors in single precision, whose solutions are corrected once or a few times.

    The states of such an operator are good enough for levels by Ritz's method, which are wrong by
    the square only. A thousandth of the error of a solution shows in the residuals of Lanczos.

    Parameters
    ----------
    factor : PardisoFactor
        In single precision.
    product : callable
        From (n, b) vectors to the products with the matrix, in double precision.
    max_corrections : int
        After which it gives up.
    fallback : RecycledResidualFactor, optional
        Solves where these do not suffice.
    """

    def __init__(self, factor, product, max_corrections=MAX_CORRECTIONS, fallback=None):
        self.rough, self.product = factor, product
        self.n, self.dtype = factor.n, factor.dtype
        self._max_corrections, self._fallback = max_corrections, fallback
        self._rate = None  # ratio of two successive corrections

    @property
    def negative(self):
        """Number of eigenvalues of the matrix below zero."""
        return self.rough.negative

    def solve(self, right):
        """Solve (see `PardisoFactor`), to 1e-5.

        Raises
        ------
        ImpreciseError
            If that takes too many corrections.
        """
        if not self._max_corrections:
            return self._fallback.solve(right)
        out = self.rough.solve(right).astype(self.dtype)
        norms = np.linalg.norm(out, axis=0)
        norms = np.where(norms > 0, norms, 1)
        before = None
        for _ in range(self._max_corrections):
            change = self.rough.solve(right - self.product(out))
            out += change
            size = (np.linalg.norm(change, axis=0) / norms).max()
            if before is not None:
                self._rate = max(self._rate or 0, size / before)
            if size * (self._rate or CAUTION * size) < NOISE:
                return out
            before = size
        if self._fallback is None:
            raise ImpreciseError(out)
        self._max_corrections = 0
        return self._fallback.solve(right)

    def is_near(self, vectors, overlap):
        """Return whether vectors that do not converge are states of a level next to the shift.

        Parameters
        ----------
        vectors : (n, m) array
            Solutions after the last correction.
        overlap : callable
            From vectors to their products with S.

        Returns
        -------
        bool
            True if another shift may help.
        """
        offsets, norms = (
            (vectors.conj() * images).sum(axis=0)
            for images in (self.product(vectors), overlap(vectors))
        )
        return bool((np.abs(offsets) < NEAR * np.abs(norms)).any())

    def check_count(self, offsets, images):
        """Make sure that the factors have as many eigenvalues below zero as the matrix.

        Those of the states next to the shift could change sign. They do not where single precision
        changes the inverse among these states by much less than itself.

        Parameters
        ----------
        offsets : (m,) array
            Levels, eV from the shift.
        images : (n, m) array
            S times their states.

        Raises
        ------
        ImpreciseError
            If that is not sure.
        SingularError
            If that is because of a level next to the shift.
        """
        near = np.argsort(np.abs(offsets))[:CHECKED]
        images, offsets = images[:, near], offsets[near]
        inverse = images.conj().T @ self.rough.solve(images)
        change = np.linalg.norm(offsets[:, None] * inverse - np.eye(len(near)), 2)
        if not change < MAX_CHANGE:
            raise SingularError if np.abs(offsets[0]) < NEAR else ImpreciseError

    def improved(self, vectors, overlap):
        """Return levels and states by Ritz's method among vectors.

        Parameters
        ----------
        vectors : (n, m) array
            Nearly states.
        overlap : callable
            From vectors to their products with S.

        Returns
        -------
        offsets : (m,) array
            Ascending, eV from the shift.
        vectors : (n, m) array
            S-orthonormal.

        Raises
        ------
        ImpreciseError
            If one is wrong by more than 1e-9 eV, or their number is not sure.
        SingularError
            If that is because of a level next to the shift.
        """
        offsets, vectors, images, rest = self._ritz(vectors, overlap)
        self._check_levels(offsets, images, rest, overlap, MAX_ERROR)
        return offsets, vectors

    def _check_levels(self, offsets, images, rest, overlap, accuracy):
        """Raise an exception if the count of levels is not sure, or an estimated error too large.

        The error of a level is, to second order, rᴴ(A − δS)⁻¹r with the residual r of its
        state and its offset δ; this is estimated as |rᴴz| + |δ| zᴴSz, z = A⁻¹r.
        """
        self.check_count(offsets, images)
        worst = np.argsort(-np.linalg.norm(rest, axis=0))[:CHECKED]
        rest = rest[:, worst]
        correction = self.rough.solve(rest)
        error = np.abs((rest.conj() * correction).sum(axis=0))
        error += np.abs(offsets[worst] * (correction.conj() * overlap(correction)).sum(axis=0))
        if not error.max(initial=0) < accuracy:
            raise ImpreciseError

    def _ritz(self, vectors, overlap):
        """Return levels from the shift, S-orthonormal states, S times them, and residuals."""
        from scipy.linalg import eigh

        products, images = self.product(vectors), overlap(vectors)
        projected = [vectors.conj().T @ p for p in (products, images)]
        offsets, turn = eigh(*((p + p.conj().T) / 2 for p in projected))
        vectors, products, images = vectors @ turn, products @ turn, images @ turn
        return offsets, vectors, images, products - images * offsets


class RoughFactor(CorrectedFactor):
    """Factors in single precision, whose solutions are not corrected.

    What their errors put into states lies mostly far from the shift; a step of inverse iteration,
    x − A⁻¹r with the residual r, leaves little of it.

    Parameters
    ----------
    factor : PardisoFactor
        In single precision.
    product : callable
        From (n, b) vectors to the products with the matrix, in double precision.
    accuracy : float
        Error that a level may have, eV.
    """

    def __init__(self, factor, product, accuracy):
        super().__init__(factor, product)
        self._accuracy, self._solved = accuracy, 0

    def solve(self, right):
        """Solve (see `PardisoFactor`), to about 1e-3.

        Raises
        ------
        ImpreciseError
            If numbers overflow, or solutions are too wrong. That is looked at once: the second
            right-hand sides of Lanczos are smooth.
        """
        out = self.rough.solve(right).astype(self.dtype)
        if not np.isfinite(out).all():
            raise ImpreciseError(out)
        self._solved += 1
        if self._solved == 2:
            change = self.rough.solve(right - self.product(out))
            size = np.linalg.norm(change, axis=0) / np.maximum(np.linalg.norm(out, axis=0), 1e-300)
            if not size.max(initial=0) < NOISY:
                raise ImpreciseError(out)
            out += change
        return out

    def improved(self, vectors, overlap):
        """Return levels of its own accuracy, and states (see `CorrectedFactor`)."""
        _, vectors, _, rest = self._ritz(vectors, overlap)
        for _ in range(IMPROVEMENTS):
            vectors = vectors - self.rough.solve(rest)
            offsets, vectors, images, rest = self._ritz(vectors, overlap)
            try:
                self._check_levels(offsets, images, rest, overlap, self._accuracy)
                return offsets, vectors
            except ImpreciseError:
                continue
        raise ImpreciseError


class RecycledResidualFactor(CorrectedFactor):
    """Factors in single precision, whose solutions are refined to double precision.

    Errors of single precision lie mostly along some states next to the shift. So corrections
    are not only added: the best combination of all is taken, and those of the first solutions are
    kept for later ones (generalised conjugate residuals with recycling; de Sturler, SIAM J. Numer.
    Anal. 36, 864 (1999)).

    Parameters
    ----------
    factor : PardisoFactor
        In single precision.
    product : callable
        From (n, b) vectors to the products with the matrix, in double precision.
    tolerance : float
        Largest residual, relative to the right-hand side.
    """

    def __init__(self, factor, product, tolerance=EXACT):
        super().__init__(factor, product)
        self._tolerance = tolerance
        none = np.zeros((factor.n, 0), dtype=self.dtype)
        # directions, and their orthonormal images
        self._recycled = none, none

    def solve(self, right):
        """Solve (see `PardisoFactor`), to the tolerance.

        Raises
        ------
        ImpreciseError
            If refinement does not get there.
        """
        goal = self._tolerance
        size = np.linalg.norm(right, axis=0)
        size = np.where(size > 0, size, 1)
        rest = right / size
        directions, images = self._recycled
        share = images.conj().T @ rest
        out = directions @ share
        rest = rest - images @ share
        exact = images.shape[1] == 0 or goal > UPDATED
        last = np.inf
        for _ in range(STEPS):
            left = np.linalg.norm(rest, axis=0).max()
            if not exact and (left < goal or left > last / 2):
                # what was only updated may be wrong in its last digits
                rest = right / size - self.product(out)
                left, exact = np.linalg.norm(rest, axis=0).max(), True
            if exact and (left < goal or (left < 1e3 * EXACT and left > last / 2)):
                self._recycled = directions[:, :RECYCLED], images[:, :RECYCLED]
                return out * size
            if left > last:
                break
            last = left
            norms = np.linalg.norm(rest, axis=0)
            fresh = self.rough.solve(rest / np.where(norms > 0, norms, 1)).astype(self.dtype)
            if not np.isfinite(fresh).all():
                break
            fresh, mapped = _orthonormal(fresh, self.product(fresh), directions, images)
            share = mapped.conj().T @ rest
            out, rest, exact = out + fresh @ share, rest - mapped @ share, goal > UPDATED
            directions = np.concatenate([directions, fresh], axis=1)
            images = np.concatenate([images, mapped], axis=1)
        raise ImpreciseError(out)


def _orthonormal(directions, images, old_directions, old_images):
    """Return combinations of directions whose images are orthonormal, and orthogonal to others."""
    for _ in range(2):
        share = old_images.conj().T @ images
        directions, images = directions - old_directions @ share, images - old_images @ share
        values, turn = np.linalg.eigh(images.conj().T @ images)
        kept = values > INDEPENDENT * values[-1]
        if not kept.any():
            raise ImpreciseError(directions)
        change = turn[:, kept] / np.sqrt(values[kept])
        directions, images = directions @ change, images @ change
    return directions, images
