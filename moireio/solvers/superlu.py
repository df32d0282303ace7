"""Factors of sparse Hermitian matrices where MKL is not installed."""

import numpy as np

from moireio.errors import MoireioError
from moireio.solvers.base import SingularError

MOST_COUNTED = 12000


class SuperLUFactor:
    """LU factors by SuperLU, of matrices that share a pattern.

    Parameters
    ----------
    indptr, indices : arrays of int
        Upper triangle in CSR form.
    real : bool
        Real symmetric matrices; else complex Hermitian ones.
    """

    negative = None  # LU gives no inertia
    memory = 0.0  # and its size is not known before

    def __init__(self, indptr, indices, real):
        self.n = len(indptr) - 1
        self._pattern = indices, indptr
        self.dtype = np.dtype(np.float64 if real else np.complex128)
        self._lu = None

    def factorise(self, values, keep=True):
        """Factorise a matrix of the pattern (see `PardisoFactor`)."""
        from scipy.sparse.linalg import splu

        whole = _whole(values.astype(self.dtype), self._pattern).tocsc()
        try:
            self._lu = splu(
                whole,
                permc_spec="MMD_AT_PLUS_A",
                diag_pivot_thresh=0.01,
                options={"SymmetricMode": True},
            )
        except RuntimeError as error:
            if "singular" in str(error):
                raise SingularError from error
            raise MoireioError(f"SuperLU could not factorise the matrix: {error}") from error
        except MemoryError as error:
            raise MoireioError(f"SuperLU could not factorise the matrix: {error}") from error

    def forget(self):
        """Free the memory of factors."""
        self._lu = None

    def solve(self, right):
        """Solve with the last matrix (see `PardisoFactor`)."""
        return self._lu.solve(np.ascontiguousarray(right, dtype=self.dtype))


class DenseCounter:
    """Counts the eigenvalues of Hermitian matrices below zero by a dense LDLᴴ (LAPACK).

    Parameters
    ----------
    indptr, indices : arrays of int
        Upper triangle in CSR form.
    """

    def __init__(self, indptr, indices):
        self._pattern = indices, indptr
        n = len(indptr) - 1
        if n > MOST_COUNTED:
            raise MoireioError(
                f"levels of {n} orbitals are too many to be counted without MKL",
                remedy="pip install mkl, or choose the dense solver",
            )

    def __call__(self, values):
        """Return the number (see `moireio.solvers.pardiso.Counter`)."""
        from scipy.linalg import ldl

        d = ldl(_whole(values, self._pattern).toarray(), overwrite_a=True, check_finite=False)[1]
        # 2×2 pivots have one eigenvalue of either sign
        lower = np.abs(np.diagonal(d, -1)) > 0
        pairs = np.flatnonzero(lower)
        alone = np.ones(len(d), dtype=bool)
        alone[pairs] = alone[pairs + 1] = False
        return int((np.diagonal(d).real[alone] < 0).sum()) + len(pairs)


def _whole(values, pattern):
    """Return a Hermitian matrix from its upper triangle."""
    from scipy.sparse import csr_array, triu

    n = len(pattern[1]) - 1
    upper = csr_array((values, *pattern), shape=(n, n))
    return upper + triu(upper, 1).conj().T
