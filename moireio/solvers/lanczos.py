"""Block Lanczos for the eigenvalues of H x = E S x next to a shift σ.

The operator (H − σS)⁻¹ S is Hermitian in the inner product xᴴSy; its eigenvalues are 1/(E − σ).
What it makes of a block is orthogonalised against this block and the one before, the only ones
that it joins to it, then against all: because of rounding, and of operators that are not quite
Hermitian. As many copies of a level are found as a block has columns. (Ericsson, Ruhe, Math.
Comp. 35, 1251 (1980); Grimes, Lewis, Simon, SIAM J. Matrix Anal. Appl. 15, 228 (1994).)
"""

import numpy as np

from moireio.errors import MoireioError
from moireio.solvers.base import NotPositiveError

BLOCK = 8
TOLERANCE = 1e-9  # of the residual, eV
# Where only levels are wanted: of the residual, and of the level, which is wrong by its square, eV;
# the same where the operator is known to about 1e-4.
LEVELS, ROUGHLY = (1e-6, 1e-10), (1e-4, 1e-7)
MOST = 3000  # vectors
SMALL = 1e-5
CHECKED = 4  # blocks between two looks at the levels
LARGE = 30  # times the vectors so far
# Nearer to the shift than this, a level drowns the others in its rounding errors.
NEAREST = 1e-5  # eV


class NotConvergedError(MoireioError):
    """The vectors that may be used do not suffice.

    Attributes
    ----------
    levels : (m,) array
        The most that had converged, eV.
    """

    levels = np.zeros(0)


class TooNearError(Exception):
    """A level is too close to the shift; `args` holds its energy in eV."""


def lanczos(
    solve,
    overlap,
    n,
    dtype,
    sigma,
    enough,
    block=BLOCK,
    seed=0,
    dimension=None,
    tolerances=None,
    most=MOST,
    patience=None,
):
    """Find levels on both sides of a shift.

    Parameters
    ----------
    solve : callable
        From (n, b) right-hand sides to solutions with H − σS.
    overlap : callable
        From (n, b) vectors to their products with S.
    n : int
        Number of orbitals.
    dtype : numpy dtype
        Type of the vectors.
    sigma : float
        The shift, eV.
    enough : callable
        Called with the (ascending) levels found so far; returns whether they suffice.
    block : int
        Columns of a block.
    seed : int
        Seed of the first block.
    dimension : int, optional
        Dimension of the space in which `solve` has its solutions; by default n.
    tolerances : (float, float), optional
        Stop when the residuals of states, and the errors of levels, are this small, eV; by default
        when the residuals are below 1e-9 eV.
    most : int
        Vectors after which it gives up.
    patience : int, optional
        Blocks without another level after which it gives up, once there is a level.

    Returns
    -------
    levels : (m,) array
        All levels around the shift up to the first that did not converge, ascending, eV; copies
        of a level may be missing, if it has more than `block`.
    vectors : (n, m) array
        S-orthonormal.

    Raises
    ------
    NotConvergedError
        If they do not converge.
    NotPositiveError
        If S is not positive definite.
    TooNearError
        If another shift is needed.
    """
    rng = np.random.default_rng(seed)
    dimension = n if dimension is None else dimension
    block = min(block, dimension)
    most = min(dimension, most)
    basis = np.empty((n, min(most, 16 * block)), dtype=dtype, order="F")
    images = np.empty_like(basis)  # S times the basis
    projected = np.zeros((most + block, most + block), dtype=dtype)
    fresh = rng.normal(size=(n, block))
    if dtype.kind == "c":
        fresh = fresh + 1j * rng.normal(size=(n, block))
    # starting from smooth vectors: what the operator leaves of noise
    fresh, mapped, _ = _orthonormal(solve(fresh.astype(dtype)), overlap)
    count = step = recent = last_gain = 0
    best = np.zeros(0)
    while True:
        width = fresh.shape[1]
        if count + width > basis.shape[1]:
            longer = min(most + block, 2 * basis.shape[1])
            basis, images = _longer(basis, longer), _longer(images, longer)
        basis[:, count : count + width], images[:, count : count + width] = fresh, mapped
        old, count = count, count + width
        vectors, mapped_vectors = basis[:, :count], images[:, :count]
        new = solve(mapped)
        h = _inner(images[:, recent:count], new)
        new -= basis[:, recent:count] @ h
        correction = _inner(mapped_vectors, new)
        new -= vectors @ correction
        projected[recent:count, old:count] = h
        projected[:count, old:count] += correction
        recent = old
        projected[old:count, :count] = projected[:count, old:count].conj().T
        # no more directions than the space still has
        fresh, mapped, rest = _orthonormal(new, overlap, dimension - count)
        if len(rest) and np.linalg.norm(rest, axis=1).min() < SMALL * np.linalg.norm(h):
            # what was nearly lost has grown, and with it its rounding errors
            fresh -= vectors @ _inner(mapped_vectors, fresh)
            fresh, mapped, turn = _orthonormal(fresh, overlap, dimension - count)
            rest = turn @ rest
        step += 1
        # of large matrices a look costs little beside a block
        if step % CHECKED and n < LARGE * count and fresh.shape[1] and count < most:
            continue
        operator = projected[:count, :count]
        theta, y = np.linalg.eigh((operator + operator.conj().T) / 2)
        error = np.linalg.norm(rest @ y[old:count], axis=0) / np.maximum(theta**2, 1e-300)
        largest = theta[np.argmax(np.abs(theta))]
        if abs(largest) * NEAREST > 1:
            raise TooNearError(sigma + 1 / largest)
        converged = _contiguous(theta, error, sigma, tolerances[0] if tolerances else TOLERANCE)
        if tolerances:
            bounds = _bounds(theta, error, converged)
            converged = _contiguous(theta, bounds, sigma, tolerances[1])
        levels = sigma + 1 / theta[converged]
        if enough(levels) or fresh.shape[1] == 0:
            return levels, vectors @ y[:, converged]
        if len(levels) > len(best):
            best, last_gain = levels, step
        waited = patience is not None and len(best) and step - last_gain >= patience
        if count >= most or waited:
            error = NotConvergedError(f"the levels near {sigma:g} eV do not converge")
            error.levels = best
            raise error


