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
    hamiltonian : moireio.kspace.BlochSum
        H.
    overlap : moireio.kspace.BlochSum or None
        S; None where the basis is orthogonal.
    k : (3,) array
        Fractional coordinates.
    """

    hamiltonian: object
    overlap: object
    k: object

    @property
    def size(self):
        """Number of states."""
        return self.hamiltonian.n

    def dense(self):
        """Return the upper triangles of H and S as arrays; S is None if orthogonal."""
        h = self.hamiltonian.dense(self.k, upper=True)
        s = None if self.overlap is None else self.overlap.dense(self.k, upper=True)
        return h, s


@dataclass(frozen=True)
class Remarks:
    """What a solver did that changes results, or found that endangers them.

    Parameters
    ----------
    kept : float
        Share of the elements that were not left out for being small.
    shift : float
        Largest correction of an energy for those that were, eV.
    least : float
        Smallest eigenvalue of S that was seen.
    removed : int
        Combinations of orbitals that were left out because their eigenvalues of S are too small.
    """

    kept: float = 1.0
    shift: float = 0.0
    least: float = math.inf
    removed: int = 0

    def with_those(self, other):
        """Return the worse of both.

        Parameters
        ----------
        other : Remarks
            At another k point.

        Returns
        -------
        Remarks
            Of both.
        """
        return Remarks(
            min(self.kept, other.kept),
            max(self.shift, other.shift),
            min(self.least, other.least),
            max(self.removed, other.removed),
        )


class SingularError(Exception):
    """A matrix that was to be factorised is singular."""


class Solver(Protocol):
    """Finds eigenvalues of an `EigenProblem`.

    A solver that works in the calling process sets `forks` to True if k points may be given
    to copies of the process. `remarks` tells of the k points so far.
    """

    name: str
    forks: bool
    remarks: Remarks

    def energies(self, problem, window=None):
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

    def pairs(self, problem, window=None):
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


def make_solver(
    name,
    device="cpu",
    threads=1,
    near=0.0,
    *,
    single=None,
    prove=False,
    drop=0.0,
    cutoff=0.0,
    launcher=None,
    python=None,
):
    """Return a solver by name.

    Parameters
    ----------
    name : {"dense", "sparse", "slepc"}
        "dense" is LAPACK, or torch where the device is a GPU; "sparse" finds some states only,
        "slepc" too, in many processes under MPI.
    device : {"cpu", "cuda"}
        Where to compute.
    threads : int
        Of the sparse solver.
    near : float or None
        Where solvers that find some states begin to look, eV.
    single, prove : bool
        Of the sparse solver (see `moireio.solvers.sparse.SparseSolver`); slepc always proves.
    drop : float
        Of the sparse solver: elements that are left out, eV.
    cutoff : float
        Combinations of orbitals with smaller eigenvalues of S are left out; not by slepc.
    launcher, python : str, optional
        Of slepc (see `moireio.solvers.slepc.SlepcSolver`).

    Returns
    -------
    Solver
        Ready for use.

    Raises
    ------
    MoireioError
        If the name is unknown, or the device absent.
    """
    if name == "sparse":
        from moireio.solvers.sparse import SparseSolver

        if device != "cpu":
            raise MoireioError("the sparse solver runs on the CPU", remedy="use --device cpu")
        return SparseSolver(threads, near, single=single, prove=prove, drop=drop, cutoff=cutoff)
    if drop:
        raise MoireioError("only the sparse solver leaves elements out", remedy="no --drop")
    if name == "slepc":
        from moireio.solvers.slepc import SlepcSolver

        if device != "cpu" or single:
            raise MoireioError(
                "slepc runs on CPUs, in double precision", remedy="no --device, no --precision"
            )
        if cutoff:
            raise MoireioError(
                "slepc leaves no combinations of orbitals out", remedy="--solver sparse or dense"
            )
        return SlepcSolver(near, launcher, python)
    if single or prove:
        raise MoireioError("single precision and proofs are the sparse solver's", remedy="use it")
    if name != "dense":
        raise MoireioError(f"no solver is called {name!r}", remedy="use dense, sparse or slepc")
    if device == "cpu":
        from moireio.solvers.lapack import LapackSolver

        return LapackSolver(cutoff)
    from moireio.solvers.torch_dense import TorchSolver

    return TorchSolver(device, cutoff)


def can_count(n):
    """Tell whether the sparse solver can count the states of so large a matrix.

    Parameters
    ----------
    n : int
        Number of states.

    Returns
    -------
    bool
        Always true with MKL.
    """
    from moireio.solvers import mkl, superlu

    return mkl.library() is not None or n <= superlu.MOST_COUNTED


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
