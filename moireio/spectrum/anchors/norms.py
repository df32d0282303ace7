"""The norm of residuals in which bounds on energies hold: that of S⁻¹."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from moireio.spectrum.anchors.products import BlochProducts

STEPS = 200  # of conjugate gradients
ACCURACY = 3e-2  # of the largest norm


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
        By conjugate gradients on S x = r in single precision, to some three percent.
    """
    plain = np.einsum("ij,ij->j", residuals.conj(), residuals).real
    if not len(plain) or plain.max() == 0:
        return 1.0
    r = (residuals / np.sqrt(np.maximum(plain, 1e-300))).astype(np.complex64)
    direction, old = r.copy(), np.einsum("ij,ij->j", r.conj(), r).real
    total = np.zeros(len(old))  # r†S⁻¹r = Σ |r_n|² α_n
    for _ in range(STEPS):
        product = products.overlap(k, direction)
        curvature = np.einsum("ij,ij->j", direction.conj(), product).real
        step = np.where(curvature > 0, old / np.maximum(curvature, 1e-30), 0)
        gain = step * old
        total += gain
        if gain.max() <= ACCURACY * total.max() / 10:
            break
        r = r - step * product
        new = np.einsum("ij,ij->j", r.conj(), r).real
        direction = r + direction * (new / np.maximum(old, 1e-30))
        old = new
    return float(np.sqrt(total.max()))
