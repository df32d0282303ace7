"""Solvers of H ψ = E S ψ at one k point, side by side behind one interface."""

import math
from dataclasses import dataclass
from typing import Protocol

from moireio.errors import MoireioError


@dataclass(frozen=True, eq=False)
class EigenProblem:
    """H ψ = E S ψ at one k point, assembled on demand.

    Parameters
    ----------
    hamiltonian : moireio.operators.bloch.BlochSum
        H.
    overlap : moireio.operators.bloch.BlochSum or None
        S; None where the basis is orthogonal.
    k : (3,) array
        Fractional coordinates.
    """

    hamiltonian: object
    overlap: object
    k: object

    @property
    def n_orbitals(self):
        """Size of the basis, and of H and S."""
        return self.hamiltonian.n_orbitals

    def dense(self):
        """Return the upper triangles of H and S as arrays; S is None if orthogonal."""
        h = self.hamiltonian.dense(self.k, upper=True)
        s = None if self.overlap is None else self.overlap.dense(self.k, upper=True)
        return h, s


@dataclass(frozen=True)
class SolverDiagnostics:
    """Approximations of a solver, and properties of S that endanger results.

    Parameters
    ----------
    kept_fraction : float
        Share of the elements that were not left out for being small.
    largest_correction : float
        Largest correction of an energy for those that were left out, eV.
    min_overlap_eigenvalue : float
        Smallest eigenvalue of S that was seen.
    n_removed : int
        Combinations of orbitals that were left out because their eigenvalues of S are too small.
    """

    kept_fraction: float = 1.0
    largest_correction: float = 0.0
    min_overlap_eigenvalue: float = math.inf
    n_removed: int = 0

    def merged(self, other):
        """Return the worse of both.

        Parameters
        ----------
        other : SolverDiagnostics
            From another k point.

        Returns
        -------
        SolverDiagnostics
            Valid for both k points.
        """
        return SolverDiagnostics(
            min(self.kept_fraction, other.kept_fraction),
            max(self.largest_correction, other.largest_correction),
            min(self.min_overlap_eigenvalue, other.min_overlap_eigenvalue),
            max(self.n_removed, other.n_removed),
        )


class SingularError(Exception):
    """A matrix that was to be factorised is singular."""


class Solver(Protocol):
    """Finds eigenvalues of an `EigenProblem`.

    A solver that works in the calling process sets `forks` to True if k points may be given
    to copies of the process. `diagnostics` tells of the k points so far.
    """

    name: str
    forks: bool
    diagnostics: SolverDiagnostics

    def eigenvalues(self, problem, window=None):
        """Return energies in eV, ascending.

        Parameters
        ----------
        problem : EigenProblem
            What to solve.
        window : tuple of two int, optional
            First and last index (inclusive, from 0) of the states wanted; by default all.

        Returns
        -------
        (nb,) array
            The energies.

        Raises
        ------
        MoireioError
            If S is not positive definite.
        """

    def eigenpairs(self, problem, window=None):
        """Return energies and states.

        Parameters
        ----------
        problem : EigenProblem
            What to solve.
        window : tuple of two int, optional
            First and last index (inclusive, from 0) of the states wanted; by default all.

        Returns
        -------
        energies : (nb,) array
            Ascending, eV.
        states : (n, nb) array
            S-orthonormal.

        Raises
        ------
        MoireioError
            If S is not positive definite.
        """

    def count_below(self, problem, energy):
        """Return how many states lie below an energy.

        Parameters
        ----------
        problem : EigenProblem
            What to solve.
        energy : float
            eV.

        Returns
        -------
        int
            Their number.
        """


def not_positive(k):
    """Return the error for an overlap that is not positive definite.

    Parameters
    ----------
    k : (3,) array
        Where.

    Returns
    -------
    MoireioError
        To be raised.
    """
    where = " ".join(f"{v:g}" for v in k)
    return MoireioError(
        f"the overlap is not positive definite at k = {where}",
        remedy="is the basis nearly dependent (see --overlap-cutoff), or the file damaged (see "
        "h5-validate)?",
    )
