"""Position matrices of Wannier functions, from those of the orbitals of which they consist.

With w_β(R) = Σ_a Σ_R′ c_aβ(R − R′) |a,R′⟩, S and X_ab(R) = ⟨a,0|r|b,R⟩ the elements between
functions are, at each k of the mesh, A(k) = W† X W + D† S W with W(k) = Σ_R e^{2πi k·R} c(R) and
D(k) = −Σ_R e^{2πi k·R} R c(R), since a function extends over cells R′, where r counts from another
origin. ⟨w_α,0|r|w_β,R⟩ is the Fourier sum of A over the mesh.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.downfold.images import nearest_images
from moireio.operators.bloch import BlochSum


def function_positions(
    calculation: Calculation,
    shape: Sequence[int],
    k: npt.NDArray[np.float64],
    functions: npt.NDArray[np.complex128],
    places: npt.NDArray[np.int64],
    coefficients: npt.NDArray[Any],
    atoms: npt.NDArray[np.int64],
) -> tuple[npt.NDArray[np.int64], list[npt.NDArray[np.float64]]]:
    """Return the position matrices of functions without spin.

    Parameters
    ----------
    calculation : Calculation
        With positions, and S unless its orbitals are orthogonal.
    shape : sequence of three int
        Points of the mesh along each reciprocal vector.
    k : (N, 3) array
        Its points.
    functions : (N, n_orbitals, n) array
        W(k).
    places : (n_places, 3) array of int64
        Lattice vectors of `coefficients`.
    coefficients : (n_places, n_orbitals, n) array
        c(R).
    atoms : (n,) array of int64
        Atom at which each function is.

    Returns
    -------
    cells : (n_cells, 3) array of int64
        Lattice vectors R.
    matrices : list of three (n_cells, n, n) arrays
        ⟨α,0|r − τ_α|β,R⟩ along x, y and z, Å.
    """
    structure = calculation.structure
    overlap, position = calculation.overlap, calculation.operator("position")
    s = None if overlap is None else BlochSum.from_source(overlap)
    sums = [BlochSum.from_source(position, component=axis) for axis in range(3)]
    of_row = np.repeat(np.arange(len(structure)), position.sizes)
    places_of_rows = structure.positions[of_row]
    shifts = places @ structure.cell
    wanted = functions.shape[2]
    found = np.empty((3, len(k), wanted, wanted), dtype=np.complex128)
    for point, (q, w) in enumerate(zip(k, functions, strict=True)):
        sw = w if s is None else s.dense(q) @ w
        phase = np.exp(2j * np.pi * (places @ q))
        for axis, one in enumerate(sums):
            d = -np.tensordot(phase * shifts[:, axis], coefficients, 1)
            here = one.dense(q) @ w + places_of_rows[:, axis, None] * sw
            a = w.conj().T @ here + d.conj().T @ sw
            found[axis, point] = (a + a.conj().T) / 2
    boxes = np.fft.fftn(found.reshape(3, *shape, wanted, wanted), axes=(1, 2, 3))
    boxes = boxes.reshape(found.shape) / len(k)
    cells, matrices = nearest_images(structure, shape, boxes.real, atoms, atoms)
    home = int(np.flatnonzero(~cells.any(axis=1))[0])
    for axis, matrix in enumerate(matrices):
        np.einsum("ii->i", matrix[home])[...] -= structure.positions[atoms, axis]
    return cells, matrices
