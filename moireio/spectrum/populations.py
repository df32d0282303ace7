"""All levels on a mesh of k points, with the populations of groups of orbitals."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from moireio.projection.mulliken import gross_populations
from moireio.spectrum.levels import solve_levels
from moireio.spectrum.problems import EigenproblemSet
from moireio.spectrum.selection import entering_range

if TYPE_CHECKING:
    from scipy.sparse import sparray

    from moireio.operators.bloch import BlochSum
    from moireio.runtime.progress import Progress
    from moireio.solvers.base import EigenProblem
    from moireio.spectrum.checkpoint import Checkpoint
    from moireio.spectrum.choice import SolverChoice
    from moireio.system.structure import Structure

DEGENERATE = 1e-5  # eV


class GroupPopulations:
    """Reduces states to the populations of groups of orbitals, in the process that found them.

    Populations of degenerate levels, which depend on the choice of the states, are replaced by
    their mean.

    Parameters
    ----------
    indicator : (ng, n_orbitals) sparse array
        A 1 where an orbital belongs to a group.
    """

    def __init__(self, indicator: "sparray") -> None:
        self._indicator = indicator

    def __call__(
        self,
        problem: "EigenProblem",
        energies: npt.NDArray[np.float64],
        states: npt.NDArray[Any],
    ) -> npt.NDArray[np.float64]:
        """Return the gross populations, (nb, ng).

        Parameters
        ----------
        problem : EigenProblem
            H and S.
        energies : (nb,) array
            eV, ascending.
        states : (n_orbitals, nb) array
            S-orthonormal.

        Returns
        -------
        (nb, ng) array
            Populations.
        """
        weights = gross_populations(problem.overlap, problem.k, states, self._indicator).T
        return _mean_of_degenerate(energies, weights)


def _mean_of_degenerate(
    energies: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    first = np.flatnonzero(np.concatenate([[True], np.diff(energies) > DEGENERATE]))
    if len(first) == len(energies):
        return weights
    sizes = np.diff(np.append(first, len(energies)))
    means = np.add.reduceat(weights, first, axis=0) / sizes[:, None]
    return np.repeat(means, sizes, axis=0)


def solve_populations(
    sums: "Sequence[BlochSum]",
    overlap: "BlochSum | None",
    k: npt.ArrayLike,
    solver: "SolverChoice",
    indicator: "sparray | None" = None,
    *,
    band_range: tuple[int, int] | None = None,
    energy_range: tuple[float, float] | None = None,
    sigma: float | None = None,
    structure: "Structure | None" = None,
    checkpoint: "Checkpoint | None" = None,
    progress: "Progress | None" = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[str]]:
    """Return the levels at many k points, and the populations of groups of orbitals in them.

    Parameters
    ----------
    sums : list of BlochSum
        H, one for each spin channel.
    overlap : BlochSum or None
        S.
    k : (nk, 3) array
        Fractional coordinates.
    solver : SolverChoice
        How to solve.
    indicator : (ng, n_orbitals) sparse array, optional
        A 1 where an orbital belongs to a group.
    band_range : tuple of two int, optional
        First and last band (inclusive, from 0); by default all.
    energy_range : tuple of two float, optional
        Lowest and highest energy, eV, instead: all bands that enter this interval.
    sigma : float, optional
        Energy near the bands, eV.
    structure : Structure, optional
        Positions of the atoms, with which levels may follow from anchors (see `EigenproblemSet`).
    checkpoint : Checkpoint, optional
        Keeps what is finished, and has what an interrupted run finished.
    progress : Progress, optional
        Steps are k points.

    Returns
    -------
    energies : (ns, nk, nb) array
        eV.
    weights : (ns, nk, nb, ng) array
        Populations.
    notes : list of str
        What the solver left out, or found to endanger the result.

    Raises
    ------
    MoireioError
        If memory does not suffice, or S is not positive definite.
    """
    groups = 0 if indicator is None else indicator.shape[0]
    bands = 1 if energy_range is not None else None
    if band_range is not None:
        bands = band_range[1] - band_range[0] + 1
    with EigenproblemSet(sums, overlap, k, solver, bands, sigma, groups > 0, structure) as problems:
        if energy_range is not None:

            def choose() -> tuple[int, int]:
                return entering_range(problems, energy_range)

            chosen = choose() if checkpoint is None else checkpoint.once("band_range", choose)
            band_range = chosen[0], chosen[1]
        energies, weights = solve_levels(
            problems,
            band_range,
            columns=(groups, np.float64) if groups else None,
            reduce=GroupPopulations(indicator) if groups else None,
            checkpoint=checkpoint,
            progress=progress,
        )
        notes = problems.notes()
        notes += [one.line("levels") for one in problems.accuracy.values() if one.anchors]
    if weights is None:
        weights = np.zeros((*energies.shape, 0))
    return energies, weights, notes
