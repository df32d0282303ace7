"""Densities of states in space, from coefficients and radial functions."""

import numpy as np
import numpy.typing as npt

from moireio.runtime.progress import Progress
from moireio.system.basis import Basis
from moireio.system.orbitals import orbital_values
from moireio.system.radial import radial_functions
from moireio.system.structure import Structure


def density_on_grid(
    structure: Structure,
    basis: Basis,
    k: npt.NDArray[np.float64],
    states: npt.NDArray[np.inexact],
    spacing: float,
    spinor: bool = False,
    progress: Progress | None = None,
) -> npt.NDArray[np.float64]:
    """Return Σ_n |ψ_nk(r)|² on a grid over the cell.

    ψ_k(r) = Σ_R e^{2πi k·R} Σ_α c_α φ_α(r − τ_α − R).

    Parameters
    ----------
    structure : Structure
        Atoms and cell.
    basis : Basis
        With radial functions.
    k : (3,) array
        Fractional coordinates.
    states : (n_orbitals, nb) array
        Coefficients.
    spacing : float
        Largest distance of grid points along a cell vector, Å.
    spinor : bool
        The orbitals of an atom come twice: spin up, spin down.
    progress : Progress, optional
        Steps are atoms.

    Returns
    -------
    (n1, n2, n3) array
        1/Å³; its mean times the volume is the number of states.

    Raises
    ------
    MoireioError
        If radial functions are missing.
    """
    cell = structure.cell
    counts = np.maximum(np.ceil(np.linalg.norm(cell, axis=1) / spacing).astype(int), 1)
    spins = 2 if spinor else 1
    columns = states.shape[1] * spins
    psi = np.zeros((*counts, columns), dtype=np.complex128)
    inverse = np.linalg.inv(cell)
    heights = 1 / np.linalg.norm(inverse, axis=0)
    start = 0
    for atom, label in enumerate(structure.species_of_atoms):
        species = basis[label]
        reach = max(shell.end for shell in radial_functions(label, species))
        place = structure.positions[atom] @ inverse
        low = np.floor((place - reach / heights) * counts).astype(int)
        high = np.ceil((place + reach / heights) * counts).astype(int)
        index = np.stack(
            np.meshgrid(
                *[np.arange(a, b + 1) for a, b in zip(low, high, strict=True)], indexing="ij"
            ),
            axis=-1,
        ).reshape(-1, 3)
        vectors = (index / counts - place) @ cell
        near = np.linalg.norm(vectors, axis=1) < reach
        index, vectors = index[near], vectors[near]
        values = orbital_values(species, vectors)
        width = values.shape[1]
        coefficients = states[start : start + spins * width].reshape(spins, width, -1)
        start += spins * width
        wave = np.concatenate([values @ part for part in coefficients], axis=1)
        cells, home = np.divmod(index, counts)
        # seen from the home cell, the orbital there belongs to the atom's copy in −cells
        np.add.at(psi, tuple(home.T), np.exp(-2j * np.pi * (cells @ k))[:, None] * wave)
        if progress:
            progress(1, len(structure))
    return (np.abs(psi) ** 2).sum(axis=-1)
