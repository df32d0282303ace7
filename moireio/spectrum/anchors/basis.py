"""The space that the anchors' states span."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import qr, svd

DROPPED = 1e-6  # share of a unit vector that must be new


def joined(basis: npt.NDArray | None, states: npt.NDArray) -> npt.NDArray[np.complex128]:
    """Add states to an orthonormal basis.

    Parameters
    ----------
    basis : (n, m) array or None
        Orthonormal columns; None to begin with.
    states : (n, c) array
        Cell-periodic parts of states.

    Returns
    -------
    (n, m') array
        Orthonormal columns; what the basis had already, to one part in 10⁶, is not added.
    """
    rest = states / np.linalg.norm(states, axis=0)
    for _ in range(2):  # twice is enough, as of Kahan and Parlett
        if basis is not None:
            rest = rest - basis @ (basis.conj().T @ rest)
    q, r = qr(rest, mode="economic", overwrite_a=True, check_finite=False)
    u, sizes, _ = svd(r, full_matrices=False)
    new = q @ u[:, sizes > DROPPED]
    if basis is None:
        return new
    new -= basis @ (basis.conj().T @ new)
    new /= np.linalg.norm(new, axis=0)
    return np.concatenate([basis, new], axis=1)
