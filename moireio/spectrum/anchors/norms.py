"""The norm of residuals in which bounds on energies hold: that of S⁻¹."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from moireio.spectrum.anchors.products import BlochProducts

STEPS = 200  # of conjugate gradients
# Of the largest norm. Steps gain little for a while before a small eigenvalue of S is found: as
# many in a row must.
ACCURACY, IN_A_ROW = 2e-2, 4


def norm_ratio(
    products: "BlochProducts", k: npt.ArrayLike, residuals: npt.NDArray[np.complex128]
) -> float:
    """Return the norm √(r†S⁻¹r) as a multiple of √(r†r), the largest of some residuals.

    Parameters
    ----------
    products : BlochProducts
        With S.
    k : (3,) array
        Fractional coordinates.
    residuals : (n, c) array
        In the gauge with positions.

    Returns
    -------
    float
        By conjugate gradients on S x = r, to some two percent, where no eigenvalue of S is far
        smaller than all others; in single precision unless S is nearly singular.
    """
    plain = np.einsum("ij,ij->j", residuals.conj(), residuals).real
    if not len(plain) or plain.max() == 0:
        return 1.0
    unit = residuals / np.sqrt(np.maximum(plain, 1e-300))
    total = _squares(products, k, unit.astype(np.complex64))
    if total is None:
        total = _squares(products, k, unit)
    assert total is not None
    return float(np.sqrt(total.max()))


def _squares(products: "BlochProducts", k: npt.ArrayLike, r: npt.NDArray) -> npt.NDArray | None:
    """Return r†S⁻¹r of unit vectors; None if S is not positive in single precision."""
    direction, old = r.copy(), np.einsum("ij,ij->j", r.conj(), r).real
    total, small = np.zeros(len(old)), 0  # r†S⁻¹r = Σ |r_n|² α_n
    for _ in range(STEPS):
        product = products.overlap(k, direction)
        curvature = np.einsum("ij,ij->j", direction.conj(), product).real
        if r.dtype == np.complex64 and (curvature[old > 0] <= 0).any():
            return None
        step = np.where(curvature > 0, old / np.maximum(curvature, 1e-30), 0)
        gain = step * old
        total += gain
        small = small + 1 if gain.max() <= ACCURACY * total.max() / 10 else 0
        if small == IN_A_ROW:
            break
        r = r - step * product
        new = np.einsum("ij,ij->j", r.conj(), r).real
        direction = r + direction * (new / np.maximum(old, 1e-30))
        old = new
    return total
