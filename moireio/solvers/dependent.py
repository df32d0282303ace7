"""Orbitals that nearly depend on each other: small eigenvalues of S, and what to do about them.

An error δ of H moves a level of such a combination by δ over the eigenvalue of S: states far below
and above all others, and nonsense between them. Canonical orthogonalisation (Löwdin, Adv. Phys. 5,
1 (1956)) leaves the combinations out: the problem is solved among the eigenvectors of S whose
eigenvalues exceed a cutoff.
"""

import numpy as np

from moireio.solvers.lanczos import lanczos

NEARLY = 1e-5  # eigenvalues of S below it are told; usual bases have 1e-3 to 1e-2
ITERATIONS, COLUMNS = 8, 4
DISTANCE = 3e-5  # of the shift from zero: beyond what Lanczos takes for a hit


def least_eigenvalue(solve, n, dtype):
    """Return about the smallest eigenvalue of a positive definite matrix.

    Inverse iteration with a few vectors.

    Parameters
    ----------
    solve : callable
        From (n, b) right-hand sides to solutions with the matrix.
    n : int
        Its size.
    dtype : numpy dtype
        Of the vectors.

    Returns
    -------
    float
        Never below the true one, but for rounding.
    """
    rng = np.random.default_rng(0)
    vectors = np.linalg.qr(rng.normal(size=(n, min(COLUMNS, n))).astype(dtype))[0]
    largest = 0.0
    for _ in range(ITERATIONS):
        made = solve(vectors)
        found = np.linalg.eigvalsh(vectors.conj().T @ made)[-1].real
        if found <= largest * 1.001:
            break
        largest = found
        vectors = np.linalg.qr(made)[0]
    return 1 / largest if largest > 0 else 0.0


def canonical(h, s, cutoff):
    """Return H among the eigenvectors of S above a cutoff, scaled to unit norm.

    Parameters
    ----------
    h, s : (n, n) arrays
        Of which the upper triangles are read.
    cutoff : float
        Of the eigenvalues of S.

    Returns
    -------
    h : (m, m) array
        The Hamiltonian of an ordinary eigenproblem.
    basis : (n, m) array
        From its states to those of H and S.
    values : (n,) array
        The eigenvalues of S, ascending.
    """
    from scipy.linalg import eigh

    values, vectors = eigh(s, lower=False, check_finite=False)
    basis = vectors[:, values > cutoff] / np.sqrt(values[values > cutoff])
    h = np.triu(h) + np.triu(h, 1).conj().T
    made = basis.conj().T @ (h @ basis)
    return (made + made.conj().T) / 2, basis, values


def small_vectors(factorise, n, cutoff, below):
    """Return the eigenvectors of S below a cutoff.

    Parameters
    ----------
    factorise : callable
        From a number to the factors of S less this number times one.
    n : int
        Size of S.
    cutoff : float
        Of its eigenvalues.
    below : int
        How many are smaller.

    Returns
    -------
    values : (below,) array
        The eigenvalues.
    vectors : (n, below) array
        Orthonormal.
    """
    shift = -max(cutoff, DISTANCE)
    factor = factorise(shift)
    block = min(max(below, COLUMNS), 40)
    values, vectors = lanczos(
        factor.solve,
        np.copy,
        n,
        factor.dtype,
        shift,
        lambda found: len(found) == n or (found < cutoff).sum() >= below,
        block,
    )
    wanted = values < cutoff
    return values[wanted], vectors[:, wanted]


class Restricted:
    """Solutions with a Hermitian matrix A among vectors orthogonal to some others, V.

    With the bordered matrix (A, V; Vᴴ, 0): x = A⁻¹b − A⁻¹V G⁻¹ VᴴA⁻¹b, G = VᴴA⁻¹V.

    Parameters
    ----------
    factor : object
        Factors of A.
    vectors : (n, m) array
        V, orthonormal.
    """

    def __init__(self, factor, vectors):
        self._factor, self._vectors = factor, vectors
        self.dtype = factor.dtype
        self._images = factor.solve(vectors)
        g = vectors.conj().T @ self._images
        self._g = (g + g.conj().T) / 2

    def negative(self, whole):
        """Return how many eigenvalues there are below zero.

        Haynsworth's additivity: the bordered matrix has those of A and of −G, and each of its
        borders one of either sign besides those of A among the vectors.

        Parameters
        ----------
        whole : int
            How many A has.

        Returns
        -------
        int
            How many of them are left.
        """
        return whole - int((np.linalg.eigvalsh(self._g) < 0).sum())

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
        found = self._factor.solve(right)
        found = found - self._images @ np.linalg.solve(self._g, self._vectors.conj().T @ found)
        return found - self._vectors @ (self._vectors.conj().T @ found)
