"""Mulliken populations of states, summed as they are computed."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class MullikenPopulations:
    """Where states live.

    Parameters
    ----------
    k : (3,) array
        Fractional.
    energies : (nb,) array
        eV.
    atoms : (nb, N) array
        Mulliken's gross populations, Re Σ_α∈atom c_α* (S c)_α; each row adds up to 1.
    states : (n, nb) array
        Coefficients, S-orthonormal.
    """

    k: np.ndarray
    energies: np.ndarray
    atoms: np.ndarray
    states: np.ndarray

    def by_layer(self, layer):
        """Return the sums over layers.

        Parameters
        ----------
        layer : (N,) array of int
            The layer of every atom.

        Returns
        -------
        (nb, layers) array
            Of each state.
        """
        return np.stack(
            [self.atoms[:, layer == n].sum(axis=1) for n in range(int(layer.max()) + 1)], axis=1
        )
