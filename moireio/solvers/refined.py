"""Solutions from factors in single precision, corrected in double precision."""

import numpy as np

from moireio.solvers.base import SingularError

# On how many states an answer is checked, how wrong a level may be (eV), and by how much of itself
# single precision may change the inverse among states next to the shift.
CHECKED, WRONG, MOVED = 8, 1e-9, 0.3
# How much of a solution may be wrong for levels, and how many corrections that may take. The first
# tells the size of the error; that errors shrink by it, but for CAUTION, until a second one tells.
NOISE, MOST, CAUTION = 1e-5, 8, 10
# With so small a Rayleigh quotient, eV, a solution is mostly the state of a level at the shift.
NEAR = 1e-3
STEPS, REFINED, ROUGHLY = 30, 1e-12, 1e-6
# From here on a residual that was only updated is as good as one computed anew.
UPDATED = 1e-9
KEPT = 48  # directions
INDEPENDENT = 1e-10  # of the square of a direction, what must be left


class ImpreciseError(Exception):
    """Factors in single precision do not suffice; `args` may hold what solutions became."""


class Corrected:
    """Factors in single precision, whose solutions are corrected once or a few times.

    The states of such an operator are good enough for levels by Ritz's method, which are wrong by
    the square only. A thousandth of the error of a solution shows in the residuals of Lanczos.

    Parameters
    ----------
    factor : PardisoFactor
        In single precision.
    product : callable
        From (n, b) vectors to the products with the matrix, in double precision.
    most : int
        Corrections.
    otherwise : Refined, optional
        What solves where they do not suffice.
    """

    def __init__(self, factor, product, most=MOST, otherwise=None):
        self.rough, self.product = factor, product
        self.n, self.dtype = factor.n, factor.dtype
        self._most, self._otherwise = most, otherwise
        self._rate = None  # by which a correction makes errors smaller

    @property
    def negative(self):
        """How many eigenvalues of the matrix lie below zero."""
        return self.rough.negative

    def solve(self, right):
        """Solve (see `PardisoFactor`), to 1e-5.

        Raises
        ------
        ImpreciseError
            If that takes too many corrections.
        """
        if not self._most:
            return self._otherwise.solve(right)
        out = self.rough.solve(right).astype(self.dtype)
        norms = np.linalg.norm(out, axis=0)
        norms = np.where(norms > 0, norms, 1)
        before = None
        for _ in range(self._most):
            change = self.rough.solve(right - self.product(out))
            out += change
            size = (np.linalg.norm(change, axis=0) / norms).max()
            if before is not None:
                self._rate = max(self._rate or 0, size / before)
            if size * (self._rate or CAUTION * size) < NOISE:
                return out
            before = size
        if self._otherwise is None:
            raise ImpreciseError(out)
        self._most = 0
        return self._otherwise.solve(right)

    def is_near(self, vectors, overlap):
        """Tell whether vectors that do not converge are states of a level next to the shift.

        Parameters
        ----------
        vectors : (n, m) array
            Where corrections ended.
        overlap : callable
            From vectors to their products with S.

        Returns
        -------
        bool
            Whether another shift may help.
        """
        offsets, norms = (
            (vectors.conj() * made).sum(axis=0)
            for made in (self.product(vectors), overlap(vectors))
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
        moved = np.linalg.norm(offsets[:, None] * inverse - np.eye(len(near)), 2)
        if not moved < MOVED:
            raise SingularError if np.abs(offsets[0]) < NEAR else ImpreciseError

    def improved(self, vectors, overlap):
        """Return levels and states by Ritz's method among vectors.

        What is missing from a level is, to second order, rᴴ(A − δS)⁻¹r with the residual r of its
        state and its offset δ; this is estimated as |rᴴz| + |δ| zᴴSz, z = A⁻¹r.

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
            If by this estimate one is wrong by more than 1e-9 eV, or their number is not sure.
        SingularError
            If that is because of a level next to the shift.
        """
        from scipy.linalg import eigh

        products, images = self.product(vectors), overlap(vectors)
        small = [vectors.conj().T @ both for both in (products, images)]
        offsets, turn = eigh(*((one + one.conj().T) / 2 for one in small))
        vectors, products, images = vectors @ turn, products @ turn, images @ turn
        self.check_count(offsets, images)
        rest = products - images * offsets
        worst = np.argsort(-np.linalg.norm(rest, axis=0))[:CHECKED]
        rest = rest[:, worst]
        made = self.rough.solve(rest)
        missing = np.abs((rest.conj() * made).sum(axis=0))
        missing += np.abs(offsets[worst] * (made.conj() * overlap(made)).sum(axis=0))
        if not missing.max(initial=0) < WRONG:
            raise ImpreciseError
        return offsets, vectors


class Refined(Corrected):
    """Factors in single precision, whose solutions are refined in double precision.

    What single precision gets wrong lies mostly along some states next to the shift. So corrections
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
        How much of a right-hand side solutions may leave.
    """

    def __init__(self, factor, product, tolerance=REFINED):
        super().__init__(factor, product)
        self._tolerance = tolerance
        none = np.zeros((factor.n, 0), dtype=self.dtype)
        # directions, and their orthonormal images
        self._kept = none, none

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
        directions, images = self._kept
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
            if exact and (left < goal or (left < 1e3 * REFINED and left > last / 2)):
                self._kept = directions[:, :KEPT], images[:, :KEPT]
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


def _orthonormal(directions, images, before, known):
    """Return combinations of directions whose images are orthonormal, and orthogonal to others."""
    for _ in range(2):
        share = known.conj().T @ images
        directions, images = directions - before @ share, images - known @ share
        values, turn = np.linalg.eigh(images.conj().T @ images)
        kept = values > INDEPENDENT * values[-1]
        if not kept.any():
            raise ImpreciseError(directions)
        change = turn[:, kept] / np.sqrt(values[kept])
        directions, images = directions @ change, images @ change
    return directions, images
