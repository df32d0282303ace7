"""Plane lattices: reduction, Bravais classes, points of a supercell, deformations."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BRAVAIS_CLASSES = ("hexagonal", "square", "rectangular", "centred rectangular", "oblique")


def rotation(angle: float) -> FloatArray:
    """Return the matrix that turns column vectors counter-clockwise.

    Parameters
    ----------
    angle : float
        Degrees.

    Returns
    -------
    (2, 2) array
        Rotation matrix, exact at multiples of 90 degrees.
    """
    # The cosine and sine of π/2 in radians are not exactly 0 and 1.
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    if angle % 90 == 0:
        c, s = np.round(c), np.round(s)
    return np.array([[c, -s], [s, c]])


def polar(gradient: npt.ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Split a deformation gradient F into a strain after a rotation: F = (1 + ε) R(θ).

    Parameters
    ----------
    gradient : (..., 2, 2) array
        F, acting on column vectors, with a positive determinant.

    Returns
    -------
    strain : (..., 2, 2) array
        ε, symmetric, in the axes of the deformed state.
    angle : (...) array
        θ, degrees.
    """
    f = np.asarray(gradient, dtype=float)
    # In two dimensions the rotation of the polar decomposition follows from the antisymmetric part.
    c = f[..., 0, 0] + f[..., 1, 1]
    s = f[..., 1, 0] - f[..., 0, 1]
    norm = np.hypot(c, s)
    c, s = c / norm, s / norm
    turn = np.stack([np.stack([c, s], -1), np.stack([-s, c], -1)], -2)  # R(θ)ᵀ
    stretch = f @ turn
    stretch = (stretch + np.swapaxes(stretch, -1, -2)) / 2
    return stretch - np.eye(2), np.degrees(np.arctan2(s, c))


def principal(strain: FloatArray) -> FloatArray:
    """Return the principal strains, the smaller first.

    Parameters
    ----------
    strain : (..., 2, 2) array
        Symmetric tensors.

    Returns
    -------
    (..., 2) array
        Eigenvalues of the tensors.
    """
    mean = (strain[..., 0, 0] + strain[..., 1, 1]) / 2
    half = np.hypot((strain[..., 0, 0] - strain[..., 1, 1]) / 2, strain[..., 0, 1])
    return np.stack([mean - half, mean + half], -1)


def power(strain: npt.ArrayLike, exponent: float) -> FloatArray:
    """Return (1 + ε)^exponent − 1.

    Parameters
    ----------
    strain : (..., 2, 2) array
        ε, symmetric.
    exponent : float
        Any real number.

    Returns
    -------
    (..., 2, 2) array
        Strains in the same axes.
    """
    tensors = np.asarray(strain, dtype=float)
    if exponent == 0:
        return np.zeros(tensors.shape)
    if exponent == 1:
        return tensors.copy()
    values, vectors = np.linalg.eigh(tensors)
    values = np.expm1(exponent * np.log1p(values))
    return (vectors * values[..., None, :]) @ np.swapaxes(vectors, -1, -2)


def uniaxial(magnitude: float, direction: float = 0.0, poisson: float = 0.16) -> FloatArray:
    """Return the strain of a layer that is pulled along one direction.

    Parameters
    ----------
    magnitude : float
        Relative elongation (0.01 is 1 %).
    direction : float
        Direction of the pull, degrees from x, counter-clockwise.
    poisson : float
        Poisson's ratio: relative contraction across the pull over the elongation.

    Returns
    -------
    (2, 2) array
        Symmetric tensor.
    """
    turn = rotation(direction)
    return turn @ np.diag([magnitude, -poisson * magnitude]) @ turn.T


def reduce(rows: FloatArray) -> tuple[FloatArray, IntArray]:
    """Gauss-reduce a plane lattice.

    Parameters
    ----------
    rows : (2, 2) array
        Lattice vectors, right-handed.

    Returns
    -------
    reduced : (2, 2) array
        The two shortest vectors, right-handed, at 60 to 90 degrees; in a hexagonal lattice at 60.
    matrix : (2, 2) array of int
        ``reduced = matrix @ rows``.
    """
    m = np.eye(2, dtype=np.int64)
    for _ in range(10_000):
        v = m @ rows
        if v[0] @ v[0] > (v[1] @ v[1]) * (1 + 1e-10):
            m = np.array([m[1], -m[0]])
            continue
        steps = int(np.floor(v[0] @ v[1] / (v[0] @ v[0]) + 0.5 - 1e-9))
        if steps == 0:
            break
        m = np.array([m[0], m[1] - steps * m[0]])
    v = m @ rows
    if v[0] @ v[1] < -1e-9 * (v[0] @ v[0]):
        m = np.array([m[1], -m[0]])
    return m @ rows, m


