"""LDLᴴ factors of sparse Hermitian matrices by MKL's Pardiso (PyPI's ``mkl``).

The interface is that of Intel's manual of oneMKL (``pardiso_64``). Pivots are Bunch and Kaufman's.
With them MKL tells the inertia of real matrices only. With pivots on the diagonal (iparm(21) = 0)
it tells that of complex ones too, but from a few thousand states on those factors are wrong,
without a warning (MKL 2026.2, twisted graphene of 4732 orbitals). So the factor D of LDLᴴ is read
with the phase that solves with D alone, and its blocks of one or two rows are counted.
"""

import ctypes
import sys

import numpy as np

from moireio.errors import MoireioError
from moireio.solvers import SingularError, mkl

ANALYSE, FACTORISE, SOLVE, SOLVE_D, RELEASE = 11, 22, 33, 332, -1
HERMITIAN, SYMMETRIC = -4, -2
ERRORS = {
    -1: "its input is inconsistent",
    -2: "there is not enough memory",
    -3: "the reordering failed",
    -4: "a pivot is zero",
    -8: "an integer overflowed",
    -9: "there is not enough memory for work files",
}


class PardisoFactor:
    """Factors of matrices that share a pattern.

    Parameters
    ----------
    indptr, indices : arrays of int
        Upper triangle in CSR form, with every diagonal element, columns ascending.
    real : bool
        Real symmetric matrices; else complex Hermitian ones.
    threads : int
        That MKL uses.
    """

    def __init__(self, indptr, indices, real, threads=1):
        self._mkl = mkl.library()
        if self._mkl is None:
            raise MoireioError("MKL is not installed", remedy="pip install mkl")
        self.n = len(indptr) - 1
        self._ia = np.ascontiguousarray(indptr, dtype=np.int64)
        self._ja = np.ascontiguousarray(indices, dtype=np.int64)
        self.dtype = np.dtype(np.float64 if real else np.complex128)
        self._threads = threads
        self._pt = np.zeros(64, dtype=np.int64)
        self._iparm = np.zeros(64, dtype=np.int64)
        for place, value in (
            (1, 1),  # the values that follow, not the defaults
            (2, 3),  # parallel nested dissection
            (8, 0),  # no refinement unless pivots were perturbed
            (10, 13),  # pivots below 1e-13 of the norm are perturbed
            (11, 0),  # no scaling, no matching
            (13, 0),
            (21, 1),  # pivots of Bunch and Kaufman
            (24, 0),
            (35, 1),  # indices from 0
        ):
            self._iparm[place - 1] = value
        self._values = np.zeros(len(self._ja), dtype=self.dtype)
        self._call(ANALYSE)

    @property
    def negative(self):
        """How many eigenvalues of the matrix lie below zero, or None if the factor D is unclear."""
        if self.dtype.kind == "f":
            return int(self._iparm[22])
        n = self.n
        place = np.arange(n) / n
        # MKL leaves the first column in the order of its pivots, the others not
        columns = np.stack([np.zeros(n), np.ones(n), place, place**2], axis=1)
        columns = np.asfortranarray(columns, dtype=self.dtype)
        out = np.empty_like(columns, order="F")
        self._call(SOLVE_D, columns, out)
        return _negative(*out.T[1:])

    def factorise(self, values):
        """Factorise a matrix of the pattern.

        Parameters
        ----------
        values : (nnz,) array
            Its elements.

        Raises
        ------
        SingularError
            If pivots vanish.
        """
        self._values[:] = values
        self._call(FACTORISE)
        if self._iparm[13]:  # perturbed pivots
            raise SingularError

    def solve(self, right):
        """Solve with the last matrix.

        Parameters
        ----------
        right : (n, b) array
            Right-hand sides.

        Returns
        -------
        (n, b) array
            Solutions.
        """
        columns = np.asfortranarray(right, dtype=self.dtype)
        out = np.empty_like(columns, order="F")
        self._call(SOLVE, columns, out)
        return out

    def close(self):
        """Give its memory back."""
        if self._pt.any():
            self._call(RELEASE)
            self._pt[:] = 0

    def __del__(self):
        """Give its memory back."""
        # when Python ends, the system takes the memory
        if hasattr(self, "_values") and not sys.is_finalizing():
            self.close()

    def _call(self, phase, right=None, out=None):
        mkl.set_threads(self._threads)
        kind = SYMMETRIC if self.dtype.kind == "f" else HERMITIAN
        one, zero = ctypes.c_int64(1), ctypes.c_int64(0)
        count = ctypes.c_int64(1 if right is None else right.shape[1])
        error = ctypes.c_int64(0)
        void = np.zeros(1, dtype=self.dtype)
        right, out = (void if a is None else a for a in (right, out))
        reference, pointer = ctypes.byref, mkl.pointer
        self._mkl.pardiso_64(
            pointer(self._pt),
            reference(one),
            reference(one),
            reference(ctypes.c_int64(kind)),
            reference(ctypes.c_int64(phase)),
            reference(ctypes.c_int64(self.n)),
            pointer(self._values),
            pointer(self._ia),
            pointer(self._ja),
            pointer(np.zeros(1, dtype=np.int64)),
            reference(count),
            pointer(self._iparm),
            reference(zero),
            pointer(right),
            pointer(out),
            reference(error),
        )
        if error.value:
            text = ERRORS.get(error.value, f"error {error.value}")
            raise MoireioError(f"Pardiso could not factorise the matrix: {text}")


