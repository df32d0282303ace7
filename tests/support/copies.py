"""Systems whose levels are degenerate."""

import numpy as np


class Copies:
    """Some copies of a Bloch sum as one, so that each level is as many times there."""

    def __init__(self, one, count):
        self._one, self._count, self.n_orbitals = one, count, count * one.n_orbitals
        self.is_real = one.is_real

    def upper_pattern(self):
        from scipy.sparse import block_diag, csr_array

        indptr, indices = self._one.upper_pattern()
        own = csr_array((np.ones(len(indices)), indices, indptr), shape=(self._one.n_orbitals,) * 2)
        whole = block_diag([own] * self._count).tocsr()
        whole.sort_indices()
        return whole.indptr.astype(np.int64), whole.indices.astype(np.int64)

    def upper_values(self, k):
        return np.tile(self._one.upper_values(k), self._count)

    def one_spin(self):
        return self, np.arange(self.n_orbitals)[None]

    def csr(self, k):
        from scipy.sparse import block_diag

        return block_diag([self._one.csr(k)] * self._count).tocsr()
