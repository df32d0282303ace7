"""Factors of a positive definite overlap: S⁻¹ y, and random vectors of covariance S⁻¹."""

import ctypes
import math
import sys

import numpy as np
from scipy.sparse import triu

from moireio.errors import MoireioError
from moireio.solvers import mkl

ANALYSE, FACTORISE, SOLVE, BACKWARD, RELEASE = 11, 22, 33, 333, -1
REAL, COMPLEX = 2, 4  # positive definite, in Pardiso's numbers
NOT_POSITIVE = -4


class NotPositiveError(Exception):
    """The matrix is not positive definite."""


def factorise(matrix, threads=1, memory=math.inf):
    """Factorise a sparse, positive definite matrix.

    Parameters
    ----------
    matrix : (n, n) scipy.sparse.csr_array
        Real symmetric or Hermitian, both triangles.
    threads : int
        Of MKL, if it is installed.
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
    if need > limit:
        raise MoireioError(
            f"the factors of the overlap need about {need / 1e9:.1f} GB, "
            f"{limit / 1e9:.1f} GB may be used",
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
        Bytes that the factors may take; SuperLU knows their size when it has made them.
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
        That MKL uses.
    memory : float
        Bytes that the factors may take.
    """

    def __init__(self, matrix, threads=1, memory=math.inf):
        self._mkl, self._threads = mkl.library(), threads
        upper = triu(matrix, format="csr")
        upper.sort_indices()
        self._n = matrix.shape[0]
        self._dtype = np.dtype(np.complex128 if matrix.dtype.kind == "c" else np.float64)
        self._ia = np.ascontiguousarray(upper.indptr, dtype=np.int64)
        self._ja = np.ascontiguousarray(upper.indices, dtype=np.int64)
        self._values = np.ascontiguousarray(upper.data, dtype=self._dtype)
        self._pt = np.zeros(64, dtype=np.int64)
        self._iparm = np.zeros(64, dtype=np.int64)
        for place, value in (
            (1, 1),  # the values that follow, not the defaults
            (2, 3),  # parallel nested dissection
            (8, 0),  # no refinement
            (35, 1),  # indices from 0
        ):
            self._iparm[place - 1] = value
        self._call(ANALYSE)
        self.nbytes = 1024 * max(self._iparm[14], self._iparm[15] + self._iparm[16])
        _check(self.nbytes, memory)
        self._call(FACTORISE)

    def solve(self, right):
        """Return S⁻¹ y (see `SuperLUCholesky`)."""
        return self._columns(SOLVE, right)

    def whiten(self, noise):
        """Return vectors of covariance S⁻¹ (see `SuperLUCholesky`): Lᴴ P v = r."""
        return self._columns(BACKWARD, noise)

    def _columns(self, phase, right):
        if right.dtype.kind == "c" and self._dtype.kind != "c":
            both = np.concatenate([right.real, right.imag], axis=1)
            both = self._columns(phase, both)
            return both[:, : right.shape[1]] + 1j * both[:, right.shape[1] :]
        columns = np.asfortranarray(right, dtype=self._dtype)
        out = np.empty_like(columns, order="F")
        self._call(phase, columns, out)
        return out

    def __del__(self):
        """Give its memory back."""
        # when Python ends, the system takes the memory
        if hasattr(self, "_values") and not sys.is_finalizing() and self._pt.any():
            self._call(RELEASE)

    def _call(self, phase, right=None, out=None):
        mkl.set_threads(self._threads)
        kind = COMPLEX if self._dtype.kind == "c" else REAL
        count = 1 if right is None else right.shape[1]
        void = np.zeros(1, dtype=self._dtype)
        right, out = (void if a is None else a for a in (right, out))
        error = ctypes.c_int64(0)

        def number(value):
            return ctypes.byref(ctypes.c_int64(value))

        self._mkl.pardiso_64(
            mkl.pointer(self._pt),
            number(1),
            number(1),
            number(kind),
            number(phase),
            number(self._n),
            mkl.pointer(self._values),
            mkl.pointer(self._ia),
            mkl.pointer(self._ja),
            mkl.pointer(np.zeros(1, dtype=np.int64)),
            number(count),
            mkl.pointer(self._iparm),
            number(0),
            mkl.pointer(right),
            mkl.pointer(out),
            ctypes.byref(error),
        )
        if error.value == NOT_POSITIVE and phase == FACTORISE:
            raise NotPositiveError
        if error.value:
            raise MoireioError(f"Pardiso could not factorise the overlap: error {error.value}")
