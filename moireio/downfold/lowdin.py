"""Löwdin's symmetric orthogonalisation, at each k of a mesh.

H̃(k) = S(k)^(−1/2) H(k) S(k)^(−1/2) has the bands of H and S at every k of a mesh of N points. Its
Fourier sum over the mesh gives H̃(R) in N cells; each element goes to the image of R in which its
two atoms are nearest, in equal parts where several are. Between the points of the mesh the bands
are interpolated; they are right if H̃(R) is small at the border of the N cells.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from moireio.blockfile.calculation import Calculation
from moireio.downfold.images import nearest_images, require_mesh
from moireio.errors import MoireioError
from moireio.kspace.mesh import KMesh
from moireio.operators.bloch import BlochSum

SMALLEST = 1e-7  # of eigenvalues of S; below it orbitals are not independent
LARGEST = 4 << 30  # bytes of H̃ on the mesh
TESTED = 12  # k points between those of the mesh


@dataclass(frozen=True, eq=False)
class Orthogonalised:
    """A Hamiltonian of orthogonal orbitals.

    Parameters
    ----------
    cells : (n_cells, 3) array of int64
        The lattice vectors R.
    components : list of (n_cells, n, n) arrays
        H̃(R), rows as in moireio's matrices; up and down where spin is collinear.
    error : float
        Largest deviation of a band between the points of the mesh, eV.
    lower_error : float
        The same for the lower half of the bands.
    """

    cells: npt.NDArray[np.int64]
    components: list[npt.NDArray[Any]]
    error: float
    lower_error: float


def parse_mesh(text: str) -> tuple[int, int, int]:
    """Read a mesh such as ``12x12x1``.

    Parameters
    ----------
    text : str
        One to three numbers; those left out are 1.

    Returns
    -------
    tuple of three int
        Points along each reciprocal vector.

    Raises
    ------
    ValueError
        If it is none.
    """
    words = text.lower().replace("×", "x").replace(",", "x").split("x")
    if not 1 <= len(words) <= 3:
        raise ValueError(text)
    counts = [int(word) for word in words] + [1] * (3 - len(words))
    if not all(0 < count <= 1000 for count in counts):
        raise ValueError(text)
    return counts[0], counts[1], counts[2]


def orthogonalise(calculation: Calculation, mesh: Sequence[int]) -> Orthogonalised:
    """Orthogonalise the orbitals of a calculation.

    Parameters
    ----------
    calculation : Calculation
        With H and S.
    mesh : sequence of three int
        Points along each reciprocal vector; 1 where the structure is not periodic.

    Returns
    -------
    Orthogonalised
        With the error that it makes between the points of the mesh.

    Raises
    ------
    MoireioError
        If there is no S, orbitals are not independent, the mesh does not fit or needs too much
        memory.
    """
    structure, hamiltonian = calculation.structure, calculation.hamiltonian
    shape = tuple(int(count) for count in mesh)
    require_mesh(structure, shape, calculation.label)
    overlap = calculation.overlap
    if overlap is None:
        raise MoireioError("has no overlap", path=calculation.label)
    spinor = hamiltonian.meta.spin == "spinor"
    s = BlochSum.from_source(overlap, spinor=spinor)
    hs = [
        BlochSum.from_source(hamiltonian, component=component)
        for component in range(hamiltonian.meta.components)
    ]
    n, count = s.n_orbitals, math.prod(shape)
    if (needed := count * n * n * 16 * len(hs)) > LARGEST:
        raise MoireioError(
            f"needs {needed / 2**30:.0f} GiB for {count} points of {n} orbitals",
            path=calculation.label,
            remedy="choose a coarser mesh",
        )
    whole = KMesh((shape[0], shape[1], shape[2]))
    points = whole.k
    values = np.empty((len(hs), len(points), n, n), dtype=np.complex128)
    for place, k in enumerate(points):
        root = _inverse_root(s.dense(k), k, calculation.label)
        for component, h in enumerate(hs):
            values[component, place] = root @ h.dense(k) @ root
    boxes = values.reshape(len(hs), *shape, n, n)
    boxes = np.fft.fftn(boxes, axes=(1, 2, 3)).reshape(values.shape) / len(points)
    real = not spinor and np.dtype(hamiltonian.meta.dtype).kind != "c"
    atoms = np.repeat(np.arange(len(structure)), hamiltonian.sizes)
    cells, components = nearest_images(
        structure, shape, boxes.real if real else boxes, atoms, atoms
    )
    error, lower = _errors(s, hs, cells, components, whole.midway(structure.pbc).k)
    return Orthogonalised(cells, components, error, lower)


def _inverse_root(s: npt.NDArray[Any], k: npt.NDArray[np.float64], label: str) -> npt.NDArray[Any]:
    """Return S^(−1/2)."""
    values, vectors = np.linalg.eigh(s)
    if values[0] < SMALLEST:
        where = " ".join(f"{x:.3f}" for x in k)
        raise MoireioError(
            f"the smallest eigenvalue of S at k = {where} is {values[0]:.1e}: its orbitals are not "
            "independent",
            path=label,
            remedy="use a smaller basis",
        )
    return np.asarray((vectors / np.sqrt(values)) @ vectors.conj().T)


def _errors(
    s: BlochSum,
    hs: Sequence[BlochSum],
    cells: npt.NDArray[np.int64],
    components: Sequence[npt.NDArray[Any]],
    between: npt.NDArray[np.float64],
) -> tuple[float, float]:
    """Return the largest deviation of bands, and of their lower half, at some of the k points."""
    from scipy.linalg import eigh

    rng = np.random.default_rng(0)
    chosen = between[np.sort(rng.permutation(len(between))[:TESTED])]
    worst = np.zeros(s.n_orbitals)
    for k in chosen:
        phase = np.exp(2j * np.pi * (cells @ k))
        for h, matrices in zip(hs, components, strict=True):
            exact = eigh(h.dense(k), s.dense(k), eigvals_only=True)
            found = np.linalg.eigvalsh(np.tensordot(phase, matrices, 1))
            worst = np.maximum(worst, np.abs(found - exact))
    half = (len(worst) + 1) // 2
    return float(worst.max()), float(worst[:half].max())
