"""Factors of matrices of one sparse pattern, by Pardiso where MKL is installed, else by SuperLU."""

import numpy as np

from moireio.solvers import mkl, pardiso
from moireio.solvers.superlu import DenseCounter, SuperLUFactor

# Orbitals up to which analyses of all kinds are kept: real and complex, of both precisions; each
# takes a fifth of the memory of factors.
LARGEST = 6000


class Factoriser:
    """Factorises matrices of a pencil's pattern; the analysis of the pattern is kept.

    Parameters
    ----------
    pencil : moireio.solvers.pencil.Pencil
        With the pattern.
    threads : int
        Threads of MKL.
    """

    def __init__(self, pencil, threads):
        self._pattern = pencil.indptr, pencil.indices
        self._threads = threads
        self._mkl = mkl.library() is not None
        self._kind, self._factors, self._counter = None, {}, None

    def prepared(self, real, single):
        """Return the object that factorises matrices, its analysis done.

        Parameters
        ----------
        real : bool
            Real matrices; else complex ones.
        single : bool
            Factors in single precision; with MKL only.

        Returns
        -------
        PardisoFactor or SuperLUFactor
            Without factors, or with those of the last matrix.
        """
        if self._kind != (real, single):
            self.forget()  # only one kind at a time: they are large
            if len(self._pattern[0]) > LARGEST:
                self._factors.clear()
            self._kind = real, single
        if self._kind not in self._factors:
            if self._mkl:
                factor = pardiso.PardisoFactor(*self._pattern, real, self._threads, single=single)
            else:
                factor = SuperLUFactor(*self._pattern, real)
            self._factors[self._kind] = factor
        return self._factors[self._kind]

    def factorise(self, values, single=False, keep=True):
        """Factorise a matrix.

        Parameters
        ----------
        values : (nnz,) array
            Elements of the upper triangle.
        single : bool
            Factors in single precision; with MKL only.
        keep : bool
            Keep the elements (see `PardisoFactor.factorise`).

        Returns
        -------
        PardisoFactor or SuperLUFactor
            With its factors.

        Raises
        ------
        SingularError
            If the matrix is singular.
        """
        factor = self.prepared(not np.iscomplexobj(values), single)
        factor.factorise(values, keep)
        return factor

    def negative(self, factor, values):
        """Return the number of negative eigenvalues of a matrix.

        Parameters
        ----------
        factor : object
            Its factors, whose `negative` is the number, or None where factors give no inertia.
        values : (nnz,) array
            Elements of the upper triangle.

        Returns
        -------
        int
            Eigenvalues below zero.
        """
        if factor.negative is not None:
            return factor.negative
        if self._counter is None:
            if self._mkl:
                self._counter = pardiso.Counter(*self._pattern, self._threads)
            else:
                self._counter = DenseCounter(*self._pattern)
        return self._counter(values)

    def give_away(self):
        """Make new factors beside the last ones, which are freed with their last reference.

        Returns
        -------
        float
            Bytes that the last ones take, about.
        """
        return self._factors.pop(self._kind).memory

    def forget(self):
        """Free the memory of factors, not the analysis of the pattern."""
        if self._kind in self._factors:
            self._factors[self._kind].forget()
