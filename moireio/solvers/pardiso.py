"""LDLᴴ factors of sparse Hermitian matrices by MKL's Pardiso (PyPI's ``mkl``).

The interface is that of Intel's manual of oneMKL: ``pardiso``, or ``pardiso_64`` where numbers of
four bytes are too short (the analysis of the former takes three fifths of the memory). Pivots are
Bunch and Kaufman's. With them MKL gives the inertia of real matrices only. With pivots on the
diagonal (iparm(21) = 0) it gives that of complex ones too, but from a few thousand rows on those
factors are wrong, without a warning (MKL 2026.2, twisted graphene of 4732 orbitals). So the factor
D of LDLᴴ is read with the phase that solves with D alone, and its blocks of one or two rows are
counted.
"""

import ctypes
import sys

import numpy as np

from moireio.errors import MoireioError
from moireio.runtime.threads import mkl_threads
from moireio.solvers import mkl
from moireio.solvers.base import SingularError

ANALYSE, FACTORISE, SOLVE, SOLVE_D, SOLVE_UPPER, FORGET, RELEASE = 11, 22, 33, 332, 333, 0, -1
# By whether a matrix is complex, and positive definite.
KINDS = {(True, False): -4, (False, False): -2, (True, True): 4, (False, True): 2}
ZERO_PIVOT = -4
MOST_SHORT = 1_500_000_000  # elements of a matrix or its factors, with numbers of four bytes
ERRORS = {
    -1: "its input is inconsistent",
    -2: "there is not enough memory",
    -3: "the reordering failed",
    ZERO_PIVOT: "a pivot is zero",
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
    single : bool
        Factors in single precision.
    positive : bool
        Matrices are to be positive definite; factors then take two thirds of the time.
    """

    def __init__(self, indptr, indices, real, threads=1, single=False, positive=False):
        self._mkl = mkl.library()
        if self._mkl is None:
            raise MoireioError("MKL is not installed", remedy="pip install mkl")
        self.n = len(indptr) - 1
        self._pattern = indptr, indices
        self.dtype = np.dtype(np.float64 if real else np.complex128)
        self._threads = threads
        self.single, self.positive = single, positive
        self._factorised = self._kept = False
        self._values = self._nothing()
        self._begin(np.int32 if len(indices) < MOST_SHORT else np.int64)
        if (
            self.index_type == np.int32
            and 1024.0 * self._iparm[16] / self._factor_type.itemsize > MOST_SHORT
        ):
            self.close()
            self._begin(np.int64)

    @property
    def index_type(self):
        """Type of whole numbers: of four bytes, or of eight where those are too short."""
        return self._iparm.dtype

    @property
    def _factor_type(self):
        """The type of the factors."""
        return np.dtype(f"{self.dtype.kind}{self.dtype.itemsize // (1 + self.single)}")

    def _nothing(self):
        """Return zeros that MKL may read as elements; unless written to they take no memory."""
        return np.zeros(len(self._pattern[1]), dtype=self._factor_type)

    def _begin(self, number):
        """Analyse the pattern, with whole numbers of a type."""
        self._ia, self._ja = (np.ascontiguousarray(a, dtype=number) for a in self._pattern)
        self._pt = np.zeros(64, dtype=np.int64)
        self._iparm = np.zeros(64, dtype=number)
        for place, value in (
            (1, 1),  # the values that follow, not the defaults
            (2, 3),  # parallel nested dissection
            (8, 0),  # no refinement unless pivots were perturbed
            (10, 7 if self.single else 13),  # pivots below 1e-13 of the norm are perturbed
            (11, 0),  # no scaling, no matching
            (13, 0),
            (21, 1),  # pivots of Bunch and Kaufman
            (24, 0),  # one level: two of them take a third off the solves, and many digits
            (28, int(self.single)),
            (35, 1),  # indices from 0
        ):
            self._iparm[place - 1] = value
        self._call(ANALYSE)

    @property
    def negative(self):
        """Number of eigenvalues of the matrix below zero, or None if the factor D is unclear."""
        if self.positive:
            return 0
        if self.dtype.kind == "f":
            return int(self._iparm[22])
        # MKL leaves the first column in the order of its pivots, the others not
        return count_negative(self._solutions(SOLVE_D, probe_vectors(self.n))[:, 1:])

    def factorise(self, values, keep=True):
        """Factorise a matrix of the pattern.

        Parameters
        ----------
        values : (nnz,) array
            Its elements, not to change while the factors are in use.
        keep : bool
            Keep the elements, without which the number of threads must stay: they have no part in
            solutions that are not refined.

        Raises
        ------
        SingularError
            If pivots vanish, or the matrix had to be positive definite, and is not.
        """
        self._values = np.ascontiguousarray(values, dtype=self._factor_type)
        self._factorised = True
        self._call(FACTORISE)
        if self._iparm[13]:  # perturbed pivots
            raise SingularError
        self._kept = keep
        if not keep:
            self._values = self._nothing()

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
        return self._solutions(SOLVE, right)

    def solve_upper(self, right):
        """Solve Lᴴ P x = b, where Pᵀ L Lᴴ P is the last matrix, which is positive definite.

        Parameters
        ----------
        right : (n, b) array
            Right-hand sides.

        Returns
        -------
        (n, b) array
            Solutions.
        """
        return self._solutions(SOLVE_UPPER, right)

    def _solutions(self, phase, right):
        columns = np.asfortranarray(right, dtype=self._values.dtype)
        out = np.empty_like(columns, order="F")
        self._call(phase, columns, out)
        return out

    @property
    def memory(self):
        """Bytes that analysis, factorisation and factors need at most, as MKL estimates."""
        return 1024.0 * max(self._iparm[14], self._iparm[15] + self._iparm[16])

    def forget(self):
        """Free the memory of factors, not the analysis of the pattern."""
        if self._factorised:
            self._call(FORGET)
            self._values, self._factorised = self._nothing(), False

    def close(self):
        """Free all memory."""
        if self._pt.any():
            self._call(RELEASE)
            self._pt[:] = 0

    def __del__(self):
        """Free all memory."""
        # when Python ends, the system takes the memory
        if hasattr(self, "_values") and not sys.is_finalizing():
            self.close()

    def _call(self, phase, right=None, out=None):
        """Call Pardiso."""
        with mkl_threads(self._mkl, self._threads) as threads:
            if phase == ANALYSE:
                self._analysed_by = threads
            elif phase not in (FORGET, RELEASE) and threads != self._analysed_by:
                self._analyse_again(phase)
            self._run(phase, right, out)

    def _analyse_again(self, phase):
        """Begin anew: Pardiso crashes if it finds other threads than its analysis did."""
        if phase != FACTORISE and not self._kept:
            raise MoireioError(
                "MKL's number of threads changed while factors were in use",
                remedy="leave it as it is",
            )
        self.close()
        self._call(ANALYSE)
        if phase != FACTORISE:
            self._call(FACTORISE)

    def _run(self, phase, right, out):
        """Call Pardiso, with the present number of threads."""
        kind = KINDS[self.dtype.kind == "c", self.positive]
        number = ctypes.c_int32 if self.index_type == np.int32 else ctypes.c_int64
        run = self._mkl.pardiso if self.index_type == np.int32 else self._mkl.pardiso_64
        one, zero, error = number(1), number(0), number(0)
        count = number(1 if right is None else right.shape[1])
        void = np.zeros(1, dtype=self._values.dtype)
        right, out = (void if a is None else a for a in (right, out))
        reference, pointer = ctypes.byref, mkl.pointer
        run(
            pointer(self._pt),
            reference(one),
            reference(one),
            reference(number(kind)),
            reference(number(phase)),
            reference(number(self.n)),
            pointer(self._values),
            pointer(self._ia),
            pointer(self._ja),
            pointer(np.zeros(1, dtype=self._iparm.dtype)),
            reference(count),
            pointer(self._iparm),
            reference(zero),
            pointer(right),
            pointer(out),
            reference(error),
        )
        if error.value == ZERO_PIVOT:
            raise SingularError
        if error.value:
            text = ERRORS.get(error.value, f"error {error.value}")
            raise MoireioError(f"Pardiso could not factorise the matrix: {text}")


def probe_vectors(n):
    """Return zeros, ones, and the binary digits of row numbers: D follows from its products.

    Parameters
    ----------
    n : int
        Rows.

    Returns
    -------
    (n, 2 + digits) array
        A vector in each column.
    """
    digits = (np.arange(n)[:, None] >> np.arange(max(1, (n - 1).bit_length()))) & 1
    return np.concatenate([np.zeros((n, 1)), np.ones((n, 1)), digits], axis=1)


def count_negative(products):
    """Return the number of eigenvalues of a Hermitian D below zero.

    D has blocks of one row, or of two rows that stand anywhere. In row i with the elements a on
    the diagonal and b in column p, D·1 is a + b, and D times a digit is a + b, a, b or 0: less the
    digit of i times a + b it is ±b where the digits of i and p differ, else 0.

    Parameters
    ----------
    products : (n, 1 + digits) array
        D times `probe_vectors` without the zeros.

    Returns
    -------
    int or None
        None if D is not such.
    """
    n = len(products)
    eps = 1e3 * np.finfo(products.dtype).eps
    own = probe_vectors(n)[:, 2:]
    one = products[:, 0].astype(np.complex128)
    change = products[:, 1:] - own * one[:, None]
    size = np.abs(change)
    most = size.max(axis=1)
    rows = np.flatnonzero(most > eps * np.abs(one))
    differs = size[rows] > most[rows, None] / 2
    partner = np.arange(n)
    partner[rows] ^= differs @ (1 << np.arange(own.shape[1]))
    if partner.max(initial=0) >= n:
        return None
    b = np.zeros(n, dtype=np.complex128)
    column = size[rows].argmax(axis=1)
    b[rows] = change[rows, column] * (1 - 2 * own[rows, column])
    # beside a large a, b is only seen from the other row
    unseen = rows[partner[partner[rows]] != rows]
    unseen = unseen[partner[partner[unseen]] == partner[unseen]]
    partner[partner[unseen]] = unseen
    b[partner[unseen]] = b[unseen].conj()
    a = one - b
    scale = np.abs(a) + np.abs(b)
    wrong = np.abs(b - b[partner].conj()) > eps * np.maximum(scale, scale[partner])
    wrong |= (np.abs(a.imag) > eps * scale) | (partner[partner] != np.arange(n))
    expected = b[:, None] * (own[partner] - own)
    wrong |= (np.abs(change - expected) > eps * scale[:, None]).any(axis=1)
    if wrong.any():
        return None
    a = a.real
    first = np.flatnonzero(partner > np.arange(n))
    single = partner == np.arange(n)
    determinant = a[first] * a[partner[first]] - np.abs(b[first]) ** 2
    both = 2 * ((determinant > 0) & (a[first] < 0)).sum()
    return int((a[single] < 0).sum() + (determinant < 0).sum() + both)


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
            Number of eigenvalues below zero.
        """
        real, imaginary = values.real, values.imag[self._off]
        whole = np.concatenate([real, real, -imaginary, imaginary])
        self._factor.factorise(whole[self._order])
        if self._factor.negative % 2:  # one of two copies: an eigenvalue is zero to rounding
            raise SingularError
        return self._factor.negative // 2
