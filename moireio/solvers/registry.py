"""Solvers by name."""

from moireio.errors import MoireioError


def make_solver(
    name,
    device="cpu",
    threads=1,
    sigma=0.0,
    *,
    single=None,
    verify_count=False,
    drop=0.0,
    overlap_cutoff=0.0,
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
    sigma : float or None
        Where solvers that find some states begin to look, eV.
    single, verify_count : bool
        Of the sparse solver (see `moireio.solvers.sparse.SparseSolver`); slepc always proves.
    drop : float
        Of the sparse solver: elements that are left out, eV.
    overlap_cutoff : float
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
        return SparseSolver(
            threads, sigma, single=single, prove=verify_count, drop=drop, cutoff=overlap_cutoff
        )
    if drop:
        raise MoireioError("only the sparse solver leaves elements out", remedy="no --drop")
    if name == "slepc":
        from moireio.solvers.slepc import SlepcSolver

        if device != "cpu" or single:
            raise MoireioError(
                "slepc runs on CPUs, in double precision", remedy="no --device, no --precision"
            )
        if overlap_cutoff:
            raise MoireioError(
                "slepc leaves no combinations of orbitals out", remedy="--solver sparse or dense"
            )
        return SlepcSolver(sigma, launcher, python)
    if single or verify_count:
        raise MoireioError("single precision and proofs are the sparse solver's", remedy="use it")
    if name != "dense":
        raise MoireioError(f"no solver is called {name!r}", remedy="use dense, sparse or slepc")
    if device == "cpu":
        from moireio.solvers.lapack import LapackSolver

        return LapackSolver(overlap_cutoff)
    from moireio.solvers.torch_dense import TorchSolver

    return TorchSolver(device, overlap_cutoff)


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
