"""The space that the anchors' states span, with their changes."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from scipy.linalg import qr, svd

if TYPE_CHECKING:
    from moireio.spectrum.anchors.anchor import Anchor
    from moireio.spectrum.anchors.products import BlochProducts

OUTER = 2  # bands beyond each end whose changes with k are in the basis too
STEP = 0.02  # of a patch, for derivatives
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


def responses(
    products: "BlochProducts",
    anchor: "Anchor",
    directions: Sequence[npt.NDArray],
    wanted: tuple[int, int],
    respond: Callable[[npt.NDArray], npt.NDArray | None],
) -> npt.NDArray | None:
    """Return how the states that are wanted change with k, to first order.

    The change of a state u with energy E is −(H − ES)⁻¹ (H′ − ES′) u, without the states that
    the anchor has. Of what is left most is far from E, so that (H − σS)⁻¹ does as well, whose
    factors are available.

    Parameters
    ----------
    products : BlochProducts
        H and S.
    anchor : Anchor
        Solved last.
    directions : sequence of (3,) array
        Along which k changes, fractional coordinates: from the middle of a patch to its side.
    wanted : tuple of two int
        First and last band.
    respond : callable
        Returns (H − σS)⁻¹ times some vectors, or None.

    Returns
    -------
    (n, c) array or None
        Normalised, in the phases of H(k).
    """
    phase = products.phases(anchor.k)[:, None]
    begin = max(wanted[0] - anchor.first - OUTER, 0)
    part = slice(begin, wanted[1] + 1 - anchor.first + OUTER)
    u, energies = phase.conj() * anchor.states, anchor.energies[part]
    s0 = products.overlap(anchor.k, u)
    forces = []
    for axis in directions:
        # both sides: what is of second order cancels
        (wa, ya), (wb, yb) = (
            products(anchor.k + step * axis, u[:, part]) for step in (STEP, -STEP)
        )
        force = (wa - wb - (ya - yb) * energies) / (2 * STEP)
        forces.append(force - s0 @ (u.conj().T @ force))
    if not forces:
        return None
    found = respond(phase * np.concatenate(forces, axis=1))
    if found is None:
        return None
    lengths = np.linalg.norm(found, axis=0)
    return np.asarray(found[:, lengths > 0] / lengths[lengths > 0])
