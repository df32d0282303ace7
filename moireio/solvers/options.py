"""Options of moireio's own solvers, a frozen dataclass for each."""

from dataclasses import dataclass

from moireio.errors import MoireioError

PRECISIONS = ("auto", "float32", "float64")


@dataclass(frozen=True)
class DenseOptions:
    """Options of the dense solver.

    Parameters
    ----------
    device : str
        Where to compute: "cpu" (LAPACK), or a device of torch as "cuda" or "cuda:1".
    overlap_cutoff : float
        Combinations of orbitals with smaller eigenvalues of S are left out.
    precision : {"auto", "float64"}
        Double in either case.

    Raises
    ------
    MoireioError
        If another precision is asked for.
    """

    device: str = "cpu"
    overlap_cutoff: float = 0.0
    precision: str = "auto"

    def __post_init__(self) -> None:
        """Refuse other precisions."""
        _check_double("dense", self.precision)


@dataclass(frozen=True)
class SparseOptions:
    """Options of the sparse solver.

    Parameters
    ----------
    precision : {"auto", "float32", "float64"}
        Precision of the factors. Solutions from factors in single precision, which are half as
        large, are corrected in double precision. "auto" takes them for the energies of large
        matrices.
    verify_count : bool
        Count levels on both sides of those that were found, at every k.
    drop : float
        Elements of H below it (eV) are left out where those of S are below it too; energies are
        corrected to first order.
    overlap_cutoff : float
        Combinations of orbitals with smaller eigenvalues of S are left out.
    accuracy : float
        Error that energies may have, eV. With 1e-7 or more, energies and states of large matrices
        come from factors in single precision whose solutions are not corrected, in about half the
        time; states then have residuals of about 1e-4 eV.

    Raises
    ------
    MoireioError
        If there is no such precision.
    """

    precision: str = "auto"
    verify_count: bool = False
    drop: float = 0.0
    overlap_cutoff: float = 0.0
    accuracy: float = 1e-9

    def __post_init__(self) -> None:
        """Refuse unknown precisions."""
        if self.precision not in PRECISIONS:
            raise MoireioError(
                f"no `precision` is called {self.precision!r}", remedy=f"{', '.join(PRECISIONS)}"
            )


@dataclass(frozen=True)
class SlepcOptions:
    """Options of the solver that shares matrices among MPI processes.

    Parameters
    ----------
    launcher : str, optional
        Command that starts the processes, as ``mpirun -n 4``; by default one per core.
    python : str, optional
        Python that has slepc4py; by default this one, else the system's.
    precision : {"auto", "float64"}
        Double in either case.
    verify_count : bool
        Levels are counted on both sides in either case.

    Raises
    ------
    MoireioError
        If another precision is asked for.
    """

    launcher: str | None = None
    python: str | None = None
    precision: str = "auto"
    verify_count: bool = False

    def __post_init__(self) -> None:
        """Refuse other precisions."""
        _check_double("slepc", self.precision)


def _check_double(name: str, precision: str) -> None:
    if precision not in ("auto", "float64"):
        raise MoireioError(
            f"the {name} solver works in double precision, not in {precision}",
            remedy="leave `precision` out, or choose the sparse solver",
        )
