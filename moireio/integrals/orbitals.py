"""Values of orbitals in space."""

import numpy as np

from moireio.integrals.radial import shells
from moireio.system.harmonics import harmonics, unit_vectors


def orbital_values(species, vectors):
    """Return the orbitals of one species at points around the atom.

    Parameters
    ----------
    species : SpeciesBasis
        With radial functions.
    vectors : (n, 3) array
        From the atom to the points, Å.

    Returns
    -------
    (n, orbitals) array
        φ_α, Å^(−3/2).
    """
    distance, unit = unit_vectors(np.asarray(vectors, dtype=float).T)
    own = shells(species.label, species)
    angular = harmonics(max(s.l for s in own), unit)
    parts = [shell(distance) * angular[shell.l**2 : (shell.l + 1) ** 2] for shell in own]
    return np.concatenate(parts).T
