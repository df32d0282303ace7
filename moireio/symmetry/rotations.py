"""What operations of O(3) do to orbitals and spins.

An operation g turns functions by (gψ)(r) = ψ(g⁻¹ r). It takes orbital β of a shell to
Σ_α φ_α d_αβ, with the real harmonics, their order and the spins of `docs/conventions.md`.
"""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.system.basis import SpeciesBasis
from moireio.system.harmonics import harmonics

SIGMA = np.array([[[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=complex)
#: Unitary part of time reversal T = −iσ_y K.
TIME_REVERSAL = np.array([[0, -1], [1, 0]], dtype=np.float64)


@lru_cache(maxsize=16)
def _quadrature(degree: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return points (3, n) and weights (n,) that integrate polynomials of a degree exactly."""
    z, weight = np.polynomial.legendre.leggauss(degree // 2 + 1)
    angle = 2 * np.pi * np.arange(degree + 1) / (degree + 1)
    s = np.sqrt(1 - z * z)
    x, y = np.outer(s, np.cos(angle)).ravel(), np.outer(s, np.sin(angle)).ravel()
    points = np.stack([x, y, np.repeat(z, len(angle))])
    return points, np.repeat(weight, len(angle)) * 2 * np.pi / len(angle)


def rotated_harmonics(l: int, rotation: npt.ArrayLike) -> npt.NDArray[np.float64]:  # noqa: E741
    """Return the matrix of an operation on the real harmonics of one l.

    Parameters
    ----------
    l : int
        Angular momentum, any.
    rotation : (..., 3, 3) array
        Orthogonal, of either determinant.

    Returns
    -------
    (..., 2l + 1, 2l + 1) array
        d with Y_β(g⁻¹ r) = Σ_α Y_α(r) d_αβ, orthogonal, by a quadrature that is exact for these
        polynomials.
    """
    points, weights = _quadrature(2 * l)
    part = slice(l * l, (l + 1) ** 2)
    inverse = np.swapaxes(np.asarray(rotation, dtype=float), -1, -2)
    turned = np.moveaxis(inverse @ points, -2, 0)
    values = harmonics(l, turned.reshape(3, -1))[part].reshape(2 * l + 1, *turned.shape[1:])
    d = (harmonics(l, points)[part] * weights) @ np.moveaxis(values, 0, -1)
    d[np.abs(d) < 1e-15] = 0.0
    return np.asarray(d, dtype=np.float64)


def axis_and_angle(rotation: npt.ArrayLike) -> tuple[npt.NDArray[np.float64], float]:
    """Return axis and angle of the proper part of an operation.

    Parameters
    ----------
    rotation : (3, 3) array
        Orthogonal; if it is improper, the rotation is −rotation.

    Returns
    -------
    axis : (3,) array
        A unit vector; for a half turn the one whose last component that is not zero is positive;
        for the identity z.
    angle : float
        From 0 to π, counter-clockwise seen from the tip of the axis.
    """
    proper = np.asarray(rotation, dtype=float)
    proper = proper * np.sign(np.linalg.det(proper))
    turn = np.array(
        [proper[2, 1] - proper[1, 2], proper[0, 2] - proper[2, 0], proper[1, 0] - proper[0, 1]]
    )
    angle = float(np.arctan2(np.linalg.norm(turn), np.trace(proper) - 1))
    if angle < 1e-9:
        return np.array([0.0, 0.0, 1.0]), 0.0
    if angle < np.pi - 1e-6:
        return turn / np.linalg.norm(turn), angle
    # half turns: R + 1 = 2 n nᵀ
    square = (proper + np.eye(3)) / 2
    axis = square[:, int(np.argmax(np.diag(square)))]
    axis = axis / np.linalg.norm(axis)
    last = np.flatnonzero(np.abs(axis) > 1e-6)[-1]
    return axis * np.sign(axis[last]), np.pi


def rotated_spin(rotation: npt.ArrayLike) -> npt.NDArray[np.complex128]:
    """Return the matrix of an operation on a spin ½, quantised along z.

    Parameters
    ----------
    rotation : (3, 3) array
        Orthogonal; the inversion does nothing to spins.

    Returns
    -------
    (2, 2) array
        e^{−iθ n·σ/2}: for a third of a turn about z e^{−iσ_z π/3}.
    """
    axis, angle = axis_and_angle(rotation)
    turn = np.einsum("a,abc->bc", axis, SIGMA)
    matrix = np.cos(angle / 2) * np.eye(2) - 1j * np.sin(angle / 2) * turn
    matrix[np.abs(matrix) < 1e-15] = 0.0
    return matrix


def rotated_orbitals(
    name: str, basis: SpeciesBasis, rotation: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return the matrix of an operation on all orbitals of an atom.

    Parameters
    ----------
    name : str
        Species, for messages.
    basis : SpeciesBasis
        Its orbitals.
    rotation : (3, 3) array
        Orthogonal.

    Returns
    -------
    (n, n) array
        Real and orthogonal, in the order of the basis.

    Raises
    ------
    MoireioError
        If shells are incomplete and the operation takes an orbital to one that is not there.
    """
    n = basis.size
    out = np.zeros((n, n))
    if basis.m is None:
        start = 0
        for l in basis.l:  # noqa: E741
            stop = start + 2 * l + 1
            out[start:stop, start:stop] = rotated_harmonics(l, rotation)
            start = stop
        return out
    momenta, shell = _incomplete_shells(name, basis)
    for number in np.unique(shell):
        members = np.flatnonzero(shell == number)
        l = int(momenta[members[0]])  # noqa: E741
        rows = [basis.m[a] + l for a in members]
        d = rotated_harmonics(l, rotation)[:, rows]
        outside = np.setdiff1d(np.arange(2 * l + 1), rows)
        if np.abs(d[outside]).max(initial=0) > 1e-6:
            raise MoireioError(
                f"the orbitals of {name} are no complete shell, and this operation takes some to "
                "orbitals that are not there"
            )
        out[np.ix_(members, members)] = d[rows]
    return out


def _incomplete_shells(
    name: str, basis: SpeciesBasis
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return l and the number of the shell of every orbital where shells are incomplete.

    An l is given for every orbital. A shell ends where an m comes again, or l changes.
    """
    assert basis.m is not None
    if len(basis.l) != len(basis.m):
        raise MoireioError(
            f"the basis of {name} has {len(basis.m)} orbitals and {len(basis.l)} angular momenta: "
            "an l for every orbital is needed to turn incomplete shells"
        )
    shells: list[int] = []
    number, seen = -1, (-1, {0})
    for l, m in zip(basis.l, basis.m, strict=True):  # noqa: E741
        if seen[0] != l or m in seen[1]:
            number, seen = number + 1, (l, set())
        seen[1].add(m)
        shells.append(number)
    return np.array(basis.l, dtype=np.int64), np.array(shells, dtype=np.int64)
