"""The user's choice of a solver."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from moireio.solvers.base import Solver
from moireio.solvers.registry import automatic, make_solver
from moireio.spectrum.anchors.settings import ANCHOR_SHARE, Anchoring


@dataclass(frozen=True, eq=False)
class SolverChoice:
    """The user's choice of a solver, and what it may use.

    Parameters
    ----------
    name : str
        "auto" or one of `moireio.solvers.registry.solver_names`; "auto" takes the sparse solver for
        a few bands of a large matrix, else the dense one.
    jobs : int, optional
        Processes that share the k points, or threads where there is no memory for more
        processes; by default one per core.
    memory : float, optional
        Bytes that may be used; by default nearly all that are free.
    device : str
        Where to compute: "cpu" or "cuda".
    options : mapping of str to object
        Options of the solver (see `moireio.solvers.options`). Those that it does not have are
        refused, unless they are given with their default, or as None.
    anchoring : Anchoring
        Whether, and how well, levels at many k points are found from those at a few.
    """

    name: str = "auto"
    jobs: int | None = None
    memory: float | None = None
    device: str = "cpu"
    options: Mapping[str, Any] = field(default_factory=dict)
    anchoring: Anchoring = field(default_factory=Anchoring)

    def resolved(self, n_orbitals: int, bands: int | None) -> str:
        """Return the name of the solver.

        Parameters
        ----------
        n_orbitals : int
            Size of the basis.
        bands : int or None
            How many bands are wanted; None for all.

        Returns
        -------
        str
            The name, or what "auto" means.
        """
        return automatic(n_orbitals, bands, self.device) if self.name == "auto" else self.name

    def make(self, n_orbitals: int, bands: int | None, sigma: float | None = None) -> Solver:
        """Return the solver.

        Parameters
        ----------
        n_orbitals : int
            Size of the basis.
        bands : int or None
            How many bands are wanted; None for all.
        sigma : float, optional
            Energy near the levels that are wanted, eV.

        Returns
        -------
        Solver
            Ready for use.

        Raises
        ------
        MoireioError
            If there is no such solver, or does not have an option that was given.
        """
        options = {"device": self.device, **self.options}
        return make_solver(self.resolved(n_orbitals, bands), options, sigma)

    def finds_range(self, n_orbitals: int, bands: int | None) -> bool:
        """Return whether a range of bands costs less than all of them.

        Parameters
        ----------
        n_orbitals : int
            Size of the basis.
        bands : int or None
            How many bands are wanted; None for all.

        Returns
        -------
        bool
            As the solver's capabilities have it.
        """
        return self.make(n_orbitals, bands).capabilities.finds_range

    def for_anchors(self) -> "SolverChoice":
        """Return a choice whose states are as accurate as anchors need.

        Returns
        -------
        SolverChoice
            States in single precision, corrected by Ritz's method, where `accuracy` is not given.
        """
        accuracy = min(max(ANCHOR_SHARE * self.anchoring.tolerance, 1e-9), 1e-6)
        return replace(self, options={"accuracy": accuracy, **self.options})
