"""Values of orbitals in space."""

import numpy as np
import numpy.typing as npt

from moireio.system.basis import SpeciesBasis
from moireio.system.harmonics import harmonics, unit_vectors
from moireio.system.radial import radial_functions


def orbital_values(species: SpeciesBasis, vectors: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Return the orbitals of one species at points around the atom.

    Parameters
    ----------
    species : SpeciesBasis
        The orbitals, with radial functions.
    vectors : (n, 3) array
        From the atom to the points, Å.

    Returns
    -------
    (n, n_orbitals) array
        φ_α, Å^(−3/2).
    """
    distance, unit = unit_vectors(np.asarray(vectors, dtype=float).T)
    shells = radial_functions(species.label, species)
    angular = harmonics(max(shell.l for shell in shells), unit)
    values = [shell(distance) * angular[shell.l**2 : (shell.l + 1) ** 2] for shell in shells]
    return np.concatenate(values).T
