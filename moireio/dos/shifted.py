"""H and S of large, sparse matrices as the kernel polynomial method applies them."""

import numpy as np

from moireio.solvers import mkl
from moireio.solvers.base import NotPositiveError, not_positive, too_large
from moireio.solvers.cholesky import factorise

RANGE_STEPS, RANGE_BLOCK = 60, 4
CONVERGED = 0.006  # of the width of the spectrum: residuals at which its ends are known
MARGIN = 0.01  # of the width of the spectrum, on either side
VECTORS = 8  # arrays of all random vectors are in memory at once


class ShiftedOperator:
    """Products with H and S, and S⁻¹, at one k point, within some bytes of memory.

    Attributes
    ----------
    dtype : dtype
        Type of the vectors.
    free : float
        Bytes that are left.
    exact : (2,) array or None
        The second and the third moment, once the operator is scaled; None where S is not 1.
    """

    def __init__(self, problem, threads, vectors, limit, single):
        h = problem.hamiltonian.csr(problem.k)
        s = None if problem.overlap is None else problem.overlap.csr(problem.k)
        self._h, self._s = (None if m is None else _double(m) for m in (h, s))
        self._threads = threads
        self.size = problem.n_orbitals
        self.complex = "c" in (h.dtype.kind, "f" if s is None else s.dtype.kind)
        kinds = (np.float32, np.complex64) if single else (np.float64, np.complex128)
        self.dtype = np.dtype(kinds[self.complex])
        self.exact = None
        both = [m for m in (self._h, self._s) if m is not None]
        need = sum(m.data.nbytes + m.indices.nbytes for m in both)
        need += VECTORS * vectors * self.size * self.dtype.itemsize
        self.free = limit - need
        if self.free < 0:
            remedy = "choose fewer `vectors`, or raise `memory`"
            raise too_large("kernel polynomial", self.size, need, limit, remedy)
        self.hamiltonian = self._product(self._h)
        if s is None:
            self.overlap = self.solve = self.whiten = _itself
            return
        self.overlap = self._product(self._s)
        try:
            factor = factorise(self._s, threads, self.free)
        except NotPositiveError as error:
            raise not_positive(problem.k) from error
        self.free -= factor.nbytes
        self._factor = factor

    def _product(self, matrix):
        kind = self.dtype if matrix.dtype.kind == self.dtype.kind else self.dtype.type(0).real.dtype
        matrix = matrix.astype(kind, copy=False)
        return _Product(matrix) if mkl.library() is None else mkl.Product(matrix, self._threads)

    def solve(self, right):
        """Return S⁻¹ y, row by row in memory."""
        return np.ascontiguousarray(self._factor.solve(right))

    def whiten(self, noise):
        """Return vectors v with E[v vᴴ] = S⁻¹, row by row in memory."""
        return np.ascontiguousarray(self._factor.whiten(noise))

    def scale(self, centre, half):
        """Replace H by (H − centre S)/half."""
        h, s = self._h, self._s
        if s is None:
            h.setdiag(h.diagonal() - centre)
        elif np.array_equal(h.indptr, s.indptr) and np.array_equal(h.indices, s.indices):
            h = h.astype(np.result_type(h.dtype, s.dtype), copy=False)
            h.data -= centre * s.data
        else:
            h = (h - centre * s).tocsr()
        h.data /= half
        if s is None:
            second = (np.abs(h.data) ** 2).sum()
            self.exact = np.array([h.diagonal().real.sum(), 2 * second - self.size])
        self.hamiltonian = self._product(h)
        self._h = None

    def following(self, t, before):
        """Return S t_n+1 from t_n and S t_n−1, which it overwrites; S t_1 if that is None."""
        if before is None:
            return self.hamiltonian(t)
        if t.dtype == self.hamiltonian.dtype:
            self.hamiltonian.advance(t, before)
        else:  # a real matrix and complex vectors: their parts are vectors of their own
            real = self.hamiltonian.dtype
            self.hamiltonian.advance(t.view(real), before.view(real))
        return before


class _Product:
    """SciPy's products with a sparse matrix, called as those of MKL are."""

    def __init__(self, matrix):
        self._matrix = matrix
        self.dtype = matrix.dtype

    def __call__(self, vectors):
        return self._matrix @ vectors

    def advance(self, vectors, before):
        before *= -1
        before += 2 * (self._matrix @ vectors)


def _itself(vectors):
    return vectors


def _double(matrix):
    kind = np.complex128 if matrix.dtype.kind == "c" else np.float64
    return matrix.astype(kind, copy=False)


def random_phases(rng, n, vectors, is_complex):
    """Return random phases, whose traces have the smallest variance; signs for real matrices."""
    if is_complex:
        return np.exp(2j * np.pi * rng.random((n, vectors)))
    return rng.choice([-1.0, 1.0], size=(n, vectors))


def spectral_range(operator, rng):
    """Return energies that enclose all levels, with a margin.

    From several chains of Lanczos at once, in the inner product of S; a product with a few columns
    takes no longer than with one.
    """
    # not signs: in a small model they can be a state
    shape = operator.size, RANGE_BLOCK
    v = operator.whiten(rng.normal(size=shape).astype(operator.dtype))
    u = operator.overlap(v)
    norm = np.sqrt(traces(u, v))
    v, u = v / norm, u / norm
    diagonal, off = [], []
    old_u = np.zeros_like(v)
    beta = np.zeros(RANGE_BLOCK, dtype=v.real.dtype)
    tiny = 1e-9 if v.real.dtype == np.float64 else 1e-5
    for step in range(1, 1 + min(RANGE_STEPS, operator.size)):
        image = operator.hamiltonian(v) - beta * old_u
        alpha = traces(v, image)
        image -= alpha * u
        old_u, v = u, operator.solve(image)
        beta = np.sqrt(np.maximum(traces(image, v), 0.0))
        diagonal.append(alpha)
        off.append(beta)
        broken = (beta < tiny * max(1.0, np.abs(diagonal).max())).any()
        if broken or step % 10 == 0 or step == operator.size:
            low, high, residual = _ends(np.array(diagonal, float), np.array(off, float))
            if broken or residual < CONVERGED * (high - low):
                break
        v, u = v / beta, image / beta
    margin = MARGIN * (high - low) + 1e-3
    return low - margin, high + margin


def _ends(diagonal, off):
    """Return both ends of the spectrum with their residuals added, and the larger residual.

    Parameters
    ----------
    diagonal, off : (m, chains) arrays
        Lanczos' tridiagonal matrices; the last row of `off` leads to the next step.
    """
    m = len(diagonal)
    matrices = np.zeros((diagonal.shape[1], m, m))
    at = np.arange(m)
    matrices[:, at, at] = diagonal.T
    matrices[:, at[1:], at[:-1]] = off[:-1].T  # eigh reads the lower triangle
    theta, y = np.linalg.eigh(matrices)
    first, last = theta[:, 0].argmin(), theta[:, -1].argmax()
    below, above = off[-1, first] * abs(y[first, -1, 0]), off[-1, last] * abs(y[last, -1, -1])
    return theta[first, 0] - below, theta[last, -1] + above, max(below, above)


def traces(left, right):
    """Return Re leftᴴ right of every column."""
    real = left.real.dtype
    products = left.view(real) * right.view(real)
    sums = np.ones(len(left), dtype=real) @ products
    return sums.reshape(left.shape[1], -1).sum(axis=1)
