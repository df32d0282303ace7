"""Solutions in double precision from factors in single precision."""

import numpy as np

from moireio.solvers import SingularError

STEPS, REFINED = 30, 1e-12
KEPT = 48  # directions
INDEPENDENT = 1e-10  # of the square of a direction, what must be left


class Refined:
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
    """

    def __init__(self, factor, product):
        self._factor, self._product = factor, product
        self.dtype = factor.dtype
        none = np.zeros((factor.n, 0), dtype=self.dtype)
        # directions, and their orthonormal images
        self._kept = none, none

    @property
    def negative(self):
        """How many eigenvalues of the matrix lie below zero."""
        return self._factor.negative

    def solve(self, right):
        """Solve (see `PardisoFactor`); what is left of `right` is at most 1e-12 of it.

        Raises
        ------
        SingularError
            If refinement does not get there.
        """
        size = np.linalg.norm(right, axis=0)
        size = np.where(size > 0, size, 1)
        rest = right / size
        directions, images = self._kept
        share = images.conj().T @ rest
        out = directions @ share
        rest = rest - images @ share
        exact = images.shape[1] == 0
        last = np.inf
        for _ in range(STEPS):
            left = np.linalg.norm(rest, axis=0).max()
            if not exact and (left < REFINED or left > last / 2):
                # what was only updated may be wrong in its last digits
                rest = right / size - self._product(out)
                left, exact = np.linalg.norm(rest, axis=0).max(), True
            if exact and (left < REFINED or (left < 1e3 * REFINED and left > last / 2)):
                self._kept = directions[:, :KEPT], images[:, :KEPT]
                return out * size
            if left > last:
                break
            last = left
            norms = np.linalg.norm(rest, axis=0)
            fresh = self._factor.solve(rest / np.where(norms > 0, norms, 1)).astype(self.dtype)
            fresh, mapped = _orthonormal(fresh, self._product(fresh), directions, images)
            share = mapped.conj().T @ rest
            out, rest, exact = out + fresh @ share, rest - mapped @ share, False
            directions = np.concatenate([directions, fresh], axis=1)
            images = np.concatenate([images, mapped], axis=1)
        raise SingularError


def _orthonormal(directions, images, before, known):
    """Return combinations of directions whose images are orthonormal, and orthogonal to others."""
    for _ in range(2):
        share = known.conj().T @ images
        directions, images = directions - before @ share, images - known @ share
        values, turn = np.linalg.eigh(images.conj().T @ images)
        kept = values > INDEPENDENT * values[-1]
        change = turn[:, kept] / np.sqrt(values[kept])
        directions, images = directions @ change, images @ change
    return directions, images
