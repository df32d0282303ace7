"""Factors of a positive definite overlap: S⁻¹ y, and random vectors of covariance S⁻¹."""

import math

import numpy as np
from scipy.sparse import triu

from moireio.errors import MoireioError
from moireio.runtime.memory import size_text
from moireio.solvers import mkl
from moireio.solvers.base import NotPositiveError, SingularError


def factorise(matrix, threads=1, memory=math.inf):
    """Factorise a sparse, positive definite matrix.

    Parameters
    ----------
    matrix : (n, n) scipy.sparse.csr_array
        Real symmetric or Hermitian, both triangles.
    threads : int
        Threads of MKL, if it is installed.
    memory : float
        Bytes that the factors may take.

    Returns
    -------
    MklCholesky or SuperLUCholesky
        With the methods ``solve`` and ``whiten``.

    Raises
    ------
    NotPositiveError
        If it is not positive definite.
    MoireioError
        If it does not fit into memory.
    """
    kind = SuperLUCholesky if mkl.library() is None else MklCholesky
    return kind(matrix, threads, memory)


def _check(need, limit):
    """Refuse factors that need more bytes than a limit."""
    if need > limit:
        raise MoireioError(
            f"the factors of the overlap need about {size_text(need)}, "
            f"{size_text(limit)} may be used",
            remedy="raise `memory`",
        )


class SuperLUCholesky:
    """S = Pᵀ L D Lᴴ P by SuperLU, without exchanges of rows.

    Parameters
    ----------
    matrix : (n, n) scipy.sparse.csr_array
        S.
    threads : int
        Not used.
    memory : float
        Bytes that the factors may take; SuperLU gives their size when they are done.
    """

    def __init__(self, matrix, threads=1, memory=math.inf):
        from scipy.sparse.linalg import splu

        try:
            self._lu = splu(
                matrix.tocsc(),
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.0,
                options={"SymmetricMode": True},
            )
        except RuntimeError as error:
            raise NotPositiveError from error
        except MemoryError as error:
            raise MoireioError("the factors of the overlap do not fit into memory") from error
        self.nbytes = (12 if matrix.dtype.itemsize == 8 else 20) * self._lu.nnz
        _check(self.nbytes, memory)
        pivots = self._lu.U.diagonal().real
        if (self._lu.perm_r != self._lu.perm_c).any() or not (pivots > 0).all():
            raise NotPositiveError
        self._root = np.sqrt(pivots)
        self._lower = self._lu.L.tocsr()
        self._dtype = matrix.dtype

    def solve(self, right):
        """Return S⁻¹ y.

        Parameters
        ----------
        right : (n, b) array
            y.

        Returns
        -------
        (n, b) array
            Solutions.
        """
        if right.dtype.kind == "c" and self._dtype.kind != "c":
            return self._lu.solve(right.real.copy()) + 1j * self._lu.solve(right.imag.copy())
        return self._lu.solve(np.ascontiguousarray(right, dtype=self._dtype))

    def whiten(self, noise):
        """Return vectors v with E[v vᴴ] = S⁻¹ from r with E[r rᴴ] = 1; vᴴ S v = rᴴ r.

        Parameters
        ----------
        noise : (n, b) array
            r.

        Returns
        -------
        (n, b) array
            v.
        """
        images = self._lower @ (self._root[:, None] * noise)
        return self.solve(images[self._lu.perm_c])


class MklCholesky:
    """S = Pᵀ L Lᴴ P by MKL's Pardiso.

    Parameters
    ----------
    matrix : (n, n) scipy.sparse.csr_array
        S.
    threads : int
        Threads of MKL.
    memory : float
        Bytes that the factors may take.
    """

    def __init__(self, matrix, threads=1, memory=math.inf):
        from moireio.solvers.pardiso import PardisoFactor

        upper = triu(matrix, format="csr")
        upper.sort_indices()
        real = matrix.dtype.kind != "c"
        self._factor = PardisoFactor(upper.indptr, upper.indices, real, threads, positive=True)
        self.nbytes = self._factor.memory
        _check(self.nbytes, memory)
        try:
            self._factor.factorise(upper.data)
        except SingularError as error:
            raise NotPositiveError from error

    def solve(self, right):
        """Return S⁻¹ y (see `SuperLUCholesky`)."""
        return self._by_parts(self._factor.solve, right)

    def whiten(self, noise):
        """Return vectors of covariance S⁻¹ (see `SuperLUCholesky`): Lᴴ P v = r."""
        return self._by_parts(self._factor.solve_upper, noise)

    def _by_parts(self, solve, right):
        """Return solutions; of a real S the imaginary parts are right-hand sides of their own."""
        if right.dtype.kind == "c" and self._factor.dtype.kind != "c":
            parts = solve(np.concatenate([right.real, right.imag], axis=1))
            return parts[:, : right.shape[1]] + 1j * parts[:, right.shape[1] :]
        return solve(right)