def bravais_class(rows: FloatArray, tolerance: float = 1e-4) -> str:
    """Return the Bravais class of a plane lattice.

    Parameters
    ----------
    rows : (2, 2) array
        Lattice vectors.
    tolerance : float
        Relative tolerance of lengths and scalar products.

    Returns
    -------
    str
        One of `BRAVAIS_CLASSES`.
    """
    (a, b), _ = reduce(rows if np.linalg.det(rows) > 0 else rows[::-1])
    aa, bb, ab = a @ a, b @ b, a @ b
    equal, right = abs(bb - aa) < 2 * tolerance * aa, abs(ab) < tolerance * np.sqrt(aa * bb)
    if equal and abs(ab - aa / 2) < tolerance * aa:
        return "hexagonal"
    if right:
        return "square" if equal else "rectangular"
    if equal or abs(ab - aa / 2) < tolerance * aa:
        return "centred rectangular"
    return "oblique"


def snapped(rows: FloatArray, tolerance: float, unit: float = 0.0) -> tuple[FloatArray, str]:
    """Return the symmetric lattice from which a lattice differs by rounding only.

    Parameters
    ----------
    rows : (2, 2) array
        Lattice vectors, right-handed, the first along x, at 60 to 90 degrees.
    tolerance : float
        Largest difference of a component, Å.
    unit : float
        Last digit of the vectors in their file, Å, to which lattice constants are rounded where
        that is within the tolerance; 0 for none.

    Returns
    -------
    lattice : (2, 2) array
        Lattice vectors of the most symmetric class that fits; `rows` where none does.
    bravais_class : str
        One of `BRAVAIS_CLASSES`, "oblique" where none fits.
    """

    def constant(*lengths):
        mean = float(np.mean(lengths))
        rounded = round(mean / unit) * unit if unit else mean
        return rounded if abs(rounded - mean) <= tolerance else mean

    a, b, c = (float(np.linalg.norm(v)) for v in (rows[0], rows[1], rows[0] - rows[1]))
    trials = {
        "hexagonal": constant(a, b, c) * np.array([[1, 0], [0.5, np.sqrt(3) / 2]]),
        "square": constant(a, b) * np.eye(2),
        "rectangular": np.diag([constant(a), constant(b)]),
    }
    for bravais_class, lattice in trials.items():
        if np.abs(lattice - rows).max() <= tolerance:
            return lattice, bravais_class
    return rows, "oblique"


def supercell_points(matrix: npt.ArrayLike) -> FloatArray:
    """List the lattice points inside a supercell.

    Parameters
    ----------
    matrix : (2, 2) array of int
        Rows of the supercell in the lattice; determinant positive.

    Returns
    -------
    (det, 2) array
        Fractional coordinates in the supercell, in [0, 1): exact multiples of 1/det.
    """
    m = [[int(v) for v in row] for row in np.asarray(matrix)]
    det = m[0][0] * m[1][1] - m[0][1] * m[1][0]
    # Row operations lead to the Hermite normal form [[a, b], [0, d]]; its points are i < a, j < d.
    (p, q), (r, s) = m
    while r:
        t = p // r
        (p, q), (r, s) = (r, s), (p - t * r, q - t * s)
    a, d = abs(p), abs(s)
    i, j = np.divmod(np.arange(det, dtype=np.int64), d)
    assert a * d == det
    adjugate = np.array([[m[1][1], -m[0][1]], [-m[1][0], m[0][0]]], dtype=np.int64)
    return (np.stack([i, j], 1) @ adjugate % det) / det


def hilbert_index(fractional: npt.ArrayLike, bits: int) -> IntArray:
    """Return positions along a Hilbert curve, on which neighbours stay close.

    Parameters
    ----------
    fractional : (n, 2) array
        Coordinates in [0, 1).
    bits : int
        The curve runs through a grid of 2^bits cells a side.

    Returns
    -------
    (n,) array of int64
        Position along the curve (the classic iteration, quadrant by quadrant).
    """
    side = 1 << bits
    x, y = np.clip((np.asarray(fractional) * side).astype(np.int64), 0, side - 1).T.copy()
    index = np.zeros(len(x), dtype=np.int64)
    half = side >> 1
    while half:
        right, upper = (x & half) > 0, (y & half) > 0
        index += half * half * ((3 * right) ^ upper)
        flip = ~upper & right
        x, y = np.where(flip, side - 1 - x, x), np.where(flip, side - 1 - y, y)
        x, y = np.where(upper, x, y), np.where(upper, y, x)
        half >>= 1
    return index
