"""H(k) and S(k) in one sparse pattern."""

import numpy as np
from scipy.sparse import csr_array

from moireio.blocks import starts
from moireio.solvers.dependent import NEARLY, canonical

LOCAL = 1000  # orbitals


class Pencil:
    """The common pattern of H(k) and S(k): upper triangles with the whole diagonal.

    Parameters
    ----------
    problem : EigenProblem
        At any k.
    drop : float
        Elements of H below it in every cell, eV, are left out where those of S are below it too
        (as a number).
    """

    def __init__(self, problem, drop=0.0):
        self._sums = problem.hamiltonian, problem.overlap
        n = problem.size
        codes = []
        for one in self._sums:
            if one is None:
                codes.append(np.arange(n) * (n + 1))
                continue
            indptr, indices = one.upper_pattern()
            codes.append(np.repeat(np.arange(n), np.diff(indptr)) * n + indices)
        diagonal = np.arange(n) * (n + 1)
        same = codes[0].shape == codes[1].shape and (codes[0] == codes[1]).all()
        if same and np.isin(diagonal, codes[0], assume_unique=True).all():
            union, self._places = codes[0], (None, None)
        else:
            union = np.unique(np.concatenate([*codes, diagonal]))
            self._places = tuple(np.searchsorted(union, c) for c in codes)
        self.all = len(union)
        self._kept = None
        if drop > 0:
            self._kept = np.flatnonzero(self._large(union, diagonal, drop))
            union = union[self._kept]
        self.indptr = np.searchsorted(union, np.arange(n + 1) * n)
        self.indices = union - np.repeat(np.arange(n), np.diff(self.indptr)) * n
        self._count = len(union)
        self._every = Pencil(problem) if drop > 0 else self
        self._last = None, None
        self._whole = None

    def _large(self, union, diagonal, drop):
        """Return which elements are not to be left out."""
        large = np.zeros(len(union), dtype=bool)
        large[np.searchsorted(union, diagonal)] = True
        for one, place in zip(self._sums, self._places, strict=True):
            if one is not None:
                own = one.upper_magnitudes() >= drop
                large[slice(None) if place is None else place] |= own
        return large

    def corrected(self, problem, levels, states):
        """Return the energies that states have with all elements of H and S.

        cᴴHc / cᴴSc: to first order in what was left out.

        Parameters
        ----------
        problem : EigenProblem
            Of this pattern.
        levels : (nb,) array
            Without them, eV.
        states : (n, nb) array
            Of these levels.

        Returns
        -------
        (nb,) array
            Ascending, eV.
        """
        if self._kept is None:
            return levels
        every = self._every
        h, s = (every.whole(v) for v in every.values(problem))
        norms = np.real((states.conj() * (s @ states)).sum(axis=0))
        return np.sort(np.real((states.conj() * (h @ states)).sum(axis=0)) / norms)

    def local_level(self, h, s, share):
        """Return a level of some neighbouring orbitals by themselves.

        Parameters
        ----------
        h, s : (nnz,) arrays
            Elements of H and S.
        share : float
            Which: this share of their levels lies below it.

        Returns
        -------
        float
            eV.
        """
        from scipy.linalg import eigh

        h, s = self.whole(h), self.whole(s)
        chosen = np.zeros(h.shape[0], dtype=bool)
        chosen[0] = True
        pattern = csr_array((np.ones(h.nnz), h.indices, h.indptr), shape=h.shape)
        while True:  # neighbours of neighbours
            reached = pattern @ chosen > 0
            if (reached.sum() > LOCAL and chosen.sum() > 1) or (reached == chosen).all():
                break
            chosen = reached
        members = np.flatnonzero(chosen)
        if len(members) < 2:
            return float(h[0, 0].real)
        own = [m[members][:, members].toarray() for m in (h, s)]
        try:
            levels = eigh(*own, eigvals_only=True)
        except np.linalg.LinAlgError:
            levels = np.linalg.eigvalsh(canonical(*own, NEARLY)[0])
        return float(np.quantile(levels, min(max(share, 0.0), 1.0)))

    def fits(self, problem):
        """Tell whether a problem has this pattern."""
        return problem.hamiltonian is self._sums[0] and problem.overlap is self._sums[1]

    def values(self, problem):
        """Return the elements of H and S at a problem's k, in the common pattern."""
        if self._last[0] is not problem:
            self._last = problem, self._assemble(problem)
        return self._last[1]

    def overlap_values(self, problem):
        """Return the elements of S alone, as `values`."""
        return self._assemble(problem, [1])[0]

    def _assemble(self, problem, which=(0, 1)):
        if self._kept is not None:
            return [values[self._kept] for values in self._every._assemble(problem, which)]
        out = []
        for one, place in [(self._sums[n], self._places[n]) for n in which]:
            found = np.ones(len(self.indptr) - 1) if one is None else one.upper_values(problem.k)
            if place is not None:
                whole = np.zeros(self._count, dtype=found.dtype)
                whole[place] = found
                found = whole
            out.append(found.astype(np.complex128 if found.dtype.kind == "c" else np.float64))
        return out

    def overlap(self, problem):
        """Return S at a problem's k.

        Parameters
        ----------
        problem : EigenProblem
            Of this pattern.

        Returns
        -------
        (n, n) scipy.sparse.csr_array
            Both triangles.
        """
        return self.whole(self.values(problem)[1])

    def whole(self, upper):
        """Return a matrix of the pattern from its upper triangle.

        Parameters
        ----------
        upper : (nnz,) array
            Its elements.

        Returns
        -------
        (n, n) scipy.sparse.csr_array
            Both triangles.
        """
        if self._whole is None:
            self._whole = self._both_triangles()
        indptr, indices, order = self._whole
        values = np.concatenate([upper, upper[self._off].conj()])[order]
        n = len(indptr) - 1
        return csr_array((values, indices, indptr), shape=(n, n))

    def _both_triangles(self):
        """Return CSR's indptr and indices of a whole matrix, and where its elements stand."""
        n = len(self.indptr) - 1
        rows = np.repeat(np.arange(n), np.diff(self.indptr))
        self._off = np.flatnonzero(rows != self.indices)
        r, c = rows[self._off], self.indices[self._off]
        # row by row, and in a row first the lower triangle: both are sorted by column already
        back = np.argsort(c, kind="stable")
        upper, lower = np.diff(self.indptr), np.bincount(c, minlength=n)
        indptr = starts(upper + lower)
        order = np.empty(indptr[-1], dtype=np.int64)
        order[_runs(indptr[:-1] + lower, upper)] = np.arange(self._count)
        order[_runs(indptr[:-1], lower)] = self._count + back
        indices = np.concatenate([self.indices, r])[order]
        return indptr, indices, order


def _runs(begins, lengths):
    """Return the members of runs of whole numbers, one run after another."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(begins - before, lengths) + np.arange(lengths.sum())