def _contiguous(theta, error, sigma, tolerance):
    """Return which levels converged and have no unconverged one between them and the shift."""
    kept = []
    for side in (theta > 0, theta < 0):
        order = np.argsort(-np.abs(theta))
        order = order[side[order]]
        bad = np.flatnonzero(error[order] >= tolerance)
        kept.append(order[: bad[0]] if len(bad) else order)
    kept = np.concatenate(kept)
    return kept[np.argsort(sigma + 1 / theta[kept])]


def _bounds(theta, error, found):
    """Return bounds of the errors of levels, eV, if `found` holds all between its ends.

    The residual, or its square over the distance to what was not found, both of the operator's
    eigenvalues 1/(E − σ) (Kato, J. Phys. Soc. Jpn. 4, 334 (1949)).
    """
    converged, residual = theta[found], error[found]
    bounds = np.full(len(theta), np.inf)
    others = np.ones(len(theta), dtype=bool)
    others[found] = False
    other, radius = theta[others], error[others] * theta[others] ** 2
    gap = np.abs(converged)  # to levels far away
    for side in (other > 0, other < 0):
        if not side.any():
            continue
        # of those that did not converge, the nearest to the shift
        nearest = np.argmax(np.abs(other[side]))
        gap = np.minimum(gap, np.abs(converged - other[side][nearest]) - radius[side][nearest])
    gap = gap / converged**2  # eV
    with np.errstate(divide="ignore"):
        bounds[found] = residual * np.where(gap > residual, residual / gap, 1.0)
    return bounds


def _orthonormal(vectors, overlap, most=None):
    """Return S-orthonormal vectors, S times them, and the factor that gives the old ones.

    At most `most` of them; directions that are lost in rounding are left out.
    """
    mapped = overlap(vectors)
    total = None
    for _ in range(2):
        gram = _inner(vectors, mapped)
        values, turn = np.linalg.eigh((gram + gram.conj().T) / 2)
        if values[0] < -1e-8 * abs(values[-1]) or values[-1] < 0:
            raise NotPositiveError
        kept = values > max(1e-20 * values[-1], 1e-30)
        if most is not None:
            kept[: max(0, len(kept) - most)] = False
        if not kept.any():
            return vectors[:, :0], mapped[:, :0], np.zeros((0, len(turn)), dtype=vectors.dtype)
        root = np.sqrt(values[kept])
        change = turn[:, kept] / root
        vectors, mapped = vectors @ change, mapped @ change
        back = root[:, None] * turn[:, kept].conj().T
        total = back if total is None else back @ total
    return vectors, mapped, total


def _inner(a, b):
    """Return aᴴ b, without a copy of a, the larger one."""
    return (a.T @ b.conj()).conj()


def _longer(array, columns):
    out = np.empty((array.shape[0], columns), dtype=array.dtype, order="F")
    out[:, : array.shape[1]] = array
    return out
