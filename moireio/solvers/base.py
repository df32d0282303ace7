"""The protocol of solvers of H ψ = E S ψ at one k point, and what they share.

A solver is a class with a name, an options dataclass and capabilities. It is constructed as
``solver(options, sigma)``, where sigma is an energy (eV) near the levels that are wanted, or None.
`moireio.solvers.registry` lists the solvers, those of other distributions included.
"""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
import numpy.typing as npt

from moireio.errors import MoireioError
from moireio.runtime.memory import size_text

if TYPE_CHECKING:
    from moireio.operators.bloch import BlochSum


class Products(Protocol):
    """Products with H and S of one k point, in double precision."""

    def overlap(self, vectors: npt.NDArray) -> npt.NDArray:
        """Return S times (n, b) vectors, in the phases of H(k)."""
        ...

    def shifted(self, vectors: npt.NDArray, sigma: float) -> npt.NDArray:
        """Return H − σS times (n, b) vectors, in the phases of H(k); σ in eV."""
        ...


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
    products : Products, optional
        Products that take less time and memory than those of sparse matrices.
    """

    hamiltonian: "BlochSum"
    overlap: "BlochSum | None"
    k: npt.ArrayLike
    products: Products | None = None

    @property
    def n_orbitals(self) -> int:
        """Size of the basis, and of H and S."""
        return self.hamiltonian.n_orbitals

    @property
    def is_real(self) -> bool:
        """Whether H and S are real at this k."""
        sums = (self.hamiltonian, self.overlap)
        return all(one is None or one.is_real(self.k) for one in sums)

    def dense(self) -> tuple[npt.NDArray, npt.NDArray | None]:
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

    def merged(self, other: "SolverDiagnostics") -> "SolverDiagnostics":
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


@dataclass(frozen=True)
class SolverCapabilities:
    """Properties of a solver by which the driver of many k points treats it.

    Parameters
    ----------
    finds_range : bool
        A range of bands costs less than all of them.
    counts_levels : bool
        Levels below an energy are counted without being found.
    forks : bool
        It may be copied to forked processes, which share the k points.
    own_threads : bool
        It starts threads of its own (see `Solver.use_threads`), and the k points that it has
        solved make later ones cheaper; NumPy's BLAS then keeps to one thread.
    elsewhere : bool
        Its matrices are not in this machine's memory, or its processes are its own affair.
    """

    finds_range: bool = False
    counts_levels: bool = False
    forks: bool = False
    own_threads: bool = False
    elsewhere: bool = False


class Solver(Protocol):
    """Finds eigenvalues of an `EigenProblem`.

    A solver that derives from this class needs to define `eigenpairs` and `memory` only.

    Attributes
    ----------
    name : str
        The solver's name in messages.
    Options : type
        A frozen dataclass of its options, with a default for each.
    capabilities : SolverCapabilities
        How it may be used.
    diagnostics : SolverDiagnostics
        The worst of all k points solved so far.
    """

    name: ClassVar[str]
    Options: ClassVar[type]
    capabilities: SolverCapabilities = SolverCapabilities()
    diagnostics: SolverDiagnostics = SolverDiagnostics()

    @abstractmethod
    def eigenpairs(
        self, problem: EigenProblem, band_range: tuple[int, int] | None = None
    ) -> tuple[npt.NDArray, npt.NDArray]:
        """Return energies and states.

        Parameters
        ----------
        problem : EigenProblem
            H and S.
        band_range : tuple of two int, optional
            First and last band (inclusive, from 0); by default all.

        Returns
        -------
        energies : (nb,) array
            Ascending, eV.
        states : (n_orbitals, nb) array
            S-orthonormal, one in a column.

        Raises
        ------
        MoireioError
            If S is not positive definite (see `not_positive`), or the levels cannot be found.
        """

    @abstractmethod
    def memory(self, problem: EigenProblem, bands: int, states: bool) -> float:
        """Return about how many bytes a problem takes.

        Parameters
        ----------
        problem : EigenProblem
            H and S.
        bands : int
            How many bands are wanted.
        states : bool
            Whether their states are wanted too, or counts of levels; else energies only.

        Returns
        -------
        float
            Bytes.
        """

    def eigenvalues(
        self, problem: EigenProblem, band_range: tuple[int, int] | None = None
    ) -> npt.NDArray:
        """Return energies.

        Parameters
        ----------
        problem : EigenProblem
            H and S.
        band_range : tuple of two int, optional
            First and last band (inclusive, from 0); by default all.

        Returns
        -------
        (nb,) array
            Ascending, eV.

        Raises
        ------
        MoireioError
            If S is not positive definite (see `not_positive`), or the levels cannot be found.
        """
        return self.eigenpairs(problem, band_range)[0]

    def count_below(self, problem: EigenProblem, energy: float) -> int:
        """Return the number of levels below an energy.

        Parameters
        ----------
        problem : EigenProblem
            H and S.
        energy : float
            eV.

        Returns
        -------
        int
            Their number.
        """
        return int(np.searchsorted(self.eigenvalues(problem), energy))

    def fit(self, problem: EigenProblem, bands: int, states: bool, limit: float) -> None:
        """Save memory at the cost of time, as far as a limit demands.

        Parameters
        ----------
        problem : EigenProblem
            H and S.
        bands : int
            How many bands are wanted.
        states : bool
            Whether their states are wanted too, or counts of levels; else energies only.
        limit : float
            Bytes.

        Raises
        ------
        MoireioError
            If the problem does not fit in any case (see `too_large`).
        """
        need = self.memory(problem, bands, states)
        if need > limit:
            raise too_large(self.name, problem.n_orbitals, need, limit)

    def use_threads(self, count: int) -> None:
        """Set the number of threads from here on.

        Parameters
        ----------
        count : int
            Threads.
        """
        return None

    def close(self) -> None:
        """Free memory, and end processes that were started."""
        return None


class SingularError(Exception):
    """A matrix that was to be factorised is singular."""


class NotPositiveError(Exception):
    """A matrix that was to be positive definite is not."""


def not_positive(k: npt.ArrayLike) -> MoireioError:
    """Return the error for an overlap that is not positive definite.

    Parameters
    ----------
    k : (3,) array
        Fractional coordinates.

    Returns
    -------
    MoireioError
        To be raised.
    """
    where = " ".join(f"{v:g}" for v in np.asarray(k, dtype=float))
    return MoireioError(
        f"the overlap is not positive definite at k = {where}",
        remedy="is the basis nearly dependent (see `overlap_cutoff`), or the file damaged (see "
        "h5-validate)?",
    )


def too_large(
    name: str, n_orbitals: int, need: float, limit: float, remedy: str = "raise `memory`"
) -> MoireioError:
    """Return the error for a problem that does not fit into memory.

    Parameters
    ----------
    name : str
        The solver.
    n_orbitals : int
        Size of the basis.
    need, limit : float
        Bytes that are needed at least, and that may be used.
    remedy : str
        How to make it fit.

    Returns
    -------
    MoireioError
        To be raised.
    """
    return MoireioError(
        f"{n_orbitals} orbitals need at least {size_text(need)} with the {name} solver, "
        f"{size_text(limit)} may be used",
        remedy=remedy,
    )
