"""Levels of small cells on a mesh, and between which of them the Fermi level must lie."""

import numpy as np
import numpy.typing as npt

from moireio.kspace.mesh import make_mesh
from moireio.operators.bloch import BlochSum
from moireio.operators.blocks import OperatorSource
from moireio.operators.views import stored_as
from moireio.spectrum.choice import SolverChoice
from moireio.spectrum.levels import solve_levels
from moireio.spectrum.problems import EigenproblemSet
from moireio.system.structure import Structure

WORK = 3e8  # cubes of the number of orbitals, k points together
SPACING = 0.25  # 1/Å
MOST_ORBITALS = 600


def levels_on_mesh(
    structure: Structure, hamiltonian: OperatorSource, overlap: OperatorSource
) -> npt.NDArray[np.float64] | None:
    """Return all levels of a small cell on a mesh of k points.

    Parameters
    ----------
    structure : Structure
        The cell.
    hamiltonian, overlap : OperatorSource
        H and S, with both partners of every pair.

    Returns
    -------
    (nk, nb) array or None
        eV; None for cells of more than `MOST_ORBITALS` orbitals, and for collinear spins.
    """
    orbitals = int(hamiltonian.sizes.sum())
    spin = hamiltonian.meta.spin
    if spin == "collinear" or orbitals > MOST_ORBITALS:
        return None
    mesh = make_mesh(structure, spacing=SPACING)
    while len(mesh) > 1 and len(mesh) * orbitals**3 > WORK:
        mesh = make_mesh(structure, [max(n - 1, 1) for n in mesh.shape])
    H = BlochSum.from_source(stored_as(hamiltonian, "upper"), component=0, spinor=False)
    S = BlochSum.from_source(stored_as(overlap, "upper"), component=0, spinor=spin == "spinor")
    choice = SolverChoice("dense", jobs=1)
    with EigenproblemSet([H], S, mesh.k, choice) as problems:
        return solve_levels(problems)[0][0]


def electrons_below(levels: npt.NDArray[np.float64], energy: float, per_level: int) -> float:
    """Return the number of electrons below an energy.

    Parameters
    ----------
    levels : (nk, nb) array
        eV.
    energy : float
        eV.
    per_level : int
        Electrons that a level holds.

    Returns
    -------
    float
        In the cell, the mean over the mesh.
    """
    return float(per_level * (levels < energy).sum() / len(levels))


def filling_window(
    levels: npt.NDArray[np.float64], count: float, per_level: int
) -> tuple[float, float]:
    """Return the energies between which the Fermi level lies.

    Parameters
    ----------
    levels : (nk, nb) array
        eV.
    count : float
        Electrons in the cell.
    per_level : int
        Electrons that a level holds.

    Returns
    -------
    low, high : float
        Highest filled and lowest empty level of the mesh, eV.
    """
    ascending = np.sort(levels.ravel())
    filled = round(count / per_level * len(levels))
    filled = min(max(filled, 1), len(ascending) - 1)
    return float(ascending[filled - 1]), float(ascending[filled])