def _negative(one, two, three):
    """Return how many eigenvalues of a Hermitian D lie below zero.

    D has blocks of one row, or of two rows that stand anywhere. Given are D·1, D·t and D·t² with
    t = i/n for row i. In a row with the elements a on the diagonal and b in column p these are
    a + b, a t_i + b t_p and a t_i² + b t_p², from which a, b and p follow. None if D is not such.
    """
    n = len(one)
    place = np.arange(n) / n
    first, second = two - place * one, three - place * two  # b (t_p - t_i), times t_p
    rows = np.flatnonzero(np.abs(first) * n > 1e-6 * np.abs(one))
    exact = second[rows] / first[rows] * n
    partners = np.rint(exact.real).astype(np.int64)
    if len(rows) and (np.abs(exact - partners).max() > 0.1 or (np.sort(partners) != rows).any()):
        return None
    partner = np.arange(n)
    partner[rows] = partners
    b = np.zeros_like(one)
    b[rows] = first[rows] / (place[partners] - place[rows])
    a = one - b
    size = np.abs(a) + np.abs(b)
    wrong = np.abs(b - b[partner].conj()) > 1e-6 * np.maximum(size, size[partner])
    wrong |= (np.abs(a.imag) > 1e-6 * size) | (partner[partner] != np.arange(n))
    if wrong.any():
        return None
    a = a.real
    determinant = a[rows] * a[partners] - np.abs(b[rows]) ** 2
    single = partner == np.arange(n)
    both = (determinant > 0) & (a[rows] < 0)
    return int((a[single] < 0).sum() + both.sum() + (determinant < 0).sum() // 2)


class Counter:
    """Counts the eigenvalues of Hermitian matrices that lie below zero.

    A complex matrix A + iB has the eigenvalues of the real one with the rows (A, −B), (B, A), there
    twice each.

    Parameters
    ----------
    indptr, indices : arrays of int
        Upper triangle in CSR form, with every diagonal element, columns ascending.
    threads : int
        That MKL uses.
    """

    def __init__(self, indptr, indices, threads=1):
        n = len(indptr) - 1
        rows = np.repeat(np.arange(n), np.diff(indptr))
        self._off = np.flatnonzero(rows != indices)
        r, c = rows[self._off], indices[self._off]
        all_rows = np.concatenate([rows, rows + n, r, c])
        all_columns = np.concatenate([indices, indices + n, c + n, r + n])
        self._order = np.argsort(all_rows * (2 * n) + all_columns, kind="stable")
        counts = np.bincount(all_rows, minlength=2 * n)
        self._factor = PardisoFactor(
            np.concatenate([[0], np.cumsum(counts)]), all_columns[self._order], True, threads
        )

    def __call__(self, values):
        """Return the number.

        Parameters
        ----------
        values : (nnz,) array
            Elements of the upper triangle.

        Returns
        -------
        int
            Of eigenvalues below zero.
        """
        real, imaginary = values.real, values.imag[self._off]
        whole = np.concatenate([real, real, -imaginary, imaginary])
        self._factor.factorise(whole[self._order])
        if self._factor.negative % 2:  # one of two copies: an eigenvalue is zero to rounding
            raise SingularError
        return self._factor.negative // 2
