"""Solvers by name: moireio's own, and those of the entry points ``moireio.solvers``.

To add one of moireio's own: a module with a class that derives from `moireio.solvers.base.Solver`,
a dataclass in `moireio.solvers.options`, and a row in `SOLVERS`. The entry point of another
distribution names such a class, whose attribute ``Options`` is its dataclass.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from moireio.errors import MoireioError
from moireio.runtime.plugins import entries
from moireio.solvers.options import DenseOptions, SlepcOptions, SparseOptions

if TYPE_CHECKING:
    from moireio.solvers.base import Solver

GROUP = "moireio.solvers"
# From this size on the sparse solver is faster, if less than one band in FEW orbitals is wanted.
SPARSE_SIZE, FEW = 1500, 20


@dataclass(frozen=True)
class SolverRow:
    """A solver in the table.

    Parameters
    ----------
    factory : str
        What constructs it from options and an energy, "package.module:attribute".
    options : type
        Its options, a frozen dataclass.
    description : str
        A line for lists of solvers.
    """

    factory: str
    options: type
    description: str

    def load(self) -> "Callable[..., Solver]":
        """Import what constructs the solver."""
        module, _, attribute = self.factory.partition(":")
        return getattr(import_module(module), attribute)


SOLVERS = {
    "dense": SolverRow(
        "moireio.solvers.dense:dense_solver",
        DenseOptions,
        "all bands of dense matrices, by LAPACK, or by torch on a GPU",
    ),
    "sparse": SolverRow(
        "moireio.solvers.sparse:SparseSolver",
        SparseOptions,
        "some bands by shift-invert Lanczos, on factors by MKL's Pardiso or SuperLU",
    ),
    "slepc": SolverRow(
        "moireio.solvers.slepc:SlepcSolver",
        SlepcOptions,
        "some bands by SLEPc and MUMPS, in many processes under MPI",
    ),
}


def solver_names() -> list[str]:
    """Return the names of all solvers, without importing any.

    Returns
    -------
    list of str
        moireio's own, then those of other distributions.
    """
    return [*SOLVERS, *entries(GROUP, SOLVERS)]


def automatic(
    n_orbitals: int, bands: int | None, device: str = "cpu", smallest: int | None = None
) -> str:
    """Return the solver that "auto" means.

    Parameters
    ----------
    n_orbitals : int
        Size of the basis.
    bands : int or None
        How many bands are wanted; None for all.
    device : str
        Where to compute.
    smallest : int
        Size from which on the sparse solver is worth while; by default `SPARSE_SIZE`.

    Returns
    -------
    {"dense", "sparse"}
        The sparse solver for a few bands of a large matrix, on the CPU.
    """
    smallest = SPARSE_SIZE if smallest is None else smallest
    few = bands is not None and FEW * bands < n_orbitals and n_orbitals >= smallest
    return "sparse" if few and device == "cpu" and can_count(n_orbitals) else "dense"


def make_solver(
    name: str, options: Mapping[str, Any] | None = None, sigma: float | None = None
) -> "Solver":
    """Return a solver by name.

    Parameters
    ----------
    name : str
        One of `solver_names`.
    options : mapping of str to object, optional
        Values for the fields of its options dataclass. Those that it does not have may be given
        with their default, or as None.
    sigma : float, optional
        Energy near the levels that are wanted, eV.

    Returns
    -------
    Solver
        Ready for use.

    Raises
    ------
    MoireioError
        If there is no such solver, it cannot be loaded or constructed, or does not have an option
        that is given.
    """
    if name in SOLVERS:
        factory, kind = SOLVERS[name].load(), SOLVERS[name].options
    else:
        factory, kind = _plugin(name)
    return factory(_build(name, kind, options or {}), sigma)


def _plugin(name: str) -> "tuple[Callable[..., Solver], type]":
    """Return the solver class of another distribution, and that of its options."""
    plugins = entries(GROUP, SOLVERS)
    if name not in plugins:
        raise MoireioError(
            f"no solver is called {name!r}", remedy=f"there are {', '.join(solver_names())}"
        )
    solver = plugins[name].load()
    kind = getattr(solver, "Options", None)
    if not (callable(solver) and isinstance(kind, type) and is_dataclass(kind)):
        raise MoireioError(
            f"{name!r} ({GROUP}) of the distribution {plugins[name].distribution} is not a solver "
            "class with a dataclass Options",
            remedy=f"update or uninstall {plugins[name].distribution}",
        )
    return solver, kind


def _build(name: str, kind: type, given: Mapping[str, Any]) -> Any:
    """Return a solver's options; refuse those that it does not have."""
    known = {field.name for field in fields(kind)}
    for option, value in given.items():
        owners = _owners(option)
        if option in known or value is None or value in owners.values():
            continue
        others = [owner for owner in owners if owner != name]
        remedy = f"choose the solver {' or '.join(others)}" if others else "leave it out"
        raise MoireioError(f"the {name} solver has no `{option}`", remedy=remedy)
    return kind(**{o: v for o, v in given.items() if o in known and v is not None})


def _owners(option: str) -> dict[str, Any]:
    """Return moireio's solvers that have an option, with its default."""
    return {
        name: field.default
        for name, row in SOLVERS.items()
        for field in fields(row.options)
        if field.name == option and field.default is not MISSING
    }


def can_count(n_orbitals: int) -> bool:
    """Return whether the sparse solver can count the levels of matrices of a size.

    Parameters
    ----------
    n_orbitals : int
        Size of the basis.

    Returns
    -------
    bool
        Always true with MKL.
    """
    from moireio.solvers import mkl, superlu

    return mkl.library() is not None or n_orbitals <= superlu.MOST_COUNTED
