"""How the tests start processes under MPI."""

import os

import pytest

_WORDS = ["mpirun", "-n", "2"]
if hasattr(os, "geteuid") and os.geteuid() == 0:
    _WORDS += ["--allow-run-as-root"]
LAUNCHER = " ".join(
    [*_WORDS, "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
)


def slepc_launcher():
    """Return the launcher of two processes; skip where SLEPc under MPI is absent."""
    from moireio.solvers import slepc_link

    why = slepc_link.missing(LAUNCHER)
    if why:
        pytest.skip(f"SLEPc under MPI is absent: {why}")
    return LAUNCHER
