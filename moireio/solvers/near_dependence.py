"""Orbitals that nearly depend on each other: small eigenvalues of S, and how to remove them.

An error δ of H moves a level of such a combination by δ over the eigenvalue of S: states far below
and above all others, and nonsense between them. Canonical orthogonalisation (Löwdin, Adv. Phys. 5,
1 (1956)) leaves the combinations out: the problem is solved among the eigenvectors of S whose
eigenvalues exceed a cutoff.
"""

import numpy as np

from moireio.solvers.lanczos import lanczos

NEAR_DEPENDENCE = 1e-5  # eigenvalues of S below it are reported; usual bases have 1e-3 to 1e-2
ITERATIONS, COLUMNS = 8, 4
DISTANCE = 3e-5  # of the shift from zero: beyond what Lanczos takes for a hit


def smallest_eigenvalue(solve, n_orbitals, dtype):
    """Estimate the size of the smallest eigenvalue of a Hermitian matrix.

    Inverse iteration with a few vectors.

    Parameters
    ----------
    solve : callable
        From (n_orbitals, b) right-hand sides to solutions with the matrix.
    n_orbitals : int
        Rows of the matrix.
    dtype : numpy dtype
        Type of the vectors.

    Returns
    -------
    float
        Never below the true one, but for rounding.
    """
    rng = np.random.default_rng(0)
    columns = min(COLUMNS, n_orbitals)
    vectors = np.linalg.qr(rng.normal(size=(n_orbitals, columns)).astype(dtype))[0]
    largest = 0.0  # eigenvalue of the inverse
    for _ in range(ITERATIONS):
        solutions = solve(vectors)
        estimate = np.abs(np.linalg.eigvalsh(vectors.conj().T @ solutions)).max()
        if estimate <= largest * 1.001:
            break
        largest = float(estimate)
        vectors = np.linalg.qr(solutions)[0]
    return 1 / largest if largest > 0 else 0.0


def canonical_orthogonalisation(h, s, cutoff):
    """Return H among the eigenvectors of S above a cutoff, scaled to unit norm.

    Parameters
    ----------
    h, s : (n, n) arrays
        H and S, of which the upper triangles are read.
    cutoff : float
        Smallest eigenvalue of S that is kept.

    Returns
    -------
    h : (m, m) array
        Hamiltonian of an ordinary eigenproblem.
    basis : (n, m) array
        From its states to those of H and S.
    values : (n,) array
        Eigenvalues of S, ascending.
    """
    from scipy.linalg import eigh

    values, vectors = eigh(s, lower=False, check_finite=False)
    basis = vectors[:, values > cutoff] / np.sqrt(values[values > cutoff])
    h = np.triu(h) + np.triu(h, 1).conj().T
    reduced = basis.conj().T @ (h @ basis)
    return (reduced + reduced.conj().T) / 2, basis, values


def small_eigenvectors(factorise, n_orbitals, cutoff, count):
    """Return the eigenvectors of S below a cutoff.

    Parameters
    ----------
    factorise : callable
        From a number to the factors of S less this number times one.
    n_orbitals : int
        Rows of S.
    cutoff : float
        Largest eigenvalue wanted.
    count : int
        How many eigenvalues are smaller.

    Returns
    -------
    values : (count,) array
        The eigenvalues.
    vectors : (n_orbitals, count) array
        Orthonormal.
    """
    shift = -max(cutoff, DISTANCE)
    factor = factorise(shift)
    block = min(max(count, COLUMNS), 40)
    values, vectors = lanczos(
        factor.solve,
        np.copy,
        n_orbitals,
        factor.dtype,
        shift,
        lambda values: len(values) == n_orbitals or (values < cutoff).sum() >= count,
        block,
    )
    wanted = values < cutoff
    return values[wanted], vectors[:, wanted]


class ProjectedFactor:
    """Solutions with a Hermitian matrix A among the vectors orthogonal to V.

    With the bordered matrix (A, V; Vᴴ, 0): x = A⁻¹b − A⁻¹V G⁻¹ VᴴA⁻¹b, G = VᴴA⁻¹V.

    Parameters
    ----------
    factor : object
        Factors of A, with `solve` and `dtype`.
    vectors : (n, m) array
        V, orthonormal.
    """

    def __init__(self, factor, vectors):
        self._factor, self._vectors = factor, vectors
        self.dtype = factor.dtype
        self._images = factor.solve(vectors)
        g = vectors.conj().T @ self._images
        self._g = (g + g.conj().T) / 2

    def negative(self, negative_of_a):
        """Return how many eigenvalues lie below zero.

        Haynsworth's additivity: the bordered matrix has those of A and of −G, and each of its
        borders one of either sign besides those of A among the vectors.

        Parameters
        ----------
        negative_of_a : int
            Eigenvalues of A below zero.

        Returns
        -------
        int
            Those of A among the vectors orthogonal to V.
        """
        return negative_of_a - int((np.linalg.eigvalsh(self._g) < 0).sum())

    def solve(self, right):
        """Solve.

        Parameters
        ----------
        right : (n, b) array
            Right-hand sides.

        Returns
        -------
        (n, b) array
            Solutions, orthogonal to V.
        """
        x = self._factor.solve(right)
        x = x - self._images @ np.linalg.solve(self._g, self._vectors.conj().T @ x)
        return x - self._vectors @ (self._vectors.conj().T @ x)
