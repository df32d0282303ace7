"""H(k) and S(k) in one sparse pattern."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array, triu

from moireio.operators.blocks import block_offsets
from moireio.solvers.near_dependence import NEAR_DEPENDENCE, canonical_orthogonalisation

LOCAL = 1000  # orbitals
# Shares of all levels: how far from the one that is looked for a gap may be, and those in it; its
# width, at least, eV, and as a multiple of that of as many levels elsewhere.
NEAR_GAP, IN_GAP = 0.015, 0.001
LEAST_GAP, CONTRAST = 0.3, 3


@dataclass(frozen=True, eq=False)
class LocalLevels:
    """About how the levels of a cell are distributed, from those of some of its atoms.

    Parameters
    ----------
    energies : (m,) array
        eV, ascending.
    shares : (m,) array
        Share of all levels below each of them.
    """

    energies: npt.NDArray
    shares: npt.NDArray

    def level(self, share, energy=None, known=None):
        """Return an energy below which a share of all levels lies.

        Parameters
        ----------
        share : float
            That share.
        energy, known : float, optional
            Another energy, eV, and the share that was counted below it, by which the distribution
            is corrected.

        Returns
        -------
        float
            eV.
        """
        if energy is not None:
            share += float(np.interp(energy, self.energies, self.shares)) - known
        return float(np.interp(min(max(share, 0.0), 1.0), self.shares, self.energies))

    def gap(self, share):
        """Return an energy in a gap of the cell, if one is near a share of all levels.

        What else these atoms have in it, states of their surface, are few levels. Shares are wrong
        by about a percent, the energies of a wide gap by less than its width.

        Parameters
        ----------
        share : float
            Share of all levels.

        Returns
        -------
        float or None
            eV, a quarter of the gap from the end next to the level with that share.
        """
        near = slice(*np.searchsorted(self.shares, [share - NEAR_GAP, share + NEAR_GAP]))
        energies, shares = self.energies[near], self.shares[near]
        if len(energies) < 2:
            return None
        last = np.searchsorted(shares, shares + IN_GAP, side="right") - 1
        widths = energies[last] - energies
        widest = int(np.argmax(widths))
        usual = (energies[-1] - energies[0]) * IN_GAP / max(shares[-1] - shares[0], IN_GAP)
        if widths[widest] < max(LEAST_GAP, CONTRAST * usual):
            return None
        low, high = energies[widest], energies[last[widest]]
        inside = (high - low) / 4
        return float(low + inside if share < shares[widest] + IN_GAP / 2 else high - inside)


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
        n = problem.n_orbitals
        diagonal = np.arange(n) * (n + 1)
        codes = []
        for operator in self._sums:
            if operator is None:
                codes.append(diagonal)
                continue
            indptr, indices = operator.upper_pattern()
            codes.append(np.repeat(np.arange(n), np.diff(indptr)) * n + indices)
        alike = np.array_equal(*codes)
        if (alike or _within(codes[0], codes[1])) and _within(codes[0], diagonal):
            union = codes[0]
        else:
            union = np.unique(np.concatenate([*codes, diagonal]))
        short = np.int32 if len(union) < 2**31 else np.int64
        # None: the elements of an operator are all of the pattern
        self._places = tuple(
            None if len(c) == len(union) else np.searchsorted(union, c).astype(short) for c in codes
        )
        del codes
        #: Elements of the pattern, those left out included.
        self.n_elements = len(union)
        self._kept = None
        if drop > 0:
            self._kept = np.flatnonzero(self._large(union, diagonal, drop))
            union = union[self._kept]
        self.indptr = np.searchsorted(union, np.arange(n + 1) * n)
        union %= n
        self.indices = union.astype(short)
        self._count = len(union)
        self._every = Pencil(problem) if drop > 0 else self
        self._last = None, None
        self._whole = self._spin_overlap = None

    def _large(self, union, diagonal, drop):
        """Return which elements are not to be left out."""
        large = np.zeros(len(union), dtype=bool)
        large[np.searchsorted(union, diagonal)] = True
        for operator, place in zip(self._sums, self._places, strict=True):
            if operator is not None:
                kept = operator.upper_magnitudes() >= drop
                large[slice(None) if place is None else place] |= kept
        return large

    def corrected(self, problem, levels, states):
        """Return the energies that states have with all elements of H and S.

        cᴴHc / cᴴSc: to first order in what was left out.

        Parameters
        ----------
        problem : EigenProblem
            H and S of this pattern.
        levels : (nb,) array
            Without them, eV.
        states : (n, nb) array
            States of these levels.

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

    def local_levels(self, h, s):
        """Return the distribution of levels as seen from one orbital.

        By the states of it and its neighbours alone. What these states have on half of the
        orbitals counts, those that miss fewest of their own neighbours: the others have levels
        that the whole cell has not.

        Parameters
        ----------
        h, s : (nnz,) arrays
            Elements of H and S.

        Returns
        -------
        LocalLevels
            About that of all levels.
        """
        from scipy.linalg import eigh

        n = len(self.indptr) - 1
        pattern = csr_array((np.ones(self._count, np.float32), self.indices, self.indptr), (n, n))
        back = pattern.T
        chosen = np.zeros(n, dtype=bool)
        chosen[0] = True
        while True:  # neighbours of neighbours
            reached = (pattern @ chosen + back @ chosen) > 0
            if (reached.sum() > LOCAL and chosen.sum() > 1) or (reached == chosen).all():
                break
            chosen = reached
        members = np.flatnonzero(chosen)
        if len(members) < 2:
            return LocalLevels(h[:1].real, np.array([0.5]))
        matrices = []
        for values in (h, s):
            upper = csr_array((values, self.indices, self.indptr), (n, n))[members][:, members]
            matrices.append(upper.toarray() + triu(upper, 1).conj().T.toarray())
        try:
            levels, states = eigh(*matrices)
        except np.linalg.LinAlgError:
            levels = np.linalg.eigvalsh(canonical_orthogonalisation(*matrices, NEAR_DEPENDENCE)[0])
            return LocalLevels(levels, np.linspace(0, 1, len(levels)))
        if len(members) == n:
            return LocalLevels(levels, np.linspace(0, 1, n))
        neighbours = (pattern @ chosen + back @ chosen)[members]
        inner = np.argsort(-neighbours, kind="stable")[: len(members) // 2]
        weights = (states.conj() * (matrices[1] @ states)).real[inner].sum(axis=0) / len(inner)
        weights = np.maximum(weights, 0)
        return LocalLevels(levels, np.cumsum(weights) - weights / 2)

    def fits(self, problem):
        """Return whether a problem has this pattern."""
        return problem.hamiltonian is self._sums[0] and problem.overlap is self._sums[1]

    def memory(self, itemsize, single, economical, products=False):
        """Return about how many bytes matrices and patterns take beside factors.

        Parameters
        ----------
        itemsize : int
            Bytes of an element in double precision.
        single : bool
            Factors in single precision, whose solutions are corrected with H − σS.
        economical : bool
            Products with upper triangles only.
        products : bool
            A problem has products of its own.

        Returns
        -------
        factorising, solving : int
            Bytes.
        """
        count, patterns = self._count, 20  # bytes of whole matrices' indices and places
        held = self.indices.nbytes + sum(p.nbytes for p in self._places if p is not None)
        held += sum(operator.nbytes for operator in self._sums if operator is not None)
        if self._kept is not None:
            held += self._every.memory(itemsize, False, True)[0] + self._kept.nbytes
        own, whole, products = products, False, 0
        if single and not own:
            whole = not economical
            products += count * itemsize * (2 if whole else 1)
        if self.repeats():  # a quarter of the elements, with columns and their order
            products += count // 4 * (itemsize + 8) * (1 if economical else 2)
        elif self._sums[1] is not None and not own:
            whole |= not economical
            products += count * itemsize * (1 if economical else 2)
        if whole:
            products += count * (patterns + itemsize)  # and what they are made of
        factorised = count * itemsize * ((1 if own else 3) if single else 2) // 2
        return held + factorised, held + products

    def repeats(self):
        """Return whether S is the same for each of two spins."""
        if self._kept is not None or self._sums[1] is None:
            return False
        return self._one_spin()[0].n_orbitals < len(self.indptr) - 1

    def values(self, problem):
        """Return the elements of H and S at a problem's k, in the common pattern."""
        return [self._spread(n, part) for n, part in enumerate(self._parts(problem))]

    def shifted(self, problem, sigma, keep=True):
        """Return the elements of H − σS at a problem's k, in the common pattern.

        Parameters
        ----------
        problem : EigenProblem
            H and S of this pattern.
        sigma : float
            eV.
        keep : bool
            Keep H and S for another shift; else they are made anew, and freed.

        Returns
        -------
        (nnz,) array
            A new one.
        """
        if keep:
            h, s = self._parts(problem)
        else:
            self._last = None, None
            h, s = (self._assemble(problem, n) for n in (0, 1))
        out = self._spread(0, h)
        out = out.astype(np.result_type(h, s), copy=keep and out is h)
        whole = self._places[1] is None or len(s) == self._count
        out[slice(None) if whole else self._places[1]] -= sigma * s
        return out

    def overlap_values(self, problem):
        """Return the elements of S alone, as `values`."""
        kept = self._last[0] is problem
        return self._spread(1, self._last[1][1] if kept else self._assemble(problem, 1))

    def _parts(self, problem):
        """Return the elements of H and S, those that each has."""
        if self._last[0] is not problem:
            self._last = None, None  # their memory first
            self._last = problem, [self._assemble(problem, n) for n in (0, 1)]
        return self._last[1]

    def _assemble(self, problem, which):
        operator = self._sums[which]
        if self._kept is not None:
            every = self._every
            return every._spread(which, every._assemble(problem, which))[self._kept]
        return (
            np.ones(len(self.indptr) - 1) if operator is None else operator.upper_values(problem.k)
        )

    def _spread(self, which, values):
        """Return elements of H or S in the common pattern."""
        place = self._places[which]
        if place is None or len(values) == self._count:
            return values
        out = np.zeros(self._count, dtype=values.dtype)
        out[place] = values
        return out

    def overlap(self, problem, economical=False):
        """Return S at a problem's k, of one spin if it repeats for both.

        Parameters
        ----------
        problem : EigenProblem
            H and S of this pattern.
        economical : bool
            The upper triangle suffices.

        Returns
        -------
        matrix : scipy.sparse.csr_array
            S.
        rows : (spins, n/spins) array of int
            Rows of each spin.
        upper : bool
            It is the upper triangle.
        """
        if self.repeats():
            s, rows = self._one_spin()
            if economical:
                indptr, indices = s.upper_pattern()
                shape = s.n_orbitals, s.n_orbitals
                return csr_array((s.upper_values(problem.k), indices, indptr), shape), rows, True
            return s.csr(problem.k), rows, False
        values = self.overlap_values(problem)
        matrix = self.triangle(values) if economical else self.whole(values)
        return matrix, np.arange(problem.n_orbitals)[None], economical

    def upper_overlap(self, problem):
        """Return the upper triangle of S, of one spin if it repeats for both.

        Parameters
        ----------
        problem : EigenProblem
            H and S of this pattern.

        Returns
        -------
        indptr, indices, values : arrays
            Arrays of CSR, columns ascending.
        """
        if self.repeats():
            s, _ = self._one_spin()
            return *s.upper_pattern(), s.upper_values(problem.k)
        return self.indptr, self.indices, self.overlap_values(problem)

    def _one_spin(self):
        """Return S of one spin, and the rows of each."""
        if self._spin_overlap is None:
            self._spin_overlap = self._sums[1].one_spin()
        return self._spin_overlap

    def triangle(self, upper):
        """Return the upper triangle of a matrix of the pattern.

        Parameters
        ----------
        upper : (nnz,) array
            Its elements.

        Returns
        -------
        (n, n) scipy.sparse.csr_array
            It shares the arrays.
        """
        n = len(self.indptr) - 1
        return csr_array((upper, self.indices, self.indptr), shape=(n, n))

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
        indptr, indices, above, below, mirrored = self._whole
        values = np.empty(len(indices), dtype=upper.dtype)
        values[above] = upper
        values[below] = upper[mirrored].conj()
        n = len(indptr) - 1
        return csr_array((values, indices, indptr), shape=(n, n))

    def _both_triangles(self):
        """Return CSR's indptr and indices of a whole matrix, and where its elements come from.

        Those of the upper triangle go to `above`, those of it that `mirrored` names to `below`.
        """
        n = len(self.indptr) - 1
        short = np.int32 if 2 * self._count < 2**31 else np.int64
        upper = np.diff(self.indptr)
        # column by column: the lower triangle row by row
        place = np.arange(self._count, dtype=short)
        turned = csr_array((place, self.indices, self.indptr), (n, n)).T.tocsr()
        # the diagonal ends every row of the lower triangle, and is in the upper one already
        off = np.ones(self._count, dtype=bool)
        off[turned.indptr[1:] - 1] = False
        mirrored, rows = turned.data[off], turned.indices[off]
        lower = np.diff(turned.indptr) - 1
        indptr = block_offsets(upper + lower)
        above = _runs(indptr[:-1] + lower, upper).astype(short)
        below = _runs(indptr[:-1], lower).astype(short)
        indices = np.empty(indptr[-1], dtype=short)
        indices[above], indices[below] = self.indices, rows
        return indptr, indices, above, below, mirrored


class ProductPerSpin:
    """Products with a matrix that is the same for each spin and does not mix them.

    Parameters
    ----------
    product : callable
        From (m, b) vectors of one spin to products.
    rows : (spins, m) array of int
        Rows of each spin.
    """

    def __init__(self, product, rows):
        self._product, self._rows = product, rows

    def __call__(self, vectors):
        """Return the product with (n, b) vectors."""
        per_spin = self._product(np.concatenate([vectors[rows] for rows in self._rows], axis=1))
        out = np.empty(vectors.shape, dtype=per_spin.dtype)
        for rows, part in zip(self._rows, np.split(per_spin, len(self._rows), axis=1), strict=True):
            out[rows] = part
        return out


def _within(codes, others):
    """Return whether ascending numbers hold all of some others."""
    place = np.searchsorted(codes, others)
    place[place == len(codes)] = 0
    return len(codes) > 0 and bool((codes[place] == others).all())


def _runs(begins, lengths):
    """Return the members of runs of whole numbers, one run after another."""
    before = np.cumsum(lengths) - lengths
    return np.repeat(begins - before, lengths) + np.arange(lengths.sum())
