"""The space that the anchors' states span."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

DROPPED = 1e-6  # share of a unit vector that must be new
ROWS = 1024  # of a basis, treated at once: what is in single precision is copied to double


def slabs(begin: int, end: int) -> Iterator[slice]:
    """Return some consecutive rows as slices so short that copies of them stay in the cache.

    Parameters
    ----------
    begin, end : int
        The first row, and the one after the last.

    Yields
    ------
    slice
        Rows.
    """
    for first in range(begin, end, ROWS):
        yield slice(first, min(first + ROWS, end))


def joined(
    basis: npt.NDArray | None, states: npt.NDArray, kind: npt.DTypeLike = np.complex128
) -> npt.NDArray[np.complexfloating]:
    """Add states to an orthonormal basis.

    Parameters
    ----------
    basis : (n, m) array or None
        Orthonormal columns; None to begin with.
    states : (n, c) array
        Cell-periodic parts of states.
    kind : numpy dtype
        Type of the result.

    Returns
    -------
    (n, m') array
        Orthonormal columns; what the basis had already, to one part in 10⁶, is not added.
    """
    new = (states / np.linalg.norm(states, axis=0)).astype(np.complex128, copy=False)
    for dropped in (DROPPED, 0.0):  # twice is enough, as of Kahan and Parlett
        if basis is not None:
            share = sum(basis[rows].conj().T @ new[rows] for rows in slabs(0, len(new)))
            new = new - combined(basis, share)
        sizes, turn = eigh(new.conj().T @ new)  # squares of singular values
        kept = sizes > dropped**2
        new = new @ (turn[:, kept] / np.sqrt(sizes[kept]))
    new = new.astype(kind, copy=False)
    return new if basis is None else np.concatenate([basis, new], axis=1)


def combined(basis: npt.NDArray, inner: npt.NDArray) -> npt.NDArray[np.complex128]:
    """Return combinations of a basis in double precision.

    Parameters
    ----------
    basis : (n, m) array
        In single or double precision.
    inner : (m, c) array
        One in a column.

    Returns
    -------
    (n, c) array
        The combinations.
    """
    out = np.empty((len(basis), inner.shape[1]), np.complex128)
    for rows in slabs(0, len(basis)):
        np.matmul(basis[rows], inner, out=out[rows])
    return out


def weighted(
    weights: npt.NDArray[np.float64], matrices: npt.NDArray[np.complex128]
) -> npt.NDArray[np.complex128]:
    """Return a sum of complex arrays with real weights: half the work of complex ones.

    Parameters
    ----------
    weights : (p,) array
        Real.
    matrices : (p, …) array
        Complex, contiguous.

    Returns
    -------
    (…) array
        Σ weight × matrix.
    """
    rows = matrices.reshape(len(weights), -1).view(float)
    return np.asarray((weights @ rows).view(complex).reshape(matrices.shape[1:]))
