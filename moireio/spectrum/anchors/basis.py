"""The space that the anchors' states span."""

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

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
    new = states / np.linalg.norm(states, axis=0)
    for dropped in (DROPPED, 0.0):  # twice is enough, as of Kahan and Parlett
        if basis is not None:
            new = new - basis @ (basis.conj().T @ new)
        sizes, turn = eigh(new.conj().T @ new)  # squares of singular values
        kept = sizes > dropped**2
        new = new @ (turn[:, kept] / np.sqrt(sizes[kept]))
    return new if basis is None else np.concatenate([basis, new], axis=1)
