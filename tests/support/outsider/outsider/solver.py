"""All levels of H ψ = E S ψ by NumPy, through the Cholesky factor of S."""

from dataclasses import dataclass

import numpy as np

from moireio.solvers.base import Solver, SolverCapabilities, not_positive


@dataclass(frozen=True)
class NumpyOptions:
    """This solver has no options."""


class NumpySolver(Solver):
    """All levels at once, with states.

    Parameters
    ----------
    options : NumpyOptions
        Nothing to choose.
    sigma : float, optional
        Energy of interest, eV; not needed to find all levels.
    """

    name = "numpy"
    Options = NumpyOptions
    capabilities = SolverCapabilities(forks=True)

    def __init__(self, options, sigma=None):
        self.options = options

    def eigenpairs(self, problem, band_range=None):
        """Return energies (eV) and S-orthonormal states (see `Solver.eigenpairs`)."""
        h, s = problem.dense()
        if s is None:
            energies, states = np.linalg.eigh(h, UPLO="U")
        else:
            try:
                lower = np.linalg.cholesky(whole(s))
            except np.linalg.LinAlgError:
                raise not_positive(problem.k) from None
            inverse = np.linalg.inv(lower)
            energies, states = np.linalg.eigh(inverse @ whole(h) @ inverse.conj().T)
            states = inverse.conj().T @ states
        first, last = band_range or (0, len(energies) - 1)
        return energies[first : last + 1], states[:, first : last + 1]

    def memory(self, problem, bands, states):
        """Return about how many bytes a problem takes (see `Solver.memory`)."""
        return 8 * 16.0 * problem.n_orbitals**2


def whole(upper):
    """Return the Hermitian matrix with an upper triangle."""
    return np.triu(upper) + np.triu(upper, 1).conj().T
